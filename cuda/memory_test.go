//go:build cuda

package cuda

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// sequence is n bytes that differ from their neighbours.
func sequence(n int) []byte {
	source := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = source.Read(b) // it cannot fail
	return b
}

func TestCopies(t *testing.T) {
	r := newRig(t)
	// 0 bytes, less and more than the staging buffers hold, and none of their
	// multiples.
	for _, n := range []int{0, 1, 1000, stagingBytes, stagingBytes + 1, 5*stagingBytes + 3} {
		want, got := sequence(n), make([]byte, n)
		r.do(func() error {
			a, b := r.alloc("a", int64(n+1)), r.alloc("b", int64(n+1))
			err := r.s.CopyToDevice(a.Ptr, want)
			sent := bytes.Clone(want)
			clear(want) // the copy was made aside
			err = errors.Join(err, r.s.CopyOnDevice(b.Ptr, a.Ptr, int64(n)), r.s.CopyToHost(got, b.Ptr), r.Free(a), r.Free(b))
			want = sent
			return err
		})
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back changed", n)
		}
	}
}

func TestPinnedCopies(t *testing.T) {
	r := newRig(t)
	const n = 3*stagingBytes + 5
	r.do(func() error {
		from, to, device := r.pinned(n), r.pinned(n), r.alloc("a", n)
		copy(from.Bytes(), sequence(n))
		// A part of a pinned buffer is pinned too.
		err := errors.Join(
			r.s.Memset(device.Ptr, 7, n),
			r.s.CopyToDevice(device.Ptr+1, from.Bytes()[1:n-1]),
			r.s.CopyToHost(to.Bytes(), device.Ptr),
			r.s.Synchronize(),
		)
		if err != nil {
			return err
		}
		if r.s.staging != nil {
			t.Error("pinned memory was copied through the staging buffers")
		}
		want := sequence(n)
		want[0], want[n-1] = 7, 7
		if !bytes.Equal(to.Bytes(), want) {
			t.Error("the bytes came back changed")
		}
		if err := errors.Join(from.Free(), from.Free(), to.Free()); err != nil {
			t.Errorf("freeing pinned memory, once twice: %v", err)
		}
		if from.Bytes() != nil {
			t.Error("freed pinned memory can still be used")
		}
		return nil
	})
}

func TestTransfers(t *testing.T) {
	r := newRig(t)
	r.do(func() error {
		const n = 2*stagingBytes + 1
		a, b, p := r.alloc("a", n), r.alloc("b", n), r.pinned(100)
		return errors.Join(
			r.s.CopyToDevice(a.Ptr, make([]byte, n)),
			r.s.CopyToDevice(a.Ptr, p.Bytes()),
			r.s.CopyToHost(make([]byte, 10), a.Ptr),
			r.s.CopyOnDevice(b.Ptr, a.Ptr, 7),
			r.s.Memset(b.Ptr, 1, n),
		)
	})
	if got, want := r.Transfers(), (Transfers{ToDevice: 2*stagingBytes + 101, ToHost: 10, OnDevice: 7}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestOutOfMemory(t *testing.T) {
	r := newRig(t)
	r.do(func() error {
		r.alloc("small", 1<<20)
		_, total, err := r.Memory()
		if err != nil {
			return err
		}
		_, err = r.Alloc("activations", total+1)
		if !errors.Is(err, ErrOutOfMemory) {
			t.Fatalf("more than the device's memory: %v", err)
		}
		err = WithHint(err, "lower ppo.steps")
		if !errors.Is(err, ErrOutOfMemory) || Lost(err) {
			t.Errorf("%v is not ErrOutOfMemory", err)
		}
		for _, want := range []string{`"activations"`, sizeText(total + 1), "are free", "this context holds 1.0 MiB in 1 buffers", "lower ppo.steps"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		r.alloc("after", 16) // nothing is broken
		return nil
	})
}

func TestAllocRefuses(t *testing.T) {
	r := newRig(t)
	r.do(func() error {
		for _, n := range []int64{0, -1} {
			if _, err := r.Alloc("none", n); err == nil || !strings.Contains(err.Error(), "must be positive") {
				t.Errorf("%d bytes: %v", n, err)
			}
			if _, err := r.AllocPinned("none", n); err == nil || !strings.Contains(err.Error(), "must be positive") {
				t.Errorf("%d pinned bytes: %v", n, err)
			}
		}
		b := r.alloc("b", 10)
		if err := r.Free(b); err != nil {
			return err
		}
		if err := r.Free(b); err == nil || !strings.Contains(err.Error(), `freeing "b"`) {
			t.Errorf("freeing twice: %v", err)
		}
		if err := r.s.CopyOnDevice(1, 2, -1); err == nil || !strings.Contains(err.Error(), "negative") {
			t.Errorf("copying -1 bytes: %v", err)
		}
		return nil
	})
}

// rangesMemory is on the heap: a stack that grows would move it while ranges keep its
// addresses.
var rangesMemory = make([]byte, 100)

func TestRanges(t *testing.T) {
	memory := rangesMemory
	var r ranges
	for _, i := range []int{50, 10, 90, 30} {
		r.add(memory[i : i+10])
	}
	r.remove(memory[30:40])
	for from := range 100 {
		for to := from + 1; to <= 100; to++ {
			inside := func(i int) bool { return i <= from && to <= i+10 }
			if got, want := r.contains(memory[from:to]), inside(10) || inside(50) || inside(90); got != want {
				t.Fatalf("contains [%d, %d) is %v", from, to, got)
			}
		}
	}
}
