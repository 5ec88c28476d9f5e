//go:build cuda

package cuda

import (
	"debug/elf"
	"errors"
	"os"
	"strings"
	"testing"
)

// affineParams is testdata/kernels.cu's struct Affine.
type affineParams struct {
	Y, X   uint64
	Offset float64
	N      int32
	Scale  float32
	Odd    uint8
	_      [7]byte
}

// open opens device 0 for a test, or skips it; under BROOD_REQUIRE_ALL=1 it fails.
func open(t testing.TB) *Context {
	t.Helper()
	c, err := Open(0)
	if errors.Is(err, ErrNoDriver) || errors.Is(err, ErrNoDevice) {
		if os.Getenv("BROOD_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// rig is an open device with a stream and the test kernels.
type rig struct {
	*Context
	t      testing.TB
	s      *Stream
	module *Module
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{Context: open(t), t: t}
	image, err := os.ReadFile("testdata/kernels.ptx")
	if err != nil {
		t.Fatal(err)
	}
	r.do(func() error {
		if r.s, err = r.NewStream(); err != nil {
			return err
		}
		r.module, err = r.LoadModule("kernels.ptx", image)
		return err
	})
	return r
}

// do runs f on the context's thread and ends the test if it fails.
func (r *rig) do(f func() error) {
	r.t.Helper()
	if err := r.Do(f); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) kernel(name string) *Kernel {
	r.t.Helper()
	k, err := r.module.Kernel(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return k
}

func (r *rig) alloc(name string, bytes int64) Buffer {
	r.t.Helper()
	b, err := r.Alloc(name, bytes)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// one is a launch of one block of n threads.
func one(n int) Launch { return Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{n, 1, 1}} }

// pinned allocates pinned memory.
func (r *rig) pinned(bytes int64) *Pinned {
	r.t.Helper()
	p, err := r.AllocPinned("pinned", bytes)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func TestDevices(t *testing.T) {
	c := open(t)
	devices, err := Devices()
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range devices {
		if d.Ordinal != i || d.Name == "" || d.Major < 3 || d.SMs < 1 || d.TotalMemory <= 0 || d.MaxShared < 48<<10 || d.DriverVersion < MinDriver {
			t.Errorf("device %d is implausible: %+v", i, d)
		}
	}
	if c.Device() != devices[0] {
		t.Errorf("the context's device is %+v, the first is %+v", c.Device(), devices[0])
	}
	for _, ordinal := range []int{-1, len(devices)} {
		if _, err := Open(ordinal); !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), "devices 0 to") {
			t.Errorf("opening device %d: %v", ordinal, err)
		}
	}
}

// TestNoDependency checks that the program would start where there is no driver.
func TestNoDependency(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	libraries, err := file.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range libraries {
		if strings.Contains(library, "cuda") {
			t.Errorf("the program needs %s to start", library)
		}
	}
}
