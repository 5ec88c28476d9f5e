package dash

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"brood/internal/pyenv"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is committed is what the sources build to, byte for byte: `make dash` makes it
// so.
func TestStaticFilesAreCurrent(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			pyenv.Missing(t, "there is no %s in PATH to build the page with", tool)
		}
	}
	// Elsewhere, with the very packages that the lock file names.
	web, out := t.TempDir(), t.TempDir()
	require.NoError(t, filepath.WalkDir("web", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel("web", path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(web, relative), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(web, relative), data, 0o644)
	}))
	command := func(name string, args ...string) ([]byte, error) {
		c := exec.Command(name, args...)
		c.Dir = web
		return c.CombinedOutput()
	}
	if text, err := command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		pyenv.Missing(t, "the page's packages could not be installed: %v\n%s", err, text)
	}
	text, err := command("npm", "run", "check")
	require.NoError(t, err, "%s", text)
	text, err = command("node", "build.mjs", out)
	require.NoError(t, err, "%s", text)

	names := func(dir string) (list []string) {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	require.Equal(t, names(out), names("static"), "run `make dash`")
	for _, name := range names(out) {
		want, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join("static", name))
		require.NoError(t, err)
		assert.True(t, string(want) == string(got), "dash/static/%s is not what dash/web builds to: run `make dash`", name)
	}
}
