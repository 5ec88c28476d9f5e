package train

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/ckpt"
)

// The folder of a run that was trained when the format was new; see
// ckpt/versions_test.go. It is never made again.
func oldRun(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "run")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("..", "ckpt", "testdata", "versions", "run_v1"))))
	return dir
}

func TestAnOldRunGoesOn(t *testing.T) {
	dir := oldRun(t)
	digest, err := Digest(dir)
	require.NoError(t, err)
	require.Equal(t, "a79bc071a739ebf6578d515e547d1cc910aa11ad71bd21a5fafe08539dec1e47", hex.EncodeToString(digest[:]))

	stored, err := Find(dir)
	require.NoError(t, err)
	played, warnings, err := stored.Evaluate(DeviceCPU, 5, 1)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, 5, played.Episodes)
	require.GreaterOrEqual(t, played.MinReturn, 1.0)

	settings, err := ParseSettings([]string{"run.total_steps=1024"})
	require.NoError(t, err)
	var told []string
	run, err := Resume(dir, settings, Options{Warn: func(s string) { told = append(told, s) }})
	require.NoError(t, err)
	require.Equal(t, int64(12), run.updates)
	_, err = run.Train(context.Background())
	require.NoError(t, err)
	require.NoError(t, run.Close())
	require.Empty(t, told)
	sets, err := ckpt.List(ckpt.OS, filepath.Join(dir, checkpointsDir))
	require.NoError(t, err)
	require.Equal(t, int64(16), sets[len(sets)-1])
	lines, err := ReadDecisions(dir)
	require.NoError(t, err)
	require.Equal(t, int64(4), lines[0].Update)

	early, err := Rewind(dir, 9, Options{})
	require.NoError(t, err)
	require.NoError(t, early.Close())
}

// A member file that Python wrote, with PyTorch's names and no checksums, is played.
func TestOldMemberFilesArePlayed(t *testing.T) {
	for name, want := range map[string]int{"v2_with_optimizer.ckpt": 1, "v2_without_optimizer.ckpt": 2} {
		stored, err := Find(filepath.Join("..", "ckpt", "testdata", "versions", name))
		require.NoError(t, err)
		played, warnings, err := stored.Evaluate(DeviceCPU, 3, 1)
		require.NoError(t, err)
		require.Len(t, warnings, want)
		require.GreaterOrEqual(t, played.MinReturn, 1.0)
	}
	_, err := Find(filepath.Join("..", "ckpt", "testdata", "versions", "v1_at_the_top.ckpt"))
	require.NoError(t, err)
}
