package cpu_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/internal/golden"
	"brood/kernels"
	"brood/kernels/conformance"
	"brood/kernels/cpu"
	"brood/kernels/cpu/simd"
	"brood/kernels/plain"
	"brood/tensor"
)

// withPath makes engines on one set of inner loops and a number of threads.
func withPath(p *simd.Path, threads int) func(*kernels.Config) (kernels.Engine, error) {
	return func(c *kernels.Config) (kernels.Engine, error) {
		d := *c
		if d.Threads == 0 {
			d.Threads = threads
		}
		return cpu.NewWithPath(&d, p)
	}
}

// The suite runs on every path this machine has.
func TestConformance(t *testing.T) {
	for i, p := range simd.Paths() {
		t.Run(p.Name, func(t *testing.T) { conformance.Run(t, withPath(p, i)) })
	}
}

func TestGolden(t *testing.T) {
	for i, p := range simd.Paths() {
		t.Run(p.Name, func(t *testing.T) { conformance.Golden(t, withPath(p, 1+i%3)) })
	}
}

// cartpole is a workload whose minibatches have several chunks and whose
// environments several slices, so that threads have something to share.
func cartpole(t *testing.T, population int) *kernels.Config {
	v, err := env.Make("CartPole-v1")
	require.NoError(t, err)
	return &kernels.Config{Population: population, Seed: 7, Env: v, Environments: 48, Steps: 64,
		Hidden: []int{33, 17}, Activation: kernels.Tanh, Critic: kernels.Critic{Type: kernels.ScalarCritic},
		Epochs: 2, Minibatches: 2, NormalizeAdvantage: true, NormalizeObservations: true, NormalizeRewards: true,
		LearningRateSchedule: kernels.Constant, TotalUpdates: 10,
		VGS: kernels.VGS{Enabled: true, Beta: 0.99, Warmup: 2, Eps: 1e-8, Percentile: 0.9},
		Hyperparameters: kernels.Hyperparameters{kernels.LearningRate: 1e-3, kernels.Gamma: 0.99, kernels.GAELambda: 0.95,
			kernels.ClipRange: 0.2, kernels.EntropyCoef: 0.01, kernels.ValueCoef: 0.5, kernels.MaxGradNorm: 0.5,
			kernels.AdamBeta1: 0.9, kernels.AdamBeta2: 0.999, kernels.AdamEps: 1e-5, kernels.VGSAlpha: 0.1, kernels.KLTarget: 0.01},
	}
}

func digest(t *testing.T, e kernels.Engine) [32]byte {
	members := make([]tensor.Member, e.Config().Population)
	for i := range members {
		members[i] = tensor.NewMember(e.Layout())
		require.NoError(t, e.Snapshot(i, members[i]))
	}
	return tensor.Digest(members...)
}

func TestThreadsDoNotChangeBits(t *testing.T) {
	for _, p := range simd.Paths() {
		for _, population := range []int{1, 3, 8} {
			var want [32]byte
			for i, threads := range []int{1, 2, 5} {
				e, err := withPath(p, threads)(cartpole(t, population))
				require.NoError(t, err)
				stats := make([]kernels.Stats, population)
				for range 3 {
					require.NoError(t, e.Iterate(stats))
				}
				got := digest(t, e)
				if i == 0 {
					want = got
				}
				require.Equal(t, want, got, "%s, population %d, %d threads", p.Name, population, threads)
				require.NoError(t, e.Close())
			}
		}
	}
}

func TestIterateDoesNotAllocate(t *testing.T) {
	shaped := cartpole(t, 2)
	shaped.Env = env.MountainCar{}
	shaped.Hyperparameters[kernels.NumHyperparameters] = 0.5
	for _, c := range []*kernels.Config{cartpole(t, 1), cartpole(t, 3), shaped} {
		population := c.Population
		e, err := withPath(simd.Paths()[0], 2)(c)
		require.NoError(t, err)
		defer e.Close()
		stats := make([]kernels.Stats, population)
		require.NoError(t, e.Iterate(stats))
		require.Zero(t, testing.AllocsPerRun(5, func() {
			if err := e.Iterate(stats); err != nil {
				t.Error(err)
			}
		}))
	}
}

