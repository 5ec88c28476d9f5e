//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func gettid() int { return syscall.Gettid() }

// inChild reports whether this is a process that child started.
func inChild() bool { return os.Getenv("BROOD_CUDA_CHILD") != "" }

// child runs a test in a process of its own, with more environment, and gives what
// it prints. The driver can be absent, and lose a device, only once per process.
func child(t *testing.T, test string, environment ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), append(environment, "BROOD_CUDA_CHILD=1")...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
		t.Fatalf("the process: %v\n%s", err, out)
	}
	return string(out)
}

// isFake reports whether a device is the fake driver's.
func isFake(d Device) bool { return strings.Contains(d.Name, "softcuda") }

// printDevices prints what Devices and Open say.
func printDevices() {
	devices, err := Devices()
	report := func(err error) {
		fmt.Printf("%v; no driver %v, no device %v, too old %v, lost %v\n", err, errors.Is(err, ErrNoDriver),
			errors.Is(err, ErrNoDevice), errors.Is(err, ErrDriverTooOld), Lost(err))
	}
	fmt.Println(len(devices), "devices")
	report(err)
	_, err = Open(0)
	report(err)
	fmt.Println("lived through both")
}

func TestAbsent(t *testing.T) {
	if inChild() {
		printDevices()
		return
	}
	// The fake driver is told by its environment what to lack.
	c, err := Open(0)
	fake := err == nil && isFake(c.Device())
	if err == nil {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name string
		// possible is whether the case can be made on this machine.
		possible    bool
		environment []string
		want        []string
	}{
		{"no driver", fake || errors.Is(err, ErrNoDriver), []string{"LD_LIBRARY_PATH="}, []string{
			"0 devices", "no driver true, no device false, too old false, lost false", "libcuda.so.1", "install the NVIDIA driver", "lived"}},
		{"no device", err == nil, []string{"SOFTCUDA_DEVICES=0", "CUDA_VISIBLE_DEVICES=-1"}, []string{
			"0 devices", "no driver false, no device true, too old false, lost false", "nvidia-smi", "lived"}},
		{"an old driver", fake, []string{"SOFTCUDA_VERSION=11080"}, []string{
			"0 devices", "no driver false, no device false, too old true, lost false", "it supports CUDA 11.8", "install driver 525.60 or later", "lived"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.possible {
				t.Skip("this needs the fake driver")
			}
			out := child(t, "TestAbsent", c.environment...)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("the process does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

// TestLost lets a kernel fail and looks at all that follows.
func TestLost(t *testing.T) {
	if !inChild() {
		open(t)
		child(t, "TestLost")
		return
	}
	r := newRig(t)
	var first error
	r.do(func() error {
		x, e := r.alloc("x", 100), r.event()
		affine, fault := r.kernel("affine"), r.kernel("fault")
		if err := r.s.CopyToDevice(x.Ptr, make([]byte, 100)); err != nil { // with staging buffers to free
			return err
		}
		if err := r.s.Launch(affine, one(1), &affineParams{}); err != nil {
			return err
		}
		first = errors.Join(r.s.Launch(fault, one(1), uint64(8)), r.s.Synchronize())
		for what, err := range map[string]error{
			"Synchronize": r.s.Synchronize(), "Record": e.Record(r.s), "CopyToHost": r.s.CopyToHost(make([]byte, 10), x.Ptr),
			"Launch": r.s.Launch(affine, one(1), &affineParams{}), "Free": r.Free(x),
		} {
			if !Lost(err) || !errors.Is(err, ErrIllegalAddress) {
				t.Errorf("%s after a fault: %v", what, err)
			}
		}
		return nil
	})
	if !Lost(first) || !errors.Is(first, ErrIllegalAddress) {
		t.Fatalf("the fault is reported as %v", first)
	}
	var e *Error
	if !errors.As(first, &e) || e.Code != illegalAddress || len(e.Recent) == 0 || e.Recent[0] != "affine" {
		t.Errorf("the error is %+v", e)
	}
	if !strings.Contains(first.Error(), "may be of an earlier kernel") || !strings.Contains(first.Error(), "start a new one") {
		t.Errorf("the error does not say what it means: %v", first)
	}
	if !Lost(r.Lost()) {
		t.Errorf("the context says %v", r.Lost())
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Errorf("closing after a fault: %v", err)
	}
}
