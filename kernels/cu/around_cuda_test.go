//go:build cuda

package cu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/rng"
	"brood/tensor"
)

// What the tests of the kernels around the networks share.

// still is an environment that nothing happens in: these tests write rollouts.
type still struct{ features int }

func (e still) Spec() env.Spec {
	action := env.ActionSpace{N: 2, Low: []float32{-1, -2}, High: []float32{1, 2}}
	return env.Spec{ID: "still", ObsDim: e.features, Action: action, StateSize: 1}
}
func (still) Reset([]float32, *rng.Stream)                 {}
func (still) Observe([]float32, []float32)                 {}
func (still) Step(_, _ []float32) (reward float32, b bool) { return 0, false }

// aroundConfig is three members of 7 environments and 5 steps with all that has
// state turned on; change may be nil.
func aroundConfig(change func(*kernels.Config)) *kernels.Config {
	c := &kernels.Config{
		Population: 3, Seed: 0x0123456789abcdef, Env: env.Vectorize(still{3}),
		Environments: 7, Steps: 5, Hidden: []int{5, 9}, Activation: kernels.Tanh,
		Critic: kernels.Critic{Type: kernels.ScalarCritic}, Epochs: 3, Minibatches: 5,
		NormalizeAdvantage: true, NormalizeObservations: true, NormalizeRewards: true,
		LearningRateSchedule: kernels.Linear, TotalUpdates: 1000,
		KLPenalty: kernels.KLPenalty{Enabled: true, Beta: 0.2, Min: 1e-4, Max: 100},
		VGS:       kernels.VGS{Enabled: true, Beta: 0.9, Warmup: 2, Eps: 1e-8, Percentile: 0.9},
	}
	c.Hyperparameters = kernels.Hyperparameters{
		kernels.LearningRate: 1e-3, kernels.Gamma: 0.97, kernels.GAELambda: 0.9, kernels.ClipRange: 0.2,
		kernels.EntropyCoef: 0.01, kernels.ValueCoef: 0.5, kernels.MaxGradNorm: 0.5, kernels.AdamBeta1: 0.9,
		kernels.AdamBeta2: 0.999, kernels.AdamEps: 1e-5, kernels.WeightDecay: 0.1, kernels.VGSAlpha: 0.1, kernels.KLTarget: 0.02,
	}
	if change != nil {
		change(c)
	}
	return c
}

// shakeStates gives every member, here and on the device, a state in which no two
// tensors and no two members are alike, and returns it.
func (f *fixture) shakeStates(random *rand.Rand) []*host.State {
	f.t.Helper()
	var states []*host.State
	for m, member := range f.states() {
		s := host.NewState(member)
		for _, x := range [][]float32{s.Policy, s.ExpAvg} {
			fill(x, func() float32 { return float32(random.NormFloat64()) })
		}
		for _, x := range [][]float32{s.ExpAvgSq, s.VGSMeanAbs, s.VGSVar, s.ObsVar} {
			fill(x, func() float32 { return 0.1 + random.Float32() })
		}
		f.clearPadding(s)
		fill(s.ObsMean, func() float32 { return float32(random.NormFloat64()) })
		fill(s.Returns, func() float32 { return float32(100 * random.NormFloat64()) })
		fill(s.EnvState, random.Float32)
		*s.ObsCount, *s.RewardMean, *s.RewardVar, *s.RewardCount = 1000+float64(m), 0.5, 2, 300+float64(m)
		*s.Step, *s.VGSStep, *s.KLBeta = int64(3+m), int64(m), 0.1*float32(m+1)
		*s.ReturnCount, *s.IntervalSum, *s.IntervalCount = int64(130+m), 12.5*float64(m+1), int64(20+60*m)
		*s.EnvSteps, *s.Updates, *s.Episodes = int64(1e12)+int64(m), int64(77+m), int64(555+m)
		h := s.Hyperparameters()
		for i := range h {
			h[i] *= 1 - 0.1*random.Float32()
		}
		s.SetHyperparameters(h)
		f.setState(m, member)
		states = append(states, s)
	}
	return states
}

// clearPadding zeroes what is between the tensors of the policy's size.
func (f *fixture) clearPadding(s *host.State) {
	for _, x := range [][]float32{s.Policy, s.ExpAvg, s.ExpAvgSq} {
		at := 0
		for _, t := range f.plan.Index.Tensors {
			clear(x[at:t.Offset])
			at = t.Offset + t.Len
		}
		clear(x[at:])
	}
}

func fill(x []float32, next func() float32) {
	for i := range x {
		x[i] = next()
	}
}

// randoms are n numbers around mean.
func randoms(random *rand.Rand, n int, mean float64) []float32 {
	x := make([]float32, n)
	fill(x, func() float32 { return float32(mean + random.NormFloat64()) })
	return x
}

// near reports whether two numbers agree to a relative 1e-6 of scale, or are both
// NaN.
func near(want, got, scale float64) bool {
	if math.IsNaN(want) || math.IsNaN(got) {
		return math.IsNaN(want) && math.IsNaN(got)
	}
	return want == got || math.Abs(want-got) <= 1e-6*math.Abs(scale)
}

// checkFloats compares element by element, each by its own size.
func checkFloats[E float32 | float64](t *testing.T, what string, want, got []E) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%s has %d elements, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !near(float64(want[i]), float64(got[i]), float64(want[i])) {
			t.Fatalf("%s[%d] is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// checkState compares states tensor by tensor: integers exactly, numbers nearly,
// and padding, where it must be as it was.
func checkState(t *testing.T, want, got tensor.Member) {
	t.Helper()
	for _, b := range want.Layout().Sections() {
		for _, x := range b.Tensors {
			switch x.DType {
			case tensor.Float32:
				checkFloats(t, b.Name+"/"+x.Name, want.Float32(b.Name, x.Name), got.Float32(b.Name, x.Name))
			case tensor.Float64:
				checkFloats(t, b.Name+"/"+x.Name, want.Float64(b.Name, x.Name), got.Float64(b.Name, x.Name))
			default:
				if !slices.Equal(want.Raw(b.Name, x.Name), got.Raw(b.Name, x.Name)) {
					t.Fatalf("%s/%s is %v, want %v", b.Name, x.Name, got.Raw(b.Name, x.Name), want.Raw(b.Name, x.Name))
				}
			}
			clear(want.Raw(b.Name, x.Name))
			clear(got.Raw(b.Name, x.Name))
		}
	}
	if !slices.Equal(want.Bytes(), got.Bytes()) {
		t.Fatal("the padding between tensors has changed")
	}
}
