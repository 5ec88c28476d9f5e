package host

import (
	"math"
	"slices"

	"brood/kernels"
)

// StepVGS is one step of the variance gradient scaler. meanAbs and variance hold
// the mean of |g| and the variance (over n, not n-1) of each policy tensor's
// gradient; scratch has their length. It updates the member's moving averages
// and returns the factor for the whole gradient: 1/(1 + alpha G) after the
// warmup, with G the percentile over the tensors of the bias-corrected
// variance/(mean_abs^2 + eps), else 1.
func (s *State) StepVGS(v *kernels.VGS, meanAbs, variance, scratch []float64) float32 {
	*s.VGSStep++
	b := float64(v.Beta)
	correction := 1 / (1 - math.Pow(b, float64(*s.VGSStep)))
	for i := range s.VGSMeanAbs {
		s.VGSMeanAbs[i] = float32(b*float64(s.VGSMeanAbs[i]) + (1-b)*meanAbs[i])
		s.VGSVar[i] = float32(b*float64(s.VGSVar[i]) + (1-b)*variance[i])
		m := float64(s.VGSMeanAbs[i]) * correction
		scratch[i] = float64(s.VGSVar[i]) * correction / (m*m + float64(v.Eps))
	}
	if *s.VGSStep <= int64(v.Warmup) {
		return 1
	}
	g := percentile(scratch[:len(s.VGSMeanAbs)], float64(v.Percentile))
	return float32(1 / (1 + float64(s.Hyper(kernels.VGSAlpha))*g))
}

// percentile sorts x and interpolates linearly between its order statistics, as
// NumPy does by default; p in [0, 1].
func percentile(x []float64, p float64) float64 {
	slices.Sort(x)
	at := p * float64(len(x)-1)
	low := int(at)
	high := min(low+1, len(x)-1)
	return x[low] + (x[high]-x[low])*(at-float64(low))
}
