package simd

import (
	"syscall"
	"testing"
	"unsafe"
)

// atPageEnd returns n words that end at a page without any access rights: what
// reads or writes beyond them is killed.
func atPageEnd(t *testing.T, n int) (words []uint32, release func()) {
	page := syscall.Getpagesize()
	size := (4*n + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mprotect(m[size:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	release = func() {
		if err := syscall.Munmap(m); err != nil {
			t.Error(err)
		}
	}
	if n == 0 {
		return []uint32{}, release
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(&m[size-4*n])), n), release
}
