package pyenv

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// recorder is a testing.TB that remembers how the test ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (*recorder) Helper()             {}
func (r *recorder) Skip(args ...any)  { r.skipped = fmt.Sprint(args...); runtime.Goexit() }
func (r *recorder) Fatal(args ...any) { r.failed = fmt.Sprint(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func record(t *testing.T, f func(t testing.TB)) *recorder {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r
}

func TestRunPassesInputAndReturnsOutput(t *testing.T) {
	out := Run(t, "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])", []byte("abc\x00"))
	require.Equal(t, "\x00cba", string(out))
}

func TestRunFailsWithTheScriptsError(t *testing.T) {
	Interpreter(t)
	r := record(t, func(t testing.TB) { Run(t, "raise SystemExit('the reason')", nil) })
	require.Contains(t, r.failed, "the reason")
}

// fakePython is a program that fails as a Python without the packages does.
func fakePython(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "python")
	script := "#!/bin/sh\necho \"No module named 'gymnasium'\" >&2\nexit 1\n"
	require.NoError(t, os.WriteFile(path, []byte(script), 0o755))
	return path
}

func TestInterpreterMissingOrLackingPackages(t *testing.T) {
	for python, reason := range map[string]string{
		filepath.Join(t.TempDir(), "absent"): "no interpreter",
		fakePython(t):                        "No module named 'gymnasium'",
	} {
		t.Setenv(PythonVariable, python)
		for _, require1 := range []bool{false, true} {
			t.Setenv(RequireVariable, map[bool]string{false: "", true: "1"}[require1])
			r := record(t, func(t testing.TB) { Interpreter(t) })
			message, other := r.skipped, r.failed
			if require1 {
				message, other = r.failed, r.skipped
			}
			require.Contains(t, message, reason, "required: %v", require1)
			require.Contains(t, message, "make venv")
			require.Empty(t, other)
		}
	}
}

func TestRequirementsPinEveryPackage(t *testing.T) {
	for _, name := range []string{"requirements.txt", "requirements-tensorboard.txt"} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				require.Contains(t, line, "==", name)
			}
		}
	}
}
