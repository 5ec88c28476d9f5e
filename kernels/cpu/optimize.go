package cpu

import (
	"math"

	"brood/kernels"
	"brood/kernels/cpu/simd"
	"brood/kernels/host"
)

// reduce sums the chunks' gradients and losses in their order, and writes the
// gradient to its place in the policy's layout.
func (w *worker) reduce() kernels.MinibatchStats {
	e, x := w.engine, &w.owned
	total, sums := x.grads[:e.gradSize], x.sums[0]
	for i := 1; i < e.chunks; i++ {
		e.path.Add(total, x.grads[i*e.gradSize:(i+1)*e.gradSize])
		s := &x.sums[i]
		sums.policy += s.policy
		sums.value += s.value
		sums.entropy += s.entropy
		sums.kl += s.kl
		sums.clipped += s.clipped
	}
	grad := x.member.grad
	e.actor.unpack(e.path, total, grad)
	e.critic.unpack(e.path, total, grad)
	if e.index.LogStd >= 0 {
		copy(grad[e.index.LogStd:e.index.LogStd+e.spec.Action.N], total[e.logStdGrad:])
	}
	n := float64(len(x.minibatch))
	return kernels.MinibatchStats{PolicyLoss: float32(sums.policy / n), ValueLoss: float32(sums.value / n),
		Entropy: float32(sums.entropy / n), KL: float32(sums.kl / n), ClipFraction: float32(sums.clipped / n), VGSScale: 1}
}

// optimize applies the gradient: VGS, clipping and Adam, whose factors meet in
// one, so that the gradient itself is read once. A minibatch that is not applied
// changes nothing but its figures.
func (w *worker) optimize(step *kernels.MinibatchStats) {
	e, m, s := w.engine, w.owned.member, w.owned.member.state
	if step.Applied && e.config.VGS.Enabled {
		step.VGSScale = w.scaleVariance()
	}
	step.GradNorm = step.VGSScale * float32(math.Sqrt(float64(e.path.SumSquares(m.grad))))
	if !step.Applied {
		return
	}
	clip := host.ClipCoefficient(step.GradNorm, s.Hyper(kernels.MaxGradNorm))
	w.rows.adam = simd.AdamStep(s.NextAdamStep(step.VGSScale*clip, s.LearningRate(&e.config)))
	e.path.Adam(s.Policy, s.ExpAvg, s.ExpAvgSq, m.grad, &w.rows.adam)
}

// scaleVariance measures each tensor's gradient and advances VGS.
func (w *worker) scaleVariance() float32 {
	e, x := w.engine, &w.owned
	for i, t := range e.index.Tensors {
		g := x.member.grad[t.Offset : t.Offset+t.Len]
		sum, abs := e.path.Sums(g)
		n := float64(t.Len)
		x.meanAbs[i] = float64(abs) / n
		x.variance[i] = float64(e.path.SumSquaredDeviations(g, sum/float32(t.Len))) / n
	}
	return x.member.state.StepVGS(&e.config.VGS, x.meanAbs, x.variance, x.vgsScratch)
}

// endIteration closes the owned member's iteration: statistics of normalisation
// and counters.
func (w *worker) endIteration() {
	e, m, s := w.engine, w.owned.member, w.owned.member.state
	from := e.clock()
	lr := s.LearningRate(&e.config)
	if m.raw != nil {
		s.MergeObs(m.raw, e.config.Rows(), e.spec.ObsDim)
	}
	if m.gain != nil {
		s.MergeRewards(m.gain)
	}
	m.stats = s.Summarize(m.steps, &m.finished, lr, host.ExplainedVariance(m.advantage, m.ret))
	s.EndIteration(e.config.Rows())
	w.lap(kernels.PhaseStatistics, from)
}
