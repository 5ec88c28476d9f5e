package simd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGeneratedFilesAreCurrent runs the commands of gen.go on a copy of the
// generators and compares what they write with what is committed.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(root, "_asm"), os.DirFS("_asm")))
	if out, err := run(filepath.Join(root, "_asm"), "go", "build", "-o", os.DevNull, "./..."); err != nil {
		if _, download := run(filepath.Join(root, "_asm"), "go", "mod", "download"); download == nil {
			t.Fatalf("the generators do not build: %s", out)
		}
		reason := "the generators' modules cannot be downloaded here: " + out
		if os.Getenv("BROOD_REQUIRE_ALL") == "1" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	source, err := os.ReadFile("gen.go")
	require.NoError(t, err)
	commands := 0
	for line := range strings.Lines(string(source)) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "//go:generate "); ok {
			commands++
			words := strings.Fields(command)
			out, err := run(root, words[0], words[1:]...)
			require.NoError(t, err, "%s: %s", command, out)
		}
	}
	require.NotZero(t, commands)

	made, err := filepath.Glob(filepath.Join(root, "*"))
	require.NoError(t, err)
	compared := map[string]bool{}
	for _, path := range made {
		name := filepath.Base(path)
		if name == "_asm" {
			continue
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		have, err := os.ReadFile(name)
		require.NoError(t, err, "run go generate")
		if diff := firstDifference(string(have), string(want)); diff != "" {
			t.Errorf("%s is not what its generator writes; run go generate in this folder. %s", name, diff)
		}
		compared[name] = true
	}
	assembly, err := filepath.Glob("*.s")
	require.NoError(t, err)
	require.NotEmpty(t, assembly)
	for _, name := range assembly {
		require.True(t, compared[name], "no generator writes %s", name)
	}
}

func run(dir, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir = dir
	// The build of the tests must not reach into that of the generators.
	c.Env = append(os.Environ(), "GOFLAGS=", "GOOS=", "GOARCH=", "GOWORK=off")
	out, err := c.CombinedOutput()
	return string(out), err
}

func firstDifference(have, want string) string {
	if have == want {
		return ""
	}
	h, w := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range min(len(h), len(w)) {
		if h[i] != w[i] {
			return "First different line:\n- " + h[i] + "\n+ " + w[i]
		}
	}
	return "One is the beginning of the other."
}
