package plain

import (
	"slices"

	"brood/kernels"
	"brood/kernels/host"
)

func (e *engine) ReadRollout(i int, r *kernels.Rollout) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	s := &m.rollout
	*r = kernels.Rollout{
		Obs: slices.Clone(s.Obs), Actions: slices.Clone(s.Actions), LogProbs: slices.Clone(s.LogProbs),
		Values: slices.Clone(s.Values), Rewards: slices.Clone(s.Rewards),
		Terminated: slices.Clone(s.Terminated), Truncated: slices.Clone(s.Truncated),
		FinalObs: slices.Clone(s.FinalObs), LastObs: slices.Clone(s.LastObs),
		Advantages: slices.Clone(s.Advantages), Returns: slices.Clone(s.Returns),
	}
	return nil
}

func (e *engine) WriteRollout(i int, r *kernels.Rollout) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	if err := host.CheckRollout(e.config, r); err != nil {
		return err
	}
	dst := &m.rollout
	copy(dst.Obs, r.Obs)
	copy(dst.Actions, r.Actions)
	copy(dst.LogProbs, r.LogProbs)
	copy(dst.Rewards, r.Rewards)
	copy(dst.Terminated, r.Terminated)
	copy(dst.Truncated, r.Truncated)
	copy(dst.FinalObs, r.FinalObs)
	copy(dst.LastObs, r.LastObs)
	for at := range dst.Values {
		dst.Values[at] = value(e.critic.forward(m.state.Policy, row(dst.Obs, at, e.spec.ObsDim)))
	}
	return nil
}
