//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/kernels"
	"brood/tensor"
)

// tiledCase is a combination of what the gradient depends on.
type tiledCase struct {
	members, minibatches int
	environments, steps  int
	obsDim               int
	action               env.ActionSpace
	hidden               []int
	relu, normalize      bool
	quantiles            int     // 0: a scalar critic
	clip                 float32 // value_clip
	beta                 float32 // of the KL penalty; 0: off
}

var tiledCases = []tiledCase{
	{members: 1, minibatches: 1, environments: 1, steps: 1, obsDim: 1, action: choices(2)},
	{members: 2, minibatches: 3, environments: 7, steps: 3, obsDim: 3, action: choices(3), hidden: []int{5, 7, 3}, clip: 0.02, normalize: true},
	{members: 3, minibatches: 2, environments: 7, steps: 2, obsDim: 17, action: numbers(2), hidden: []int{7}, relu: true, beta: 0.7, clip: 0.05},
	{members: 2, minibatches: 1, environments: 5, steps: 25, obsDim: 3, action: numbers(10), hidden: []int{8}, quantiles: 5, normalize: true},
	{members: 1, minibatches: 1, environments: 100, steps: 3, obsDim: 2, action: choices(2), hidden: []int{66, 5}, relu: true, quantiles: 3, beta: 0.3, normalize: true},
	{members: 1, minibatches: 1, environments: 100, steps: 3, obsDim: 9, action: numbers(1), hidden: []int{9, 5}},
	{members: 2, minibatches: 3, environments: 7, steps: 3, obsDim: 3, action: env.MultiDiscrete(3, 1, 2, 4, 2), hidden: []int{5, 7}, beta: 0.7, clip: 0.02, normalize: true},
	{members: 1, minibatches: 1, environments: 100, steps: 3, obsDim: 2, action: env.MultiDiscrete(2, 2), hidden: []int{6}, relu: true, quantiles: 3},
}

func (k *tiledCase) name() string {
	return fmt.Sprintf("P=%d/rows=%d/D=%d/choices=%v/A=%d/hidden=%v/relu=%v/K=%d/clip=%v/kl=%v", k.members, k.environments*k.steps/k.minibatches,
		k.obsDim, k.action.Choices(), k.action.N, k.hidden, k.relu, k.quantiles, k.clip, k.beta)
}

func (k *tiledCase) config() *kernels.Config {
	c := tiledConfig(k.members, tiledEnv(k.obsDim, k.action), k.environments, k.steps, k.hidden...)
	c.Minibatches, c.NormalizeAdvantage = k.minibatches, k.normalize
	c.KLPenalty = kernels.KLPenalty{Enabled: k.beta > 0, Beta: k.beta, Max: 10}
	if k.relu {
		c.Activation = kernels.ReLU
	}
	if k.quantiles > 0 {
		c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: k.quantiles, Kappa: 0.6}
	}
	c.Hyperparameters[kernels.ValueClip] = k.clip
	// Every minibatch of an update has the same weights.
	c.Hyperparameters[kernels.LearningRate] = 0
	return c
}

// newGradient is a device with a rollout, in the plain engine too, that the
// present weights have moved away from, and rows in random order.
func newGradient(t *testing.T, k *tiledCase) *tiled {
	c := k.config()
	f, random := newTiled(t, c), rand.New(rand.NewPCG(3, uint64(k.obsDim)))
	f.scramble(random, 0.4)
	require.NoError(t, f.engine.Collect())
	b := c.Rows()
	for m := range k.members {
		var r kernels.Rollout
		require.NoError(t, f.engine.ReadRollout(m, &r))
		for i := range b {
			r.LogProbs[i] += 0.1 * float32(random.NormFloat64())
			r.Rewards[i] = float32(random.NormFloat64())
		}
		require.NoError(t, f.engine.WriteRollout(m, &r))
	}
	require.NoError(t, f.engine.Advantages())
	order := make([]int32, 0, b)
	for _, i := range random.Perm(b) {
		order = append(order, int32(i))
	}
	require.NoError(t, f.engine.SetPermutations([][]int32{order}))
	for m := range k.members {
		f.uploadRollout(m, order)
	}
	f.scramble(random, 0.1)
	for m, s := range f.states() {
		// Hyperparameters are a member's own.
		h := c.Hyperparameters
		h[kernels.EntropyCoef] += 0.01 * float32(m)
		h[kernels.ValueCoef] += 0.1 * float32(m)
		h[kernels.ClipRange] += 0.02 * float32(m)
		require.NoError(t, f.engine.SetHyperparameters(m, h))
		require.NoError(t, f.engine.Snapshot(m, s))
		f.setState(m, s)
	}
	return f
}

