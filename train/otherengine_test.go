package train

import (
	"fmt"
	"math"
	"testing"

	"brood/kernels/host"
	"brood/tensor"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A checkpoint of one code path goes on under another: the same bits, then close ones.
func TestResumeOnAnotherEngine(t *testing.T) {
	t.Setenv("BROOD_CPU", "")
	dir := stoppedRun(t, 8)
	r, _, warnings := resumeWith(t, dir)
	require.Empty(t, warnings, "the same engine")
	wrote := r.EngineName()
	if wrote == "cpu/generic" {
		t.Skip("this processor has one code path")
	}
	_, scores := checkpointOf(t, r, dir, 8, 4)
	_, err := r.Train(t.Context())
	require.NoError(t, err)
	straight := make([]tensor.Member, 4)
	for m := range straight {
		straight[m] = stateOf(t, r, m)
	}
	require.NoError(t, r.Close())
	paths := []string{"generic"}
	if wrote == "cpu/avx512" {
		paths = append(paths, "avx2")
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			t.Setenv("BROOD_CPU", "")
			dir := stoppedRun(t, 8)
			t.Setenv("BROOD_CPU", path)
			goesOnClose(t, dir, wrote, scores, straight)
		})
	}
}

// goesOnClose resumes a run of update 8 that another engine wrote.
func goesOnClose(t *testing.T, dir, wrote string, scores []float64, straight []tensor.Member) {
	t.Helper()
	r, _, warnings := resumeWith(t, dir)
	require.NotEqual(t, wrote, r.EngineName())
	require.Equal(t, []string{fmt.Sprintf("the checkpoint of update 8 was written by %s and goes on with %s: results are close and not identical", wrote, r.EngineName())}, warnings)
	states, _ := checkpointOf(t, r, dir, 8, 4)
	for m := range states {
		require.Equal(t, states[m].Bytes(), stateOf(t, r, m).Bytes())
		require.Equal(t, scores[m], r.performance(m))
	}
	_, err := r.Train(t.Context())
	require.NoError(t, err)
	for m := range straight {
		got := host.NewState(stateOf(t, r, m))
		require.EqualValues(t, 12, *got.Updates)
		distance, size := 0.0, 0.0
		for i, w := range got.Policy {
			require.False(t, math.IsNaN(float64(w)) || math.IsInf(float64(w), 0))
			d := float64(w - host.NewState(straight[m]).Policy[i])
			distance, size = distance+d*d, size+float64(w)*float64(w)
		}
		assert.Less(t, math.Sqrt(distance/size), 0.2, "member %d", m)
	}
}
