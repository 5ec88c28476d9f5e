package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is a statistic and its confidence interval.
type Interval struct {
	// Mean is the statistic of the data as they are: their mean, IQM or whatever
	// was asked for.
	Mean float64
	// Low and High are the bounds of the interval.
	Low, High float64
}

// Bootstrap returns statistic(x) and its percentile bootstrap interval (Efron and
// Tibshirani 1993, "An introduction to the bootstrap", chapter 13): x is drawn
// anew with replacement resamples times, and the interval holds the middle share
// level, in (0, 1), of the statistics of the draws. Equal arguments give equal
// intervals.
//
// With no values all three are NaN. It panics where resamples is below 1 or level
// outside (0, 1). statistic must not keep or change its argument.
func Bootstrap(x []float64, statistic func([]float64) float64, resamples int, level float64, seed uint64) Interval {
	return StratifiedBootstrap([][]float64{x}, statistic, resamples, level, seed)
}

// StratifiedBootstrap is [Bootstrap] for values of several strata, such as the
// seeds of one task each: every draw takes from each stratum as many values as it
// has (Agarwal et al. 2021, arXiv:2108.13264, section 4.2), and the statistic is
// that of all of them together. Strata may differ in size; empty ones add nothing.
func StratifiedBootstrap(strata [][]float64, statistic func([]float64) float64, resamples int, level float64, seed uint64) Interval {
	if resamples < 1 {
		panic(fmt.Sprintf("stats: %d resamples; valid: at least 1", resamples))
	}
	if !(level > 0 && level < 1) { // NaN too
		panic(fmt.Sprintf("stats: level %v; valid: above 0, below 1", level))
	}
	all := slices.Concat(strata...)
	if len(all) == 0 {
		return Interval{math.NaN(), math.NaN(), math.NaN()}
	}
	random := rand.New(rand.NewPCG(seed, 0))
	drawn := make([]float64, len(all))
	statistics := make([]float64, resamples)
	for i := range statistics {
		k := 0
		for _, stratum := range strata {
			for range stratum {
				drawn[k] = stratum[random.IntN(len(stratum))]
				k++
			}
		}
		statistics[i] = statistic(drawn)
	}
	slices.Sort(statistics)
	tail := (1 - level) / 2
	return Interval{Mean: statistic(all), Low: quantile(statistics, tail), High: quantile(statistics, 1-tail)}
}

// quantile interpolates linearly between the order statistics of sorted, as
// NumPy's default does; q in [0, 1].
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-1)
	j := min(i+1, len(sorted)-1)
	f := at - float64(i)
	if f == 0 || sorted[i] == sorted[j] {
		return sorted[i]
	}
	return sorted[i]*(1-f) + sorted[j]*f
}
