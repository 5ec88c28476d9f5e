package plain

import (
	"time"

	"brood/kernels"
	"brood/kernels/host"
)

// update runs all epochs over the member's rollout, each in a new order cut into
// minibatches, until the KL divergence ends it early.
func (e *engine) update(m *member) {
	c := e.config
	m.steps = m.steps[:0]
	m.rate = m.state.LearningRate(c)
	size := c.MinibatchRows()
	for epoch := range c.Epochs {
		order := e.rowOrder(m, epoch)
		for first := 0; first < len(order); first += size {
			if !e.minibatch(m, order[first:first+size]) || len(m.steps) == c.MinibatchLimit {
				m.state.AdaptKLBeta(c, m.steps)
				return
			}
		}
	}
	m.state.AdaptKLBeta(c, m.steps)
}

// rowOrder is the order of the B rows in an epoch.
func (e *engine) rowOrder(m *member, epoch int) []int32 {
	defer e.timed(kernels.PhasePermute, time.Now())
	if e.permutations != nil {
		return e.permutations[epoch]
	}
	host.Permutation(e.order, e.key(m), host.PermutationAddress(m.id, *m.state.Updates, e.config.Epochs, epoch), e.sort)
	return e.order
}

// minibatch does one optimizer step. It returns false, with the member's
// state as it was, where the KL divergence is beyond the target.
func (e *engine) minibatch(m *member, rows []int32) bool {
	stats := e.computeGradient(m, rows)
	defer e.timed(kernels.PhaseOptimize, time.Now())
	s := m.state
	if host.Stops(e.config, stats.KL) {
		stats.GradNorm = norm(m.gradient)
		m.steps = append(m.steps, stats)
		return false
	}
	stats.VGSScale = e.scaleByVariance(m)
	stats.GradNorm = norm(m.gradient)
	stats.Applied = true
	m.steps = append(m.steps, stats)
	step := s.NextAdamStep(host.ClipCoefficient(stats.GradNorm, s.Hyper(kernels.MaxGradNorm)), m.rate)
	for _, k := range e.index.Tensors { // tensor by tensor: padding stays zero even where the gradient is NaN
		from, to := k.Offset, k.Offset+k.Len
		adam(s.Policy[from:to], s.ExpAvg[from:to], s.ExpAvgSq[from:to], m.gradient[from:to], &step)
	}
	return true
}
