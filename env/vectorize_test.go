package env_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/rng"
)

// trace plays steps steps of n environments from a seed with random actions and
// returns all that comes out.
func trace(v env.Vector, n, stride, steps int, seed uint64) []float32 {
	return traceShaped(v, n, stride, steps, seed, nil)
}

// traceShaped is trace with values of the environment's hyperparameters; where
// there are any, the shaping rewards come out, too.
func traceShaped(v env.Vector, n, stride, steps int, seed uint64, hyperparameters []float32) []float32 {
	spec := v.Spec()
	ld := spec.ObsDim + 1
	b := env.Batch{
		N: n, Stride: stride,
		State: make([]float32, spec.StateSize*stride), Action: make([]float32, spec.Action.Width()*stride),
		Reward: make([]float32, n), Terminated: make([]float32, n),
		Hyperparameters: hyperparameters,
	}
	if hyperparameters != nil {
		b.Shaping = make([]float32, n)
	}
	key := rng.NewKey(seed)
	for i := range n {
		r := key.Stream(uint32(i), rng.Address{Purpose: rng.Reset})
		v.Reset(&b, i, &r)
	}
	var out []float32
	obs := make([]float32, n*ld)
	actions := key.Stream(0, rng.Address{Purpose: rng.Action})
	for range steps {
		for c := range spec.Action.Width() {
			for i := range n {
				if spec.Action.Discrete {
					b.Action[c*stride+i] = float32(actions.IntN(spec.Action.N))
				} else {
					b.Action[c*stride+i] = actions.Between(spec.Action.Low[c], spec.Action.High[c])
				}
			}
		}
		v.Step(&b)
		v.Observe(&b, obs, ld)
		out = slices.Concat(out, b.State, b.Reward, b.Terminated, obs, b.Shaping)
	}
	return out
}

func TestVectorizeEqualsTheVectorOfTheSameEnvironment(t *testing.T) {
	for _, id := range natives {
		v, err := env.Make(id)
		require.NoError(t, err)
		for _, size := range []struct{ n, stride int }{{1, 1}, {5, 8}, {32, 32}} {
			want := trace(v, size.n, size.stride, 50, 3)
			got := trace(env.Vectorize(newSingle(t, id)), size.n, size.stride, 50, 3)
			require.Equal(t, want, got, "%s, N=%d stride=%d", id, size.n, size.stride)
		}
	}
}

func TestVectorsAreSafeFromSeveralGoroutines(t *testing.T) {
	for _, id := range natives {
		native, err := env.Make(id)
		require.NoError(t, err)
		for _, v := range []env.Vector{native, env.Vectorize(newSingle(t, id))} {
			const goroutines = 8
			got := make([][]float32, goroutines)
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() { got[g] = trace(v, 7, 7, 30, uint64(g)) })
			}
			wg.Wait()
			for g := range goroutines {
				require.Equal(t, trace(v, 7, 7, 30, uint64(g)), got[g], id)
			}
		}
	}
}

// countdown is a user's environment whose Reset relies on a cleared state and
// whose action has two dimensions.
type countdown struct{}

func (countdown) Spec() env.Spec {
	return env.Spec{
		ID: "Countdown-v0", ObsDim: 1, StateSize: 3, MaxEpisodeSteps: 10,
		Action: env.ActionSpace{N: 2, Low: []float32{-1, -2}, High: []float32{1, 2}},
	}
}
func (countdown) Reset(state []float32, _ *rng.Stream) { state[0] += 2 }
func (countdown) Observe(state, obs []float32)         { obs[0] = state[0] }
func (countdown) Step(state, action []float32) (float32, bool) {
	state[0]--
	state[1], state[2] = action[0], action[1]
	return action[0] - action[1], state[0] == 0
}

func TestVectorizeGathersAndScatters(t *testing.T) {
	v := env.Vectorize(countdown{})
	b := env.Batch{
		N: 2, Stride: 3,
		State:  []float32{9, 9, -7, 9, 9, -7, 9, 9, -7},
		Action: []float32{0.1, 0.2, -7, 1.1, 1.2, -7},
		Reward: make([]float32, 2), Terminated: make([]float32, 2),
	}
	v.Reset(&b, 0, nil)
	v.Reset(&b, 1, nil)
	require.Equal(t, []float32{2, 2, -7, 0, 0, -7, 0, 0, -7}, b.State)
	b.State[1] = 1
	v.Step(&b)
	require.Equal(t, []float32{1, 0, -7, 0.1, 0.2, -7, 1.1, 1.2, -7}, b.State)
	require.Equal(t, []float32{float32(0.1) - 1.1, float32(0.2) - 1.2}, b.Reward)
	require.Equal(t, []float32{0, 1}, b.Terminated)
	obs := []float32{5, 5, 5, 5}
	v.Observe(&b, obs, 2)
	require.Equal(t, []float32{1, 5, 0, 5}, obs)
}

func TestNothingIsAllocated(t *testing.T) {
	for _, id := range natives {
		native, err := env.Make(id)
		require.NoError(t, err)
		vectors := map[string]env.Vector{id: native}
		if id == "CartPole-v1" {
			vectors["vectorized countdown"] = env.Vectorize(countdown{})
		}
		for name, v := range vectors {
			spec := v.Spec()
			const n = 16
			b := env.Batch{
				N: n, Stride: n,
				State: make([]float32, spec.StateSize*n), Action: make([]float32, spec.Action.Width()*n),
				Reward: make([]float32, n), Terminated: make([]float32, n),
			}
			obs := make([]float32, n*spec.ObsDim)
			stream := rng.NewKey(1).Stream(0, rng.Address{Purpose: rng.Reset})
			allocs := testing.AllocsPerRun(100, func() {
				for i := range n {
					v.Reset(&b, i, &stream)
				}
				v.Step(&b)
				v.Observe(&b, obs, spec.ObsDim)
			})
			require.Zero(t, allocs, name)
		}
	}
}

func BenchmarkStep(b *testing.B) {
	for _, id := range natives {
		v, err := env.Make(id)
		require.NoError(b, err)
		b.Run(id, func(b *testing.B) { benchmarkStep(b, v) })
	}
	b.Run("vectorized", func(b *testing.B) { benchmarkStep(b, env.Vectorize(countdown{})) })
}

func benchmarkStep(b *testing.B, v env.Vector) {
	const n = 64
	spec := v.Spec()
	initial := make([]float32, spec.StateSize*n)
	batch := env.Batch{
		N: n, Stride: n, State: initial, Action: make([]float32, spec.Action.Width()*n),
		Reward: make([]float32, n), Terminated: make([]float32, n),
	}
	for i := range n {
		r := rng.NewKey(1).Stream(uint32(i), rng.Address{Purpose: rng.Reset})
		v.Reset(&batch, i, &r)
	}
	batch.State = slices.Clone(initial)
	b.ReportAllocs()
	steps := 0
	for b.Loop() {
		copy(batch.State, initial)
		v.Step(&batch)
		steps += n
	}
	b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "env-steps/s")
}
