//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/internal/golden"
	"brood/kernels"
	"brood/kernels/host"
	"brood/rng"
)

// nativeEnvironment makes a native environment and finds its index.
func nativeEnvironment(t *testing.T, id string) (env.Vector, int) {
	t.Helper()
	v, err := env.Make(id)
	require.NoError(t, err)
	i := nativeEnv(v)
	require.NotEqual(t, HostEnv, i)
	return v, i
}

// deviceStep steps a batch on the device: as step 0 of the first iteration of a
// population of one, whose episodes have just begun. It leaves the next raw
// observations in obs [N][D].
func deviceStep(f *fixture, index int, b *env.Batch) (obs []float32) {
	f.t.Helper()
	spec := f.plan.Config.Env.Spec()
	s := f.states()[0]
	state := host.NewState(s)
	for c := range spec.StateSize {
		copy(state.EnvState[c*b.N:(c+1)*b.N], b.State[c*b.Stride:])
	}
	for i := range b.N {
		state.EpisodeReturn[i], state.EpisodeLength[i] = 0, 0
	}
	f.setState(0, s)
	upload(f, f.params.Actions, b.Action[:b.N])
	f.run(func() error { return f.k.EnvStep(f.stream, &f.params, index, 0) })
	next := host.NewState(f.states()[0])
	for c := range spec.StateSize {
		copy(b.State[c*b.Stride:c*b.Stride+b.N], next.EnvState[c*b.N:])
	}
	copy(b.Reward, download[float32](f, f.params.Rewards, b.N))
	for i, flags := range download[uint8](f, f.params.Flags, b.N) {
		require.Zero(f.t, flags&2, "an episode of one step was truncated")
		b.Terminated[i] = float32(flags & 1)
	}
	return download[float32](f, f.params.StageObs, b.N*spec.ObsDim)
}

// hostStep is deviceStep in the package env, without the reset that follows an
// episode's end.
func hostStep(v env.Vector, b *env.Batch) (obs []float32) {
	v.Step(b)
	obs = make([]float32, b.N*v.Spec().ObsDim)
	v.Observe(b, obs, v.Spec().ObsDim)
	return obs
}

func cloneBatch(b *env.Batch) *env.Batch {
	c := *b
	c.State, c.Action = append([]float32(nil), b.State...), append([]float32(nil), b.Action...)
	c.Reward, c.Terminated = append([]float32(nil), b.Reward...), append([]float32(nil), b.Terminated...)
	return &c
}

// TestEnvStepGoldens checks the physics. A state in which an episode ended is gone,
// its environment reset: there only the flag and the reward are the device's.
func TestEnvStepGoldens(t *testing.T) {
	for _, path := range golden.Files(t, "env") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			v, index := nativeEnvironment(t, golden.At[string](t, golden.Load(t, path), "id"))
			d := v.Spec().ObsDim
			fixtures := map[int]*fixture{}
			var obs []float32
			step := func(b *env.Batch) {
				if fixtures[b.N] == nil {
					c := smallConfig(v, b.N, 1, 8, 8)
					c.Population = 1
					fixtures[b.N] = newFixture(t, c)
					if !v.Spec().Action.Discrete { // the goldens' actions are not clipped
						upload(fixtures[b.N], fixtures[b.N].params.ActionLow, []float32{-1e3})
						upload(fixtures[b.N], fixtures[b.N].params.ActionHigh, []float32{1e3})
					}
				}
				ended := cloneBatch(b)
				hostObs := hostStep(v, ended)
				obs = deviceStep(fixtures[b.N], index, b)
				for i := range b.N {
					if b.Terminated[i] == 0 {
						continue
					}
					copy(obs[i*d:(i+1)*d], hostObs[i*d:])
					for c := range v.Spec().StateSize {
						b.State[c*b.Stride+i] = ended.State[c*b.Stride+i]
					}
				}
			}
			golden.CheckEnvStep(t, path, step, func(b *env.Batch, rows []float32, ld int) {
				for i := range b.N {
					copy(rows[i*ld:], obs[i*d:(i+1)*d])
				}
			})
		})
	}
}

// nativeRanges are ranges of states that training seldom visits, two numbers for
// each component.
var nativeRanges = map[string][]float64{
	"CartPole-v1":              {-2.5, 2.5, -3, 3, -0.25, 0.25, -3, 3},
	"Acrobot-v1":               {-math.Pi, math.Pi, -math.Pi, math.Pi, -13, 13, -29, 29},
	"MountainCar-v0":           {-1.2, 0.6, -0.07, 0.07},
	"MountainCarContinuous-v0": {-1.2, 0.6, -0.07, 0.07},
	"Pendulum-v1":              {-500, 500, -8, 8},
}

