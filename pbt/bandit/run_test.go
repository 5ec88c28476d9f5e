package bandit

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"
)

// bowl is a score's improvement with its maximum, 0, at the optimum.
func bowl(x, optimum []float64) float64 { return -squaredDistance(x, optimum) }

// live runs a population of members for some intervals: in each, all members
// are given points by choose and log their improvement, which is seen with
// noise. It returns what is lost against the optimum in every interval on
// average over the members.
func live(t *testing.T, seed uint64, members, intervals int, noise float64, optimum func(interval int) []float64,
	choose func(data []Observation, time float64, pending [][]float64, draw func() float64) []float64,
) []float64 {
	r := rand.New(rand.NewPCG(seed, 11))
	draw := uniform(seed)
	var data []Observation
	lost := make([]float64, intervals)
	for interval := range intervals {
		best := optimum(interval)
		var points [][]float64
		for range members {
			var x []float64
			if interval == 0 {
				for range best {
					x = append(x, draw())
				}
			} else {
				x = choose(data, float64(interval), points, draw)
			}
			require.NoError(t, checkPoint(x, len(best)))
			points = append(points, x)
		}
		for _, x := range points {
			change := bowl(x, best)
			lost[interval] -= change / float64(members)
			data = append(data, Observation{float64(interval), x, change + noise*r.NormFloat64()})
		}
	}
	return lost
}

// byModel chooses with the hyperparameters searched in a box, by one fit for an
// interval.
func byModel(t *testing.T, within func(dimensions int) box) func([]Observation, float64, [][]float64, func() float64) []float64 {
	var model *Model
	return func(data []Observation, time float64, pending [][]float64, draw func() float64) []float64 {
		if len(pending) == 0 {
			points, err := newest(data, time)
			require.NoError(t, err)
			model = fit(points, time, within(len(points[0].X)))
		}
		x, err := model.Suggest(pending, draw)
		require.NoError(t, err)
		return x
	}
}

// byBest keeps the observed best with probability 1/2 and else draws anew:
// random search that uses what it has found.
func byBest(data []Observation, _ float64, _ [][]float64, draw func() float64) []float64 {
	keep := draw() < 0.5
	best := data[0]
	for _, o := range data {
		if o.Change > best.Change {
			best = o
		}
	}
	x := make([]float64, len(best.X))
	for i := range x {
		x[i] = draw()
	}
	if keep {
		return best.X
	}
	return x
}

func byChance(data []Observation, _ float64, _ [][]float64, draw func() float64) []float64 {
	x := make([]float64, len(data[0].X))
	for i := range x {
		x[i] = draw()
	}
	return x
}

func TestFindsTheOptimumOfABowl(t *testing.T) {
	for _, optimum := range [][]float64{{0.7}, {0.3, 0.8}} {
		still := func(int) []float64 { return optimum }
		var model, best, chance []float64
		for seed := range uint64(5) {
			const from = 8 // what comes before is finding out
			model = append(model, live(t, seed, 4, 16, 0.05, still, byModel(t, searched))[from:]...)
			best = append(best, live(t, seed, 4, 16, 0.05, still, byBest)[from:]...)
			chance = append(chance, live(t, seed, 4, 16, 0.05, still, byChance)[from:]...)
		}
		t.Logf("%d dimensions: lost %.4f, random search %.4f, chance %.4f", len(optimum), stat.Mean(model, nil), stat.Mean(best, nil), stat.Mean(chance, nil))
		require.Less(t, stat.Mean(model, nil), stat.Mean(best, nil)/3)
		require.Less(t, stat.Mean(model, nil), stat.Mean(chance, nil)/6)
	}
}

// An optimum that wanders through the interval is followed, and a model that
// never forgets (epsilon 0) does worse.
func TestFollowsAMovingOptimum(t *testing.T) {
	moving := func(interval int) []float64 {
		return []float64{0.5 + 0.4*math.Sin(float64(interval)*2*math.Pi/30)}
	}
	static := func(dimensions int) box {
		b := searched(dimensions)
		b.low.epsilon, b.high.epsilon = 0, 0
		return b
	}
	var model, never, chance []float64
	for seed := range uint64(5) {
		const from = 10
		model = append(model, live(t, seed, 4, 45, 0.02, moving, byModel(t, searched))[from:]...)
		never = append(never, live(t, seed, 4, 45, 0.02, moving, byModel(t, static))[from:]...)
		chance = append(chance, live(t, seed, 4, 45, 0.02, moving, byChance)[from:]...)
	}
	t.Logf("lost %.4f, without forgetting %.4f, chance %.4f", stat.Mean(model, nil), stat.Mean(never, nil), stat.Mean(chance, nil))
	require.Less(t, stat.Mean(model, nil), stat.Mean(never, nil)/2)
	require.Less(t, stat.Mean(model, nil), stat.Mean(chance, nil)/4)
}
