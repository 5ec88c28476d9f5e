// Package cpu is the engine for processors: SIMD assembly on all cores, with
// plain Go behind the same functions where there is none. See
// docs/architecture.md for its structure and measurements.
package cpu

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"brood/env"
	"brood/kernels"
	"brood/kernels/cpu/simd"
	"brood/kernels/host"
	"brood/tensor"
)

// PathVariable is the environment variable that forces a set of inner loops:
// avx512, avx2 or generic.
const PathVariable = "BROOD_CPU"

// Engine implements kernels.Engine.
type Engine struct {
	config kernels.Config
	spec   env.Spec
	// choices are those of each component of a discrete action; nil: continuous.
	choices []int
	path    *simd.Path
	layout  *tensor.Layout
	arena   *tensor.Arena
	kept    *tensor.Arena // of the last BeginSnapshot; nil before the first
	index   *host.PolicyIndex
	step    func(*env.Batch) // of the environment
	// outside has the environments that are not the engine's own; nil: all are.
	outside *host.Outside
	turn    turn

	actor, critic network
	packedSize    int // floats of both networks' packed weights
	gradSize      int // floats of a chunk's gradient
	logStdGrad    int // offset of log_std's gradient in it
	chunks        int // per minibatch
	slices        int // of the environments, per member

	members      []*member
	permutations [][]int32 // fixed order of rows by epoch; nil: drawn
	evaluation   *evaluation

	workers    []*worker
	task       task
	next       atomic.Int64
	unfinished atomic.Int64
	running    sync.WaitGroup
	start      time.Time
	closed     bool
}

var _ kernels.Engine = (*Engine)(nil)

// chunkRows is the number of rows whose gradient is summed in one buffer; a
// minibatch is cut into chunks of this size, which different workers may do.
// Fewer rows would spread one member over more cores at more cost per row.
const chunkRows = 512

// New makes an engine with the fastest inner loops this processor has, or those
// that BROOD_CPU names.
func New(c *kernels.Config) (kernels.Engine, error) {
	path, err := simd.Select(os.Getenv(PathVariable))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", PathVariable, err)
	}
	return NewWithPath(c, path)
}

// NewWithPath makes an engine with the given inner loops.
func NewWithPath(c *kernels.Config, path *simd.Path) (kernels.Engine, error) {
	if err := host.CheckHost(c); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	layout, err := kernels.NewLayout(c)
	if err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	arena, err := tensor.NewArena(layout, c.Population)
	if err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	e := &Engine{config: *c, spec: c.Env.Spec(), path: path, layout: layout, arena: arena,
		index: host.NewPolicyIndex(c, layout), start: time.Now()}
	e.choices = e.spec.Action.Choices()
	e.step = e.envStep()
	e.actor = plan(e.index.Actor, c.Activation, &e.packedSize, &e.gradSize)
	e.critic = plan(e.index.Critic, c.Activation, &e.packedSize, &e.gradSize)
	e.logStdGrad = e.gradSize
	if !e.spec.Action.Discrete {
		e.gradSize += pad(e.spec.Action.N)
	}
	e.chunks = (c.MinibatchRows() + chunkRows - 1) / chunkRows

	threads := c.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	e.slices = 1
	if c.Population < threads {
		// Environments do not meet in a sum, so their slices may follow the threads.
		e.slices = min((threads+c.Population-1)/c.Population, (c.Environments+15)/16)
	}
	for i := range c.Population {
		host.Init(&e.config, arena.Member(i), c.RandomMember(i))
		e.members = append(e.members, e.newMember(i))
	}
	e.prepareOutside()
	for i := range threads {
		w := &worker{engine: e, wake: make(chan struct{}, 1)}
		w.tile = newTile(&e.actor, &e.critic)
		w.rows.allocate(e)
		w.owned.allocate(e)
		e.workers = append(e.workers, w)
		if i > 0 {
			go w.loop()
		}
	}
	return e, nil
}

// envStep is the SIMD step of a native environment, where the path has one, else
// the environment's own.
func (e *Engine) envStep() func(*env.Batch) {
	if fast, ok := e.path.Steps[e.spec.ID]; ok {
		// Not for an environment that only shares the name.
		if native, err := env.Make(e.spec.ID); err == nil && reflect.TypeOf(native) == reflect.TypeOf(e.config.Env) {
			return fast
		}
	}
	return e.config.Env.Step
}

// Name is "cpu/" and the name of the inner loops.
func (e *Engine) Name() string { return "cpu/" + e.path.Name }

// Config returns the configuration the engine was made with.
func (e *Engine) Config() *kernels.Config { return &e.config }

// Layout is the layout of every member's state.
func (e *Engine) Layout() *tensor.Layout { return e.layout }

// Iterate runs one iteration of every member. Members do not wait for each
// other: each goes from its first step to its last update on its own.
func (e *Engine) Iterate(stats []kernels.Stats) error {
	if e.closed {
		return kernels.ErrClosed
	}
	if len(stats) != len(e.members) {
		return fmt.Errorf("cpu: Iterate: %d stats for %d members", len(stats), len(e.members))
	}
	if err := e.iterate(); err != nil {
		return err
	}
	for i, m := range e.members {
		stats[i] = m.stats
	}
	return nil
}

