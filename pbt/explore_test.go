package pbt

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/rng"
)

func TestExploreProperties(t *testing.T) {
	property(t, "values stay within their bounds", func(t *rapid.T, s scenario) {
		for _, d := range s.decide() {
			require.Len(t, d.After, len(s.config.Hyperparameters))
			for _, h := range s.config.Hyperparameters {
				if h.Values != nil {
					require.Contains(t, h.Values, d.After[h.Name])
				} else {
					require.GreaterOrEqual(t, d.After[h.Name], *h.Min)
					require.LessOrEqual(t, d.After[h.Name], *h.Max)
				}
			}
		}
	})
	property(t, "perturb is exactly one of two, clipped", func(t *rapid.T, s scenario) {
		s.config.ExploreMethod = Perturb
		for _, d := range s.decide() {
			for _, h := range s.config.Hyperparameters {
				v, after := d.SourceValues[h.Name], d.After[h.Name]
				var up, down float64
				if h.Values != nil {
					at := slices.Index(h.Values, v)
					up, down = h.Values[min(at+1, len(h.Values)-1)], h.Values[max(at-1, 0)]
				} else {
					f := h.PerturbationFactor
					if f == 0 {
						f = 1.2
					}
					up = math.Min(math.Max(v*f, *h.Min), *h.Max)
					down = math.Min(math.Max(v/f, *h.Min), *h.Max)
				}
				switch d.Operations[h.Name] {
				case OpPerturbUp:
					require.Equal(t, up, after)
				case OpPerturbDown:
					require.Equal(t, down, after)
				default:
					t.Fatalf("perturb did %q", d.Operations[h.Name])
				}
			}
		}
	})
	property(t, "resample does not depend on the source's values", func(t *rapid.T, s scenario) {
		s.config.ExploreMethod = Resample
		want := s.decide()
		r := rng.NewKey(99).Stream(0, rng.Address{Purpose: rng.User})
		for i := range s.population {
			for _, h := range s.config.Hyperparameters {
				s.population[i].Hyperparameters[h.Name] = h.sample(&r)
			}
		}
		for i, d := range s.decide() {
			require.Equal(t, want[i].After, d.After)
			for _, op := range d.Operations {
				require.Equal(t, OpResample, op)
			}
		}
	})
	property(t, "probability 0 of both is perturb, 1 is always resample", func(t *rapid.T, s scenario) {
		s.config.ExploreMethod = Both
		p := float64(rapid.IntRange(0, 1).Draw(t, "p"))
		for i := range s.config.Hyperparameters {
			s.config.Hyperparameters[i].ResampleProbability = &p
		}
		for _, d := range s.decide() {
			for _, op := range d.Operations {
				require.Equal(t, p == 1, op == OpResample)
			}
		}
	})
	property(t, "a further hyperparameter changes none before it", func(t *rapid.T, s scenario) {
		want := s.decide()
		s.config.Hyperparameters = append(s.config.Hyperparameters, drawHyperparameter(t, "further"))
		for i := range s.population {
			s.population[i].Hyperparameters["further"] = 1
		}
		got := s.decide()
		require.Len(t, got, len(want))
		for i, d := range got {
			delete(d.After, "further")
			require.Equal(t, want[i].After, d.After)
		}
	})
	property(t, "what the config does not evolve is copied and kept", func(t *rapid.T, s scenario) {
		for i := range s.population {
			s.population[i].Hyperparameters["fixed"] = float64(i)
		}
		for _, d := range s.decide() {
			require.Equal(t, float64(d.Source), d.After["fixed"])
			require.Equal(t, OpKeep, d.Operations["fixed"])
		}
	})
	property(t, "every hyperparameter has its operation", func(t *rapid.T, s scenario) {
		for _, d := range s.decide() {
			require.Len(t, d.Operations, len(d.After))
			for name := range d.After {
				require.Contains(t, []string{OpPerturbUp, OpPerturbDown, OpResample}, d.Operations[name])
			}
		}
	})
}

