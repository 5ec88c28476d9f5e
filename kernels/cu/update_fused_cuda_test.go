//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/cuda"
	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/rng"
	"brood/tensor"
)

// shapeOnly is an environment of which only the shapes matter.
type shapeOnly struct{ spec env.Spec }

func (s shapeOnly) Spec() env.Spec                            { return s.spec }
func (shapeOnly) Reset(*env.Batch, int, *rng.Stream)          {}
func (shapeOnly) Observe(_ *env.Batch, obs []float32, ld int) {}
func (shapeOnly) Step(*env.Batch)                             {}
func shaped(features int, discrete bool, actions int) env.Vector {
	spec := env.Spec{ID: "Shape-v0", ObsDim: features, StateSize: 1, Action: env.ActionSpace{Discrete: discrete, N: actions}}
	if !discrete {
		spec.Action.Low, spec.Action.High = slices.Repeat([]float32{-1}, actions), slices.Repeat([]float32{1}, actions)
	}
	return shapeOnly{spec}
}

// smallConfig is a population of two with networks for the fused kernels.
func smallConfig(e env.Vector, environments, steps int, hidden ...int) *kernels.Config {
	c := &kernels.Config{
		Population: 2, Seed: 3, Env: e, Environments: environments, Steps: steps, Hidden: hidden, Activation: kernels.Tanh,
		LogStdInit: -0.3, Critic: kernels.Critic{Type: kernels.ScalarCritic}, Epochs: 1, Minibatches: 1,
		LearningRateSchedule: kernels.Constant,
	}
	c.Hyperparameters = kernels.Hyperparameters{
		kernels.Gamma: 0.97, kernels.GAELambda: 0.9, kernels.ClipRange: 0.2, kernels.EntropyCoef: 0.05, kernels.ValueCoef: 0.5,
		kernels.MaxGradNorm: 0.5, kernels.AdamBeta1: 0.9, kernels.AdamBeta2: 0.999, kernels.AdamEps: 1e-5,
	}
	return c
}

// shakePolicy adds normal numbers of the given size to a member's parameters.
func shakePolicy(m tensor.Member, random *rand.Rand, size float64) {
	for _, s := range m.Layout().Section(kernels.SectionPolicy).Tensors {
		x := m.Float32(kernels.SectionPolicy, s.Name)
		for i := range x {
			x[i] += float32(size * random.NormFloat64())
		}
	}
}

// forward64 is a network's output in float64.
func forward64(layers []host.Layer, theta []float32, relu bool, obs []float32) []float64 {
	x := make([]float64, len(obs))
	for i, v := range obs {
		x[i] = float64(v)
	}
	for i, l := range layers {
		y := make([]float64, l.Out)
		for o := range y {
			y[o] = float64(theta[l.Bias+o])
			for j, v := range x {
				y[o] += float64(theta[l.Weight+o*l.In+j]) * v
			}
			if i == len(layers)-1 {
				continue
			}
			if relu {
				y[o] = max(y[o], 0)
			} else {
				y[o] = math.Tanh(y[o])
			}
		}
		x = y
	}
	return x
}

// logProb64 is the log probability of an action given the actor's outputs.
func logProb64(outputs []float64, logStd, action []float32) (sum float64) {
	if logStd == nil {
		total := 0.0
		for _, z := range outputs {
			total += math.Exp(z)
		}
		return outputs[int(action[0])] - math.Log(total)
	}
	for a, mean := range outputs {
		z := (float64(action[a]) - mean) * math.Exp(-float64(logStd[a]))
		sum -= z*z/2 + float64(logStd[a]) + math.Log(2*math.Pi)/2
	}
	return sum
}

// fusedCase is one combination of what the gradient depends on.
type fusedCase struct {
	features, actions int
	discrete          bool
	hidden            [2]int
	environments      int // of 7 steps
	minibatches       int
	splitRows         int32 // 0: as planned
	relu, normalize   bool
	valueClip, klBeta float32
}