// uploadRollout copies what the loss reads of the plain engine's rollout of member
// m to the device, and the order of its rows.
func (f *tiled) uploadRollout(m int, order []int32) {
	f.t.Helper()
	var r kernels.Rollout
	require.NoError(f.t, f.engine.ReadRollout(m, &r))
	p, c := &f.params, f.plan.Config
	b := len(order)
	upload(f.fixture, p.Obs+Ptr(4*m*len(r.Obs)), r.Obs)
	upload(f.fixture, p.Actions+Ptr(4*m*len(r.Actions)), r.Actions)
	for at, x := range map[Ptr][]float32{p.LogProbs: r.LogProbs, p.Values: r.Values, p.Advantages: r.Advantages, p.Returns: r.Returns} {
		upload(f.fixture, at+Ptr(4*m*b), x)
	}
	upload(f.fixture, p.Order+Ptr(4*m*b), order)
	var scales []float32
	rows := c.MinibatchRows()
	for step := range c.Minibatches {
		mean, scale := tiledMoments(c.NormalizeAdvantage, r.Advantages, order[step*rows:(step+1)*rows])
		scales = append(scales, mean, scale)
	}
	upload(f.fixture, p.AdvantageScale+Ptr(4*m*len(scales)), scales)
}

// tiledMoments are the mean and 1/(std + 1e-8) of the advantages of a minibatch.
func tiledMoments(normalize bool, advantages []float32, rows []int32) (mean, scale float32) {
	if !normalize {
		return 0, 1
	}
	sum, squares := 0.0, 0.0
	for _, i := range rows {
		sum += float64(advantages[i]) / float64(len(rows))
	}
	for _, i := range rows {
		squares += (float64(advantages[i]) - sum) * (float64(advantages[i]) - sum)
	}
	return float32(sum), float32(1 / (math.Sqrt(squares/float64(len(rows)-1)) + 1e-8))
}

// gradient computes the partial gradients of a minibatch.
func (f *tiled) gradient(step int) {
	f.t.Helper()
	p := &f.params
	r := Rows{Input: p.Obs, Stride: int64(p.Rows * p.ObsDim), Index: p.Order + Ptr(4*step*int(p.MinibatchRows)), IndexStride: int64(p.Rows),
		Count: p.MinibatchRows, First: ActorNet, Last: CriticNet, Members: p.Members}
	f.forward(&r)
	f.run(func() error {
		if err := f.k.Loss(f.stream, p, &r, step); err != nil {
			return err
		}
		for layer := int(p.Net[ActorNet].Layers) - 1; layer >= 0; layer-- {
			if err := f.layers.backwardWeight(f.stream, p, &r, layer); err != nil {
				return err
			}
			if layer == 0 {
				break
			}
			if err := f.layers.backwardInput(f.stream, p, &r, layer); err != nil {
				return err
			}
		}
		return nil
	})
}

// partials downloads member m's partial gradients [Splits][PolicySize].
func (f *tiled) partials(m int) []float32 {
	f.t.Helper()
	n := int(f.params.Splits * f.params.PolicySize)
	return download[float32](f.fixture, f.params.Partial+Ptr(4*m*n), n)
}

