package host

import "math"

// initialCount is the weight of the initial mean 0 and variance 1 of
// normalisation statistics: small, so that the first batch replaces them.
const initialCount = 1e-4

// NormClip bounds normalised observations and rewards.
const NormClip = 10

// normEps is added to the variance.
const normEps = 1e-8

// InvStd is 1/sqrt(var + 1e-8).
func InvStd(variance float32) float32 { return float32(1 / math.Sqrt(float64(variance)+normEps)) }

// InvStds writes InvStd of each variance to dst.
func InvStds(dst, variance []float32) {
	for i, v := range variance {
		dst[i] = InvStd(v)
	}
}

// NormalizeObs writes clip((x - mean) invStd, -10, 10) of one observation [D]
// to dst, which may be x itself. A NaN stays one.
func NormalizeObs(dst, x, mean, invStd []float32) {
	for i, v := range x {
		dst[i] = clip10((v - mean[i]) * invStd[i])
	}
}

// NormalizeReward advances the running discounted return, G = gamma G + r, and
// returns the reward the algorithm sees and G, which counts towards the
// statistics. The caller sets G to 0 after the episode has ended.
func NormalizeReward(reward, g, gamma, invStd float32) (normalized, next float32) {
	return clip10(reward * invStd), gamma*g + reward
}

func clip10(x float32) float32 { return max(-NormClip, min(NormClip, x)) }

// MergeObs merges rows observations, D = len(ObsMean) features at raw[i*ld+d],
// into the observation statistics.
func (s *State) MergeObs(raw []float32, rows, ld int) {
	count := *s.ObsCount
	for d := range s.ObsMean {
		mean, m2 := moments2(raw[d:], rows, ld)
		s.ObsMean[d], s.ObsVar[d], *s.ObsCount = merge(s.ObsMean[d], s.ObsVar[d], count, mean, m2, rows)
	}
}

// MergeRewards merges the discounted returns of an iteration, one per
// environment and step, into the reward statistics.
func (s *State) MergeRewards(g []float32) {
	mean, m2 := moments2(g, len(g), 1)
	*s.RewardMean, *s.RewardVar, *s.RewardCount = merge(*s.RewardMean, *s.RewardVar, *s.RewardCount, mean, m2, len(g))
}

// moments2 returns the mean of x[i*stride], i < n, and the sum of squared
// deviations from it, summed in order of i in float64.
func moments2(x []float32, n, stride int) (mean, m2 float64) {
	for i := range n {
		mean += float64(x[i*stride])
	}
	mean /= float64(n)
	for i := range n {
		d := float64(x[i*stride]) - mean
		m2 += d * d
	}
	return mean, m2
}

// merge combines two sets' means and variances (Chan, Golub and LeVeque 1983).
func merge(mean, variance float32, count, batchMean, batchM2 float64, n int) (float32, float32, float64) {
	total := count + float64(n)
	delta := batchMean - float64(mean)
	m2 := float64(variance)*count + batchM2 + delta*delta*count*float64(n)/total
	return float32(float64(mean) + delta*float64(n)/total), float32(m2 / total), total
}
