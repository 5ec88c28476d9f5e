package cpu

import (
	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/tensor"
)

// Environments outside of the engine's memory are stepped for all members at once, in
// two groups: a step of one runs while the workers choose the actions of the other.
// The tasks here are short, one per member, group and step; what follows the rollout is
// the same as for the engine's own environments.

// turn is which step of which group the workers are at.
type turn struct{ group, t int }

// outsideBuffers are what a member keeps between the steps of a rollout that the
// worker which owns it has elsewhere.
type outsideBuffers struct {
	packed, obsScale             []float32
	episodeReturn, episodeLength []float32 // [B], where an episode ended; length 0: it does not count
	groups                       []host.EnvRange
}

func (e *Engine) prepareOutside() {
	var states []*host.State
	for _, m := range e.members {
		states = append(states, m.state)
	}
	if e.outside = host.NewOutside(&e.config, states); e.outside == nil {
		return
	}
	f, b := tensor.AlignedFloats, e.config.Rows()
	for _, m := range e.members {
		m.outside = &outsideBuffers{packed: f(e.packedSize), obsScale: f(e.spec.ObsDim),
			episodeReturn: f(b), episodeLength: f(b), groups: make([]host.EnvRange, e.outside.Groups())}
	}
	for g := range e.outside.Groups() {
		for _, r := range e.outside.Group(g) {
			e.members[r.Member].outside.groups[g] = r
		}
	}
}

// collectOutside fills the rollouts of all members.
func (e *Engine) collectOutside() error {
	o, w := e.outside, e.workers[0]
	from := e.clock()
	if err := o.Start(); err != nil {
		return err
	}
	w.lap(kernels.PhaseStep, from)
	e.each((*worker).packOutside)
	for t := range e.config.Steps + 1 {
		for g := range o.Groups() {
			if t > 0 {
				from := e.clock()
				if err := o.Wait(g); err != nil {
					return err
				}
				w.lap(kernels.PhaseStep, from)
			}
			e.turn = turn{g, t}
			e.each((*worker).takeTurn)
			if t < e.config.Steps {
				if err := o.Begin(g); err != nil {
					return err
				}
			}
		}
	}
	e.each((*worker).finishEpisodes)
	return nil
}

// withOutside runs f with the owned member's own weights and scales in the place of
// the worker's.
func (w *worker) withOutside(f func(x *context)) {
	x := &w.owned
	packed, scale := x.packed, x.obsScale
	x.packed, x.obsScale = x.member.outside.packed, x.member.outside.obsScale
	f(x)
	x.packed, x.obsScale = packed, scale
}

// packOutside packs the owned member's weights, which stay for the whole rollout.
func (w *worker) packOutside() {
	e, m := w.engine, w.owned.member
	e.actor.pack(e.path, m.state.Policy, m.outside.packed)
	e.critic.pack(e.path, m.state.Policy, m.outside.packed)
	host.InvStds(m.outside.obsScale, m.state.ObsVar)
}

// takeTurn enters what the step before gave the owned member's environments of the
// group, and chooses their next actions.
func (w *worker) takeTurn() {
	at := w.engine.turn
	part := w.owned.member.outside.groups[at.group]
	w.withOutside(func(x *context) {
		for first := part.First; first < part.First+part.Rows; first += tileRows {
			rows := min(tileRows, part.First+part.Rows-first)
			if at.t > 0 {
				w.recordOutside(x, at.t-1, first, rows)
			}
			if at.t < w.engine.config.Steps {
				w.actOutside(x, at.t, first, rows)
			} else {
				w.lastOutside(x, first, rows)
			}
		}
	})
}

// actOutside computes values and actions of step t for a tile of environments.
func (w *worker) actOutside(x *context, t, first, rows int) {
	e, m := w.engine, x.member
	d, row := e.spec.ObsDim, t*e.config.Environments+first
	from := e.clock()
	lanes, lane := e.outside.Lanes(), e.outside.Lane(m.index, first)
	obs := m.obs[row*d : (row+rows)*d]
	copy(obs, lanes.Obs[lane*d:])
	if m.raw != nil {
		copy(m.raw[row*d:], obs)
		w.normalize(x, obs)
	}
	e.critic.forward(e.path, w.tile, x.packed, obs, d, rows)
	w.value(m.value[row : row+rows])
	e.actor.forward(e.path, w.tile, x.packed, obs, d, rows)
	from = w.lap(kernels.PhaseForward, from)
	w.sample(x, t, first, rows, row)
	width, n := e.spec.Action.Width(), e.config.Environments
	for i := range rows {
		for c := range width {
			lanes.Action[(lane+i)*width+c] = m.envAction[c*n+first+i]
		}
	}
	w.lap(kernels.PhaseSample, from)
}

