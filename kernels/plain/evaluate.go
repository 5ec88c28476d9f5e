package plain

import (
	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/rng"
)

func (e *engine) Evaluate(ev kernels.Evaluation, returns [][]float64, lengths [][]int) error {
	if e.closed {
		return kernels.ErrClosed
	}
	if err := host.CheckEvaluation(e.config, &ev, returns, lengths); err != nil {
		return err
	}
	if e.outside != nil {
		return e.outside.Play(&ev, returns, lengths, e.bestOutside)
	}
	for i, m := range ev.Members {
		e.play(e.members[m], &ev, returns[i], lengths[i])
	}
	return nil
}

// play plays all episodes of one member side by side, in state of its own.
// An environment whose episode has ended begins it again, so that none is
// stepped past its end, but no longer counts.
func (e *engine) play(m *member, ev *kernels.Evaluation, returns []float64, lengths []int) {
	n, d := ev.Episodes, e.spec.ObsDim
	b := &env.Batch{N: n, Stride: n, State: make([]float32, e.spec.StateSize*n),
		Action: make([]float32, e.spec.Action.Width()*n), Reward: make([]float32, n), Terminated: make([]float32, n)}
	key, limit := rng.NewKey(ev.Seed), host.EvalLimit(e.config, ev)
	reset := func(i int) {
		e.stream = host.EvalStream(key, i, ev.Time)
		e.config.Env.Reset(b, i, &e.stream)
	}
	for i := range n {
		reset(i)
		returns[i], lengths[i] = 0, 0
	}
	host.InvStds(e.invStd, m.state.ObsVar)
	obs, ended := make([]float32, n*d), make([]bool, n)
	for step, playing := 0, n; step < limit && playing > 0; step++ {
		e.config.Env.Observe(b, obs, d)
		for i := range n {
			e.normalize(m, row(obs, i, d), row(obs, i, d))
			e.actBest(m, b, i, row(obs, i, d))
		}
		e.config.Env.Step(b)
		for i := range n {
			if !ended[i] {
				returns[i] += float64(b.Reward[i])
				lengths[i]++
			}
			if b.Terminated[i] != 0 {
				if !ended[i] {
					ended[i] = true
					playing--
				}
				reset(i)
			}
		}
	}
}

// actBest sets the action of environment i: the most probable choice of each component
// (the first of equals), or the mean within its bounds.
func (e *engine) actBest(m *member, b *env.Batch, i int, obs []float32) {
	output := e.actor.forward(m.state.Policy, obs)
	if !e.spec.Action.Discrete {
		clipAction(b.Action, output, e.spec.Action.Low, e.spec.Action.High, i, b.Stride)
		return
	}
	for c, n := range e.choices {
		best := 0
		for a, x := range output[:n] {
			if x > output[best] {
				best = a
			}
		}
		b.Action[c*b.Stride+i] = float32(best)
		output = output[n:]
	}
}
