package plain

import "math"

// squaredError is the scalar critic's loss of one row and its gradient by v:
// 0.5 (v - ret)^2, or with clip > 0 the larger of that and the same of the value
// held within clip of the old one (as in OpenAI's baselines). Where both are
// equal the gradient is the first's.
func squaredError(v, old, ret, clip float64) (loss, gradient float64) {
	loss, gradient = 0.5*(v-ret)*(v-ret), v-ret
	if clip > 0 {
		held := old + max(-clip, min(clip, v-old))
		if l := 0.5 * (held - ret) * (held - ret); l > loss {
			loss, gradient = l, 0
		}
	}
	return loss, gradient
}

// quantileHuber turns the quantiles theta [K] of one row into the gradient by
// them of coef times the sum over k of |tau_k - 1{u<0}| L(u)/kappa, u = ret -
// theta_k, tau_k = (k+0.5)/K (Dabney et al. 2018), and returns that sum without
// coef.
func quantileHuber(theta []float32, ret, kappa, coef float64) (loss float64) {
	for k := range theta {
		u := ret - float64(theta[k])
		weight := (float64(k) + 0.5) / float64(len(theta))
		if u < 0 {
			weight = 1 - weight
		}
		if huber := math.Abs(u); huber <= kappa {
			loss += weight * 0.5 * u * u / kappa
		} else {
			loss += weight * (huber - 0.5*kappa)
		}
		theta[k] = float32(-coef * weight * max(-kappa, min(kappa, u)) / kappa)
	}
	return loss
}
