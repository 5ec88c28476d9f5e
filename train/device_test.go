package train

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A checkpoint of a run on a GPU is played, inspected and continued by a build
// and on a host without one.
func TestCheckpointOfAnotherDevice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	cfg := smallConfig(t)
	run, err := New(cfg, Options{Dir: dir})
	require.NoError(t, err)
	// As a build for CUDA writes it.
	run.cfg.Run.Device, run.cfg.Run.Precision = "cuda:3", "tf32"
	run.yaml, err = run.cfg.YAML()
	require.NoError(t, err)
	for run.updates < 5 {
		require.NoError(t, run.update(t.Context()))
	}
	require.NoError(t, run.save())
	require.NoError(t, run.Close())
	require.Contains(t, string(run.yaml), "cuda:3")

	stored, err := Find(dir)
	require.NoError(t, err)
	_, _, err = stored.Evaluate("cpu", 2, 0)
	require.NoError(t, err)
	_, err = Digest(stored.Path)
	require.NoError(t, err)
	settings, err := ParseSettings([]string{"run.device=cpu", "run.precision=float32"})
	require.NoError(t, err)
	resumed, err := Resume(dir, settings, Options{})
	require.NoError(t, err)
	require.NoError(t, resumed.Close())
}
