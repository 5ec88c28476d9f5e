package cu

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The images are committed, because building them takes a download of 25 MB:
// these tests make sure that they are the ones the sources give.

func TestImagesAreOfTheseSources(t *testing.T) {
	want := readSums(t)
	got := map[string]string{}
	for _, pattern := range []string{"*.cu", "*.cuh", "build/compiler.json", "images/*.gz", "images/kernels.txt"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range files {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			got[filepath.ToSlash(name)] = fmt.Sprintf("%x", sha256.Sum256(data))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is gone since the images were built; run make ptx", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		switch sum, ok := want[name]; {
		case !ok:
			t.Errorf("%s is new since the images were built; run make ptx", name)
		case sum != got[name]:
			t.Errorf("%s has changed since the images were built; run make ptx", name)
		}
	}
}

func TestImagesAreComplete(t *testing.T) {
	c := readCompiler(t)
	want := []string{"images/kernels.ptx.gz"}
	for _, architecture := range c.Cubins {
		want = append(want, "images/"+architecture+".cubin.gz")
	}
	slices.Sort(want)
	got, err := filepath.Glob("images/*.gz")
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, name := range got {
		image := string(gunzip(t, name))
		if strings.HasSuffix(name, ".cubin.gz") {
			require.True(t, strings.HasPrefix(image, "\x7fELF"), "%s is no cubin", name)
		}
		for _, kernel := range sourceKernels(t) {
			// A section of a cubin, an entry of PTX.
			if !strings.Contains(image, "\x00.text."+kernel+"\x00") && !strings.Contains(image, ".entry "+kernel+"(") {
				t.Errorf("%s lacks the kernel %s; run make ptx", name, kernel)
			}
		}
	}
}

func TestPTXIsAsDocumented(t *testing.T) {
	c := readCompiler(t)
	ptx := string(gunzip(t, "images/kernels.ptx.gz"))
	require.Equal(t, []string{c.ISA}, submatches(`(?m)^\.version (\S+)$`, ptx),
		"a driver loads PTX no newer than itself: %s is for %s and later", c.ISA, c.Driver)
	require.Equal(t, []string{strings.Replace(c.PTX, "compute_", "sm_", 1)}, submatches(`(?m)^\.target (\S+)$`, ptx))
}

func TestKernelsAreThoseOfTheSources(t *testing.T) {
	want := sourceKernels(t)
	entries := submatches(`(?m)^\s*\.visible \.entry (\w+)\(`, string(gunzip(t, "images/kernels.ptx.gz")))
	slices.Sort(entries)
	require.Equal(t, want, entries, "the PTX's entries")
	list, err := os.ReadFile("images/kernels.txt")
	require.NoError(t, err)
	require.Equal(t, strings.Join(want, "\n")+"\n", string(list), "images/kernels.txt")
}

// compiler is build/compiler.json, as far as the tests go.
type compiler struct {
	PTX    string   `json:"ptx"`
	ISA    string   `json:"ptx_isa"`
	Driver string   `json:"driver"`
	Cubins []string `json:"cubins"`
}

func readCompiler(t *testing.T) (c compiler) {
	t.Helper()
	data, err := os.ReadFile("build/compiler.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &c))
	return c
}

// readSums reads images/SHA256SUMS.
func readSums(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("images/SHA256SUMS")
	require.NoError(t, err, "run make ptx")
	sums := map[string]string{}
	for line := range strings.Lines(string(data)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		require.True(t, ok, "images/SHA256SUMS: no sum and name in %q", line)
		sums[name] = sum
	}
	return sums
}

// sourceKernels are the names of the kernels that the .cu files define, sorted.
func sourceKernels(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.cu")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	comments := regexp.MustCompile(`(?s)//[^\n]*|/\*.*?\*/`)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		names = append(names, submatches(`\bKERNEL\s+(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\(`,
			comments.ReplaceAllString(string(source), ""))...)
	}
	slices.Sort(names)
	require.Equal(t, slices.Compact(slices.Clone(names)), names, "a kernel is defined twice")
	return names
}

// submatches returns the first group of all matches.
func submatches(pattern, s string) (found []string) {
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(s, -1) {
		found = append(found, match[1])
	}
	return found
}

func gunzip(t *testing.T, name string) []byte {
	t.Helper()
	packed, err := os.ReadFile(name)
	require.NoError(t, err)
	r, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err, name)
	data, err := io.ReadAll(r)
	require.NoError(t, err, name)
	return data
}
