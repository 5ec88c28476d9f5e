//go:build cuda

package gpu

import (
	"brood/cuda"
	"brood/kernels/cu"
)

// collect fills the rollouts: in one launch where the networks are small, else
// step by step.
func (s *shard) collect() error {
	switch {
	case s.host != nil:
		return s.collectOnHost()
	case s.plan.FusedRollout:
		return s.k.Rollout(s.main, s.params(), s.plan.Env)
	}
	p := s.params()
	if err := s.k.EnvObserve(s.main, p, s.plan.Env); err != nil {
		return err
	}
	for t := range int(p.Steps) {
		if err := s.act(s.main, p, t); err != nil {
			return err
		}
		if err := s.k.EnvStep(s.main, p, s.plan.Env, t); err != nil {
			return err
		}
	}
	return s.lastValues(s.main, p)
}

// act queues, for the members of p, the observations of step t in StageObs on
// their way through normalisation and the networks to actions.
func (s *shard) act(on *cuda.Stream, p *cu.Params, t int) error {
	stage := int64(p.Environments) * int64(p.ObsDim)
	rollout := int64(p.Rows) * int64(p.ObsDim)
	at := cu.Ptr(4 * int64(t) * stage)
	raw := cu.Ptr(0)
	if p.RawObs != 0 {
		raw = p.RawObs + at
	}
	if err := s.k.Normalize(on, p, p.StageObs, stage, raw, p.Obs+at, rollout, int(p.Environments)); err != nil {
		return err
	}
	r := cu.Rows{Input: p.Obs + at, Stride: rollout, Count: p.Environments,
		First: cu.ActorNet, Last: cu.CriticNet, Members: p.Members}
	if err := s.forward(on, p, &r); err != nil {
		return err
	}
	return s.k.ActSample(on, p, t)
}

// lastValues queues the normalisation of the observations after the last step,
// which are in StageObs, and their values.
func (s *shard) lastValues(on *cuda.Stream, p *cu.Params) error {
	stage := int64(p.Environments) * int64(p.ObsDim)
	if err := s.k.Normalize(on, p, p.StageObs, stage, 0, p.LastObs, stage, int(p.Environments)); err != nil {
		return err
	}
	return s.values(on, p, p.LastObs, stage, int(p.Environments), p.LastValues, int64(p.Environments))
}

// values queues the critic's values of rows of observations to dst.
func (s *shard) values(on *cuda.Stream, p *cu.Params, obs cu.Ptr, stride int64, rows int, dst cu.Ptr, dstStride int64) error {
	d := int64(p.ObsDim)
	for from := 0; from < rows; from += int(p.MaxRows) {
		r := cu.Rows{Input: obs + cu.Ptr(4*int64(from)*d), Stride: stride, Count: int32(min(int(p.MaxRows), rows-from)),
			First: cu.CriticNet, Last: cu.CriticNet, Members: p.Members}
		if err := s.forward(on, p, &r); err != nil {
			return err
		}
		if err := s.k.Value(on, p, &r, dst+cu.Ptr(4*from), dstStride); err != nil {
			return err
		}
	}
	return nil
}

// forward queues all layers of the networks of r.
func (s *shard) forward(on *cuda.Stream, p *cu.Params, r *cu.Rows) error {
	for layer := range int(p.Net[r.First].Layers) {
		if err := s.k.LinearForward(on, p, r, layer); err != nil {
			return err
		}
	}
	return nil
}
