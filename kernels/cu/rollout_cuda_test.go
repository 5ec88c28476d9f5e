//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/kernels"
	"brood/kernels/host"
	"brood/tensor"
)

// rolloutTolerance allows for states that drift apart over the steps: float32
// against float64 in every one of them.
const rolloutTolerance = 1e-4

// deviceRollout is what a rollout leaves on the device of one member.
type deviceRollout struct {
	obs, raw, actions, logProbs, values, rewards, discounted, finalObs, lastObs, lastValues, finishedReturn, finishedLength []float32
	flags                                                                                                                   []uint8
	state                                                                                                                   *host.State
}

// readRollout downloads member m's rollout.
func (f *fixture) readRollout(m int) *deviceRollout {
	p := f.params.Slice(m, 1)
	b, n, d, w := int(p.Rows), int(p.Environments), int(p.ObsDim), int(p.ActionWidth)
	r := &deviceRollout{
		obs: download[float32](f, p.Obs, b*d), actions: download[float32](f, p.Actions, b*w), logProbs: download[float32](f, p.LogProbs, b),
		values: download[float32](f, p.Values, b), rewards: download[float32](f, p.Rewards, b), flags: download[uint8](f, p.Flags, b),
		finalObs: download[float32](f, p.FinalObs, b*d), lastObs: download[float32](f, p.LastObs, n*d), lastValues: download[float32](f, p.LastValues, n),
		finishedReturn: download[float32](f, p.FinishedReturn, b), finishedLength: download[float32](f, p.FinishedLength, b),
		state: host.NewState(f.states()[m]),
	}
	if p.RawObs != 0 {
		r.raw = download[float32](f, p.RawObs, b*d)
	}
	if p.Discounted != 0 {
		r.discounted = download[float32](f, p.Discounted, b)
	}
	return r
}

// prepareRollout gives engine and device members with policies that are not
// uniform, statistics that are not 0 and 1, a few updates behind them, and
// episodes that the time limit ends after some of the steps.
func (f *fixture) prepareRollout(random *rand.Rand) (before []tensor.Member) {
	limit := float32(f.plan.Config.Env.Spec().MaxEpisodeSteps)
	for m, s := range f.states() {
		shakePolicy(s, random, 0.2)
		state := host.NewState(s)
		*state.Updates = 5
		*state.RewardVar = 4 + random.Float32()
		for d := range state.ObsMean {
			state.ObsMean[d], state.ObsVar[d] = float32(0.1*random.NormFloat64()), 0.1+random.Float32()
		}
		for n := range state.EpisodeLength {
			state.EpisodeLength[n] = limit - float32(random.IntN(2*f.plan.Config.Steps)) - 1
			state.EpisodeReturn[n] = float32(random.NormFloat64())
			state.DiscountedReturn[n] = float32(random.NormFloat64())
		}
		require.NoError(f.t, f.engine.Restore(m, s))
		f.setState(m, s)
		before = append(before, s)
	}
	return before
}

func rolloutConfig(t *testing.T, id string, environments int, normalize bool) (*kernels.Config, int) {
	v, index := nativeEnvironment(t, id)
	c := smallConfig(v, environments, 20, 64, 37)
	c.NormalizeObservations, c.NormalizeRewards = normalize, normalize
	if environments == 17 {
		c.Activation, c.Hidden = kernels.ReLU, []int{5, 64}
	}
	return c, index
}

func TestRolloutIsPlains(t *testing.T) {
	for _, id := range NativeEnvs {
		for _, k := range []struct {
			environments int
			normalize    bool
		}{{7, false}, {17, true}} {
			t.Run(fmt.Sprintf("%s/N=%d/normalize=%v", id, k.environments, k.normalize), func(t *testing.T) {
				c, index := rolloutConfig(t, id, k.environments, k.normalize)
				f := newFixture(t, c)
				require.True(t, f.plan.FusedRollout)
				before := f.prepareRollout(rand.New(rand.NewPCG(6, 6)))
				require.NoError(t, f.engine.Collect())
				f.run(func() error { return f.k.Rollout(f.stream, &f.params, index) })
				for m := range c.Population {
					got := f.readRollout(m)
					f.compareRollout(m, got)
					f.compareEnvironmentState(m, got)
					f.checkEpisodes(host.NewState(before[m]), got)
				}
			})
		}
	}
}

