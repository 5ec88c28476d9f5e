package plain

import (
	"brood/env"
	"brood/kernels/host"
)

// collectOutside fills the rollouts of all members whose environments are stepped
// outside of the engine.
func (e *engine) collectOutside() error {
	o := e.outside
	if err := o.Start(); err != nil {
		return err
	}
	for _, m := range e.members {
		m.episodes = m.episodes[:0]
	}
	for t := range e.config.Steps {
		for g := range o.Groups() {
			for _, s := range o.Group(g) {
				e.actOutside(s, t)
			}
			if err := o.Begin(g); err != nil {
				return err
			}
			if err := o.Wait(g); err != nil {
				return err
			}
			for _, s := range o.Group(g) {
				e.recordOutside(s, t)
			}
		}
	}
	d := e.spec.ObsDim
	for i, m := range e.members {
		host.InvStds(e.invStd, m.state.ObsVar)
		for n := range e.config.Environments {
			e.normalize(m, row(m.rollout.LastObs, n, d), row(o.Lanes().Obs, o.Lane(i, n), d))
		}
	}
	return nil
}

// actOutside computes the values of step t of some environments and draws their
// actions.
func (e *engine) actOutside(s host.EnvRange, t int) {
	m, o := e.members[s.Member], e.outside
	d, w, n := e.spec.ObsDim, e.spec.Action.Width(), e.config.Environments
	host.InvStds(e.invStd, m.state.ObsVar)
	for i := s.First; i < s.First+s.Rows; i++ {
		obs := row(o.Lanes().Obs, o.Lane(s.Member, i), d)
		if m.raw != nil {
			copy(row(m.raw, t*n+i, d), obs)
		}
		e.normalize(m, row(m.rollout.Obs, t*n+i, d), obs)
		e.actOne(m, t, i)
		action := row(o.Lanes().Action, o.Lane(s.Member, i), w)
		for c := range action {
			action[c] = m.batch.Action[c*n+i]
		}
	}
}

// recordOutside enters what step t gave.
func (e *engine) recordOutside(s host.EnvRange, t int) {
	m, lanes := e.members[s.Member], e.outside.Lanes()
	d, n, st, r := e.spec.ObsDim, e.config.Environments, m.state, &m.rollout
	host.InvStds(e.invStd, st.ObsVar)
	for i := s.First; i < s.First+s.Rows; i++ {
		at, lane := t*n+i, e.outside.Lane(s.Member, i)
		outcome := lanes.Outcome[lane]
		m.batch.Reward[i] = lanes.Reward[lane]
		st.EpisodeReturn[i] += m.batch.Reward[i]
		st.EpisodeLength[i]++
		r.Rewards[at] = e.reward(m, at, i)
		r.Terminated[at] = flag(outcome&env.LaneTerminated != 0)
		r.Truncated[at] = flag(outcome&env.LaneTruncated != 0)
		if outcome&env.LaneTruncated != 0 {
			e.normalize(m, row(r.FinalObs, at, d), row(lanes.Final, lane, d))
		}
		if outcome == 0 {
			continue
		}
		if outcome&env.LaneFailed == 0 { // what a failure cut off says nothing of the agent
			m.episodes = append(m.episodes, episode{st.EpisodeReturn[i], st.EpisodeLength[i]})
		}
		st.EpisodeReturn[i], st.EpisodeLength[i], st.DiscountedReturn[i] = 0, 0, 0
	}
}

// bestOutside is host.BestActions.
func (e *engine) bestOutside(member int, obs, actions []float32, rows int) {
	m, d, w := e.members[member], e.spec.ObsDim, e.spec.Action.Width()
	host.InvStds(e.invStd, m.state.ObsVar)
	seen := make([]float32, d)
	one := env.Batch{N: 1, Stride: 1}
	for i := range rows {
		e.normalize(m, seen, row(obs, i, d))
		one.Action = row(actions, i, w)
		e.actBest(m, &one, 0, seen)
	}
}
