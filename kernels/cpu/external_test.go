package cpu_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/kernels"
	"brood/kernels/cpu"
	"brood/kernels/host"
	"brood/kernels/plain"
	"brood/rng"
	"brood/tensor"
)

// fixed is an environment whose episodes all start in one state: as no seed matters, it
// gives the same wherever it is stepped.
type fixed struct {
	env.Vector
	limit int
}

func (f fixed) Spec() env.Spec {
	spec := f.Vector.Spec()
	spec.ID, spec.MaxEpisodeSteps = "Fixed", f.limit
	return spec
}

func (f fixed) Reset(b *env.Batch, i int, _ *rng.Stream) {
	r := rng.NewKey(3).Stream(0, rng.Address{Purpose: rng.User})
	f.Vector.Reset(b, i, &r)
}

// elsewhere is fixed as an external environment, stepped in this process.
type elsewhere struct {
	fixed
	failAt int // the step of a region's session that fails its first environment; 0: none
	broken int // the step whose Wait is an error; 0: none
	opened *[]*session
}

func (e elsewhere) Spec() env.Spec {
	spec := e.fixed.Spec()
	spec.StateSize, spec.MaxEpisodeSteps = env.ExternalState, 0
	return spec
}

func (e elsewhere) Reset(b *env.Batch, i int, r *rng.Stream) { env.PutSeed(b, i, r) }
func (e elsewhere) Observe(*env.Batch, []float32, int)       { panic("observed by the engine") }
func (e elsewhere) Step(*env.Batch)                          { panic("stepped by the engine") }

func (e elsewhere) Open(regions []int, _ func(string)) (env.Session, error) {
	n := 0
	s := &session{env: e, steps: make([]int, len(regions))}
	for _, r := range regions {
		s.regions = append(s.regions, [2]int{n, n + r})
		n += r
	}
	spec := e.fixed.Spec()
	d, w := spec.ObsDim, spec.Action.Width()
	s.batch = env.Batch{N: 1, Stride: n, State: make([]float32, spec.StateSize*n), Action: make([]float32, w*n), Reward: make([]float32, 1), Terminated: make([]float32, 1)}
	s.length = make([]int, n)
	s.lanes = env.Lanes{Command: make([]uint8, n), Seed: make([]uint32, n), Action: make([]float32, n*w),
		Obs: make([]float32, n*d), Final: make([]float32, n*d), Reward: make([]float32, n), Outcome: make([]uint8, n)}
	if e.opened != nil {
		*e.opened = append(*e.opened, s)
	}
	return s, nil
}

type session struct {
	env     elsewhere
	regions [][2]int
	lanes   env.Lanes
	batch   env.Batch
	length  []int
	begun   []int // regions in the order of Begin
	steps   []int // of each region
	seeds   []uint32
	closed  int
}

func (s *session) Lanes() *env.Lanes      { return &s.lanes }
func (s *session) Begin(region int) error { s.begun = append(s.begun, region); return nil }
func (s *session) Close() error           { s.closed++; return nil }

func (s *session) Wait(region int) error {
	if s.begun[0] != region {
		return errors.New("waited in another order than begun")
	}
	s.begun = s.begun[1:]
	s.steps[region]++
	if s.steps[region] == s.env.broken {
		return errors.New("the worker is broken")
	}
	l, spec := &s.lanes, s.env.fixed.Spec()
	d, w := spec.ObsDim, spec.Action.Width()
	for lane := s.regions[region][0]; lane < s.regions[region][1]; lane++ {
		b := s.batch
		b.State, b.Action = b.State[lane:], b.Action[lane:]
		switch l.Command[lane] {
		case env.LaneIdle:
			continue
		case env.LaneReset:
			s.seeds = append(s.seeds, l.Seed[lane])
			s.length[lane], l.Outcome[lane] = 0, 0
			s.env.fixed.Reset(&b, 0, nil)
		default:
			for c := range w {
				b.Action[c*b.Stride] = l.Action[lane*w+c]
			}
			s.env.fixed.Step(&b)
			s.length[lane]++
			l.Reward[lane], l.Outcome[lane] = b.Reward[0], 0
			switch {
			case s.steps[region] == s.env.failAt && lane == s.regions[region][0]:
				l.Outcome[lane] = env.LaneTruncated | env.LaneFailed
			case b.Terminated[0] != 0:
				l.Outcome[lane] = env.LaneTerminated
			case s.length[lane] >= s.env.limit:
				l.Outcome[lane] = env.LaneTruncated
			}
			if l.Outcome[lane] != 0 {
				s.env.fixed.Observe(&b, l.Final[lane*d:(lane+1)*d], d)
				s.length[lane] = 0
				s.env.fixed.Reset(&b, 0, nil)
			}
		}
		s.env.fixed.Observe(&b, l.Obs[lane*d:(lane+1)*d], d)
	}
	return nil
}