// randomBatch is a batch of n states and actions, continuous ones beyond the bounds
// among them.
func randomBatch(v env.Vector, n int) *env.Batch {
	spec, random := v.Spec(), rand.New(rand.NewPCG(4, 4))
	b := &env.Batch{N: n, Stride: n, State: make([]float32, spec.StateSize*n), Action: make([]float32, n),
		Reward: make([]float32, n), Terminated: make([]float32, n)}
	for i := range n {
		for k := range spec.StateSize {
			low, high := nativeRanges[spec.ID][2*k], nativeRanges[spec.ID][2*k+1]
			b.State[k*n+i] = float32(low + (high-low)*random.Float64())
		}
		b.Action[i] = float32(4*random.Float64() - 2)
		if spec.Action.Discrete {
			b.Action[i] = float32(random.IntN(spec.Action.N))
		}
	}
	return b
}

// TestEnvStepIsPackageEnvs compares random transitions, continuous actions beyond
// the bounds among them, and demands that new episodes begin in the same bits.
func TestEnvStepIsPackageEnvs(t *testing.T) {
	const n = 301
	for _, id := range NativeEnvs {
		t.Run(id, func(t *testing.T) {
			v, index := nativeEnvironment(t, id)
			spec := v.Spec()
			c := smallConfig(v, n, 1, 8, 8)
			c.Population = 1
			f := newFixture(t, c)
			b := randomBatch(v, n)
			want := cloneBatch(b)
			for i := range n {
				if !spec.Action.Discrete { // the engine's clipping, not the environment's
					want.Action[i] = max(spec.Action.Low[0], min(spec.Action.High[0], b.Action[i]))
				}
			}
			wantObs := hostStep(v, want)
			obs := deviceStep(f, index, b)
			ended := compareTransitions(t, v, b, want, obs, wantObs)
			require.Equal(t, id == "Pendulum-v1", ended == 0, "%d episodes ended", ended)
		})
	}
}

// compareTransitions returns how many episodes ended.
func compareTransitions(t *testing.T, v env.Vector, got, want *env.Batch, obs, wantObs []float32) (ended int) {
	t.Helper()
	spec, n := v.Spec(), got.N
	for i := range n {
		state := make([]float64, spec.StateSize)
		for k := range state {
			state[k] = float64(want.State[k*n+i])
		}
		if golden.NearThreshold(spec.ID, state) {
			continue
		}
		require.Equal(t, want.Terminated[i], got.Terminated[i], "environment %d: terminated", i)
		requireNear(t, want.Reward[i], got.Reward[i], golden.Tolerance, "environment %d: reward", i)
		if want.Terminated[i] != 0 {
			ended++
			checkReset(t, v, got, i, obs)
			continue
		}
		for k, w := range state {
			if spec.ID == "Acrobot-v1" && k < 2 && math.Abs(w) > math.Pi-1e-4 {
				continue // may be wrapped to the other side
			}
			requireNear(t, float32(w), got.State[k*n+i], golden.Tolerance, "environment %d: state %d", i, k)
		}
		for d := range spec.ObsDim {
			requireNear(t, wantObs[i*spec.ObsDim+d], obs[i*spec.ObsDim+d], golden.Tolerance, "environment %d: observation %d", i, d)
		}
	}
	return ended
}

// checkReset compares environment i with the first state of its next episode.
func checkReset(t *testing.T, v env.Vector, got *env.Batch, i int, obs []float32) {
	t.Helper()
	fresh := cloneBatch(got)
	stream := host.ResetStream(rng.NewKey(3), 0, i, host.Time(0, 1, 1))
	v.Reset(fresh, i, &stream)
	require.Equal(t, fresh.State, got.State, "environment %d begins elsewhere", i)
	freshObs, d := make([]float32, len(obs)), v.Spec().ObsDim
	v.Observe(fresh, freshObs, d)
	for k := i * d; k < (i+1)*d; k++ {
		requireNear(t, freshObs[k], obs[k], golden.Tolerance, "environment %d: observation after the reset", i)
	}
}

// requireNear fails where got differs by more than tolerance absolute plus
// tolerance relative, or where only one is NaN.
func requireNear(t *testing.T, want, got float32, tolerance float64, format string, args ...any) {
	t.Helper()
	if isNaN32(want) && isNaN32(got) {
		return
	}
	if !(math.Abs(float64(want)-float64(got)) <= tolerance+tolerance*math.Abs(float64(want))) {
		require.Fail(t, fmt.Sprintf(format, args...), "is %.9g, want %.9g", got, want)
	}
}

