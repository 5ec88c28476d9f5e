//go:build cuda

package cuda

import "unsafe"

// BytesOf views the elements of x as bytes, for copies. E must hold no Go
// pointers.
func BytesOf[E any](x []E) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*int(unsafe.Sizeof(x[0])))
}

// ElementsOf views bytes, such as [Pinned] memory, as elements: as many as are
// whole. E must hold no Go pointers, and b be aligned for it.
func ElementsOf[E any](b []byte) []E {
	if len(b) == 0 {
		return nil
	}
	var e E
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(e)))
}
