// Package pyenv runs Python in tests, for comparisons with Gymnasium, NumPy, ONNX
// Runtime and other programs themselves. `make venv` makes the virtual environment it uses.
package pyenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"brood/internal/golden"
)

// The environment variables that this package reads.
const (
	// PythonVariable names the interpreter to use in place of .venv/bin/python.
	PythonVariable = "BROOD_PYTHON"
	// TensorBoardVariable names the interpreter to use in place of
	// .venv-tensorboard/bin/python.
	TensorBoardVariable = "BROOD_TENSORBOARD_PYTHON"
	// RequireVariable, set to 1, makes a test fail that would be skipped because
	// something is missing on the machine.
	RequireVariable = "BROOD_REQUIRE_ALL"
)

// timeout ends a script that hangs; the longest one runs for a few seconds.
const timeout = 5 * time.Minute

// environment is a virtual environment and what must be importable there.
type environment struct {
	variable, folder, target string
	modules                  []string
}

var (
	common = environment{PythonVariable, ".venv", "venv", []string{"gymnasium", "msgpack", "msgpack_numpy", "numpy", "onnx", "onnxruntime", "safetensors"}}
	boards = environment{TensorBoardVariable, ".venv-tensorboard", "venv-tensorboard", []string{"tensorboard"}}
)

// Missing skips the test because something it needs is not on this machine, or
// fails it where BROOD_REQUIRE_ALL=1.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	reason := fmt.Sprintf(format, args...)
	if os.Getenv(RequireVariable) == "1" {
		t.Fatalf("%s=1, but %s", RequireVariable, reason)
	}
	t.Skip(reason)
}

// Interpreter returns the path of the Python interpreter of the tests' virtual
// environment: BROOD_PYTHON, or .venv/bin/python in the module root. Where it is
// absent or lacks a package, see [Missing].
func Interpreter(t testing.TB) string {
	t.Helper()
	return common.interpreter(t)
}

func (e *environment) interpreter(t testing.TB) string {
	t.Helper()
	python := os.Getenv(e.variable)
	if python == "" {
		python = filepath.Join(golden.ModuleRoot(t), e.folder, "bin", "python")
	}
	if err := e.usable(python); err != nil {
		Missing(t, "the Python of the tests is not usable: %v (`make %s` makes one, %s names another)", err, e.target, e.variable)
	}
	return python
}

// probed remembers the result for each interpreter: importing takes a second.
var probed struct {
	sync.Mutex
	results map[[2]string]error
}

func (e *environment) usable(python string) error {
	probed.Lock()
	defer probed.Unlock()
	key := [2]string{python, e.folder}
	if err, ok := probed.results[key]; ok {
		return err
	}
	err := e.probe(python)
	if probed.results == nil {
		probed.results = map[[2]string]error{}
	}
	probed.results[key] = err
	return err
}

func (e *environment) probe(python string) error {
	if _, err := exec.LookPath(python); err != nil {
		return fmt.Errorf("no interpreter: %w", err)
	}
	_, err := run(python, "import "+strings.Join(e.modules, ", "), nil)
	return err
}

// Run runs a Python script with stdin as its standard input and returns its
// standard output. The test fails, with the script's standard error, where the
// script does; where there is no Python see [Interpreter].
func Run(t testing.TB, script string, stdin []byte) []byte {
	t.Helper()
	out, err := run(Interpreter(t), script, stdin)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// RunTensorBoard is Run where TensorBoard is installed: `make venv-tensorboard` makes
// that environment, which is too large for the others.
func RunTensorBoard(t testing.TB, script string, stdin []byte) []byte {
	t.Helper()
	out, err := run(boards.interpreter(t), script, stdin)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func run(python, script string, stdin []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	// -I: neither the user's site-packages nor PYTHONPATH change what is tested.
	cmd := exec.CommandContext(ctx, python, "-I", "-c", script)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, fmt.Errorf("ended after %v", timeout))
		}
		return nil, fmt.Errorf("%s: %w\n%s", python, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