// fusedCases has every kernel, rows that do not fill a tile, and parts of one and
// of several tiles.
var fusedCases = []fusedCase{
	{features: 3, actions: 1, hidden: [2]int{5, 7}, environments: 3, minibatches: 1, normalize: true},
	{features: 4, actions: 2, discrete: true, hidden: [2]int{64, 64}, environments: 29, minibatches: 1, valueClip: 0.02},
	{features: 4, actions: 2, discrete: true, hidden: [2]int{64, 64}, environments: 29, minibatches: 1, splitRows: 128, klBeta: 0.7},
	{features: 2, actions: 3, discrete: true, hidden: [2]int{17, 64}, environments: 18, minibatches: 2, relu: true, klBeta: 0.7},
	{features: 1, actions: 4, discrete: true, hidden: [2]int{64, 9}, environments: 9, minibatches: 1, normalize: true},
	{features: 4, actions: 4, hidden: [2]int{8, 3}, environments: 10, minibatches: 1, relu: true, valueClip: 0.02, klBeta: 0.3},
	{features: 6, actions: 1, hidden: [2]int{64, 33}, environments: 64, minibatches: 2, valueClip: 0.02, splitRows: 192},
	{features: 8, actions: 2, hidden: [2]int{33, 64}, environments: 11, minibatches: 1, relu: true, normalize: true},
	{features: 6, actions: 3, discrete: true, hidden: [2]int{64, 64}, environments: 19, minibatches: 1, klBeta: 0.7, normalize: true},
	{features: 7, actions: 4, hidden: [2]int{1, 64}, environments: 1, minibatches: 1},
}

func (k fusedCase) config() *kernels.Config {
	c := smallConfig(shaped(k.features, k.discrete, k.actions), k.environments, 7, k.hidden[:]...)
	c.Epochs, c.Minibatches = 2, k.minibatches
	c.NormalizeAdvantage = k.normalize
	c.KLPenalty = kernels.KLPenalty{Enabled: k.klBeta > 0, Beta: k.klBeta, Max: 10}
	if k.relu {
		c.Activation = kernels.ReLU
	}
	c.Hyperparameters[kernels.ValueClip] = k.valueClip
	return c
}

// TestUpdateFusedIsPlainsGradient compares the last minibatch of an update at
// learning rate 0, so that it sees the weights of the first.
func TestUpdateFusedIsPlainsGradient(t *testing.T) {
	for i, k := range fusedCases {
		t.Run(fmt.Sprintf("%+v", k), func(t *testing.T) {
			f := newFixture(t, k.config())
			require.True(t, f.plan.FusedUpdate)
			f.cutMinibatches(k.splitRows)
			f.loadMinibatches(rand.New(rand.NewPCG(uint64(i), 5)))
			step := f.plan.Config.Epochs*f.plan.Config.Minibatches - 1
			got := f.updateFused(step)
			for m := range f.plan.Config.Population {
				f.checkGradient(m, step, got)
			}
			require.Equal(t, got, f.updateFused(step), "a second run has other bits")
		})
	}
}

// cutMinibatches makes parts of the given number of rows; 0: as planned.
func (f *fixture) cutMinibatches(splitRows int32) {
	f.t.Helper()
	if splitRows == 0 {
		return
	}
	f.params.SplitRows = splitRows
	f.params.Splits = (f.params.MinibatchRows + splitRows - 1) / splitRows
	require.LessOrEqual(f.t, f.params.Splits, f.plan.Params.Splits)
}

// loadMinibatches gives engine and device the same random rollout, its order of
// rows, and weights that have moved since it was made: values differ from the old
// ones, and ratios leave the clip range.
func (f *fixture) loadMinibatches(random *rand.Rand) {
	c := f.plan.Config
	order := make([][]int32, c.Epochs)
	for e := range order {
		for _, i := range random.Perm(c.Rows()) {
			order[e] = append(order[e], int32(i))
		}
	}
	require.NoError(f.t, f.engine.SetPermutations(order))
	states := f.states()
	for m, s := range states {
		shakePolicy(s, random, 0.1)
		require.NoError(f.t, f.engine.Restore(m, s))
		require.NoError(f.t, f.engine.WriteRollout(m, f.randomRollout(random, s)))
	}
	require.NoError(f.t, f.engine.Advantages())
	for m, s := range states {
		shakePolicy(s, random, 0.02)
		require.NoError(f.t, f.engine.Restore(m, s))
		f.setState(m, s)
		f.uploadRollout(m, order)
	}
	require.NoError(f.t, f.engine.Update())
}

