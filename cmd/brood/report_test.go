package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReport(t *testing.T) {
	dir := workplace(t)
	for _, name := range []string{"a", "b"} {
		_, errs, code := brood(t, dir, "train", "small.yaml", "--out", name, "--quiet")
		require.Zero(t, code, errs)
	}
	_, errs, code := brood(t, dir, "report", "a", "b", "--out", "r.html")
	require.Zero(t, code, errs)
	text, err := os.ReadFile(filepath.Join(dir, "r.html"))
	require.NoError(t, err)
	assert.Contains(t, string(text[:200]), "<title>brood: 2 runs</title>")
	out, _, code := brood(t, dir, "report", "a")
	require.Zero(t, code)
	assert.Contains(t, out[:200], "<title>brood: a</title>")

	_, errs, code = brood(t, dir, "report")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errs, "brood report takes one run folder or more")
	_, _, code = brood(t, dir, "report", "a", "nowhere", "--out", "r.html")
	assert.Equal(t, exitUsage, code)
	now, err := os.ReadFile(filepath.Join(dir, "r.html"))
	require.NoError(t, err)
	assert.Len(t, now, len(text), "an attempt that fails leaves what was there")
}
