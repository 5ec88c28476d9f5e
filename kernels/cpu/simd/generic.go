package simd

import "math"

// The functions of the generic path. They are what the tests hold the assembly
// against, so they are written for the reader: one row at a time, the steps that
// could lose digits in float64.

func adamGeneric(theta, m, v, g []float32, s *AdamStep) {
	checkAdam(theta, m, v, g)
	for i := range theta {
		grad := s.GradScale * g[i]
		m[i] = s.Beta1*m[i] + (1-s.Beta1)*grad
		v[i] = s.Beta2*v[i] + (1-s.Beta2)*grad*grad
		root := float32(math.Sqrt(float64(v[i])))
		theta[i] = s.Decay*theta[i] - s.StepSize*m[i]/(root*s.InvSqrtBias2+s.Eps)
	}
}

func sumSquaresGeneric(x []float32) float32 {
	return sumSquaredDeviationsGeneric(x, 0)
}

func sumsGeneric(x []float32) (sum, abs float32) {
	var s, a float64
	for _, v := range x {
		s += float64(v)
		a += math.Abs(float64(v))
	}
	return float32(s), float32(a)
}

func sumSquaredDeviationsGeneric(x []float32, mean float32) float32 {
	var sum float64
	for _, v := range x {
		d := float64(v) - float64(mean)
		sum += d * d
	}
	return float32(sum)
}

func scaleGeneric(x []float32, s float32) {
	for i := range x {
		x[i] *= s
	}
}

func addGeneric(dst, src []float32) {
	checkAdd(dst, src)
	for i := range dst {
		dst[i] += src[i]
	}
}

func gaeGeneric(adv, ret, carry, reward, value, next, done []float32, gamma, gammaLambda float32) {
	checkGAE(adv, ret, carry, reward, value, next, done)
	for i := range adv {
		delta := reward[i] + gamma*next[i] - value[i]
		carry[i] = delta + gammaLambda*(1-done[i])*carry[i]
		adv[i], ret[i] = carry[i], carry[i]+value[i]
	}
}
