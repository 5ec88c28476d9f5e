//go:build cuda

package cuda

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// largeParams is testdata/kernels.cu's struct Large.
type largeParams struct {
	Out    uint64
	Values [300]int32
	Text   [7]int8
	_      [1]byte
}

func TestLaunchStruct(t *testing.T) {
	r := newRig(t)
	const n = 1000
	x, y := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i] = float32(i), 1
	}
	r.do(func() error {
		dx, dy := r.alloc("x", 4*n), r.alloc("y", 4*n)
		p := affineParams{Y: dy.Ptr, X: dx.Ptr, Offset: 0.5, N: n, Scale: 2, Odd: 3}
		return errors.Join(
			r.s.CopyToDevice(dx.Ptr, BytesOf(x)),
			r.s.CopyToDevice(dy.Ptr, BytesOf(y)),
			r.s.Launch(r.kernel("affine"), Launch{Grid: [3]int{4, 1, 1}, Block: [3]int{256, 1, 1}}, &p),
			r.s.CopyToHost(BytesOf(y), dy.Ptr),
		)
	})
	for i := range y {
		if want := 1 + 2*float32(i) + 0.5 + 3; y[i] != want {
			t.Fatalf("y[%d] is %g, want %g", i, y[i], want)
		}
	}
}

func TestLaunchLargeStruct(t *testing.T) {
	r := newRig(t)
	var sum int32
	p := largeParams{}
	for i := range p.Values {
		p.Values[i] = int32(i) - 7
		sum += p.Values[i]
	}
	for i := range p.Text {
		p.Text[i] = int8(-i)
		sum -= int32(i)
	}
	got := []int32{0}
	r.do(func() error {
		out := r.alloc("out", 4)
		p.Out = out.Ptr
		err := r.s.Launch(r.kernel("large"), one(1), &p, int32(-3))
		p = largeParams{} // the arguments were copied
		return errors.Join(err, r.s.CopyToHost(BytesOf(got), out.Ptr))
	})
	if got[0] != -3*sum {
		t.Errorf("the kernel made %d of its arguments, want %d", got[0], -3*sum)
	}
}

func TestLaunchNumbers(t *testing.T) {
	type count int32 // named types are as good
	r := newRig(t)
	got := make([]float64, 6)
	r.do(func() error {
		out := r.alloc("out", 8*6)
		return errors.Join(
			r.s.Launch(r.kernel("numbers"), one(1), out.Ptr, count(-5), float32(0.25), int64(-1<<40), uint32(1<<32-1), 1e300, uint64(1<<63)),
			r.s.CopyToHost(BytesOf(got), out.Ptr),
		)
	})
	if want := []float64{-5, 0.25, -1 << 40, 1<<32 - 1, 1e300, 1 << 63}; !slices.Equal(got, want) {
		t.Errorf("the kernel got %v, want %v", got, want)
	}
}

func TestLaunchShared(t *testing.T) {
	r := newRig(t)
	const n = 20000 // more than 48 KiB of ints
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(i)
	}
	r.do(func() error {
		reverse, dx := r.kernel("reverse"), r.alloc("x", 4*n)
		launch := Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{128, 1, 1}, Shared: 4 * n}
		if err := r.s.Launch(reverse, launch, dx.Ptr, int32(n)); err == nil || !strings.Contains(err.Error(), "SetMaxShared") {
			t.Errorf("more shared memory than was allowed for: %v", err)
		}
		if err := reverse.SetMaxShared(1 << 30); err == nil || !strings.Contains(err.Error(), "at most") {
			t.Errorf("more shared memory than there is: %v", err)
		}
		return errors.Join(
			reverse.SetMaxShared(4*n),
			r.s.CopyToDevice(dx.Ptr, BytesOf(x)),
			r.s.Launch(reverse, launch, dx.Ptr, int32(n)),
			r.s.CopyToHost(BytesOf(x), dx.Ptr),
		)
	})
	for i := range x {
		if x[i] != int32(n-1-i) {
			t.Fatalf("x[%d] is %d", i, x[i])
		}
	}
}

