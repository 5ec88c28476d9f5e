package stats

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var speeds = []float64{19.8, 20.4, 19.6, 17.8, 18.5, 18.9, 18.3, 18.9, 19.5, 22.0}

// The known answers of this file are SciPy 1.17.1's (ttest_ind with
// equal_var=False, sem, trim_mean) and NumPy 2.4.6's.
func TestWelchKnownAnswers(t *testing.T) {
	tests := []struct {
		name     string
		a, b     []float64
		t, df, p float64
	}{
		{"unequal sizes", speeds, []float64{28.2, 26.6, 20.1, 23.3, 25.2, 22.1, 17.7, 27.6, 20.6, 13.7, 23.2, 17.5, 20.6, 18.0, 23.9, 21.6, 24.3, 20.4, 24.0, 13.2},
			-2.2192409158236233, 24.496223124201244, 0.03597227102979692},
		{"episode returns", []float64{200, 187, 154, 200, 200, 121, 93, 200}, []float64{200, 200, 200, 198, 200, 176},
			-1.7031988789828785, 7.958974360064261, 0.12713125825288027},
		{"far apart", []float64{1.0, 1.1, 0.9, 1.05}, []float64{100.0, 101.0, 99.5},
			-223.81383419050596, 2.037556393180087, 1.669994928575677e-05},
		{"two each", []float64{1, 2}, []float64{2.5, 4.5}, -1.7888543819998317, 1.4705882352941178, 0.2585321337078272},
		{"one constant", []float64{0.1, 0.1, 0.1}, []float64{0.2, 0.3, 0.25, 0.1}, -2.6349301969610393, 3, 0.07799432643022618},
		{"equal means", []float64{1, 2, 3}, []float64{0, 2, 4}, 0, 2.9411764705882346, 1},
		// SciPy's answer for the values without their exponent; with it, it underflows.
		{"tiny values", []float64{1e-140, 3e-140, 2e-140}, []float64{5e-140, 9e-140, 6e-140},
			-3.5000000000000004, 2.8764044943820224, 0.042171567573436826},
		{"not significant", []float64{-500, -480, -510, -495}, []float64{-490, -470, -505, -493, -488},
			-0.8378471961850936, 6.591853695804156, 0.43144219515912374},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			gotT, df, p := Welch(test.a, test.b)
			close := func(want, got float64) { require.InDelta(t, want, got, 1e-12*math.Abs(want)) }
			close(test.t, gotT)
			close(test.df, df)
			close(test.p, p)
		})
	}
}

func TestWelchWithoutVariance(t *testing.T) {
	nan := math.NaN()
	inf := math.Inf(1)
	constant := func(v float64, n int) []float64 { return slices.Repeat([]float64{v}, n) }
	tests := []struct {
		name string
		a, b []float64
		t, p float64
	}{
		{"smaller", constant(1, 3), constant(2, 2), -inf, 0},
		{"larger", constant(2, 3), constant(1, 2), inf, 0},
		{"equal", constant(2, 3), constant(2, 2), 0, 1},
		// 0.1+0.1+0.1 is not 0.3: neither the means may differ nor the variances be above 0.
		{"equal, and sums are rounded", constant(0.1, 3), constant(0.1, 10), 0, 1},
		{"one value", []float64{1}, []float64{1, 2}, nan, nan},
		{"no value", []float64{1, 2}, nil, nan, nan},
		{"NaN", []float64{1, nan}, []float64{1, 2}, nan, nan},
		{"infinite", []float64{1, 2}, []float64{inf, inf}, nan, nan},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			gotT, df, p := Welch(test.a, test.b)
			require.True(t, math.IsNaN(df), "df %v", df)
			same(t, test.t, gotT)
			same(t, test.p, p)
		})
	}
}

// same is equality under which NaN equals NaN.
func same(t *testing.T, want, got float64) {
	t.Helper()
	if !math.IsNaN(want) || !math.IsNaN(got) {
		require.Equal(t, want, got)
	}
}

func TestWelchProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Map(rapid.IntRange(-50, 50), func(i int) float64 { return float64(i) }), 2, 12)
		a, b := values.Draw(t, "a"), values.Draw(t, "b")
		tab, _, pab := Welch(a, b)
		tba, _, pba := Welch(b, a)
		require.Equal(t, tab, -tba)
		require.Equal(t, pab, pba)
		require.True(t, pab >= 0 && pab <= 1, "p %v", pab)
		if tab != 0 {
			require.Equal(t, Mean(a) > Mean(b), tab > 0)
		}
		for i := range a { // a power of two scales without rounding
			a[i] *= 4
		}
		for i := range b {
			b[i] *= 4
		}
		_, _, scaled := Welch(a, b)
		require.Equal(t, pab, scaled)
	})
}

func TestMeanAndStdErr(t *testing.T) {
	require.InDelta(t, 19.369999999999997, Mean(speeds), 1e-14)
	require.InDelta(t, 0.3806573262134855, StdErr(speeds), 1e-14)
	require.True(t, math.IsNaN(Mean(nil)))
	require.Equal(t, 3.0, Mean([]float64{3}))
	require.True(t, math.IsNaN(StdErr([]float64{3})))
	require.True(t, math.IsNaN(StdErr(nil)))
	require.Zero(t, StdErr(slices.Repeat([]float64{0.1}, 7)))
	require.Equal(t, math.Inf(1), Mean([]float64{1, math.Inf(1)}))
	// A large common part must not drown the spread.
	require.InDelta(t, 1e9+0.2, Mean([]float64{1e9 + 0.1, 1e9 + 0.2, 1e9 + 0.3}), 1e-7)
	require.InDelta(t, 0.1/math.Sqrt(3), StdErr([]float64{1e9 + 0.1, 1e9 + 0.2, 1e9 + 0.3}), 1e-7)
}

func TestMeanOfEqualValuesIsThatValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float64Range(-1e6, 1e6).Draw(t, "v")
		x := slices.Repeat([]float64{v}, rapid.IntRange(1, 200).Draw(t, "n"))
		require.Equal(t, v, Mean(x))
	})
}

func TestIQM(t *testing.T) {
	for n, want := range map[int]float64{1: 19.8, 2: 20.1, 3: 19.933333333333334, 4: 19.700000000000003, 5: 19.3,
		7: 19.020000000000003, 8: 18.975, 10: 19.2} {
		require.InDelta(t, want, IQM(speeds[:n]), 1e-13, "of the first %d", n)
	}
	require.True(t, math.IsNaN(IQM(nil)))
	require.True(t, math.IsNaN(IQM([]float64{1, 2, 3, 4, math.NaN()})))
	require.Equal(t, 2.5, IQM([]float64{math.Inf(-1), 2, 3, math.Inf(1)}), "outliers are dropped")
	x := []float64{3, 1, 2}
	IQM(x)
	require.Equal(t, []float64{3, 1, 2}, x)
}