// TestEnvStepKeepsNaN: a NaN in a state or an action does not become a bound.
func TestEnvStepKeepsNaN(t *testing.T) {
	nan := float32(math.NaN())
	for _, id := range NativeEnvs {
		v, index := nativeEnvironment(t, id)
		spec := v.Spec()
		c := smallConfig(v, 2, 1, 8, 8)
		c.Population = 1
		f := newFixture(t, c)
		b := &env.Batch{N: 2, Stride: 2, State: make([]float32, spec.StateSize*2), Action: make([]float32, 2),
			Reward: make([]float32, 2), Terminated: make([]float32, 2)}
		b.State[0] = nan
		if !spec.Action.Discrete {
			b.Action[1] = nan
		}
		want := cloneBatch(b)
		v.Step(want)
		deviceStep(f, index, b)
		for i := range b.State {
			require.Equal(t, isNaN32(want.State[i]), isNaN32(b.State[i]), "%s: state element %d is %v, want %v", id, i, b.State[i], want.State[i])
		}
	}
}

// TestEnvStepAtTheTimeLimit: the last step that the limit allows truncates an
// episode, but not one that it ends by the task's own rule.
func TestEnvStepAtTheTimeLimit(t *testing.T) {
	v, index := nativeEnvironment(t, "CartPole-v1")
	c := smallConfig(v, 3, 1, 8, 8)
	c.Population = 1
	f := newFixture(t, c)
	s := f.states()[0]
	state := host.NewState(s)
	copy(state.EnvState, []float32{0, 3, 0})
	copy(state.EpisodeLength, []float32{499, 499, 498})
	f.setState(0, s)
	f.run(func() error { return f.k.EnvStep(f.stream, &f.params, index, 0) })
	require.Equal(t, []uint8{2, 1, 0}, download[uint8](f, f.params.Flags, 3))
	require.Equal(t, []float32{0, 0, 499}, host.NewState(f.states()[0]).EpisodeLength[:3])
}

// TestEnvObserve stages the raw observations of fresh members.
func TestEnvObserve(t *testing.T) {
	for _, id := range NativeEnvs {
		v, index := nativeEnvironment(t, id)
		c := smallConfig(v, 130, 1, 8, 8)
		f := newFixture(t, c)
		f.run(func() error { return f.k.EnvObserve(f.stream, &f.params, index) })
		d := v.Spec().ObsDim
		got := download[float32](f, f.params.StageObs, 2*130*d)
		for m, s := range f.states() {
			b := host.TrainBatch(c, host.NewState(s))
			want := make([]float32, 130*d)
			v.Observe(&b, want, d)
			for i, w := range want {
				requireNear(t, w, got[m*130*d+i], 1e-6, "%s: member %d, element %d", id, m, i)
			}
		}
	}
}

func TestNativeRefusesOtherEnvironments(t *testing.T) {
	v, _ := nativeEnvironment(t, "CartPole-v1")
	f := newFixture(t, smallConfig(v, 2, 1, 8, 8))
	for _, index := range []int{HostEnv, len(NativeEnvs)} {
		f.run(func() error {
			require.ErrorContains(t, f.k.EnvStep(f.stream, &f.params, index, 0), fmt.Sprintf("no env_step of environment %d", index))
			require.Error(t, f.k.EnvObserve(f.stream, &f.params, index))
			require.Error(t, f.k.Rollout(f.stream, &f.params, index))
			return nil
		})
	}
	require.Len(t, nativeNames, len(NativeEnvs))
}

// TestEnvStepShapes: the algorithm's reward is the true one and the shaping reward
// of the package env; the true return has none of it.
func TestEnvStepShapes(t *testing.T) {
	const n = 301
	for _, id := range NativeEnvs {
		v, index := nativeEnvironment(t, id)
		spec := v.Spec()
		for i, x := range spec.Hyperparameters {
			for _, weight := range []float64{0, x.Max / 3, x.Max} {
				c := smallConfig(v, n, 1, 8, 8)
				c.Population = 1
				c.Hyperparameters[int(kernels.NumHyperparameters)+i] = float32(weight)
				f := newFixture(t, c)
				b := randomBatch(v, n)
				want := cloneBatch(b)
				want.Hyperparameters, want.Shaping = make([]float32, len(spec.Hyperparameters)), make([]float32, n)
				want.Hyperparameters[i] = float32(weight)
				v.Step(want)
				deviceStep(f, index, b)
				state, shaped := host.NewState(f.states()[0]), 0
				for i := range n {
					requireNear(t, want.Reward[i]+want.Shaping[i], b.Reward[i], golden.Tolerance, "%s: environment %d: reward", id, i)
					if want.Shaping[i] != 0 {
						shaped++
					}
					if want.Terminated[i] == 0 {
						require.Equal(t, want.Reward[i], state.EpisodeReturn[i])
					}
				}
				require.Equal(t, weight != 0, shaped > n/2, "%s: %d rewards are shaped", id, shaped)
			}
		}
	}
}
