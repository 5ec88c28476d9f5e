package cpu

import "brood/kernels"

// advantages computes the owned member's advantages and returns by GAE
// (Schulman et al. 2016), all environments of a step at a time.
func (w *worker) advantages() {
	e, x := w.engine, &w.owned
	m, s := x.member, x.member.state
	from := e.clock()
	n, rows := e.config.Environments, e.config.Rows()
	copy(x.next, m.value[n:])
	copy(x.next[rows-n:], m.lastValue)
	w.endValues(x)
	gamma := s.Hyper(kernels.Gamma)
	gammaLambda := gamma * s.Hyper(kernels.GAELambda)
	clear(x.carry)
	for row := rows - n; row >= 0; row -= n {
		e.path.GAE(m.advantage[row:row+n], m.ret[row:row+n], x.carry, m.reward[row:row+n], m.value[row:row+n],
			x.next[row:row+n], m.done[row:row+n], gamma, gammaLambda)
	}
	w.lap(kernels.PhaseAdvantages, from)
}

// endValues corrects the next value of rows that end an episode: 0 where it
// terminated, the value of the final observation where it was truncated.
func (w *worker) endValues(x *context) {
	e, m, d := w.engine, x.member, w.engine.spec.ObsDim
	var at [tileRows]int
	packed, count := false, 0
	flush := func() {
		if !packed {
			e.critic.pack(e.path, m.state.Policy, x.packed)
			packed = true
		}
		e.critic.forward(e.path, w.tile, x.packed, w.rows.obs, d, count)
		w.value(w.rows.oldValue[:count])
		for i, v := range w.rows.oldValue[:count] {
			x.next[at[i]] = v
		}
		count = 0
	}
	for row, done := range m.done {
		if done == 0 {
			continue
		}
		if m.terminated[row] != 0 {
			x.next[row] = 0
			continue
		}
		copy(w.rows.obs[count*d:], m.finalObs[row*d:(row+1)*d])
		at[count] = row
		if count++; count == tileRows {
			flush()
		}
	}
	if count > 0 {
		flush()
	}
}
