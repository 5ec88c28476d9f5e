package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/rng"
	"brood/train"
)

func TestReacherIsRegisteredAndValid(t *testing.T) {
	v, err := env.Make(reacherID)
	require.NoError(t, err)
	require.NoError(t, env.ValidateSpec(v.Spec()))
}

func TestReacherStartsAtRest(t *testing.T) {
	for i := range uint32(100) {
		state := make([]float32, stateSize)
		r := rng.NewKey(1).Stream(i, rng.Address{Purpose: rng.Reset})
		reacher{}.Reset(state, &r)
		require.Zero(t, state[velocity])
		require.InDelta(t, 0, state[position], 1)
		require.InDelta(t, 0, state[target], 1)
	}
}

func TestReacherStep(t *testing.T) {
	state := []float32{0.5, 0, -0.5}
	reward, terminated := reacher{}.Step(state, []float32{-1})
	require.InDelta(t, -0.1, state[velocity], 1e-6)
	require.InDelta(t, 0.49, state[position], 1e-6)
	require.EqualValues(t, -0.5, state[target])
	require.InDelta(t, -0.99-0.05, reward, 1e-6)
	require.False(t, terminated)

	obs := make([]float32, 2)
	reacher{}.Observe(state, obs)
	require.InDeltaSlice(t, []float32{-0.99, -0.1}, obs, 1e-6)
}

func TestReacherEndsAtTheTargetOnlyAtRest(t *testing.T) {
	for _, c := range []struct {
		state []float32
		want  bool
	}{
		{[]float32{0.5, 0, 0.52}, true},
		{[]float32{0.5, 0, 0.56}, false},
		{[]float32{0.46, 0.2, 0.5}, false}, // passes through
		{[]float32{0.54, 0, 0.5}, true},
	} {
		_, terminated := reacher{}.Step(c.state, []float32{0})
		require.Equal(t, c.want, terminated, "%v", c.state)
	}
}

// TestTraining trains as the command does. The bound lies well below what members
// reach (-6 to -8) and far above what they begin with (below -50).
func TestTraining(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), dir, &out))
	require.Contains(t, out.String(), "4 members")
	require.Contains(t, out.String(), "best: member")

	data, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	require.NoError(t, err)
	var summary train.Summary
	require.NoError(t, json.Unmarshal(data, &summary))
	require.Equal(t, reacherID, summary.Env)
	require.Nil(t, summary.Stopped)
	require.NotNil(t, summary.Best)
	require.Greater(t, summary.Best.MeanReturn, -9.0)
	best := summary.Members[summary.Best.Member].Selection
	require.NotNil(t, best)
	require.Less(t, best.MeanLength, 30.0, "the best member arrives late, or not at all")
}
