// Package stats holds the statistics that runs and experiments are judged by:
// means with their spread, Welch's test, the interquartile mean and bootstrap
// intervals. All are pure functions; the bootstrap draws from a seed.
package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Mean returns the arithmetic mean, NaN for no values. The mean of equal values
// is that value to the bit, so that their variance is exactly 0.
func Mean(x []float64) float64 {
	n := float64(len(x))
	mean := sum(x, 0) / n
	if math.IsNaN(mean) || math.IsInf(mean, 0) {
		return mean
	}
	// The second pass takes back what the first one rounded off.
	return mean + sum(x, mean)/n
}

// sum returns the sum of x - shift.
func sum(x []float64, shift float64) float64 {
	total := 0.0
	for _, v := range x {
		total += v - shift
	}
	return total
}

// variance is the unbiased sample variance around mean, for at least two values.
func variance(x []float64, mean float64) float64 {
	squares := 0.0
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	return squares / float64(len(x)-1)
}

// StdErr returns the standard error of the mean: the sample standard deviation
// (divisor n-1) over the root of n. It is NaN for fewer than two values.
func StdErr(x []float64) float64 {
	if len(x) < 2 {
		return math.NaN()
	}
	return math.Sqrt(variance(x, Mean(x)) / float64(len(x)))
}

// Welch is Welch's t-test of two independent samples whose variances may differ
// (Welch 1947, "The generalization of Student's problem when several different
// population variances are involved"): t is positive where the mean of a is
// larger, df are the degrees of freedom by Welch and Satterthwaite, and p is the
// two-sided probability of a |t| at least that large if the means were equal.
//
// All three are NaN where a sample has fewer than two values or one that is not
// finite. Where both variances are 0, df is NaN, and the means decide: t 0 and p 1
// if they are equal, else t infinite and p 0.
func Welch(a, b []float64) (t, df, p float64) {
	nan := math.NaN()
	if len(a) < 2 || len(b) < 2 {
		return nan, nan, nan
	}
	meanA, meanB := Mean(a), Mean(b)
	// The squared standard errors of the two means.
	sa, sb := variance(a, meanA)/float64(len(a)), variance(b, meanB)/float64(len(b))
	difference := meanA - meanB
	if math.IsNaN(difference+sa+sb) || math.IsInf(difference+sa+sb, 0) {
		return nan, nan, nan
	}
	if sa+sb == 0 {
		if difference == 0 {
			return 0, nan, 1
		}
		return math.Copysign(math.Inf(1), difference), nan, 0
	}
	t = difference / math.Sqrt(sa+sb)
	// The shares keep the squares from underflow where both variances are tiny.
	wa, wb := sa/(sa+sb), sb/(sa+sb)
	df = 1 / (wa*wa/float64(len(a)-1) + wb*wb/float64(len(b)-1))
	return t, df, studentTails(t, df)
}

// studentTails is the probability that Student's t with df degrees of freedom is
// at least |t| in size (Abramowitz and Stegun 26.5.27 with 26.7.1).
func studentTails(t, df float64) float64 {
	x := df / (df + t*t)
	return mathext.RegIncBeta(df/2, 0.5, x)
}

// IQM returns the interquartile mean: the mean of what is left when the lowest
// floor(n/4) and as many of the highest values are dropped. It is what Agarwal et
// al. (2021, "Deep reinforcement learning at the edge of the statistical
// precipice", arXiv:2108.13264) report, and SciPy's trim_mean(x, 0.25). It is NaN
// for no values, or where one is NaN. x is not changed.
func IQM(x []float64) float64 {
	if slices.ContainsFunc(x, math.IsNaN) {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(x))
	cut := len(sorted) / 4
	return Mean(sorted[cut : len(sorted)-cut])
}

// OrNil is nil for a number that is not finite, which JSON cannot hold.
func OrNil(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}