// randomRollout has episodes that end either way, and log probabilities near those
// of the member's policy.
func (f *fixture) randomRollout(random *rand.Rand, s tensor.Member) *kernels.Rollout {
	c, spec := f.plan.Config, f.plan.Config.Env.Spec()
	b, d, w := c.Rows(), spec.ObsDim, spec.Action.Width()
	normals := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		return x
	}
	r := &kernels.Rollout{
		Obs: normals(b * d), Actions: normals(b * w), LogProbs: normals(b), Rewards: normals(b), Terminated: make([]uint8, b),
		Truncated: make([]uint8, b), FinalObs: normals(b * d), LastObs: normals(c.Environments * d),
	}
	theta := s.Floats(kernels.SectionPolicy)
	var logStd []float32
	if !spec.Action.Discrete {
		logStd = theta[f.plan.Index.LogStd:][:spec.Action.N]
	}
	for i := range b {
		if spec.Action.Discrete {
			r.Actions[i] = float32(random.IntN(spec.Action.N))
		}
		r.Terminated[i] = uint8(random.IntN(6) / 5)
		outputs := forward64(f.plan.Index.Actor, theta, c.Activation == kernels.ReLU, r.Obs[i*d:(i+1)*d])
		r.LogProbs[i] = float32(logProb64(outputs, logStd, r.Actions[i*w:(i+1)*w]) + 0.1*random.NormFloat64())
	}
	return r
}

// uploadRollout copies what an update reads from the engine's member to the
// device's.
func (f *fixture) uploadRollout(m int, order [][]int32) {
	var r kernels.Rollout
	require.NoError(f.t, f.engine.ReadRollout(m, &r))
	c := f.plan.Config
	at := f.params.Slice(m, 1)
	upload(f, at.Obs, r.Obs)
	upload(f, at.Actions, r.Actions)
	upload(f, at.LogProbs, r.LogProbs)
	upload(f, at.Values, r.Values)
	upload(f, at.Advantages, r.Advantages)
	upload(f, at.Returns, r.Returns)
	upload(f, at.Order, slices.Concat(order...))
	var scales []float32
	for _, epoch := range order {
		for rows := range slices.Chunk(epoch, c.MinibatchRows()) {
			mean, scale := moments64(c.NormalizeAdvantage, r.Advantages, rows)
			scales = append(scales, float32(mean), float32(scale))
		}
	}
	upload(f, at.AdvantageScale, scales)
}

// moments64 is the mean and 1/(std + 1e-8) of a minibatch's advantages.
func moments64(normalize bool, advantages []float32, rows []int32) (mean, scale float64) {
	if !normalize {
		return 0, 1
	}
	for _, i := range rows {
		mean += float64(advantages[i]) / float64(len(rows))
	}
	squares := 0.0
	for _, i := range rows {
		squares += (float64(advantages[i]) - mean) * (float64(advantages[i]) - mean)
	}
	return mean, 1 / (math.Sqrt(squares/float64(len(rows)-1)) + 1e-8)
}

// untouched is what nothing computes, in memory that must not be written.
const untouched = -12345.5

// fusedResult is what the kernel wrote, over memory of untouched.
type fusedResult struct {
	partial []float32 // [P][Splits][PolicySize]
	sums    []float64 // [P][Splits][LossTerms]
}

func (f *fixture) updateFused(step int) fusedResult { return f.updateFusedBy(f.k.UpdateFused, step) }

func (f *fixture) updateFusedBy(update func(*cuda.Stream, *Params, int) error, step int) fusedResult {
	parts := int(f.params.Members * f.params.Splits)
	upload(f, f.params.Partial, slices.Repeat([]float32{untouched}, parts*int(f.params.PolicySize)))
	upload(f, f.params.LossSums, slices.Repeat([]float64{untouched}, parts*LossTerms))
	f.run(func() error { return update(f.stream, &f.params, step) })
	return fusedResult{
		download[float32](f, f.params.Partial, parts*int(f.params.PolicySize)),
		download[float64](f, f.params.LossSums, parts*LossTerms),
	}
}

// checkGradient compares the sum over the parts with the engine's gradient and
// figures of the last minibatch.
func (f *fixture) checkGradient(m, step int, got fusedResult) {
	f.t.Helper()
	want, scale := make([]float32, f.params.PolicySize), 0.0
	require.NoError(f.t, f.engine.Gradient(m, want))
	sum := f.sumParts(m, got)
	for _, w := range want {
		scale = max(scale, math.Abs(float64(w)))
	}
	for _, s := range f.plan.Index.Tensors {
		for i := range s.Len {
			w := float64(want[s.Offset+i])
			require.InDelta(f.t, w, sum[s.Offset+i], 2e-6*scale+2e-6*math.Abs(w), "member %d, %s, element %d", m, s.Name, s.Offset+i)
		}
	}
	f.checkTerms(m, step, got, 2e-6, 1e-5)
}

