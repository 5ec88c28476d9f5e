//go:build cuda

package gpu

import (
	"errors"
	"fmt"
	"math"

	"brood/cuda"
	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/tensor"
)

// Engine implements kernels.Engine and kernels.Pipelined.
type Engine struct {
	config kernels.Config
	spec   env.Spec
	layout *tensor.Layout
	index  *host.PolicyIndex
	shards []*shard
	// begun counts iterations that were begun, waited those whose statistics were
	// read.
	begun, waited int64
	closed        bool
}

var (
	_ kernels.Engine    = (*Engine)(nil)
	_ kernels.Pipelined = (*Engine)(nil)
)

// New makes an engine on the GPUs with the given ordinals, each of which takes a
// neighbouring part of the population. A member's numbers do not depend on the
// device, but on how many members share it: that decides how its minibatches are
// cut into parts that are summed.
func New(c *kernels.Config, devices ...int) (kernels.Engine, error) {
	return newEngine(c, false, devices...)
}

// newEngine is New, where tiled keeps it from using the kernels for small
// networks.
func newEngine(c *kernels.Config, tiled bool, devices ...int) (kernels.Engine, error) {
	if err := host.Check(c); err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	if len(devices) == 0 {
		devices = []int{0}
	}
	if len(devices) > c.Population {
		return nil, fmt.Errorf("gpu: %d devices for a population of %d; there must be at least a member for each", len(devices), c.Population)
	}
	layout, err := kernels.NewLayout(c)
	if err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	e := &Engine{config: *c, spec: c.Env.Spec(), layout: layout, index: host.NewPolicyIndex(c, layout)}
	first := 0
	for i, device := range devices {
		end := c.Population * (i + 1) / len(devices)
		s, err := newShard(e, tiled, device, first, end-first)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("gpu: members %d to %d: %w", first, end-1, err), e.Close())
		}
		e.shards = append(e.shards, s)
		first = end
	}
	return e, nil
}

// Name is "cuda/", the device's architecture and, where there are several, their
// number: "cuda/sm_90", "cuda/sm_90x2".
func (e *Engine) Name() string {
	d := e.shards[0].ctx.Device()
	name := fmt.Sprintf("cuda/sm_%d%d", d.Major, d.Minor)
	if len(e.shards) > 1 {
		name += fmt.Sprintf("x%d", len(e.shards))
	}
	return name
}

// Config returns the configuration the engine was made with.
func (e *Engine) Config() *kernels.Config { return &e.config }

// Layout is the layout of every member's state.
func (e *Engine) Layout() *tensor.Layout { return e.layout }

// each runs f on every shard in turn, unless the engine is closed.
func (e *Engine) each(what string, f func(s *shard) error) error {
	if e.closed {
		return kernels.ErrClosed
	}
	for _, s := range e.shards {
		if err := s.ctx.Do(func() error { return f(s) }); err != nil {
			return s.failed(what, err)
		}
	}
	return nil
}

// at finds a member: its shard and its index there.
func (e *Engine) at(i int) (s *shard, local int, err error) {
	if e.closed {
		return nil, 0, kernels.ErrClosed
	}
	if i < 0 || i >= e.config.Population {
		return nil, 0, fmt.Errorf("gpu: %w: %d of a population of %d", kernels.ErrMember, i, e.config.Population)
	}
	for _, s := range e.shards {
		if i < s.first+s.members {
			return s, i - s.first, nil
		}
	}
	return nil, 0, kernels.ErrMember // the shards cover the population
}

