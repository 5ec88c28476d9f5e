package pbt

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// twoHyperparameters evolves x in [1, 10] and y of {2, 4, 8}.
func twoHyperparameters(population int) Config {
	c := configX(population)
	c.Hyperparameters = []Hyperparameter{Range("x", 1, 10), Choice("y", 2, 4, 8)}
	return c
}

func TestSetExplore(t *testing.T) {
	c := twoHyperparameters(4)
	c.TruncationRatio, c.OptimizerExploitStrategy = 0.5, AdaptiveOptimizer
	plain, custom := newScheduler(t, c, 1), newScheduler(t, c, 1)
	var seen []Decision
	custom.SetExplore(func(d Decision) (map[string]float64, error) {
		seen = append(seen, d.clone())
		d.Operations["x"], d.SourceValues["x"], d.Before["x"] = "mine", -1, -1 // its own copy
		d.After["x"] = 10                                                      // a constraint
		return d.After, nil
	})
	report(t, plain, 1, 1, 2, 3, 4)
	report(t, custom, 1, 1, 2, 3, 4)
	want, err := plain.ExploitAndExplore()
	require.NoError(t, err)
	got, err := custom.ExploitAndExplore()
	require.NoError(t, err)
	requireSameDecisions(t, want, seen)
	require.Len(t, want, 2)
	for i := range want {
		require.Equal(t, 10.0, got[i].After["x"])
		require.Equal(t, OpCustom, got[i].Operations["x"])
		require.Equal(t, want[i].Operations["y"], got[i].Operations["y"], "it was not changed")
		require.Equal(t, 10.0, custom.Population()[got[i].Member].Hyperparameters["x"])
		small := WithinFactor(got[i].SourceValues["x"], 10, 1.5) && WithinFactor(got[i].SourceValues["y"], got[i].After["y"], 1.5)
		require.Equal(t, small, got[i].Strategy == CopyOptimizer, "adaptive sees what the function returned")
		want[i].After["x"], want[i].Operations["x"], want[i].Strategy = 10, OpCustom, got[i].Strategy
	}
	requireSameDecisions(t, want, got)

	custom.SetExplore(nil)
	report(t, plain, 2, 1, 2, 3, 4)
	report(t, custom, 2, 1, 2, 3, 4)
	got, err = custom.ExploitAndExplore()
	require.NoError(t, err)
	for _, d := range got {
		require.NotEqual(t, OpCustom, d.Operations["x"])
	}
}

func TestSetExploreRefusesWhatTheConfigForbids(t *testing.T) {
	broken := errors.New("no idea")
	tests := []struct {
		name   string
		result map[string]float64
		err    error
		says   string
	}{
		{"above the range", map[string]float64{"x": 11, "y": 2}, nil, `11 for the hyperparameter "x"; valid: 1 to 10`},
		{"below the range", map[string]float64{"x": 0.5, "y": 2}, nil, `0.5 for the hyperparameter "x"`},
		{"not in the list", map[string]float64{"x": 1, "y": 3}, nil, `3 for the hyperparameter "y"; valid: one of [2 4 8]`},
		{"NaN", map[string]float64{"x": math.NaN(), "y": 2}, nil, `NaN for the hyperparameter "x"`},
		{"infinite", map[string]float64{"x": 1, "y": math.Inf(1)}, nil, `+Inf for the hyperparameter "y"`},
		{"missing", map[string]float64{"x": 1}, nil, `no hyperparameter "y"`},
		{"none", nil, nil, `no hyperparameter "x"`},
		{"too many", map[string]float64{"x": 1, "y": 2, "z": 3}, nil, `the hyperparameter "z"; valid: ["x" "y"]`},
		{"it fails", nil, broken, "no idea"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := twoHyperparameters(8)
			c.TruncationRatio = 0.25
			s := newScheduler(t, c, 1)
			report(t, s, 1, 1, 2, 3, 4, 5, 6, 7, 8)
			calls := 0
			s.SetExplore(func(d Decision) (map[string]float64, error) {
				if calls++; calls == 1 {
					return d.After, nil // the first of two is fine
				}
				return test.result, test.err
			})
			before := s.State()
			decisions, err := s.ExploitAndExplore()
			require.ErrorIs(t, err, ErrExplore)
			require.ErrorContains(t, err, "member 1")
			require.ErrorContains(t, err, test.says)
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
			}
			require.Empty(t, decisions)
			requireSameStates(t, before, s.State())
		})
	}
}

func TestSetExploreThatChangesNothingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		plain, custom := newScheduler(t, c, 3), newScheduler(t, c, 3)
		custom.SetExplore(func(d Decision) (map[string]float64, error) { return d.After, nil })
		requireSameDecisions(t, simulate(t, plain, 0, 6), simulate(t, custom, 0, 6))
	})
}
