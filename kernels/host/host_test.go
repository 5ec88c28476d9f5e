package host

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/kernels"
	"brood/rng"
)

// TestArgsort compares both argsorts with the library's stable sort, over all
// small sizes and one that needs every digit.
func TestArgsort(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := NewSortScratch(9001)
	for n := 0; n <= 9001; n++ {
		if n == 100 {
			n = 9001
		}
		for _, mask := range []uint32{math.MaxUint32, 3, 0xFFE00000} { // the last two have many equal words
			words := make([]uint32, n)
			for i := range words {
				words[i] = random.Uint32() & mask
			}
			want := make([]int32, n)
			for i := range want {
				want[i] = int32(i)
			}
			slices.SortStableFunc(want, func(a, b int32) int { return int(int64(words[a]) - int64(words[b])) })
			got := make([]int32, n)
			ArgsortWords(got, words, s)
			require.Equal(t, want, got, "%d rows", n)

			blocks := (n+3)/4 + 2 // planes may be longer than needed
			planes := make([]uint32, 4*blocks)
			for i, w := range words {
				planes[i%4*blocks+i/4] = w
			}
			clear(got)
			ArgsortPlanes(got, planes, blocks, s)
			require.Equal(t, want, got, "%d rows from planes", n)
		}
	}
}

func TestPermutation(t *testing.T) {
	s := NewSortScratch(101)
	key := rng.NewKey(5)
	first, again, other := make([]int32, 101), make([]int32, 101), make([]int32, 101)
	Permutation(first, key, PermutationAddress(3, 7, 4, 2), s)
	Permutation(again, key, PermutationAddress(3, 7, 4, 2), s)
	Permutation(other, key, PermutationAddress(3, 7, 4, 3), s)
	require.Equal(t, first, again)
	require.NotEqual(t, first, other)
	slices.Sort(again)
	for i, row := range again {
		require.EqualValues(t, i, row)
	}
	require.Zero(t, testing.AllocsPerRun(10, func() { Permutation(first, key, PermutationAddress(0, 0, 4, 0), s) }))
}

// TestPercentile against numpy.percentile.
func TestPercentile(t *testing.T) {
	require.InDelta(t, 4.6, percentile([]float64{5, 1, 4, 2, 3}, 0.9), 1e-12)
	require.InDelta(t, 1.75, percentile([]float64{4, 1, 3, 2}, 0.25), 1e-12)
	require.Equal(t, 7.0, percentile([]float64{7}, 0.9))
	require.Equal(t, 2.0, percentile([]float64{2, 1}, 1))
	percentile([]float64{math.NaN(), 1, math.Inf(1)}, 0.5) // does not panic
}

// TestMerge compares merging in parts with the moments of all numbers at once.
func TestMerge(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var all []float32
	var mean, variance float32
	count := 0.0
	for _, n := range []int{1, 7, 300} {
		batch := make([]float32, n)
		for i := range batch {
			batch[i] = float32(5 + 3*random.NormFloat64())
		}
		all = append(all, batch...)
		m, m2 := moments2(batch, n, 1)
		mean, variance, count = merge(mean, variance, count, m, m2, n)
	}
	m, m2 := moments2(all, len(all), 1)
	require.InDelta(t, m, mean, 1e-5)
	require.InDelta(t, m2/float64(len(all)), variance, 1e-4)
	require.EqualValues(t, len(all), count)
}

func TestExplainedVariance(t *testing.T) {
	require.InDelta(t, 0.75, ExplainedVariance([]float32{1, -1, 1, -1}, []float32{2, -2, 2, -2}), 1e-7)
	require.True(t, math.IsNaN(float64(ExplainedVariance([]float32{1, 2}, []float32{3, 3}))))
}

// TestActionNoise: every dimension of every environment has a number of its own.
func TestActionNoise(t *testing.T) {
	for _, dims := range []int{1, 2, 3, 4, 5, 9} {
		seen := map[[2]uint32]bool{}
		noise := make([]float32, dims)
		numbers := map[float32]bool{}
		for n := range 5 {
			ActionNoise(noise, rng.NewKey(1), n, ActionAddress(2, 3))
			for a := range dims {
				index, number := ActionBlock(n, a, dims)
				at := [2]uint32{index, uint32(number)}
				require.False(t, seen[at], "environment %d, dimension %d of %d", n, a, dims)
				seen[at] = true
				numbers[noise[a]] = true
			}
		}
		require.Len(t, numbers, 5*dims)
	}
}

func TestClipCoefficient(t *testing.T) {
	require.Equal(t, float32(1), ClipCoefficient(0.3, 0.5))
	require.InDelta(t, 0.25, ClipCoefficient(2, 0.5), 1e-6)
	require.True(t, math.IsNaN(float64(ClipCoefficient(float32(math.NaN()), 0.5))))
}

func TestTruncated(t *testing.T) {
	require.True(t, Truncated(false, 5, 5))
	require.False(t, Truncated(true, 5, 5))
	require.False(t, Truncated(false, 4, 5))
	require.False(t, Truncated(false, 1e6, 0))
}

// TestCheckNamesEverything: one error for all that is wrong.
func TestCheckNamesEverything(t *testing.T) {
	require.EqualError(t, Check(nil), "kernels: the config is nil")
	err := Check(&kernels.Config{})
	for _, field := range []string{"Population", "Environments", "Steps", "Activation", "Epochs", "Minibatches",
		"Critic.Type", "LearningRateSchedule", "Env is nil", "adam_eps"} {
		require.ErrorContains(t, err, field)
	}
}