// summed is the sum of the parts of one policy tensor's gradient.
func (f *tiled) summed(partials []float32, offset, n int) []float64 {
	sum := make([]float64, n)
	for split := range int(f.params.Splits) {
		for i := range sum {
			sum[i] += float64(partials[split*int(f.params.PolicySize)+offset+i])
		}
	}
	return sum
}

// terms downloads member m's loss sums over all parts, divided by the rows.
func (f *tiled) terms(m int) (mean [LossTerms]float64) {
	f.t.Helper()
	n := int(f.params.Splits) * LossTerms
	for i, x := range download[float64](f.fixture, f.params.LossSums+Ptr(8*m*n), n) {
		mean[i%LossTerms] += x / float64(f.params.MinibatchRows)
	}
	return mean
}

func TestGradientAgainstPlain(t *testing.T) {
	for _, k := range tiledCases {
		t.Run(k.name(), func(t *testing.T) {
			f := newGradient(t, &k)
			if k.environments*k.steps > 256 {
				require.Greater(t, f.params.Splits, int32(1), "the case is for several parts")
			}
			require.NoError(t, f.engine.Update())
			for step := range k.minibatches {
				f.gradient(step)
				for m := range k.members {
					f.compareTerms(m, step)
				}
			}
			for m := range k.members {
				f.compareGradient(m)
			}
		})
	}
}

// compareTerms compares a minibatch's figures with the plain engine's.
func (f *tiled) compareTerms(m, step int) {
	f.t.Helper()
	want, got := f.engine.MinibatchStats(m)[step], f.terms(m)
	for _, x := range []struct {
		name      string
		term      int
		want      float32
		tolerance float64
	}{
		{"policy loss", TermPolicy, want.PolicyLoss, 1e-6}, {"value loss", TermValue, want.ValueLoss, 1e-6},
		{"entropy", TermEntropy, want.Entropy, 2e-6}, {"KL", TermKL, want.KL, 1e-6}, {"clip fraction", TermClipped, want.ClipFraction, 1e-7},
	} {
		require.InDelta(f.t, x.want, got[x.term], x.tolerance*(1+math.Abs(float64(x.want))), "member %d minibatch %d: %s", m, step, x.name)
	}
}

// compareGradient compares the gradient of the last minibatch with the plain
// engine's, and looks that the padding between tensors is left alone.
func (f *tiled) compareGradient(m int) {
	f.t.Helper()
	want, got := tensor.NewMember(f.plan.Layout).Floats(kernels.SectionPolicy), f.partials(m)
	require.NoError(f.t, f.engine.Gradient(m, want))
	inTensors := make([]bool, len(want))
	for _, span := range f.plan.Index.Tensors {
		norm := 0.0
		for _, x := range want[span.Offset : span.Offset+span.Len] {
			norm = max(norm, math.Abs(float64(x)))
		}
		for i, x := range f.summed(got, span.Offset, span.Len) {
			require.InDelta(f.t, want[span.Offset+i], x, 1e-6+5e-6*norm, "member %d: gradient of %s[%d]", m, span.Name, i)
			inTensors[span.Offset+i] = true
		}
	}
	for i := range got {
		if !inTensors[i%len(want)] {
			require.Zero(f.t, got[i], "padding at %d", i%len(want))
		}
	}
}

func TestGradientHasTheSameBitsAgain(t *testing.T) {
	f := newGradient(t, &tiledCases[4])
	f.gradient(0)
	first, terms := f.partials(0), f.terms(0)
	f.gradient(0)
	require.Equal(t, first, f.partials(0))
	require.Equal(t, terms, f.terms(0))
}

