package cpu

import (
	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/rng"
)

// evaluation is an Evaluate in progress.
type evaluation struct {
	kernels.Evaluation
	returns [][]float64
	lengths [][]int
	slot    map[int]int // member to its index in the results
}

// Evaluate plays whole episodes of the given members with the deterministic
// policy; their state is not touched.
func (e *Engine) Evaluate(ev kernels.Evaluation, returns [][]float64, lengths [][]int) error {
	if e.closed {
		return kernels.ErrClosed
	}
	if err := host.CheckEvaluation(&e.config, &ev, returns, lengths); err != nil {
		return err
	}
	if e.outside != nil {
		return e.evaluateOutside(&ev, returns, lengths)
	}
	e.evaluation = &evaluation{Evaluation: ev, returns: returns, lengths: lengths, slot: make(map[int]int, len(ev.Members))}
	for i, m := range ev.Members {
		e.evaluation.slot[m] = i
	}
	e.each((*worker).evaluate)
	for i, m := range ev.Members { // a member named twice was played once
		if played := e.evaluation.slot[m]; played != i {
			copy(returns[i], returns[played])
			copy(lengths[i], lengths[played])
		}
	}
	e.evaluation = nil
	return nil
}

// evaluate plays the owned member's episodes side by side, in state of its own,
// if it is among those evaluated. An environment whose episode has ended begins
// it again, so that none is stepped past its end, but no longer counts.
func (w *worker) evaluate() {
	e, x := w.engine, &w.owned
	slot, wanted := e.evaluation.slot[x.member.index]
	if !wanted {
		return
	}
	e.actor.pack(e.path, x.member.state.Policy, x.packed)
	host.InvStds(x.obsScale, x.member.state.ObsVar)
	ev := e.evaluation
	returns, lengths := ev.returns[slot], ev.lengths[slot]
	n, d := ev.Episodes, e.spec.ObsDim
	b := &env.Batch{N: n, Stride: n, State: make([]float32, e.spec.StateSize*n),
		Action: make([]float32, e.spec.Action.Width()*n), Reward: make([]float32, n), Terminated: make([]float32, n)}
	key := rng.NewKey(ev.Seed)
	reset := func(i int) {
		w.rows.stream = host.EvalStream(key, i, ev.Time)
		e.config.Env.Reset(b, i, &w.rows.stream)
	}
	for i := range n {
		reset(i)
		returns[i], lengths[i] = 0, 0
	}
	obs, ended := make([]float32, n*d), make([]bool, n)
	limit := host.EvalLimit(&e.config, &ev.Evaluation)
	for step, playing := 0, n; step < limit && playing > 0; step++ {
		e.config.Env.Observe(b, obs, d)
		w.normalize(x, obs)
		for first := 0; first < n; first += tileRows {
			rows := min(tileRows, n-first)
			e.actor.forward(e.path, w.tile, x.packed, obs[first*d:], d, rows)
			w.actBest(b, first, rows)
		}
		e.step(b)
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

// actBest sets the actions of a tile from the actor's results: the most probable
// choice of each component, the first of equals, or the mean within its bounds.
func (w *worker) actBest(b *env.Batch, first, rows int) {
	out, space := w.tile.out, &w.engine.spec.Action
	if w.engine.choices == nil {
		for c := range space.N {
			w.clipActions(b.Action[c*b.Stride+first:], out[c*tileRows:c*tileRows+rows], c)
		}
		return
	}
	for c, choices := range w.engine.choices {
		mostProbable(b.Action[c*b.Stride+first:], 1, out, choices, rows)
		out = out[choices*tileRows:]
	}
}

// mostProbable writes the index of the largest of n logits [n][tileRows] of each row, the
// first of equals, to actions stride apart.
func mostProbable(actions []float32, stride int, logits []float32, n, rows int) {
	for i := range rows {
		best := 0
		for a := 1; a < n; a++ {
			if logits[a*tileRows+i] > logits[best*tileRows+i] {
				best = a
			}
		}
		actions[i*stride] = float32(best)
	}
}
