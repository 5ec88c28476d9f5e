//go:build cuda

package driver

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TestTrampolines builds a C program with the trampolines, and runs it with a
// library for them to find, and without.
func TestTrampolines(t *testing.T) {
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	folder := t.TempDir()
	program := filepath.Join(folder, "program")
	compile := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(compiler, append([]string{"-O2", "-Wall", "-Werror"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", compiler, args, err, out)
		}
	}
	compile("-shared", "-fPIC", "-o", filepath.Join(folder, "libcuda.so.1"), "testdata/libcuda.c")
	compile("-fPIE", "-pie", "-o", program, "testdata/program.c", "loader.c", "symbols.c",
		"trampolines_linux_"+runtime.GOARCH+".S", "-ldl", "-lpthread")

	run := func(libraries string) string {
		t.Helper()
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	// Two calls that arrive whole, a function that the library lacks, cuInit which
	// does nothing, and the real one.
	if got, want := run(folder), "0 0 302 0 100\n0 0 302 0 100\n"; got != want {
		t.Errorf("with a library the calls give %q, want %q", got, want)
	}
	if exec.Command("sh", "-c", "ldconfig -p | grep -q libcuda.so.1").Run() == nil {
		t.Skip("this machine has a driver, so that the other half cannot be tested")
	}
	if got, want := run(""), "303 303 303 0 303\n303 303 303 0 303\n"; got != want {
		t.Errorf("without a library the calls give %q, want %q", got, want)
	}
}
