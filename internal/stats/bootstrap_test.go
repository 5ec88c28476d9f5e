package stats

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// NumPy 2.4.6: np.quantile([1, 2, 4, 8, 16], q).
func TestQuantile(t *testing.T) {
	x := []float64{1, 2, 4, 8, 16}
	for q, want := range map[float64]float64{0: 1, 0.025: 1.1, 0.1: 1.4, 0.5: 4, 0.9: 12.8, 0.975: 15.2, 1: 16} {
		require.InDelta(t, want, quantile(x, q), 1e-12, "q %v", q)
	}
	require.Equal(t, 7.0, quantile([]float64{7}, 0.3))
}

// SciPy 1.17.1: stats.bootstrap with method percentile and 200,000 resamples. The
// draws differ; the distribution drawn from is the same.
func TestBootstrapAgreesWithSciPy(t *testing.T) {
	i := Bootstrap(speeds, Mean, 20_000, 0.95, 1)
	require.Equal(t, Mean(speeds), i.Mean)
	require.InDelta(t, 18.72, i.Low, 0.021)
	require.InDelta(t, 20.13, i.High, 0.021)
	i = Bootstrap(speeds, IQM, 20_000, 0.90, 1)
	require.Equal(t, IQM(speeds), i.Mean)
	require.InDelta(t, 18.666666666666668, i.Low, 0.021)
	require.InDelta(t, 19.883333333333336, i.High, 0.021)
}

// The mean of two draws from {0, 1} is 0, 1/2 or 1 with probability 1/4, 1/2, 1/4.
func TestBootstrapOfACoin(t *testing.T) {
	x := []float64{0, 1}
	require.Equal(t, Interval{0.5, 0, 1}, Bootstrap(x, Mean, 10_000, 0.55, 3))
	require.Equal(t, Interval{0.5, 0.5, 0.5}, Bootstrap(x, Mean, 10_000, 0.45, 3))
}

// NumPy's quantiles of 400,000 such draws are 44.2857 and 48. Without strata the
// means would range from 1 to 105, for the two groups lie far apart.
func TestStratifiedBootstrapKeepsTheStrata(t *testing.T) {
	strata := [][]float64{{1, 2, 3, 10}, nil, {100, 101, 105}}
	i := StratifiedBootstrap(strata, Mean, 20_000, 0.9, 5)
	require.Equal(t, 46.0, i.Mean)
	require.InDelta(t, 44.2857, i.Low, 0.15)
	require.InDelta(t, 48, i.High, 0.15)
	pooled := Bootstrap(slices.Concat(strata...), Mean, 20_000, 0.9, 5)
	require.Greater(t, pooled.High-pooled.Low, 50.0)

	sizes := map[int]bool{}
	StratifiedBootstrap(strata, func(x []float64) float64 {
		sizes[len(x)] = true
		for k, v := range x {
			require.Contains(t, [][]float64{strata[0], strata[2]}[min(k/4, 1)], v)
		}
		return 0
	}, 50, 0.9, 5)
	require.Equal(t, map[int]bool{7: true}, sizes)
}

func TestBootstrapProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(-1e3, 1e3), 1, 12).Draw(t, "x")
		before := slices.Clone(x)
		seed := rapid.Uint64().Draw(t, "seed")
		narrow, wide := Bootstrap(x, Mean, 100, 0.5, seed), Bootstrap(x, Mean, 100, 0.9, seed)
		require.Equal(t, narrow, Bootstrap(x, Mean, 100, 0.5, seed), "equal arguments")
		require.Equal(t, before, x)
		require.LessOrEqual(t, wide.Low, narrow.Low)
		require.LessOrEqual(t, narrow.Low, narrow.High)
		require.LessOrEqual(t, narrow.High, wide.High)
		const rounding = 1e-9
		require.GreaterOrEqual(t, wide.Low, slices.Min(x)-rounding)
		require.LessOrEqual(t, wide.High, slices.Max(x)+rounding)
	})
}

func TestSeedsDrawDifferently(t *testing.T) {
	require.NotEqual(t, Bootstrap(speeds, Mean, 100, 0.9, 1), Bootstrap(speeds, Mean, 100, 0.9, 2))
}

func TestBootstrapRefuses(t *testing.T) {
	require.PanicsWithValue(t, "stats: 0 resamples; valid: at least 1", func() { Bootstrap(speeds, Mean, 0, 0.9, 1) })
	for _, level := range []float64{0, 1, -0.1, 95, math.NaN()} {
		require.Panics(t, func() { Bootstrap(speeds, Mean, 10, level, 1) }, "level %v", level)
	}
	for _, strata := range [][][]float64{nil, {nil, {}}} {
		i := StratifiedBootstrap(strata, Mean, 10, 0.9, 1)
		require.True(t, math.IsNaN(i.Mean) && math.IsNaN(i.Low) && math.IsNaN(i.High))
	}
}
