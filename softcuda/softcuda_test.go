//go:build cuda

// Package softcuda has no code in Go: here are the tests of the fake driver. They
// build it with the kernels of testdata, and run test/drive.cpp with it.
package softcuda

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// build builds into a folder that is kept, so that the next run only builds what
// has changed. It skips where g++ or CUDA's headers are missing.
func build(t *testing.T) string {
	t.Helper()
	out, err := built()
	if err != nil {
		if os.Getenv("BROOD_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return out
}

var built = sync.OnceValues(func() (string, error) {
	include := os.Getenv("BROOD_CUDA_INCLUDE")
	if include == "" {
		return "", fmt.Errorf("BROOD_CUDA_INCLUDE does not say where cuda.h is: source build/cuda/env, which make cuda-headers writes")
	}
	if _, err := exec.LookPath("g++"); err != nil {
		return "", err
	}
	out, err := filepath.Abs("../build/softcuda-test")
	if err != nil {
		return "", err
	}
	for _, command := range [][]string{
		{"bash", "build.sh", out, "testdata", include},
		{"make", "-f", "Makefile", "OUT=" + out, "KERNELS=testdata", "CUDA_INCLUDE=" + include, "drive"},
	} {
		if text, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, text)
		}
	}
	return out, nil
})

// drive runs the program, with the driver that checks or the plain one, and
// returns what it wrote to stdout and stderr.
func drive(t *testing.T, checked bool, env []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	out := build(t)
	libraries := out
	if checked {
		libraries = filepath.Join(out, "check")
	}
	c := exec.Command(filepath.Join(out, "drive"), args...)
	for _, v := range os.Environ() { // the caller may itself run on a fake driver
		if !strings.HasPrefix(v, "SOFTCUDA_") {
			c.Env = append(c.Env, v)
		}
	}
	c.Env = append(c.Env, "LD_LIBRARY_PATH="+libraries, "SOFTCUDA_KERNELS="+filepath.Join(libraries, "kernels.so"))
	c.Env = append(c.Env, env...)
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { c.Process.Kill() }).Stop()
	err = c.Wait()
	return strings.TrimSpace(o.String()), e.String(), err
}

func TestScenarios(t *testing.T) {
	for _, c := range []struct {
		name    string
		env     []string
		checked bool
	}{
		{name: "memory", env: []string{"SOFTCUDA_MEMORY=5000"}},
		{name: "tail"},
		{name: "copies"},
		{name: "registered"},
		{name: "several_devices", env: []string{"SOFTCUDA_DEVICES=3"}},
		{name: "peer_access", env: []string{"SOFTCUDA_DEVICES=2"}, checked: true},
		{name: "no_device", env: []string{"SOFTCUDA_DEVICES=0"}},
		{name: "before_init"},
		{name: "modules"},
		{name: "cubins"},
		{name: "launch_limits"},
		{name: "poison"},
		{name: "descending", env: []string{"SOFTCUDA_ORDER=desc"}},
		{name: "failing_calls"},
		{name: "failing_call_of_environment", env: []string{"SOFTCUDA_FAIL_CALL=3", "SOFTCUDA_FAIL_CODE=700"}},
		{name: "error_names"},
		{name: "proc_addresses"},
		{name: "streams"},
		{name: "events"},
		{name: "lazy", env: []string{"SOFTCUDA_LAZY=1"}},
		{name: "capture"},
		{name: "capture", env: []string{"SOFTCUDA_LAZY=1"}},
		{name: "capture_errors"},
		{name: "capture_threads"},
		{name: "graph_update"},
		{name: "graph_update", env: []string{"SOFTCUDA_LAZY=1"}},
		{name: "kernel_error"},
		{name: "kernel_error", env: []string{"SOFTCUDA_LAZY=1"}},
	} {
		t.Run(strings.Join(append([]string{c.name}, c.env...), ","), func(t *testing.T) {
			t.Parallel()
			if _, stderr, err := drive(t, c.checked, c.env, "scenario", c.name); err != nil {
				t.Errorf("%v\n%s", err, stderr)
			}
		})
	}
}

