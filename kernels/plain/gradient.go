package plain

import (
	"math"
	"time"

	"brood/kernels"
)

// computeGradient writes the gradient of the loss over the minibatch's rows to
// m.gradient and returns the minibatch's figures.
func (e *engine) computeGradient(m *member, rows []int32) kernels.MinibatchStats {
	defer e.timed(kernels.PhaseGradient, time.Now())
	s, r, theta := m.state, &m.rollout, m.state.Policy
	clear(m.gradient)
	mean, scale := advantageMoments(e.config.NormalizeAdvantage, r.Advantages, rows)
	loss := policyLoss{
		clipRange:   float64(s.Hyper(kernels.ClipRange)),
		entropyCoef: float64(s.Hyper(kernels.EntropyCoef)),
		invRows:     1 / float64(len(rows)),
	}
	if e.config.KLPenalty.Enabled {
		loss.klBeta = float64(*s.KLBeta)
	}
	valueLoss := 0.0
	for _, i := range rows {
		at := int(i)
		obs := row(r.Obs, at, e.spec.ObsDim)
		action := row(r.Actions, at, e.spec.Action.Width())
		advantage := (r.Advantages[at] - mean) * scale

		output := e.actor.forward(theta, obs)
		if e.spec.Action.Discrete {
			loss.discrete(output, action, e.choices, r.LogProbs[at], advantage)
		} else {
			dLogStd := m.gradient[e.index.LogStd : e.index.LogStd+e.spec.Action.N]
			loss.gaussian(output, dLogStd, e.logStd(m), action, r.LogProbs[at], advantage)
		}
		e.actor.backward(m.gradient, theta, output)

		output = e.critic.forward(theta, obs)
		valueLoss += e.valueLoss(m, output, at, loss.invRows)
		e.critic.backward(m.gradient, theta, output)
	}
	return kernels.MinibatchStats{
		PolicyLoss: float32(loss.sumLoss * loss.invRows), ValueLoss: float32(valueLoss * loss.invRows),
		Entropy: float32(loss.sumEntropy * loss.invRows), KL: float32(loss.sumKL * loss.invRows),
		ClipFraction: float32(loss.sumClipped * loss.invRows), VGSScale: 1,
	}
}

// valueLoss turns the critic's output for row at into the gradient by it and
// returns the row's loss without the value coefficient.
func (e *engine) valueLoss(m *member, output []float32, at int, invRows float64) float64 {
	s, ret := m.state, float64(m.rollout.Returns[at])
	coef := float64(s.Hyper(kernels.ValueCoef)) * invRows
	if c := &e.config.Critic; c.Type == kernels.QuantileCritic {
		k := float64(c.Quantiles)
		return quantileHuber(output, ret, float64(c.Kappa), coef/k) / k
	}
	loss, gradient := squaredError(float64(output[0]), float64(m.rollout.Values[at]), ret, float64(s.Hyper(kernels.ValueClip)))
	output[0] = float32(coef * gradient)
	return loss
}

// scaleByVariance is the variance gradient scaler: it multiplies the gradient by
// the factor it returns; see [host.State.StepVGS].
func (e *engine) scaleByVariance(m *member) float32 {
	if !e.config.VGS.Enabled {
		return 1
	}
	for k, t := range e.index.Tensors {
		e.meanAbs[k], e.variance[k] = magnitudes(m.gradient[t.Offset : t.Offset+t.Len])
	}
	factor := m.state.StepVGS(&e.config.VGS, e.meanAbs, e.variance, e.ratios)
	for _, t := range e.index.Tensors {
		for i := t.Offset; i < t.Offset+t.Len; i++ {
			m.gradient[i] *= factor
		}
	}
	return factor
}

// magnitudes returns the mean of |x| and the variance of x, divided by n.
func magnitudes(x []float32) (meanAbs, variance float64) {
	sum, n := 0.0, float64(len(x))
	for _, v := range x {
		sum += float64(v)
		meanAbs += math.Abs(float64(v))
	}
	for _, v := range x {
		d := float64(v) - sum/n
		variance += d * d
	}
	return meanAbs / n, variance / n
}

// norm is the Euclidean norm.
func norm(x []float32) float32 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return float32(math.Sqrt(sum))
}