func (e *Engine) iterate() error {
	if e.outside == nil {
		e.each((*worker).iterate)
		return nil
	}
	if err := e.collectOutside(); err != nil {
		return err
	}
	e.each((*worker).learn)
	return nil
}

func (w *worker) iterate() {
	w.collect()
	w.learn()
}

// learn is what follows a member's rollout.
func (w *worker) learn() {
	w.advantages()
	w.update()
	w.endIteration()
}

// Collect fills the rollout of every member.
func (e *Engine) Collect() error {
	if e.outside != nil && !e.closed {
		return e.collectOutside()
	}
	return e.run((*worker).collect)
}

// Advantages computes GAE from the rollouts.
func (e *Engine) Advantages() error { return e.run((*worker).advantages) }

// Update runs all epochs over the rollouts.
func (e *Engine) Update() error { return e.run((*worker).update) }

func (e *Engine) run(t task) error {
	if e.closed {
		return kernels.ErrClosed
	}
	e.each(t)
	return nil
}

// member checks an index and returns the member.
func (e *Engine) member(i int) (*member, error) {
	if e.closed {
		return nil, kernels.ErrClosed
	}
	if i < 0 || i >= len(e.members) {
		return nil, fmt.Errorf("%w: %d of a population of %d", kernels.ErrMember, i, len(e.members))
	}
	return e.members[i], nil
}

// Exploit carries out all exploits as if at one moment.
func (e *Engine) Exploit(exploits []kernels.Exploit) error {
	if e.closed {
		return kernels.ErrClosed
	}
	list, err := host.ArenaExploits(&e.config, exploits, func(i int) *host.State { return e.members[i].state })
	if err != nil {
		return fmt.Errorf("cpu: %w", err)
	}
	if err := e.arena.Exploit(list); err != nil {
		return fmt.Errorf("cpu: %w", err)
	}
	for i := range exploits {
		e.members[exploits[i].Member].state.SetHyperparameters(exploits[i].Hyperparameters)
	}
	return nil
}

// SetHyperparameters takes effect at the member's next update.
func (e *Engine) SetHyperparameters(i int, h kernels.Hyperparameters) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	if err := host.CheckHyperparameters(&e.config, h); err != nil {
		return fmt.Errorf("cpu: member %d: %w", i, err)
	}
	m.state.SetHyperparameters(h)
	return nil
}

// Score returns the mean true return a member is judged by.
func (e *Engine) Score(i int) (float64, int) {
	m, err := e.member(i)
	if err != nil {
		return math.NaN(), 0
	}
	return m.state.Score()
}

// Returns appends the returns of a member's last finished episodes to dst.
func (e *Engine) Returns(i int, dst []float64) []float64 {
	m, err := e.member(i)
	if err != nil {
		return dst
	}
	return m.state.LastReturns(dst)
}

// ClearIntervals begins a new interval for every member's score.
func (e *Engine) ClearIntervals() {
	for _, m := range e.members {
		m.state.ClearInterval()
	}
}

// Snapshot copies a member's whole state to dst.
func (e *Engine) Snapshot(i int, dst tensor.Member) error { return e.transfer(i, dst, false) }

// Restore overwrites a member's whole state by src.
func (e *Engine) Restore(i int, src tensor.Member) error { return e.transfer(i, src, true) }

func (e *Engine) transfer(i int, other tensor.Member, restore bool) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	if err := host.CheckLayout(e.layout, other); err != nil {
		return fmt.Errorf("cpu: member %d: %w", i, err)
	}
	if restore {
		m.state.Member.CopyFrom(other)
		if e.outside != nil {
			e.outside.Forget(i)
		}
	} else {
		other.CopyFrom(m.state.Member)
	}
	return nil
}

// Profile returns the time spent by phase, summed over workers.
func (e *Engine) Profile() kernels.Profile {
	var p kernels.Profile
	for _, w := range e.workers {
		for phase, ns := range w.profile {
			p[phase] += time.Duration(ns)
		}
	}
	return p
}

// Close ends the workers; it may be called twice.
func (e *Engine) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	for _, w := range e.workers[1:] {
		close(w.wake)
	}
	return e.outside.Close()
}

// SetPermutations fixes the order of the rows of every coming update.
func (e *Engine) SetPermutations(p [][]int32) error {
	if e.closed {
		return kernels.ErrClosed
	}
	if err := host.CheckPermutations(&e.config, p); err != nil {
		return fmt.Errorf("cpu: %w", err)
	}
	e.permutations = p
	return nil
}

// MinibatchStats returns the figures of each minibatch of the last update.
func (e *Engine) MinibatchStats(i int) []kernels.MinibatchStats {
	m, err := e.member(i)
	if err != nil {
		return nil
	}
	return m.steps
}

// Gradient copies the gradient of the last minibatch to dst.
func (e *Engine) Gradient(i int, dst []float32) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	if len(dst) != len(m.grad) {
		return fmt.Errorf("cpu: Gradient: %d floats, want %d", len(dst), len(m.grad))
	}
	if len(m.steps) == 0 {
		return errors.New("cpu: Gradient: no minibatch has been computed")
	}
	copy(dst, m.grad)
	e.path.Scale(dst, m.steps[len(m.steps)-1].VGSScale)
	return nil
}