// While all weights are 0 a native environment keeps its SIMD step, whose sine and
// cosine round otherwise than Go's; with a weight the environment's own step is
// taken, by members that have one alone. So the states tell which it was.
func TestShapingLeavesTheSIMDStepToOthers(t *testing.T) {
	path := simd.Paths()[0]
	if path.Steps["MountainCar-v0"] == nil {
		t.Skipf("%s has no SIMD step of MountainCar-v0", path.Name)
	}
	c := cartpole(t, 3)
	c.Env = env.MountainCar{}
	steps := func(v env.Vector, weight float32) []float32 {
		d := *c
		d.Env = v
		e, err := withPath(path, 2)(&d)
		require.NoError(t, err)
		defer e.Close()
		h := d.Hyperparameters
		h[kernels.NumHyperparameters] = weight
		require.NoError(t, e.SetHyperparameters(1, h))
		require.NoError(t, e.Collect())
		var states []float32
		for i := range d.Population {
			m := tensor.NewMember(e.Layout())
			require.NoError(t, e.Snapshot(i, m))
			states = append(states, m.Float32(kernels.SectionEnvironment, "state")...)
		}
		return states
	}
	n := 2 * c.Environments
	fast, shaped, slow := steps(env.MountainCar{}, 0), steps(env.MountainCar{}, 1e-6), steps(goCar{}, 0)
	require.NotEqual(t, fast[n:2*n], slow[n:2*n], "the two steps round alike: the test shows nothing")
	require.Equal(t, slow[n:2*n], shaped[n:2*n])
	require.Equal(t, fast[:n], shaped[:n])
	require.Equal(t, fast[2*n:], shaped[2*n:])
}

// goCar only shares the name with the native environment: it has no SIMD step.
type goCar struct{ env.MountainCar }

// The SIMD steps of native environments play the same goldens as their Go code.
func TestGoldenEnvironmentSteps(t *testing.T) {
	for _, p := range simd.Paths() {
		for id, step := range p.Steps {
			for _, file := range golden.Files(t, "env") {
				if !strings.HasPrefix(filepath.Base(file), id+".") {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s", p.Name, id), func(t *testing.T) {
					v, err := env.Make(id)
					require.NoError(t, err)
					golden.CheckEnvStep(t, file, step, func(b *env.Batch, obs []float32, ld int) { v.Observe(b, obs, ld) })
				})
			}
		}
	}
}

// A minibatch of several chunks, the last one short and its last tile odd, gives
// the gradient that the plain engine gives.
func TestSeveralChunksAgainstPlain(t *testing.T) {
	c := cartpole(t, 2)
	c.Environments, c.Steps, c.Epochs, c.Minibatches = 47, 33, 1, 1
	for i, p := range simd.Paths() {
		oracle, err := plain.New(c)
		require.NoError(t, err)
		e, err := withPath(p, 1+i)(c) // the same weights, from the same seed
		require.NoError(t, err)
		defer e.Close()
		require.NoError(t, oracle.Collect())
		for m := range c.Population {
			var r kernels.Rollout
			require.NoError(t, oracle.ReadRollout(m, &r))
			// Another behaviour policy, so that ratios are exp(0.1 k): not 1, and not
			// at the clip range, where rounding would decide.
			for j := range r.LogProbs {
				r.LogProbs[j] += 0.1 * float32(j%5-2)
			}
			require.NoError(t, e.WriteRollout(m, &r))
			require.NoError(t, oracle.WriteRollout(m, &r))
		}
		for _, x := range []kernels.Engine{oracle, e} {
			require.NoError(t, x.Advantages())
			require.NoError(t, x.Update())
		}
		for m := range c.Population {
			n := len(tensor.NewMember(e.Layout()).Floats(kernels.SectionPolicy))
			want, got := make([]float32, n), make([]float32, n)
			require.NoError(t, oracle.Gradient(m, want))
			require.NoError(t, e.Gradient(m, got))
			require.InDeltaSlice(t, want, got, 5e-6, p.Name)
			a, b := oracle.MinibatchStats(m)[0], e.MinibatchStats(m)[0]
			require.InDeltaSlice(t, []float32{a.PolicyLoss, a.ValueLoss, a.Entropy, a.KL, a.ClipFraction},
				[]float32{b.PolicyLoss, b.ValueLoss, b.Entropy, b.KL, b.ClipFraction}, 1e-5, p.Name)
			require.Greater(t, oracle.MinibatchStats(m)[0].GradNorm, float32(0.1), "the gradient is too small to compare")
		}
	}
}
