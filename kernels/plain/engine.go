// Package plain is the readable engine: float32 loops in plain Go, one operation
// per file, one thread. It is the oracle the other engines are tested against,
// and runs anywhere.
//
// The networks see one row at a time: forward.go, backward.go. The rest reads in
// the order of an iteration: collect.go, advantages.go, update.go.
package plain

import (
	"fmt"
	"math"
	"time"

	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/rng"
	"brood/tensor"
)

type engine struct {
	config  *kernels.Config
	spec    env.Spec
	layout  *tensor.Layout
	arena   *tensor.Arena
	index   *host.PolicyIndex
	members []*member
	outside *host.Outside // nil: the environments are the engine's own

	actor, critic *network
	permutations  [][]int32 // [epochs][B] where set, else nil
	order         []int32   // [B], of the present epoch
	sort          *host.SortScratch
	invStd        []float32 // [D], of the observations' statistics
	noise         []float32 // [A]
	choices       []int     // of each component of a discrete action
	words         []uint32  // one for each of them
	obs           []float32 // [N][D], scratch
	final         []float32 // [N][D], true last observations, scratch
	meanAbs       []float64 // one per policy tensor, as are the next two
	variance      []float64
	ratios        []float64
	stream        rng.Stream
	profile       kernels.Profile
	closed        bool
}

// member is what the engine keeps per member besides its state: everything here
// is made anew in each iteration.
type member struct {
	id       int // in the addresses of random numbers
	state    *host.State
	rollout  kernels.Rollout
	raw      []float32 // [T][N][D], observations before normalisation; nil if off
	returns  []float32 // [T][N], the discounted returns G; nil if off
	batch    env.Batch
	weights  []float32 // the environment's hyperparameters; see env.Batch
	episodes []episode // finished in this iteration, in order
	gradient []float32 // the size of the policy section
	steps    []kernels.MinibatchStats
	rate     float32 // learning rate of the last Update
}

type episode struct{ ret, length float32 }

// New makes an engine of c.Population fresh members. The config must not change
// afterwards.
func New(c *kernels.Config) (kernels.Engine, error) {
	if err := host.CheckHost(c); err != nil {
		return nil, err
	}
	layout, err := kernels.NewLayout(c)
	if err != nil {
		return nil, err
	}
	arena, err := tensor.NewArena(layout, c.Population)
	if err != nil {
		return nil, err
	}
	spec := c.Env.Spec()
	index := host.NewPolicyIndex(c, layout)
	d, n := spec.ObsDim, c.Environments
	e := &engine{
		config: c, spec: spec, layout: layout, arena: arena, index: index,
		actor:    newNetwork(index.Actor, c.Activation),
		critic:   newNetwork(index.Critic, c.Activation),
		order:    make([]int32, c.Rows()),
		sort:     host.NewSortScratch(c.Rows()),
		invStd:   make([]float32, d),
		noise:    make([]float32, spec.Action.N),
		choices:  spec.Action.Choices(),
		words:    make([]uint32, len(spec.Action.Choices())),
		obs:      make([]float32, n*d),
		final:    make([]float32, n*d),
		meanAbs:  make([]float64, len(index.Tensors)),
		variance: make([]float64, len(index.Tensors)),
		ratios:   make([]float64, len(index.Tensors)),
	}
	for i := range c.Population {
		host.Init(c, arena.Member(i), c.RandomMember(i))
		e.members = append(e.members, e.newMember(i))
	}
	var states []*host.State
	for _, m := range e.members {
		states = append(states, m.state)
	}
	e.outside = host.NewOutside(c, states)
	return e, nil
}

func (e *engine) newMember(i int) *member {
	c, b, n := e.config, e.config.Rows(), e.config.Environments
	d, w := e.spec.ObsDim, e.spec.Action.Width()
	m := &member{
		id:    c.RandomMember(i),
		state: host.NewState(e.arena.Member(i)),
		rollout: kernels.Rollout{
			Obs: make([]float32, b*d), Actions: make([]float32, b*w), LogProbs: make([]float32, b),
			Values: make([]float32, b), Rewards: make([]float32, b),
			Terminated: make([]uint8, b), Truncated: make([]uint8, b),
			FinalObs: make([]float32, b*d), LastObs: make([]float32, n*d),
			Advantages: make([]float32, b), Returns: make([]float32, b),
		},
		episodes: make([]episode, 0, b),
		weights:  make([]float32, len(e.spec.Hyperparameters)),
		gradient: make([]float32, e.index.Size),
		steps:    make([]kernels.MinibatchStats, 0, c.Epochs*c.Minibatches),
	}
	m.batch = host.TrainBatch(c, m.state)
	m.batch.Action = make([]float32, w*n)
	m.batch.Reward = make([]float32, n)
	m.batch.Terminated = make([]float32, n)
	m.batch.Shaping = make([]float32, n)
	if c.NormalizeObservations {
		m.raw = make([]float32, b*d)
	}
	if c.NormalizeRewards {
		m.returns = make([]float32, b)
	}
	return m
}

func (e *engine) Name() string             { return "plain" }
func (e *engine) Config() *kernels.Config  { return e.config }
func (e *engine) Layout() *tensor.Layout   { return e.layout }
func (e *engine) Profile() kernels.Profile { return e.profile }
func (e *engine) Close() error             { e.closed = true; return e.outside.Close() }
func (e *engine) key(m *member) rng.Key    { return rng.NewKey(*m.state.Seed) }
func (e *engine) timed(p kernels.Phase, since time.Time) {
	e.profile[p] += time.Since(since)
}

