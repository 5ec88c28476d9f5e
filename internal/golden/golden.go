// Package golden reads the reference results under testdata/goldens, and those of
// a further folder named by the environment variable BROOD_GOLDENS.
// testdata/goldens/README.md describes their content.
package golden

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// DirVariable names the environment variable that holds a further folder of
// goldens, laid out like testdata/goldens. A relative path counts from the
// module root, because go test runs every package's tests in a folder of their
// own.
const DirVariable = "BROOD_GOLDENS"

// kinds are the folders a folder of goldens may hold.
var kinds = []string{"ppo", "env"}

// ModuleRoot returns the folder of this module's go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("golden: the runtime does not know this source file's path")
	}
	root := filepath.Join(filepath.Dir(file), "..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
		return root
	}
	// Built with -trimpath: tests run in their package's folder, so walk up.
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("golden: working directory: %v", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("golden: no go.mod in the working directory or above it")
		}
	}
}

// Dirs returns the folders of goldens: the module's own, and BROOD_GOLDENS where
// it is set. The test fails if one of them holds neither ppo/ nor env/.
func Dirs(t testing.TB) []string {
	t.Helper()
	root := ModuleRoot(t)
	dirs := []string{filepath.Join(root, "testdata", "goldens")}
	if more := os.Getenv(DirVariable); more != "" {
		if !filepath.IsAbs(more) {
			more = filepath.Join(root, more)
		}
		dirs = append(dirs, more)
	}
	for _, dir := range dirs {
		found := false
		for _, kind := range kinds {
			if info, err := os.Stat(filepath.Join(dir, kind)); err == nil && info.IsDir() {
				found = true
			}
		}
		if !found {
			t.Fatalf("golden: %s holds no folder of %q; set %s to a folder that does", dir, kinds, DirVariable)
		}
	}
	return dirs
}

// Files returns the paths of all goldens of a kind, "ppo" or "env". The test
// fails if the module's own folder has none.
func Files(t testing.TB, kind string) []string {
	t.Helper()
	var files []string
	for i, dir := range Dirs(t) {
		found, err := filepath.Glob(filepath.Join(dir, kind, "*.msgpack"))
		if err != nil {
			t.Fatalf("golden: %v", err)
		}
		if len(found) == 0 {
			if i == 0 {
				t.Fatalf("golden: no *.msgpack in %s", filepath.Join(dir, kind))
			}
			t.Logf("golden: no *.msgpack in %s", filepath.Join(dir, kind))
		}
		files = append(files, found...)
	}
	return files
}

// Load decodes one golden; see [Decode] for the types of its values.
func Load(t testing.TB, path string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("golden: %v", err)
	}
	m, err := Decode(data)
	if err != nil {
		t.Fatalf("golden: %s: %v", path, err)
	}
	return m
}

// At returns the value under nested keys, for example
// At[Array](t, m, "expected", "policy", "actor.0.weight"). The test fails if a
// key is missing or the value has another type.
func At[T any](t testing.TB, m map[string]any, keys ...string) T {
	t.Helper()
	var value any = m
	for i, key := range keys {
		inner, ok := value.(map[string]any)
		if !ok {
			t.Fatalf("golden: %q is a %T, not a map", keys[:i], value)
		}
		if value, ok = inner[key]; !ok {
			t.Fatalf("golden: no key %q", keys[:i+1])
		}
	}
	typed, ok := value.(T)
	if !ok {
		t.Fatalf("golden: %q is a %T, want %T", keys, value, typed)
	}
	return typed
}
