package pbt

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/rng"
)

func TestWithinFactor(t *testing.T) {
	tests := []struct {
		name    string
		a, b, f float64
		want    bool
	}{
		{"unchanged", 2, 2, 1.5, true},
		{"at the upper bound", 2, 3, 1.5, true},
		{"above", 2, 3.000001, 1.5, false},
		{"at the lower bound", 3, 2, 1.5, true},
		{"below", 3, 1.999999, 1.5, false},
		{"negative, further from 0", -2, -3, 1.5, true},
		{"negative, too far", -2, -3.1, 1.5, false},
		{"negative, nearer to 0", -3, -2, 1.5, true},
		{"zero to zero", 0, 0, 1.5, true},
		{"minus zero to zero", math.Copysign(0, -1), 0, 1.5, true},
		{"zero to something", 0, 1e-300, 1e300, false},
		{"something to zero", 1e-300, 0, 1e300, false},
		{"another sign", 1e-9, -1e-9, 1.5, false},
		{"the bound overflows", math.MaxFloat64 / 2, math.MaxFloat64, 3, true},
		{"the bound underflows", 5e-324, 5e-324, 3, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, WithinFactor(test.a, test.b, test.f))
		})
	}
}

// A perturbation by the very factor of adaptive is within it in both directions,
// whatever is rounded.
func TestAStepByTheFactorIsWithin(t *testing.T) {
	property(t, "step", func(t *rapid.T, s scenario) {
		for i := range s.config.Hyperparameters {
			h := &s.config.Hyperparameters[i]
			if h.Values != nil {
				continue
			}
			for _, m := range s.population {
				v := m.Hyperparameters[h.Name]
				require.True(t, WithinFactor(v, v*h.factor(), h.factor()))
				require.True(t, WithinFactor(v, v/h.factor(), h.factor()))
			}
		}
	})
}

func TestStrategyProperties(t *testing.T) {
	property(t, "every strategy but adaptive is done as configured", func(t *rapid.T, s scenario) {
		for _, d := range s.decide() {
			require.Equal(t, s.config.OptimizerExploitStrategy, d.Configured)
			if d.Configured != AdaptiveOptimizer {
				require.Equal(t, d.Configured, d.Strategy)
			}
		}
	})
	property(t, "adaptive copies exactly where all changes are small", func(t *rapid.T, s scenario) {
		s.config.OptimizerExploitStrategy = AdaptiveOptimizer
		f := s.config.OptimizerAdaptiveFactor
		for i := range s.population { // what is not explored does not count
			s.population[i].Hyperparameters["fixed"] = float64(i) - 3
		}
		for _, d := range s.decide() {
			small := true
			for _, h := range s.config.Hyperparameters {
				a, b := d.SourceValues[h.Name], d.After[h.Name]
				// In another form: the ratio, with room for its rounding.
				if ratio := b / a; !(ratio <= f*(1+1e-12) && ratio >= 1/f*(1-1e-12)) && a != b {
					small = false
				}
			}
			want := ResetOptimizer
			if small {
				want = CopyOptimizer
			}
			require.Equal(t, want, d.Strategy)
			require.Equal(t, AdaptiveOptimizer, d.Configured)
		}
	})
	property(t, "adaptive changes nothing but the strategy", func(t *rapid.T, s scenario) {
		s.config.OptimizerExploitStrategy = ResetOptimizer
		want := s.decide()
		s.config.OptimizerExploitStrategy = AdaptiveOptimizer
		got := s.decide()
		for i := range got {
			got[i].Strategy, got[i].Configured = ResetOptimizer, ResetOptimizer
		}
		requireSameDecisions(t, want, got)
	})
	property(t, "lr scaling is said in every decision and changes nothing else", func(t *rapid.T, s scenario) {
		s.config.OptimizerLRScaling = false
		want := s.decide()
		s.config.OptimizerLRScaling = true
		got := s.decide()
		for i := range got {
			require.True(t, got[i].ScaleMomentum)
			got[i].ScaleMomentum = false
		}
		requireSameDecisions(t, want, got)
	})
}

// Both outcomes of adaptive come up, in one run.
func TestAdaptiveResolvesBothWays(t *testing.T) {
	c := configX(8)
	c.OptimizerExploitStrategy, c.ExploreMethod = AdaptiveOptimizer, Both
	seen := map[Strategy]int{}
	for interval := range 64 {
		for _, d := range Decide(c, scored(1, 2, 3, 4, 5, 6, 7, 8), interval, rng.NewKey(1)) {
			seen[d.Strategy]++
			if d.Operations["x"] != OpResample {
				require.Equal(t, CopyOptimizer, d.Strategy, "a step by 1.2 is within 1.5")
			}
		}
	}
	require.Len(t, seen, 2)
	require.Greater(t, seen[CopyOptimizer], seen[ResetOptimizer])
}

func TestStaleIsValidWhereAllowed(t *testing.T) {
	c := configX(2)
	c.OptimizerExploitStrategy, c.AllowStaleOptimizer = StaleOptimizer, true
	require.NoError(t, c.Validate())
	require.Equal(t, StaleOptimizer, Decide(c, scored(1, 2), 0, rng.NewKey(1))[0].Strategy)
	// The switch allows, and does not choose.
	c.OptimizerExploitStrategy = ResetOptimizer
	require.Equal(t, ResetOptimizer, Decide(c, scored(1, 2), 0, rng.NewKey(1))[0].Strategy)
}