// each runs f for every member, unless the engine is closed.
func (e *engine) each(f func(m *member)) error {
	if e.closed {
		return kernels.ErrClosed
	}
	for _, m := range e.members {
		f(m)
	}
	return nil
}

func (e *engine) member(i int) (*member, error) {
	if e.closed {
		return nil, kernels.ErrClosed
	}
	if i < 0 || i >= len(e.members) {
		return nil, fmt.Errorf("%w: %d of %d", kernels.ErrMember, i, len(e.members))
	}
	return e.members[i], nil
}

func (e *engine) Collect() error {
	if e.outside != nil && !e.closed {
		return e.collectOutside()
	}
	return e.each(e.collect)
}

func (e *engine) Advantages() error { return e.each(e.advantages) }
func (e *engine) Update() error     { return e.each(e.update) }

func (e *engine) Iterate(stats []kernels.Stats) error {
	if e.closed {
		return kernels.ErrClosed
	}
	if len(stats) != len(e.members) {
		return fmt.Errorf("kernels: room for the statistics of %d members; there are %d", len(stats), len(e.members))
	}
	if e.outside != nil {
		if err := e.collectOutside(); err != nil {
			return err
		}
	}
	for i, m := range e.members {
		if e.outside == nil {
			e.collect(m)
		}
		e.advantages(m)
		e.update(m)
		stats[i] = e.finish(m)
	}
	return nil
}

// finish ends an iteration: normalisation statistics, episodes, counters.
func (e *engine) finish(m *member) kernels.Stats {
	defer e.timed(kernels.PhaseStatistics, time.Now())
	s := m.state
	if m.raw != nil {
		s.MergeObs(m.raw, e.config.Rows(), e.spec.ObsDim)
	}
	if m.returns != nil {
		s.MergeRewards(m.returns)
	}
	var finished host.Finished
	for _, ep := range m.episodes {
		s.RecordEpisode(&finished, ep.ret, ep.length)
	}
	s.EndIteration(e.config.Rows())
	explained := host.ExplainedVariance(m.rollout.Advantages, m.rollout.Returns)
	return s.Summarize(m.steps, &finished, m.rate, explained)
}

func (e *engine) Exploit(exploits []kernels.Exploit) error {
	if e.closed {
		return kernels.ErrClosed
	}
	list, err := host.ArenaExploits(e.config, exploits, func(i int) *host.State { return e.members[i].state })
	if err != nil {
		return err
	}
	if err := e.arena.Exploit(list); err != nil {
		return err
	}
	for i := range exploits {
		e.members[exploits[i].Member].state.SetHyperparameters(exploits[i].Hyperparameters)
	}
	return nil
}

func (e *engine) SetHyperparameters(i int, h kernels.Hyperparameters) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	if err := host.CheckHyperparameters(e.config, h); err != nil {
		return fmt.Errorf("kernels: member %d: %w", i, err)
	}
	m.state.SetHyperparameters(h)
	return nil
}

func (e *engine) Score(i int) (float64, int) {
	m, err := e.member(i)
	if err != nil {
		return math.NaN(), 0
	}
	return m.state.Score()
}

func (e *engine) Returns(i int, dst []float64) []float64 {
	m, err := e.member(i)
	if err != nil {
		return dst
	}
	return m.state.LastReturns(dst)
}

func (e *engine) ClearIntervals() {
	_ = e.each(func(m *member) { m.state.ClearInterval() }) // nothing to clear once closed
}

func (e *engine) Snapshot(i int, dst tensor.Member) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	if err := host.CheckLayout(e.layout, dst); err != nil {
		return err
	}
	dst.CopyFrom(m.state.Member)
	return nil
}

func (e *engine) Restore(i int, src tensor.Member) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	if err := host.CheckLayout(e.layout, src); err != nil {
		return err
	}
	m.state.Member.CopyFrom(src)
	if e.outside != nil {
		e.outside.Forget(i)
	}
	return nil
}

func (e *engine) BeginSnapshot() (func() ([]tensor.Member, error), error) {
	if e.closed {
		return nil, kernels.ErrClosed
	}
	kept := make([]tensor.Member, len(e.members))
	for i, m := range e.members {
		kept[i] = m.state.Member.Clone()
	}
	return func() ([]tensor.Member, error) { return kept, nil }, nil
}

func (e *engine) SetPermutations(p [][]int32) error {
	if e.closed {
		return kernels.ErrClosed
	}
	if err := host.CheckPermutations(e.config, p); err != nil {
		return err
	}
	e.permutations = nil
	for _, order := range p {
		e.permutations = append(e.permutations, append([]int32(nil), order...))
	}
	return nil
}

func (e *engine) MinibatchStats(i int) []kernels.MinibatchStats {
	m, err := e.member(i)
	if err != nil {
		return nil
	}
	return m.steps
}

func (e *engine) Gradient(i int, dst []float32) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	if len(dst) != len(m.gradient) {
		return fmt.Errorf("kernels: room for a gradient of %d floats; the policy section has %d", len(dst), len(m.gradient))
	}
	copy(dst, m.gradient)
	return nil
}
