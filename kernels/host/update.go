package host

import (
	"math"

	"brood/kernels"
)

// LearningRate is the member's learning rate after the schedule.
func (s *State) LearningRate(c *kernels.Config) float32 {
	lr := s.Hyper(kernels.LearningRate)
	if c.LearningRateSchedule != kernels.Linear {
		return lr
	}
	return float32(float64(lr) * max(0, 1-float64(*s.Updates)/float64(c.TotalUpdates)))
}

// ClipCoefficient is min(1, maxNorm/(norm + 1e-6)), the factor that bounds the
// gradient's norm.
func ClipCoefficient(norm, maxNorm float32) float32 {
	return float32(min(1, float64(maxNorm)/(float64(norm)+1e-6)))
}

// AdamStep are the coefficients of one Adam step with decoupled weight decay
// (Kingma and Ba 2015; Loshchilov and Hutter 2019), in this order per element:
//
//	g     = GradScale*grad
//	m     = Beta1*m + (1-Beta1)*g
//	v     = Beta2*v + (1-Beta2)*g*g
//	theta = Decay*theta - StepSize*m/(sqrt(v)*InvSqrtBias2 + Eps)
//
// The fields are those of the SIMD package's type of the same name: one converts
// to the other.
type AdamStep struct {
	GradScale, Beta1, Beta2, StepSize, InvSqrtBias2, Eps, Decay float32
}

// NextAdamStep counts a step and returns its coefficients. gradScale is the
// clipping coefficient, lr the learning rate after the schedule.
func (s *State) NextAdamStep(gradScale, lr float32) AdamStep {
	*s.Step++
	step := float64(*s.Step)
	beta1, beta2 := s.Hyper(kernels.AdamBeta1), s.Hyper(kernels.AdamBeta2)
	return AdamStep{
		GradScale:    gradScale,
		Beta1:        beta1,
		Beta2:        beta2,
		StepSize:     float32(float64(lr) / (1 - math.Pow(float64(beta1), step))),
		InvSqrtBias2: float32(1 / math.Sqrt(1-math.Pow(float64(beta2), step))),
		Eps:          s.Hyper(kernels.AdamEps),
		Decay:        float32(1 - float64(lr)*float64(s.Hyper(kernels.WeightDecay))),
	}
}

// Stops says whether a minibatch's KL divergence ends the iteration's updates,
// that minibatch's included. A NaN does not: it would hide in a run that only
// seems to go on.
func Stops(c *kernels.Config, kl float32) bool {
	return c.TargetKL > 0 && float64(kl) > 1.5*float64(c.TargetKL)
}

// AdaptKLBeta adapts the KL penalty's coefficient after an iteration, from the
// mean KL divergence over the applied minibatches of the last epoch that had
// one; steps are the figures of all computed minibatches in order. Without an
// applied minibatch, or with the penalty off, nothing changes.
func (s *State) AdaptKLBeta(c *kernels.Config, steps []kernels.MinibatchStats) {
	applied := len(steps)
	for applied > 0 && !steps[applied-1].Applied {
		applied--
	}
	if !c.KLPenalty.Enabled || applied == 0 {
		return
	}
	first := (applied - 1) / c.Minibatches * c.Minibatches
	sum := 0.0
	for _, m := range steps[first:applied] {
		sum += float64(m.KL)
	}
	mean, target := sum/float64(applied-first), float64(s.Hyper(kernels.KLTarget))
	switch {
	case mean > 1.5*target:
		*s.KLBeta = min(2**s.KLBeta, c.KLPenalty.Max)
	case mean < target/1.5:
		*s.KLBeta = max(*s.KLBeta/2, c.KLPenalty.Min)
	}
}