func TestPerturb(t *testing.T) {
	half := Range("x", 0.5, 10)
	half.PerturbationFactor = 2
	wide := Range("x", -10, 10)
	list := Choice("x", 3, 1, 2)
	tests := []struct {
		name  string
		h     Hyperparameter
		value float64
		up    bool
		want  float64
	}{
		{"up", half, 2, true, 4},
		{"down", half, 2, false, 1},
		{"clipped at max", half, 9, true, 10},
		{"clipped at min", half, 0.6, false, 0.5},
		{"held at max", half, 10, true, 10},
		{"default factor", wide, 5, true, 6},
		{"negative values keep their sign", wide, -5, true, -6},
		{"zero stays", wide, 0, true, 0},
		{"overflow is clipped", wide, math.MaxFloat64, true, 10},
		{"a value from before the range was narrowed", half, 1000, false, 10},
		{"values in the order given", list, 3, true, 1},
		{"values back", list, 2, false, 1},
		{"values held at the end", list, 2, true, 2},
		{"values held at the start", list, 3, false, 3},
		{"a value not in the list steps from the nearest", list, 1.2, true, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, test.h.perturb(test.value, test.up))
		})
	}
}

// explores counts the operations of n explores of one hyperparameter.
func explores(h Hyperparameter, method ExploreMethod, value float64, n int) (operations map[string]int, values []float64) {
	operations = map[string]int{}
	key := rng.NewKey(2024)
	for i := range n {
		r := key.Stream(0, rng.Address{Time: uint32(i), Purpose: rng.Explore})
		v, op := h.explore(method, value, &r)
		operations[op]++
		values = append(values, v)
	}
	return operations, values
}

// within requires k successes of n at probability p, to five standard deviations.
func within(t *testing.T, n, k int, p float64) {
	t.Helper()
	require.InDelta(t, float64(n)*p, k, 5*math.Sqrt(float64(n)*p*(1-p)))
}

func TestExploreFrequencies(t *testing.T) {
	const n = 20_000
	t.Run("perturb is a fair coin", func(t *testing.T) {
		ops, _ := explores(Range("x", 0, 10), Perturb, 5, n)
		within(t, n, ops[OpPerturbUp], 0.5)
		require.Equal(t, n, ops[OpPerturbUp]+ops[OpPerturbDown])
	})
	t.Run("both resamples with the default probability", func(t *testing.T) {
		ops, _ := explores(Range("x", 0, 10), Both, 5, n)
		within(t, n, ops[OpResample], 0.25)
		within(t, n, ops[OpPerturbUp], 0.375)
		within(t, n, ops[OpPerturbDown], 0.375)
	})
	t.Run("both resamples with its own probability", func(t *testing.T) {
		h, p := Range("x", 0, 10), 0.6
		h.ResampleProbability = &p
		ops, _ := explores(h, Both, 5, n)
		within(t, n, ops[OpResample], 0.6)
	})
	below := func(values []float64, x float64) int {
		k := 0
		for _, v := range values {
			if v < x {
				k++
			}
		}
		return k
	}
	t.Run("resample is uniform in the range", func(t *testing.T) {
		_, values := explores(Range("x", -2, 8), Resample, 5, n)
		within(t, n, below(values, -1), 0.1)
		within(t, n, below(values, 3), 0.5)
		within(t, n, below(values, 7), 0.9)
	})
	t.Run("resample is uniform in the logarithm", func(t *testing.T) {
		_, values := explores(LogRange("x", 1e-5, 1e-1), Resample, 5, n)
		within(t, n, below(values, 1e-4), 0.25)
		within(t, n, below(values, 1e-3), 0.5)
		within(t, n, below(values, 1e-2), 0.75)
	})
	t.Run("resample is uniform over the values", func(t *testing.T) {
		_, values := explores(Choice("x", 1, 2, 3, 4, 5), Resample, 5, n)
		for v := 1; v <= 5; v++ {
			within(t, n, below(values, float64(v)+0.5)-below(values, float64(v)-0.5), 0.2)
		}
	})
	t.Run("the resampled value does not depend on the choice to resample", func(t *testing.T) {
		h := Range("x", 0, 1)
		key := rng.NewKey(5)
		var values []float64
		for i := range n {
			r := key.Stream(0, rng.Address{Time: uint32(i), Purpose: rng.Explore})
			if v, op := h.explore(Both, 0.5, &r); op == OpResample {
				values = append(values, v)
			}
		}
		// If one number served for both, all values would lie below 0.25.
		within(t, len(values), below(values, 0.25), 0.25)
	})
	t.Run("a range wider than a float64 does not overflow", func(t *testing.T) {
		_, values := explores(Range("x", -math.MaxFloat64, math.MaxFloat64), Resample, 5, n)
		within(t, n, below(values, 0), 0.5)
		require.False(t, slices.ContainsFunc(values, func(v float64) bool { return !finite(v) }))
	})
}
