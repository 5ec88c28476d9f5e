//go:build !cuda

package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

const buildTags = ""

func TestGPUNeedsAnotherBuild(t *testing.T) {
	for _, args := range [][]string{{"train", "--device", "cuda"}, {"train", "--device", "cuda:0"}, {"train", "--set", "run.device=cuda"}} {
		_, errs, code := brood(t, t.TempDir(), args...)
		assert.Equal(t, 2, code, errs)
		assert.Contains(t, errs, `is not available: this build has no CUDA engine`)
	}
	out, _, _ := brood(t, t.TempDir(), "doctor")
	assert.Contains(t, out, "this build has no CUDA engine")
}
