package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCSV(t *testing.T) {
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "a", "--quiet")
	require.Zero(t, code, errs)
	out, errs, code := brood(t, dir, "csv", "a")
	require.Zero(t, code, errs)
	assert.True(t, strings.HasPrefix(out, "update,env_steps,member,train_return,"))
	assert.Equal(t, 1+12*4, strings.Count(out, "\n"))

	file := filepath.Join(dir, "m.csv")
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o644))
	_, errs, code = brood(t, dir, "csv", "a", "--table", "decisions", "--out", "m.csv")
	require.Zero(t, code, errs)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(text), "update,env_steps,interval,operation,member,source,"))

	_, errs, code = brood(t, dir, "csv", "a", "--table", "everything")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errs, "--table everything: must be metrics or decisions")
	_, _, code = brood(t, dir, "csv", "nowhere", "--out", "m.csv")
	assert.Equal(t, exitUsage, code)
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, text, now, "an attempt that fails leaves what was there")
	assert.NoFileExists(t, file+".part")
}