// Every wrong kernel is found: by the checker all, without it those with a fault or
// a divergence. report is what stderr must match; it names the kernel and the line.
func TestWrongKernels(t *testing.T) {
	const (
		illegal    = "CUDA_ERROR_ILLEGAL_ADDRESS"
		asserted   = "CUDA_ERROR_ASSERT"
		divergence = "CUDA_ERROR_ILLEGAL_INSTRUCTION"
	)
	for _, c := range []struct {
		kernel string
		launch string // grid, block, bytes of shared memory
		report string
		code   string
		plain  bool // found without the checker, too
	}{
		{"bug_write_behind", "2 256 0", `4-byte write out of bounds, 0 bytes behind an allocation of 1024: .* block \(1,0,0\) thread \(0,0,0\)`, illegal, true},
		{"bug_read_behind", "1 256 0", `4-byte read out of bounds, 0 bytes behind an allocation`, illegal, true},
		{"bug_read_before", "1 64 0", `4-byte read out of bounds`, illegal, false},
		{"bug_wild_pointer", "1 1 0", `4-byte write out of bounds, near no allocation`, illegal, true},
		{"bug_null_pointer", "1 1 0", `4-byte read out of bounds, near no allocation`, illegal, true},
		{"bug_barrier_in_branch", "1 64 0", `barrier divergence: .* waits at bugs.cu:\d+, others wait at bugs.cu`, "CUDA_ERROR_LAUNCH_FAILED", true},
		{"bug_two_barriers", "1 64 0", `barrier divergence`, "CUDA_ERROR_LAUNCH_FAILED", true},
		{"bug_shuffle_in_branch", "1 32 0", `warp divergence: .* thread \(16,0,0\) exited, and the warp function at bugs.cu:\d+`, divergence, true},
		{"bug_mask_without_self", "1 32 0", `the mask 0000ffff leaves out the lane that calls it`, divergence, true},
		{"bug_shuffle_from_absent", "1 32 0", `shuffle at bugs.cu:\d+ reads lane 16, which takes no part`, asserted, true},
		{"bug_missing_barrier", "1 256 0", `race \(read after write, shared memory\)`, asserted, false},
		{"bug_missing_syncwarp", "1 32 0", `race \(read after write, shared memory\)`, asserted, false},
		{"bug_warp_synchronous", "1 32 0", `race \(write after read, shared memory\)`, asserted, false},
		{"bug_write_after_read", "1 64 0", `race \(write after read, shared memory\)`, asserted, false},
		{"bug_same_value", "1 64 0", `race \(write after write, shared memory\)`, asserted, false},
		{"bug_between_blocks", "4 1 0", `race \(read after write, global memory\): .* of another block before`, asserted, false},
		{"bug_neighbour_block", "4 32 0", `race \(read after write, global memory\)`, asserted, false},
		{"bug_uninitialised_static", "1 64 0", `shared memory read before any write: .* thread \(32,0,0\)`, asserted, false},
		{"bug_uninitialised_dynamic", "1 16 64", `shared memory read before any write`, asserted, false},
		{"bug_uninitialised_sum", "1 8 0", `shared memory read before any write`, asserted, false},
		{"bug_static_overrun", "1 32 0", `index outside an array's type`, illegal, false},
		{"bug_dynamic_overrun", "1 64 128", `4-byte write out of bounds, at byte 128 of 128 bytes of dynamic shared memory`, illegal, true},
		{"bug_deadlock", "1 32 0", `deadlock: .* 1 at the barrier bugs.cu:\d+, lanes fffffffe of warp 0`, "CUDA_ERROR_LAUNCH_TIMEOUT", true},
		{"bug_division_by_zero", "1 1 0", `division of integers by zero`, illegal, true},
		{"bug_stack_overflow", "1 1 0", `stack overflow|out of bounds`, illegal, true},
	} {
		t.Run(c.kernel, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"kernel", c.kernel}, strings.Fields(c.launch)...)
			stdout, stderr, err := drive(t, true, nil, args...)
			if err != nil || stdout != c.code {
				t.Errorf("checked: %v, the launch ends with %s, want %s\n%s", err, stdout, c.code, stderr)
			}
			if !regexp.MustCompile(c.report).MatchString(stderr) {
				t.Errorf("checked: no report matches %s:\n%s", c.report, stderr)
			}
			if !regexp.MustCompile(`kernel `+c.kernel+` block .*`).MatchString(stderr) || !strings.Contains(stderr, "bugs.cu:") {
				t.Errorf("checked: the report names no kernel or line:\n%s", stderr)
			}
			stdout, stderr, err = drive(t, false, nil, args...)
			if err != nil || (stdout != "CUDA_SUCCESS") != c.plain {
				t.Errorf("plain: %v, the launch ends with %s\n%s", err, stdout, stderr)
			}
		})
	}
}