// sumParts is the sum over the parts of member m's gradient, 0 in the padding, in
// which it looks for writes.
func (f *fixture) sumParts(m int, got fusedResult) []float64 {
	f.t.Helper()
	size, splits := int(f.params.PolicySize), int(f.params.Splits)
	owned := make([]string, size)
	for _, s := range f.plan.Index.Tensors {
		for i := range s.Len {
			owned[s.Offset+i] = s.Name
		}
	}
	sum := make([]float64, size)
	for split := range splits {
		part := got.partial[(m*splits+split)*size:][:size]
		for i, g := range part {
			require.Equal(f.t, owned[i] == "", g == untouched, "member %d, part %d, element %d of %q is %v", m, split, i, owned[i], g)
			if owned[i] != "" {
				sum[i] += float64(g)
			}
		}
	}
	return sum
}

// checkTerms compares the figures, each within absolute + relative * its size.
func (f *fixture) checkTerms(m, step int, got fusedResult, absolute, relative float64) {
	f.t.Helper()
	splits := int(f.params.Splits)
	sums, stats := got.sums[m*splits*LossTerms:], f.engine.MinibatchStats(m)[step]
	for i, want := range []float32{TermPolicy: stats.PolicyLoss, TermValue: stats.ValueLoss, TermEntropy: stats.Entropy, TermKL: stats.KL, TermClipped: stats.ClipFraction} {
		mean := 0.0
		for split := range splits {
			mean += sums[split*LossTerms+i] / float64(f.params.MinibatchRows)
		}
		require.InDelta(f.t, want, mean, absolute+relative*math.Abs(float64(want)), "member %d, loss term %d", m, i)
	}
}

func TestUpdateFusedLeavesStoppedMembersAlone(t *testing.T) {
	checkFusedStopped(t, (*fixture).updateFused)
}

func checkFusedStopped(t *testing.T, update func(*fixture, int) fusedResult) {
	f := newFixture(t, fusedCases[1].config())
	f.loadMinibatches(rand.New(rand.NewPCG(1, 1)))
	upload(f, f.params.Progress, []Progress{{}, {Stopped: 1}})
	got := update(f, 0)
	half := len(got.partial) / 2
	require.NotEqual(t, float32(untouched), got.partial[0])
	require.Equal(t, slices.Repeat([]float32{untouched}, half), got.partial[half:])
	require.Equal(t, slices.Repeat([]float64{untouched}, len(got.sums)/2), got.sums[len(got.sums)/2:])
}

func TestUpdateFusedKeepsNaN(t *testing.T) { checkFusedNaN(t, (*fixture).updateFused) }

// checkFusedNaN: a NaN in one row reaches every parameter of the network that saw
// it.
func checkFusedNaN(t *testing.T, update func(*fixture, int) fusedResult) {
	nan := float32(math.NaN())
	for _, relu := range []bool{false, true} {
		k := fusedCases[0]
		k.relu = relu
		f := newFixture(t, k.config())
		f.loadMinibatches(rand.New(rand.NewPCG(2, 2)))
		upload(f, f.params.Slice(1, 1).Returns+4, []float32{nan})
		upload(f, f.params.Slice(0, 1).Obs, []float32{nan})
		got := update(f, 0)
		size := int(f.params.PolicySize)
		theta := [2][]float32{got.partial[:size], got.partial[size:]}
		bias := func(layers []host.Layer, m int) float32 { return theta[m][layers[2].Bias] }
		require.True(t, isNaN32(bias(f.plan.Index.Actor, 0)) && isNaN32(bias(f.plan.Index.Critic, 0)), "an observation's NaN got lost")
		require.True(t, isNaN32(bias(f.plan.Index.Critic, 1)), "a return's NaN got lost")
		require.False(t, isNaN32(bias(f.plan.Index.Actor, 1)), "a NaN of the critic reached the actor")
	}
}

func isNaN32(x float32) bool { return x != x }

func TestUpdateFusedRefusesLargerNetworks(t *testing.T) {
	f := newFixture(t, fusedCases[0].config())
	p := f.params
	p.ActionCount = 5
	f.run(func() error {
		require.ErrorContains(t, f.k.UpdateFused(f.stream, &p, 0), "at most 8 features and 4 outputs of the actor, not 3 and 5")
		return nil
	})
}
