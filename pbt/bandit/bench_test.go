package bandit

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// history is what 64 members log in 1,000 intervals, over 6 hyperparameters.
func history() []Observation {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]Observation, 0, 64*1000)
	for interval := range 1000 {
		for range 64 {
			x := make([]float64, 6)
			change := 0.1 * r.NormFloat64()
			for i := range x {
				x[i] = r.Float64()
				change -= (x[i] - 0.3) * (x[i] - 0.3) * (1 + math.Sin(float64(interval)/50))
			}
			data = append(data, Observation{Time: float64(interval), X: x, Change: change})
		}
	}
	return data
}

// BenchmarkSuggest is one decision, fit included, as the only one of an interval.
func BenchmarkSuggest(b *testing.B) {
	data := history()
	r := rand.New(rand.NewPCG(3, 4))
	pending := make([][]float64, 15)
	for i := range pending {
		pending[i] = data[i].X
	}
	b.ResetTimer()
	for b.Loop() {
		_, err := Suggest(data, 1000, pending, r.Float64)
		require.NoError(b, err)
	}
}

// BenchmarkModelSuggest is every further decision of the interval.
func BenchmarkModelSuggest(b *testing.B) {
	data := history()
	r := rand.New(rand.NewPCG(3, 4))
	model, err := Fit(data, 1000)
	require.NoError(b, err)
	for b.Loop() {
		_, err := model.Suggest(nil, r.Float64)
		require.NoError(b, err)
	}
}