// compareRollout compares with what the engine collected.
func (f *fixture) compareRollout(m int, got *deviceRollout) {
	f.t.Helper()
	var want kernels.Rollout
	require.NoError(f.t, f.engine.ReadRollout(m, &want))
	near := func(name string, want, got []float32) {
		f.t.Helper()
		require.Len(f.t, got, len(want), name)
		for i := range want {
			requireNear(f.t, want[i], got[i], rolloutTolerance, "member %d: %s[%d]", m, name, i)
		}
	}
	if f.plan.Config.Env.Spec().Action.Discrete {
		require.Equal(f.t, want.Actions, got.actions, "member %d: actions; choose another seed if one is at a tie", m)
	}
	near("actions", want.Actions, got.actions)
	near("obs", want.Obs, got.obs)
	near("log_probs", want.LogProbs, got.logProbs)
	near("values", want.Values, got.values)
	near("rewards", want.Rewards, got.rewards)
	near("last_obs", want.LastObs, got.lastObs)
	d, truncated := int(f.params.ObsDim), 0
	for i, flags := range got.flags {
		require.Equal(f.t, want.Terminated[i]|want.Truncated[i]<<1, flags, "member %d: flags of row %d", m, i)
		if flags == 2 {
			truncated++
			near(fmt.Sprintf("final_obs of row %d", i), want.FinalObs[i*d:(i+1)*d], got.finalObs[i*d:(i+1)*d])
		}
	}
	require.Positive(f.t, truncated, "the time limit ended no episode")
	theta, relu := f.states()[m].Floats(kernels.SectionPolicy), f.plan.Config.Activation == kernels.ReLU
	for n, value := range got.lastValues {
		want := forward64(f.plan.Index.Critic, theta, relu, want.LastObs[n*d:(n+1)*d])
		requireNear(f.t, float32(want[0]), value, rolloutTolerance, "member %d: last_values[%d]", m, n)
	}
}

// compareEnvironmentState compares the environments afterwards, and demands that
// nothing else in the member's state has changed.
func (f *fixture) compareEnvironmentState(m int, got *deviceRollout) {
	f.t.Helper()
	s := tensor.NewMember(f.plan.Layout)
	require.NoError(f.t, f.engine.Snapshot(m, s))
	for _, b := range f.plan.Layout.Sections() {
		for i := range b.Tensors {
			name := b.Tensors[i].Name
			if b.Name != kernels.SectionEnvironment {
				require.Equal(f.t, s.Raw(b.Name, name), got.state.Member.Raw(b.Name, name), "member %d: %s/%s", m, b.Name, name)
				continue
			}
			for j, want := range s.Float32(b.Name, name) {
				requireNear(f.t, want, got.state.Member.Float32(b.Name, name)[j], rolloutTolerance, "member %d: %s[%d]", m, name, j)
			}
		}
	}
}

// checkEpisodes adds the rewards up again, from the state before, for what the
// plain engine does not record: the finished episodes, the discounted returns, and
// the raw observations.
func (f *fixture) checkEpisodes(before *host.State, got *deviceRollout) {
	f.t.Helper()
	c, n := f.plan.Config, f.plan.Config.Environments
	scale := float32(1)
	if c.NormalizeRewards {
		scale = host.InvStd(*before.RewardVar)
	}
	gamma := before.Hyper(kernels.Gamma)
	for i := range n {
		ret, length, discounted := before.EpisodeReturn[i], before.EpisodeLength[i], before.DiscountedReturn[i]
		for row := i; row < c.Rows(); row += n {
			if c.NormalizeRewards {
				require.Less(f.t, math.Abs(float64(got.rewards[row])), 10.0, "a clipped reward cannot be added up")
			}
			reward := got.rewards[row] / scale
			ret, length, discounted = ret+reward, length+1, gamma*discounted+reward
			if c.NormalizeRewards {
				requireNear(f.t, discounted, got.discounted[row], rolloutTolerance, "discounted[%d]", row)
			}
			if got.flags[row] != 0 {
				requireNear(f.t, ret, got.finishedReturn[row], rolloutTolerance, "finished_return[%d]", row)
				require.Equal(f.t, length, got.finishedLength[row], "finished_length[%d]", row)
				ret, length, discounted = 0, 0, 0
			}
		}
	}
	if !c.NormalizeObservations {
		require.Nil(f.t, got.raw)
		return
	}
	d := int(f.params.ObsDim)
	invStd, seen := make([]float32, d), make([]float32, d)
	host.InvStds(invStd, before.ObsVar)
	for row := range c.Rows() {
		host.NormalizeObs(seen, got.raw[row*d:(row+1)*d], before.ObsMean, invStd)
		for k := range d {
			requireNear(f.t, seen[k], got.obs[row*d+k], 1e-5, "obs[%d] of raw_obs", row*d+k)
		}
	}
}

