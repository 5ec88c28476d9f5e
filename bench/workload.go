// Package bench defines the workloads brood is measured on and how their work
// is counted. The benchmarks are run by
//
//	go test -run '^$' -bench . ./bench
//
// and the comparison with other programs by make bench-peers.
package bench

import (
	"math"
	"slices"

	"brood/env"
	"brood/kernels"
	"brood/rng"
)

// CartPole is the common workload: CartPole-v1, 64 environments x 128 steps, 4
// epochs x 4 minibatches, two 2x64 tanh networks, scalar critic, learning rate
// 2.5e-4, no normalisation of observations or rewards; VGS on, as by default.
func CartPole(population int) *kernels.Config {
	v, err := env.Make("CartPole-v1")
	if err != nil {
		panic(err) // it is built in
	}
	return &kernels.Config{
		Population: population, Seed: 1, Env: v, Environments: 64, Steps: 128,
		Hidden: []int{64, 64}, Activation: kernels.Tanh,
		Critic: kernels.Critic{Type: kernels.ScalarCritic},
		Epochs: 4, Minibatches: 4, NormalizeAdvantage: true,
		LearningRateSchedule: kernels.Constant, TotalUpdates: 1,
		VGS: kernels.VGS{Enabled: true, Beta: 0.99, Warmup: 100, Eps: 1e-8, Percentile: 0.9},
		Hyperparameters: kernels.Hyperparameters{
			kernels.LearningRate: 2.5e-4, kernels.Gamma: 0.99, kernels.GAELambda: 0.95, kernels.ClipRange: 0.2,
			kernels.EntropyCoef: 0.01, kernels.ValueCoef: 0.5, kernels.MaxGradNorm: 0.5,
			kernels.AdamBeta1: 0.9, kernels.AdamBeta2: 0.999, kernels.AdamEps: 1e-5,
			kernels.VGSAlpha: 0.1, kernels.KLTarget: 0.01,
		},
	}
}

// Wide is a workload of larger networks: observation 17, 6 continuous actions,
// two 2x256 tanh networks, quantile critic with 32, a synthetic environment.
func Wide(population int) *kernels.Config {
	c := CartPole(population)
	c.Env = env.Vectorize(synthetic{obs: 17, actions: 6})
	c.Hidden = []int{256, 256}
	c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 32, Kappa: 1}
	return c
}

// Humanoid is a workload of the size of MuJoCo's Humanoid in thousands of
// environments: observation 376, 17 continuous actions, two 2x256 tanh networks,
// 4,096 environments x 16 steps, a synthetic environment.
func Humanoid(population int) *kernels.Config {
	c := CartPole(population)
	c.Env = env.Vectorize(synthetic{obs: 376, actions: 17})
	c.Hidden = []int{256, 256}
	c.Environments, c.Steps = 4096, 16
	return c
}

// FLOP counts the floating-point operations of matrix products per environment
// step, everything else being overhead: a forward pass of both networks while
// collecting, and per epoch a forward pass, the weights' gradient and the
// inputs' gradient, which the first layer does not need. The common workload's
// is 227 kFLOP.
func FLOP(c *kernels.Config) float64 {
	spec := c.Env.Spec()
	forward, first := 0, 0
	for _, outputs := range []int{spec.Action.N, c.Critic.Outputs()} {
		in := spec.ObsDim
		for i, out := range append(append([]int(nil), c.Hidden...), outputs) {
			forward += 2 * in * out
			if i == 0 {
				first += 2 * in * out
			}
			in = out
		}
	}
	return float64(forward + c.Epochs*(3*forward-first))
}

// synthetic is a smooth, cheap environment of any size: a point in obs
// dimensions, pushed by actions forces, rewarded near the origin.
type synthetic struct{ obs, actions int }

func (s synthetic) Spec() env.Spec {
	bounds := func(v float32) []float32 { return slices.Repeat([]float32{v}, s.actions) }
	return env.Spec{ID: "Synthetic-v0", ObsDim: s.obs, StateSize: s.obs, MaxEpisodeSteps: 1000,
		Action: env.ActionSpace{N: s.actions, Low: bounds(-1), High: bounds(1)}}
}

func (synthetic) Reset(state []float32, r *rng.Stream) {
	for i := range state {
		state[i] = r.Between(-1, 1)
	}
}

func (synthetic) Observe(state, obs []float32) { copy(obs, state) }

func (synthetic) Step(state, action []float32) (reward float32, terminated bool) {
	var distance float32
	for i := range state {
		state[i] = 0.99*state[i] + 0.05*action[i%len(action)]
		distance += state[i] * state[i]
	}
	return 1 - float32(math.Sqrt(float64(distance))), false
}
