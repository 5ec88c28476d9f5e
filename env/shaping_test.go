package env_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/env"
	"brood/rng"
)

// batchOf makes a batch of n environments with room for shaping rewards.
func batchOf(v env.Vector, n int) env.Batch {
	spec := v.Spec()
	return env.Batch{
		N: n, Stride: n, State: make([]float32, spec.StateSize*n), Action: make([]float32, spec.Action.Width()*n),
		Reward: make([]float32, n), Terminated: make([]float32, n), Shaping: make([]float32, n),
	}
}

// The energy of a car is v^2/2 + 0.0025/3 sin(3x): by hand for two steps. At the
// bottom of the valley, x = -pi/6, at rest, a push to the right makes v = 0.001;
// from x = 0.2 with v = 0.05, not pushed, v falls by 0.0025 cos(0.6).
func TestMountainCarShapingByHand(t *testing.T) {
	v := env.MountainCar{}
	b := batchOf(v, 2)
	b.State = []float32{-math.Pi / 6, 0.2, 0, 0.05}
	b.Action = []float32{2, 1}
	b.Hyperparameters = []float32{2}
	v.Step(&b)
	require.Equal(t, []float32{-1, -1}, b.Reward, "the true reward has changed")
	// 1000*2*(0.001^2/2 + 0.0025/3 (sin(3(-pi/6+0.001)) - sin(-pi/2)))
	require.InDelta(t, 0.0010075, b.Shaping[0], 1e-7)
	// v' = 0.05 - 0.0025*0.82533561 = 0.04793666; x' = 0.24793666
	require.InDelta(t, 2000*((0.04793666*0.04793666-0.05*0.05)/2+0.0025/3*(0.6770966-0.5646425)), b.Shaping[1], 1e-6)
}

// Shaping changes neither states nor true rewards nor the ends of episodes, is
// proportional to the weight, and over an episode sums to the energy gained.
func TestMountainCarShapingIsADifferenceOfPotentials(t *testing.T) {
	energy := func(x, v float32) float64 {
		return float64(v)*float64(v)/2 + 0.0025*math.Sin(3*float64(x))/3
	}
	v := env.MountainCar{}
	rapid.Check(t, func(rt *rapid.T) {
		weight := rapid.Float32Range(0.01, 10).Draw(rt, "weight")
		shaped, bare := batchOf(v, 1), batchOf(v, 1)
		shaped.Hyperparameters = []float32{weight}
		r := rng.NewKey(rapid.Uint64().Draw(rt, "seed")).Stream(0, rng.Address{Purpose: rng.Reset})
		v.Reset(&shaped, 0, &r)
		copy(bare.State, shaped.State)
		start, sum := energy(shaped.State[0], shaped.State[1]), 0.0
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			shaped.Action[0] = float32(r.IntN(3))
			copy(bare.Action, shaped.Action)
			v.Step(&shaped)
			v.Step(&bare)
			require.Equal(rt, bare.State, shaped.State)
			require.Equal(rt, bare.Reward, shaped.Reward)
			require.Equal(rt, bare.Terminated, shaped.Terminated)
			require.Zero(rt, bare.Shaping[0], "shaping was written without hyperparameters")
			sum += float64(shaped.Shaping[0])
		}
		require.InDelta(rt, 1000*float64(weight)*(energy(shaped.State[0], shaped.State[1])-start), sum, 1e-5*float64(weight))
	})
}

func TestVectorizedShapingEqualsTheVectors(t *testing.T) {
	for _, size := range []struct{ n, stride int }{{1, 1}, {5, 8}, {32, 32}} {
		weight := []float32{0.75}
		want := traceShaped(env.MountainCar{}, size.n, size.stride, 50, 3, weight)
		got := traceShaped(env.Vectorize(newSingle(t, "MountainCar-v0")), size.n, size.stride, 50, 3, weight)
		require.Equal(t, want, got, "N=%d stride=%d", size.n, size.stride)
	}
}

// bounty is a user's environment with two hyperparameters.
type bounty struct{ countdown }

func (bounty) Spec() env.Spec {
	spec := countdown{}.Spec()
	spec.Hyperparameters = []env.Hyperparameter{{Name: "left", Min: -1, Max: 1}, {Name: "right", Max: 2}}
	return spec
}

func (b bounty) StepShaped(state, action, h []float32) (reward, shaping float32, terminated bool) {
	reward, terminated = b.Step(state, action)
	return reward, h[0]*action[0] + h[1]*action[1], terminated
}

func TestVectorizeCallsStepShapedWhereThereAreWeights(t *testing.T) {
	v := env.Vectorize(bounty{})
	b := batchOf(v, 2)
	b.State[0], b.State[1] = 1, 2
	b.Action = []float32{0.5, 1, 2, -1} // component-major
	b.Shaping = []float32{7, 7}
	v.Step(&b)
	require.Equal(t, []float32{7, 7}, b.Shaping, "shaping was written without hyperparameters")
	require.Equal(t, []float32{1, 0}, b.Terminated)

	b.State[0], b.State[1] = 1, 2
	b.Hyperparameters = []float32{-1, 0.5}
	v.Step(&b)
	require.Equal(t, []float32{0.5, -1.5}, b.Shaping)
	require.Equal(t, []float32{-1.5, 2}, b.Reward)
	require.Equal(t, []float32{1, 0}, b.Terminated)
	require.Zero(t, testing.AllocsPerRun(100, func() { v.Step(&b) }))
}

// unshaped says that it has a hyperparameter, but has no StepShaped.
type unshaped struct{ countdown }

func (unshaped) Spec() env.Spec { return bounty{}.Spec() }

func TestHyperparametersNeedStepShaped(t *testing.T) {
	require.Panics(t, func() { env.Vectorize(unshaped{}) })
	id := unique("Unshaped")
	env.Register(id, func() env.Env { return unshaped{} })
	_, err := env.Make(id)
	require.ErrorContains(t, err, id)
	require.ErrorContains(t, err, "Spec.Hyperparameters has 2 elements")
	require.ErrorContains(t, err, "StepShaped")
}