func TestLaunchRefuses(t *testing.T) {
	r := newRig(t)
	type withPointer struct {
		N int32
		P *int32
	}
	r.do(func() error {
		numbers, affine := r.kernel("numbers"), r.kernel("affine")
		for _, c := range []struct {
			what   string
			kernel *Kernel
			launch Launch
			args   []any
			want   string
		}{
			{"an int", affine, one(1), []any{7}, "argument 0: int: want a number whose type has a size"},
			{"nil", affine, one(1), []any{nil}, "argument 0: <nil>: want"},
			{"a nil struct", affine, one(1), []any{(*affineParams)(nil)}, "is nil"},
			{"a struct by value", affine, one(1), []any{affineParams{}}, "argument 0: cuda.affineParams: want"},
			{"a struct with a pointer", affine, one(1), []any{&withPointer{}}, "withPointer: want"},
			{"a string", affine, one(1), []any{"x"}, "argument 0: string: want"},
			{"no blocks", affine, Launch{Grid: [3]int{0, 1, 1}, Block: [3]int{1, 1, 1}}, []any{&affineParams{}}, "each number must be 1 or more"},
			{"half a shape", affine, Launch{Grid: [3]int{1}, Block: [3]int{1}}, []any{&affineParams{}}, "each number must be 1 or more"},
			{"too many threads", affine, one(1025), []any{&affineParams{}}, "a block has 1 to 1024 threads"},
			{"too much", affine, one(1), []any{&struct{ X [40000]byte }{}}, "have more than"},
			{"negative shared memory", affine, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{1, 1, 1}, Shared: -1}, []any{&affineParams{}}, "-1 bytes of shared memory"},
			{"too few arguments", numbers, one(1), []any{int32(1)}, "1 arguments; the kernel has 7 parameters"},
			{"a wrong size", affine, one(1), []any{&largeParams{}}, "has 1216 bytes; the kernel's parameter has 40"},
		} {
			if !c.kernel.paramsKnown && (c.kernel == numbers || strings.Contains(c.want, "parameter has")) {
				t.Logf("%s: not checked, the driver does not tell a kernel's parameters", c.what)
				continue
			}
			err := r.s.Launch(c.kernel, c.launch, c.args...)
			var e *Error
			if !errors.As(err, &e) || e.Kernel != c.kernel.Name() || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: the error is %v, want one with %q", c.what, err, c.want)
			}
		}
		return r.s.Synchronize()
	})
}

func TestLaunchDoesNotAllocate(t *testing.T) {
	r := newRig(t)
	r.do(func() error {
		affine, numbers := r.kernel("affine"), r.kernel("numbers")
		x := r.alloc("x", 4096)
		p := affineParams{Y: x.Ptr, X: x.Ptr, N: 1}
		var err error
		allocations := testing.AllocsPerRun(100, func() {
			err = errors.Join(err,
				r.s.Launch(affine, one(32), &p),
				r.s.Launch(numbers, one(1), x.Ptr, int32(-500), float32(1), int64(2), uint32(3), 4.5, uint64(1<<60)))
		})
		if allocations != 0 {
			t.Errorf("two launches allocate %g times", allocations)
		}
		return err
	})
}

func TestModuleErrors(t *testing.T) {
	r := newRig(t)
	r.do(func() error {
		_, err := r.module.Kernel("absent")
		var e *Error
		if !errors.As(err, &e) || e.Kernel != "absent" || !strings.Contains(err.Error(), "kernels.ptx") {
			t.Errorf("an absent kernel: %v", err)
		}
		if _, err := r.LoadModule("junk", []byte("junk")); err == nil || !strings.Contains(err.Error(), "loading the module junk") {
			t.Errorf("a module of junk: %v", err)
		}
		affine := r.kernel("affine")
		if err := errors.Join(r.module.Close(), r.module.Close()); err != nil {
			t.Errorf("unloading twice: %v", err)
		}
		if err := r.s.Launch(affine, one(1), &affineParams{}); !errors.Is(err, ErrClosed) {
			t.Errorf("a kernel of an unloaded module: %v", err)
		}
		if _, err := r.module.Kernel("affine"); !errors.Is(err, ErrClosed) {
			t.Errorf("looking in an unloaded module: %v", err)
		}
		return nil
	})
}

func TestUnsupportedPTX(t *testing.T) {
	c := &Context{device: Device{DriverVersion: 12020}}
	err := c.moduleError("loading the module m", []byte("// comment\n.version 8.4\n.target sm_80\n"), "ptxas: too new\n", unsupportedPTX)
	if !errors.Is(err, ErrDriverTooOld) {
		t.Errorf("%v is not ErrDriverTooOld", err)
	}
	for _, want := range []string{"version 8.4", "CUDA 12.2", "driver 550 or later", "ptxas: too new"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func BenchmarkLaunch(b *testing.B) {
	r := newRig(b)
	r.do(func() error {
		affine := r.kernel("affine")
		p := affineParams{N: 0}
		b.ReportAllocs()
		for b.Loop() {
			if err := r.s.Launch(affine, one(1), &p); err != nil {
				return err
			}
		}
		return r.s.Synchronize()
	})
}