// TestEnvStepIsRollouts plays a rollout's actions step by step.
func TestEnvStepIsRollouts(t *testing.T) {
	for _, id := range NativeEnvs {
		t.Run(id, func(t *testing.T) {
			c, index := rolloutConfig(t, id, 17, true)
			f := newFixture(t, c)
			before := f.prepareRollout(rand.New(rand.NewPCG(7, 7)))
			f.run(func() error { return f.k.Rollout(f.stream, &f.params, index) })
			var want []*deviceRollout
			for m, s := range before {
				want = append(want, f.readRollout(m))
				f.setState(m, s)
			}
			for at, floats := range map[Ptr]int{f.params.Rewards: 1, f.params.Discounted: 1, f.params.FinalObs: int(f.params.ObsDim),
				f.params.FinishedReturn: 1, f.params.FinishedLength: 1} {
				f.run(func() error { return f.stream.Memset(uint64(at), 0, int64(4*c.Population*c.Rows()*floats)) })
			}
			staged := f.playSteps(index)
			d := int(f.params.ObsDim)
			for m, w := range want {
				got := f.readRollout(m)
				for t := range c.Steps {
					from := t * c.Environments * d
					f.nearAll("stage_obs", w.raw[from:from+c.Environments*d], staged[t][m*c.Environments*d:][:c.Environments*d])
				}
				f.compareBooks(w, got)
			}
		})
	}
}

// playSteps does all steps with the actions of the rollout's buffers and returns
// the observations [P][N][D] staged before each.
func (f *fixture) playSteps(index int) (staged [][]float32) {
	size := int(f.params.Members * f.params.Environments * f.params.ObsDim)
	f.run(func() error { return f.k.EnvObserve(f.stream, &f.params, index) })
	for t := range f.plan.Config.Steps {
		staged = append(staged, download[float32](f, f.params.StageObs, size))
		f.run(func() error { return f.k.EnvStep(f.stream, &f.params, index, t) })
	}
	return staged
}

// nearAll allows for another contraction of products and sums in another kernel.
func (f *fixture) nearAll(name string, want, got []float32) {
	f.t.Helper()
	require.Len(f.t, got, len(want))
	for i := range want {
		requireNear(f.t, want[i], got[i], 1e-5, "%s[%d]", name, i)
	}
}

// compareBooks compares what both kinds of rollout record of the steps.
func (f *fixture) compareBooks(want, got *deviceRollout) {
	f.t.Helper()
	require.Equal(f.t, want.flags, got.flags)
	f.nearAll("rewards", want.rewards, got.rewards)
	f.nearAll("discounted", want.discounted, got.discounted)
	d, ended := int(f.params.ObsDim), 0
	for i, flags := range want.flags {
		if flags == 2 {
			f.nearAll("final_obs", want.finalObs[i*d:(i+1)*d], got.finalObs[i*d:(i+1)*d])
		}
		if flags != 0 {
			ended++
			f.nearAll("finished_return", want.finishedReturn[i:i+1], got.finishedReturn[i:i+1])
			f.nearAll("finished_length", want.finishedLength[i:i+1], got.finishedLength[i:i+1])
		}
	}
	require.Positive(f.t, ended)
	f.nearAll("state", want.state.EnvState, got.state.EnvState)
	f.nearAll("episode_return", want.state.EpisodeReturn, got.state.EpisodeReturn)
	f.nearAll("episode_length", want.state.EpisodeLength, got.state.EpisodeLength)
	f.nearAll("discounted_return", want.state.DiscountedReturn, got.state.DiscountedReturn)
}

// TestRolloutRepeats: the same bits twice.
func TestRolloutRepeats(t *testing.T) {
	c, index := rolloutConfig(t, "CartPole-v1", 17, true)
	f := newFixture(t, c)
	before := f.prepareRollout(rand.New(rand.NewPCG(8, 8)))
	var first []*deviceRollout
	for range 2 {
		var all []*deviceRollout
		for m, s := range before {
			f.setState(m, s)
		}
		f.run(func() error { return f.k.Rollout(f.stream, &f.params, index) })
		for m := range before {
			all = append(all, f.readRollout(m))
		}
		if first == nil {
			first = all
		}
		require.Equal(t, first, all)
	}
}

// TestRolloutOfLaterMembers: a shard draws by its members' indices in the whole
// population.
func TestRolloutOfLaterMembers(t *testing.T) {
	c, index := rolloutConfig(t, "MountainCar-v0", 7, false)
	f := newFixture(t, c)
	before := f.prepareRollout(rand.New(rand.NewPCG(9, 9)))
	f.run(func() error { return f.k.Rollout(f.stream, &f.params, index) })
	want := f.readRollout(1)
	f.setState(0, before[1])
	p := f.params
	p.Members, p.FirstMember = 1, 1
	f.run(func() error { return f.k.Rollout(f.stream, &p, index) })
	got := f.readRollout(0)
	require.Equal(t, want.obs, got.obs)
	require.Equal(t, want.actions, got.actions)
	require.Equal(t, want.state.EnvState, got.state.EnvState)
}