// Iterate runs one iteration of every member and waits for its statistics.
func (e *Engine) Iterate(stats []kernels.Stats) error {
	if err := e.checkRoom(stats); err != nil {
		return err
	}
	if err := e.Begin(); err != nil {
		return err
	}
	for e.waited < e.begun {
		if err := e.Wait(stats); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) checkRoom(stats []kernels.Stats) error {
	if e.closed {
		return kernels.ErrClosed
	}
	if len(stats) != e.config.Population {
		return fmt.Errorf("gpu: room for the statistics of %d members; there are %d", len(stats), e.config.Population)
	}
	return nil
}

// Begin queues an iteration on every shard. With environments on the host it
// returns once these have been stepped.
func (e *Engine) Begin() error {
	if !e.closed && e.begun-e.waited >= resultSlots {
		return fmt.Errorf("gpu: %d iterations are begun already; wait for one", e.begun-e.waited)
	}
	if err := e.each("iteration", func(s *shard) error { return s.begin(int(e.begun % resultSlots)) }); err != nil {
		return err
	}
	e.begun++
	return nil
}

// Wait waits for the oldest iteration that was begun.
func (e *Engine) Wait(stats []kernels.Stats) error {
	if err := e.checkRoom(stats); err != nil {
		return err
	}
	if e.waited == e.begun {
		return errors.New("gpu: no iteration was begun")
	}
	slot := int(e.waited % resultSlots)
	err := e.each("iteration", func(s *shard) error { return s.wait(slot, stats[s.first:s.first+s.members]) })
	e.waited++
	return err
}

// Collect fills the rollout of every member.
func (e *Engine) Collect() error {
	return e.each("collect", func(s *shard) error {
		if err := s.collect(); err != nil {
			return err
		}
		return s.main.Synchronize()
	})
}

// Advantages computes GAE from the rollouts.
func (e *Engine) Advantages() error {
	return e.each("advantages", func(s *shard) error {
		if err := s.advantages(); err != nil {
			return err
		}
		return s.main.Synchronize()
	})
}

// Update runs all epochs over the rollouts.
func (e *Engine) Update() error {
	return e.each("update", func(s *shard) error {
		if err := s.permute(); err != nil {
			return err
		}
		if err := s.update(); err != nil {
			return err
		}
		return s.readResults()
	})
}

// SetHyperparameters takes effect at the member's next update.
func (e *Engine) SetHyperparameters(i int, h kernels.Hyperparameters) error {
	s, m, err := e.at(i)
	if err != nil {
		return err
	}
	if err := host.CheckHyperparameters(&e.config, h); err != nil {
		return fmt.Errorf("gpu: member %d: %w", i, err)
	}
	return s.do("hyperparameters", func() error { return s.setHyperparameters(m, h) })
}

// Score returns the mean true return a member is judged by.
func (e *Engine) Score(i int) (float64, int) {
	s, m, err := e.at(i)
	if err != nil {
		return math.NaN(), 0
	}
	if err := s.do("score", s.readEpisodes); err != nil {
		return math.NaN(), 0 // a lost device: the next call that can say so does
	}
	return s.mirrors[m].Score()
}

// Returns appends the true returns of a member's last finished episodes to dst.
func (e *Engine) Returns(i int, dst []float64) []float64 {
	s, m, err := e.at(i)
	if err != nil {
		return dst
	}
	if err := s.do("returns", s.readEpisodes); err != nil {
		return dst // as for Score
	}
	return s.mirrors[m].LastReturns(dst)
}

// ClearIntervals begins a new interval for every member's score.
func (e *Engine) ClearIntervals() {
	_ = e.each("scores", func(s *shard) error { // as for Score
		s.episodesRead = false
		p := s.params()
		return s.k.ClearIntervals(s.main, p)
	})
}

// MinibatchStats returns the figures of each minibatch of the last update.
func (e *Engine) MinibatchStats(i int) []kernels.MinibatchStats {
	s, m, err := e.at(i)
	if err != nil {
		return nil
	}
	return s.steps[m]
}

// Profile returns the time by phase: collecting under PhaseForward, the update
// and all that follows it under PhaseGradient, where kernels do several phases
// in one; the host's environments under PhaseStep.
func (e *Engine) Profile() (p kernels.Profile) {
	for _, s := range e.shards {
		for i, t := range s.profile {
			p[i] += t
		}
	}
	return p
}

// Close frees everything on the devices; it may be called twice.
func (e *Engine) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	var errs []error
	for _, s := range e.shards {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// Synchronize waits until the devices have done all that was queued.
func (e *Engine) Synchronize() error {
	return e.each("work", func(s *shard) error { return s.main.Synchronize() })
}

// Device names one GPU, for people to read.
func (e *Engine) Device() cuda.Device { return e.shards[0].ctx.Device() }

// Image names the built kernels in use.
func (e *Engine) Image() string { return e.shards[0].k.Image }
