package cpu

import (
	"brood/kernels"
	"brood/kernels/host"
)

// ReadRollout copies the member's rollout to r.
func (e *Engine) ReadRollout(i int, r *kernels.Rollout) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	b, width := e.config.Rows(), e.spec.Action.Width()
	*r = kernels.Rollout{Obs: clone(m.obs), Actions: make([]float32, b*width), LogProbs: clone(m.logProb),
		Values: clone(m.value), Rewards: clone(m.reward), Terminated: make([]uint8, b), Truncated: make([]uint8, b),
		FinalObs: clone(m.finalObs), LastObs: clone(m.lastObs), Advantages: clone(m.advantage), Returns: clone(m.ret)}
	for row := range b {
		for c := range width {
			r.Actions[row*width+c] = m.action[c*b+row]
		}
		r.Terminated[row], r.Truncated[row] = uint8(m.terminated[row]), uint8(m.truncated[row])
	}
	return nil
}

func clone(s []float32) []float32 { return append([]float32(nil), s...) }

// WriteRollout replaces the member's rollout by r and computes its values.
func (e *Engine) WriteRollout(i int, r *kernels.Rollout) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	if err := host.CheckRollout(&e.config, r); err != nil {
		return err
	}
	b, width, d := e.config.Rows(), e.spec.Action.Width(), e.spec.ObsDim
	copy(m.obs, r.Obs)
	copy(m.logProb, r.LogProbs)
	copy(m.reward, r.Rewards)
	copy(m.finalObs, r.FinalObs)
	copy(m.lastObs, r.LastObs)
	for row := range b {
		for c := range width {
			m.action[c*b+row] = r.Actions[row*width+c]
		}
		m.terminated[row], m.truncated[row] = float32(r.Terminated[row]), float32(r.Truncated[row])
		m.done[row] = max(m.terminated[row], m.truncated[row])
	}
	w := e.workers[0]
	e.critic.pack(e.path, m.state.Policy, w.owned.packed)
	values := func(dst, obs []float32) {
		for first := 0; first < len(dst); first += tileRows {
			rows := min(tileRows, len(dst)-first)
			e.critic.forward(e.path, w.tile, w.owned.packed, obs[first*d:], d, rows)
			w.value(dst[first : first+rows])
		}
	}
	values(m.value, m.obs)
	values(m.lastValue, m.lastObs)
	return nil
}
