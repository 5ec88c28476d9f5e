//go:build cuda

package gpu

import (
	"errors"
	"fmt"

	"brood/cuda"
	"brood/env"
	"brood/kernels"
	"brood/kernels/cu"
	"brood/kernels/host"
	"brood/rng"
)

// Evaluate plays whole episodes with the deterministic policy: the environments
// are stepped on the host, all members' networks run on the device.
func (e *Engine) Evaluate(ev kernels.Evaluation, returns [][]float64, lengths [][]int) error {
	if e.closed {
		return kernels.ErrClosed
	}
	if err := host.CheckEvaluation(&e.config, &ev, returns, lengths); err != nil {
		return fmt.Errorf("gpu: %w", err)
	}
	return e.each("evaluation", func(s *shard) error {
		var players []*player
		for i, m := range ev.Members {
			if m >= s.first && m < s.first+s.members {
				players = append(players, &player{member: m - s.first, returns: returns[i], lengths: lengths[i]})
			}
		}
		if len(players) == 0 {
			return nil
		}
		return s.evaluate(&ev, players)
	})
}

// player is a member in an evaluation; it plays its episodes in batches of as
// many as its buffers on the device have rows.
type player struct {
	member  int
	returns []float64 // [episodes]
	lengths []int     // [episodes]

	batch   env.Batch
	ended   []bool
	playing int
}

// evaluate plays all episodes of the players. The networks run for the range of
// members that holds all of them.
func (s *shard) evaluate(ev *kernels.Evaluation, players []*player) (err error) {
	first, last := s.members, 0
	for _, x := range players {
		first, last = min(first, x.member), max(last, x.member)
	}
	p := s.params().Slice(first, last-first+1)
	n, d, w := int(p.Environments), int(p.ObsDim), int(p.ActionWidth)
	stage, err := s.newStage(int(p.Members)*n*d, int(p.Members)*n*w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.free()) }()
	clear(stage.obs)
	for from := 0; from < ev.Episodes; from += n {
		rows := min(n, ev.Episodes-from)
		for _, x := range players {
			s.startEpisodes(ev, x, from, rows)
		}
		for step, playing := 0, true; step < host.EvalLimit(&s.config, ev) && playing; step++ {
			for _, x := range players {
				s.engine.config.Env.Observe(&x.batch, stage.obs[(x.member-first)*n*d:], d)
			}
			if err := s.actBest(&p, stage, rows); err != nil {
				return err
			}
			playing = false
			for _, x := range players {
				s.stepEpisodes(ev, x, from, stage.actions[(x.member-first)*n*w:])
				playing = playing || x.playing > 0
			}
		}
	}
	return nil
}

// stage is pinned memory for observations on the way to the device and actions
// on the way back.
type stage struct {
	obs     []float32 // [P][N][D], raw
	actions []float32 // [P][N][W], unclipped
	memory  []*cuda.Pinned
}

func (s *shard) newStage(obs, actions int) (*stage, error) {
	x := &stage{}
	for _, b := range []struct {
		name string
		n    int
		to   *[]float32
	}{{"observations", obs, &x.obs}, {"actions", actions, &x.actions}} {
		memory, err := s.ctx.AllocPinned(b.name, 4*int64(b.n))
		if err != nil {
			return nil, errors.Join(err, x.free())
		}
		x.memory = append(x.memory, memory)
		*b.to = cuda.ElementsOf[float32](memory.Bytes())
	}
	return x, nil
}

// free releases the memory. A lost device does so with its context.
func (x *stage) free() error {
	var errs []error
	for _, m := range x.memory {
		if err := m.Free(); !cuda.Lost(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// startEpisodes resets rows environments to the first states of episodes from,
// from+1 and so on.
func (s *shard) startEpisodes(ev *kernels.Evaluation, x *player, from, rows int) {
	spec := s.engine.spec
	x.batch = env.Batch{N: rows, Stride: rows, State: make([]float32, spec.StateSize*rows),
		Action: make([]float32, spec.Action.Width()*rows), Reward: make([]float32, rows), Terminated: make([]float32, rows)}
	x.ended, x.playing = make([]bool, rows), rows
	for i := range rows {
		s.resetEpisode(ev, x, from, i)
		x.returns[from+i], x.lengths[from+i] = 0, 0
	}
}

func (s *shard) resetEpisode(ev *kernels.Evaluation, x *player, from, i int) {
	stream := host.EvalStream(rng.NewKey(ev.Seed), from+i, ev.Time)
	s.engine.config.Env.Reset(&x.batch, i, &stream)
}

// actBest runs the staged observations through the actors of p.
func (s *shard) actBest(p *cu.Params, x *stage, rows int) error {
	n, d, w := int64(p.Environments), int64(p.ObsDim), int64(p.ActionWidth)
	if err := s.main.CopyToDevice(uint64(p.StageObs), cuda.BytesOf(x.obs)); err != nil {
		return err
	}
	// In place: the rollout's buffers are not touched.
	if err := s.k.Normalize(s.main, p, p.StageObs, n*d, 0, p.StageObs, n*d, rows); err != nil {
		return err
	}
	r := cu.Rows{Input: p.StageObs, Stride: n * d, Count: int32(rows), First: cu.ActorNet, Last: cu.ActorNet, Members: p.Members}
	if err := s.forward(s.main, p, &r); err != nil {
		return err
	}
	if err := s.k.ActBest(s.main, p, &r, p.StageAction, n*w); err != nil {
		return err
	}
	if err := s.main.CopyToHost(cuda.BytesOf(x.actions), uint64(p.StageAction)); err != nil {
		return err
	}
	return s.main.Synchronize()
}

// stepEpisodes steps a player's environments by actions [N][W]. One whose episode
// has ended begins it again, so that none is stepped past its end, but no longer
// counts.
func (s *shard) stepEpisodes(ev *kernels.Evaluation, x *player, from int, actions []float32) {
	if x.playing == 0 {
		return
	}
	setActions(&x.batch, s.engine.spec.Action, actions)
	s.engine.config.Env.Step(&x.batch)
	for i := range x.batch.N {
		if !x.ended[i] {
			x.returns[from+i] += float64(x.batch.Reward[i])
			x.lengths[from+i]++
		}
		if x.batch.Terminated[i] != 0 {
			if !x.ended[i] {
				x.ended[i] = true
				x.playing--
			}
			s.resetEpisode(ev, x, from, i)
		}
	}
}

// setActions writes actions [N][W], within their bounds, into a batch.
func setActions(b *env.Batch, space env.ActionSpace, actions []float32) {
	w := space.Width()
	for i := range b.N {
		for a, x := range actions[i*w : (i+1)*w] {
			if !space.Discrete {
				x = max(space.Low[a], min(space.High[a], x))
			}
			b.Action[a*b.Stride+i] = x
		}
	}
}