// The kernels of a minibatch do nothing for a member that has stopped.
func TestGradientOfStoppedMember(t *testing.T) {
	f := newGradient(t, &tiledCases[2])
	upload(f.fixture, f.params.Progress, []Progress{{}, {Computed: 1, Stopped: 1}, {}})
	written := f.written()
	for _, b := range written {
		upload(f.fixture, b.at, filled(3*b.floats, 7))
	}
	f.gradient(0)
	for _, b := range written {
		for m := range 3 {
			untouched := slices.Equal(filled(b.floats, 7), download[float32](f.fixture, b.at+Ptr(4*m*b.floats), b.floats))
			require.Equal(t, m == 1, untouched, "%s of member %d", b.name, m)
		}
	}
}

// written are the buffers that a minibatch's gradient is computed in, with the
// floats of a member.
func (f *tiled) written() (list []struct {
	name   string
	at     Ptr
	floats int
}) {
	p := &f.params
	add := func(name string, at Ptr, floats int32) {
		list = append(list, struct {
			name   string
			at     Ptr
			floats int
		}{name, at, int(floats)})
	}
	add("partial gradients", p.Partial, p.Splits*p.PolicySize)
	add("loss sums", p.LossSums, 2*p.Splits*LossTerms)
	for net := range p.Net {
		n := &p.Net[net]
		for layer := range n.Layers {
			add(fmt.Sprintf("activations of network %d layer %d", net, layer), n.Activation[layer], p.MaxRows*n.Layer[layer].Out)
		}
		for i, delta := range n.Delta {
			add(fmt.Sprintf("deltas %d of network %d", i, net), delta, p.MaxRows*n.MaxOut)
		}
	}
	return list
}

func filled(n int, x float32) []float32 { return slices.Repeat([]float32{x}, n) }

func allZero(x []float32) bool {
	for _, v := range x {
		if v != 0 {
			return false
		}
	}
	return true
}

// A NaN in what the loss reads comes out of the gradient it concerns, and of no
// other.
func TestGradientKeepsNaN(t *testing.T) {
	nan := []float32{float32(math.NaN())}
	for _, k := range []*tiledCase{&tiledCases[1], &tiledCases[3], &tiledCases[6]} {
		for _, x := range []struct {
			name          string
			at            func(*Params) Ptr
			actor, critic bool
		}{
			{"advantage", func(p *Params) Ptr { return p.Advantages }, true, false},
			{"log probability", func(p *Params) Ptr { return p.LogProbs }, true, false},
			{"return", func(p *Params) Ptr { return p.Returns }, false, true},
		} {
			f := newGradient(t, k)
			order := download[int32](f.fixture, f.params.Order, 1)
			upload(f.fixture, x.at(&f.params)+Ptr(4*order[0]), nan)
			f.gradient(0)
			for net, want := range []bool{ActorNet: x.actor, CriticNet: x.critic} {
				n := &f.params.Net[net]
				bias := n.Layer[n.Layers-1].Bias
				for m := range int(f.params.Members) {
					got := math.IsNaN(float64(f.partials(m)[bias]))
					require.Equal(t, want && m == 0, got, "%s: NaN in a %s: bias of network %d of member %d", k.name(), x.name, net, m)
				}
			}
		}
	}
}

// Of a ratio beyond float32 that is clipped the gradient is 0, as it is in float64.
func TestGradientOfVeryUnlikelyActions(t *testing.T) {
	k := tiledCase{members: 1, minibatches: 1, environments: 1, steps: 1, obsDim: 1, action: numbers(1), hidden: []int{3}}
	f := newGradient(t, &k)
	upload(f.fixture, f.params.LogProbs, []float32{-300})
	for _, x := range []struct{ advantage, want float32 }{{1, 0}, {-1, float32(math.Inf(1))}} {
		upload(f.fixture, f.params.Advantages, []float32{x.advantage})
		f.gradient(0)
		got := f.partials(0)[f.params.Net[ActorNet].Layer[1].Bias]
		require.Equal(t, x.want, float32(math.Abs(float64(got))), "advantage %v", x.advantage)
	}
}