// lastOutside computes the values of the observations after the last step.
func (w *worker) lastOutside(x *context, first, rows int) {
	e, m, d := w.engine, x.member, w.engine.spec.ObsDim
	obs := m.lastObs[first*d : (first+rows)*d]
	copy(obs, e.outside.Lanes().Obs[e.outside.Lane(m.index, first)*d:])
	w.normalize(x, obs)
	e.critic.forward(e.path, w.tile, x.packed, obs, d, rows)
	w.value(m.lastValue[first : first+rows])
}

// recordOutside enters what step t gave a tile of environments.
func (w *worker) recordOutside(x *context, t, first, rows int) {
	e, m, s := w.engine, x.member, x.member.state
	d, row := e.spec.ObsDim, t*e.config.Environments+first
	lanes, lane := e.outside.Lanes(), e.outside.Lane(m.index, first)
	w.setBatch(x, first, rows)
	rewards, outcomes := lanes.Reward[lane:lane+rows], lanes.Outcome[lane:lane+rows]
	copy(m.reward[row:row+rows], rewards)
	if m.gain != nil {
		w.normalizeRewards(x, first, row)
	}
	for i, outcome := range outcomes {
		n, at := first+i, row+i
		s.EpisodeReturn[n] += rewards[i]
		s.EpisodeLength[n]++
		m.terminated[at], m.truncated[at], m.done[at] = 0, 0, 0
		if outcome == 0 {
			continue
		}
		m.done[at] = 1
		if outcome&env.LaneTerminated != 0 {
			m.terminated[at] = 1
		} else {
			m.truncated[at] = 1
			final := m.finalObs[at*d : (at+1)*d]
			copy(final, lanes.Final[(lane+i)*d:])
			w.normalize(x, final)
		}
		m.outside.episodeReturn[at], m.outside.episodeLength[at] = s.EpisodeReturn[n], s.EpisodeLength[n]
		if outcome&env.LaneFailed != 0 { // what a failure cut off says nothing of the agent
			m.outside.episodeLength[at] = 0
		}
		s.EpisodeReturn[n], s.EpisodeLength[n], s.DiscountedReturn[n] = 0, 0, 0
	}
}

// finishEpisodes enters the rollout's finished episodes in the order of steps.
func (w *worker) finishEpisodes() {
	m := w.owned.member
	m.finished = host.Finished{}
	for row, done := range m.done {
		if length := m.outside.episodeLength[row]; done != 0 && length > 0 {
			m.state.RecordEpisode(&m.finished, m.outside.episodeReturn[row], length)
		}
	}
}

// evaluateOutside plays an evaluation's episodes on the first worker: stepping takes
// far longer than choosing the actions.
func (e *Engine) evaluateOutside(ev *kernels.Evaluation, returns [][]float64, lengths [][]int) error {
	w, d, width := e.workers[0], e.spec.ObsDim, e.spec.Action.Width()
	for _, i := range ev.Members {
		w.owned.take(e.members[i])
		w.packOutside()
	}
	var b env.Batch
	return e.outside.Play(ev, returns, lengths, func(member int, raw, actions []float32, rows int) {
		w.owned.take(e.members[member])
		w.withOutside(func(x *context) {
			for first := 0; first < rows; first += tileRows {
				n := min(tileRows, rows-first)
				obs := w.rows.obs[:n*d]
				copy(obs, raw[first*d:])
				w.normalize(x, obs)
				e.actor.forward(e.path, w.tile, x.packed, obs, d, n)
				b.N, b.Stride, b.Action = n, n, resize(b.Action, n*width)
				w.actBest(&b, 0, n)
				for i := range n {
					for c := range width {
						actions[(first+i)*width+c] = b.Action[c*n+i]
					}
				}
			}
		})
	})
}

// resize returns s with length n, made anew where it is too small.
func resize(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