// Correct kernels give their results and no report, in any order of the threads.
func TestFineKernels(t *testing.T) {
	for _, kernel := range []string{
		"fine_warp_tree 1 32 0",
		"fine_last_block 5 64 0",
		"fine_early_exit 1 64 0",
		"fine_partial_warp 1 40 0",
		"fine_half_warp 1 32 0",
		"fine_transpose 1 256 0",
		"fine_bytes 1 64 0",
		"fine_read_meet_write 1 32 0",
		"fine_parameters 1 64 512",
		"fine_functions 1 64 0",
		"fine_made_one 1 8 0",
		"fine_made_two 1 8 0",
	} {
		t.Run(strings.Fields(kernel)[0], func(t *testing.T) {
			t.Parallel()
			for _, checked := range []bool{false, true} {
				for _, order := range []string{"asc", "desc", "r1", "r2"} {
					env := []string{"SOFTCUDA_ORDER=" + order}
					stdout, stderr, err := drive(t, checked, env, append([]string{"kernel"}, strings.Fields(kernel)...)...)
					if err != nil || stdout != "CUDA_SUCCESS" || stderr != "" {
						t.Errorf("checked %v, %s: %v, %s\n%s", checked, order, err, stdout, stderr)
					}
				}
			}
		})
	}
}

// Without poison, and on one worker, fine kernels are fine as well.
func TestSettings(t *testing.T) {
	for _, setting := range []string{"SOFTCUDA_POISON=0", "SOFTCUDA_WORKERS=1", "SOFTCUDA_WORKERS=4", "SOFTCUDA_ALIGN=256", "SOFTCUDA_STACK=256"} {
		if stdout, stderr, err := drive(t, false, []string{setting}, "kernel", "fine_last_block", "60", "64", "0"); err != nil || stdout != "CUDA_SUCCESS" {
			t.Errorf("%s: %v, %s\n%s", setting, err, stdout, stderr)
		}
	}
	for _, setting := range []string{"SOFTCUDA_DEVICES=many", "SOFTCUDA_WORKERS=0", "SOFTCUDA_ORDER=up", "SOFTCUDA_ALIGN=24"} {
		_, stderr, err := drive(t, false, []string{setting}, "scenario", "before_init")
		if err == nil || !strings.Contains(stderr, "softcuda: "+setting+": want ") {
			t.Errorf("%s: %v, %s", setting, err, stderr)
		}
	}
}

func TestTrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace")
	if _, stderr, err := drive(t, false, []string{"SOFTCUDA_TRACE=" + file, "SOFTCUDA_DEVICES=0"}, "scenario", "no_device"); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != "1 cuInit\n" {
		t.Errorf("%v, the trace is %q", err, got)
	}
}

// The library of kernels beside the driver is used where SOFTCUDA_KERNELS is not set.
func TestKernelsBesideDriver(t *testing.T) {
	if _, stderr, err := drive(t, false, []string{"SOFTCUDA_KERNELS="}, "scenario", "cubins"); err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
}
