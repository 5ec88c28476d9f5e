//go:build cuda

package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
)

const buildTags = "cuda"

// The build for CUDA runs on a host without a driver, and says so where a GPU is
// asked for. All tests of this package show the first.
func TestNoDriver(t *testing.T) {
	t.Setenv("LD_LIBRARY_PATH", "")
	if _, err := os.Stat("/proc/driver/nvidia"); err == nil {
		t.Skip("this host has a driver")
	}
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--device", "cuda", "--out", "a")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "there is no NVIDIA driver")
	assert.NoDirExists(t, dir+"/a")
	out, _, code := brood(t, dir, "doctor")
	assert.Zero(t, code)
	assert.Contains(t, out, "gpu       missing  not used: ")
	assert.Contains(t, out, "there is no NVIDIA driver")
	_, errs, code = brood(t, dir, "train", "small.yaml", "--out", "b", "--quiet")
	assert.Zero(t, code, errs)
}