type factory = func(*kernels.Config) (kernels.Engine, error)

// processorEngines are those that step environments elsewhere.
func processorEngines() map[string]factory {
	with := func(threads int) factory {
		return func(c *kernels.Config) (kernels.Engine, error) {
			d := *c
			d.Threads = threads
			return cpu.New(&d)
		}
	}
	return map[string]factory{"plain": plain.New, "cpu, 1 thread": with(1), "cpu, 3 threads": with(3)}
}

func made(t *testing.T, newEngine factory, c *kernels.Config) kernels.Engine {
	t.Helper()
	e, err := newEngine(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// Stepped elsewhere, an environment gives the same rollouts, statistics and weights as
// in the engine, to the bit.
func TestExternalEqualsTheEnginesOwn(t *testing.T) {
	pendulum, err := env.Make("Pendulum-v1")
	require.NoError(t, err)
	for name, newEngine := range processorEngines() {
		for _, size := range []struct {
			vector                   env.Vector
			population, environments int
			steps                    int
		}{{env.CartPole{}, 3, 40, 32}, {env.CartPole{}, 1, 5, 64}, {env.CartPole{}, 1, 1, 64}, {pendulum, 2, 130, 32}} {
			c := cartpole(t, size.population)
			c.Environments, c.Steps = size.environments, size.steps
			f := fixed{size.vector, 23}
			own, other := *c, *c
			own.Env, other.Env = f, elsewhere{fixed: f}
			a, b := made(t, newEngine, &own), made(t, newEngine, &other)
			stats := [2][]kernels.Stats{make([]kernels.Stats, c.Population), make([]kernels.Stats, c.Population)}
			for update := range 3 {
				require.NoError(t, a.Iterate(stats[0]))
				require.NoError(t, b.Iterate(stats[1]))
				require.Equal(t, stats[0], stats[1], "%s, %+v, update %d", name, size, update)
			}
			require.Positive(t, stats[0][0].Episodes)
			for m := range c.Population {
				var want, got kernels.Rollout
				require.NoError(t, a.ReadRollout(m, &want))
				require.NoError(t, b.ReadRollout(m, &got))
				require.Equal(t, want, got)
				require.Equal(t, section(t, a, m, kernels.SectionPolicy), section(t, b, m, kernels.SectionPolicy))
				require.Equal(t, section(t, a, m, kernels.SectionEpisodes), section(t, b, m, kernels.SectionEpisodes))
			}
			sameEvaluation(t, a, b)
		}
	}
}

func section(t *testing.T, e kernels.Engine, m int, name string) []byte {
	t.Helper()
	state := tensor.NewMember(e.Layout())
	require.NoError(t, e.Snapshot(m, state))
	s := e.Layout().Section(name)
	return append([]byte(nil), state.Bytes()[s.Offset:s.Offset+s.Size]...)
}

func sameEvaluation(t *testing.T, a, b kernels.Engine) {
	t.Helper()
	members := []int{a.Config().Population - 1, 0}
	const episodes = 7
	play := func(e kernels.Engine) ([][]float64, [][]int) {
		returns, lengths := make([][]float64, 2), make([][]int, 2)
		for i := range returns {
			returns[i], lengths[i] = make([]float64, episodes), make([]int, episodes)
		}
		require.NoError(t, e.Evaluate(kernels.Evaluation{Members: members, Episodes: episodes, Seed: 5}, returns, lengths))
		return returns, lengths
	}
	returns, lengths := play(a)
	returns2, lengths2 := play(b)
	require.Equal(t, returns, returns2)
	require.Equal(t, lengths, lengths2)
}

// The number of threads changes no bit, nor does a second run.
func TestExternalIsDeterministic(t *testing.T) {
	var want []byte
	for _, threads := range []int{1, 2, 5} {
		c := cartpole(t, 3)
		c.Env, c.Threads = elsewhere{fixed: fixed{env.CartPole{}, 23}}, threads
		e := made(t, cpu.New, c)
		for range 2 {
			require.NoError(t, e.Iterate(make([]kernels.Stats, 3)))
		}
		got := section(t, e, 1, kernels.SectionPolicy)
		if want == nil {
			want = got
		}
		require.Equal(t, want, got, "%d threads", threads)
	}
}

// What a failure cut off is bootstrapped, and counts for no score.
func TestEpisodesThatAFailureCutOffDoNotCount(t *testing.T) {
	for name, newEngine := range processorEngines() {
		c := cartpole(t, 1)
		c.Environments, c.Steps, c.Minibatches = 2, 5, 1
		c.Env = elsewhere{fixed: fixed{env.CartPole{}, 100}, failAt: 4} // its third step, after a reset
		e := made(t, newEngine, c)
		stats := make([]kernels.Stats, 1)
		require.NoError(t, e.Iterate(stats))
		require.Zero(t, stats[0].Episodes, name)
		var r kernels.Rollout
		require.NoError(t, e.ReadRollout(0, &r))
		require.Equal(t, []uint8{0, 0, 0, 0, 1, 1, 0, 0, 0, 0}, r.Truncated, name)
		d := 4
		require.NotEqual(t, make([]float32, d), r.FinalObs[4*d:5*d], name)
		state := tensor.NewMember(e.Layout())
		require.NoError(t, e.Snapshot(0, state))
		require.Equal(t, []float32{2, 2}, host.NewState(state).EpisodeLength, name)
	}
}

// A restored member's episodes begin anew, from seeds that its updates address; the
// others' go on.
func TestRestoredMembersBeginAnew(t *testing.T) {
	for name, newEngine := range processorEngines() {
		var opened []*session
		c := cartpole(t, 2)
		c.Environments, c.Steps = 4, 6
		c.Minibatches = 2
		c.Env = elsewhere{fixed: fixed{env.CartPole{}, 100}, opened: &opened}
		e := made(t, newEngine, c)
		require.Empty(t, opened, "%s started environments before they are needed", name)
		stats := make([]kernels.Stats, 2)
		require.NoError(t, e.Iterate(stats))
		state := tensor.NewMember(e.Layout())
		require.NoError(t, e.Snapshot(1, state))
		require.NoError(t, e.Restore(1, state))
		require.Equal(t, state.Bytes(), snapshot(t, e, 1), "%s: restoring is a copy", name)
		require.NoError(t, e.Iterate(stats))
		require.Len(t, opened, 1)
		var want []uint32
		for _, reset := range []struct {
			member int
			time   uint32
		}{{0, 0}, {1, 0}, {1, 6}} {
			for n := range 4 {
				stream := host.ResetStream(rng.NewKey(c.Seed), reset.member, n, reset.time)
				want = append(want, stream.Uint32()>>1)
			}
		}
		require.Equal(t, want, opened[0].seeds, name)
		require.NoError(t, e.Snapshot(0, state))
		for _, length := range host.NewState(state).EpisodeLength {
			require.Greater(t, length, float32(6), "%s: member 0's episodes began anew", name)
		}
		require.NoError(t, e.Snapshot(1, state))
		require.Equal(t, []float32{6, 6, 6, 6}, host.NewState(state).EpisodeLength, name)
	}
}

func snapshot(t *testing.T, e kernels.Engine, m int) []byte {
	state := tensor.NewMember(e.Layout())
	require.NoError(t, e.Snapshot(m, state))
	return state.Bytes()
}

func TestExternalErrorsEndTheIteration(t *testing.T) {
	for name, newEngine := range processorEngines() {
		var opened []*session
		c := cartpole(t, 2)
		c.Env = elsewhere{fixed: fixed{env.CartPole{}, 100}, broken: 3, opened: &opened}
		e, err := newEngine(c)
		require.NoError(t, err)
		require.ErrorContains(t, e.Iterate(make([]kernels.Stats, 2)), "the worker is broken", name)
		require.NoError(t, e.Close())
		require.NoError(t, e.Close())
		require.NotZero(t, opened[0].closed, "%s left the session open", name)
		require.ErrorIs(t, e.Collect(), kernels.ErrClosed)
	}
}

// Engines that cannot step environments elsewhere refuse them.
func TestCheckRefusesExternal(t *testing.T) {
	c := cartpole(t, 1)
	require.NoError(t, host.Check(c))
	c.Env = elsewhere{fixed: fixed{env.CartPole{}, 100}}
	require.ErrorContains(t, host.Check(c), "outside of the process")
	require.NoError(t, host.CheckHost(c))
}
