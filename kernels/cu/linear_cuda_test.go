//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/cuda"
	"brood/env"
	"brood/kernels"
	"brood/rng"
	"brood/tensor"
)

// tiledShapes is an environment of any shape, whose observations all differ.
type tiledShapes struct{ spec env.Spec }

func (e *tiledShapes) Spec() env.Spec                       { return e.spec }
func (e *tiledShapes) Reset(state []float32, r *rng.Stream) { state[0] = r.Between(-1, 1) }
func (e *tiledShapes) Observe(state, obs []float32)         { spread(obs, state[0]) }
func (e *tiledShapes) Step(s, a []float32) (_ float32, _ bool) {
	s[0] = 0.7*s[0] + 0.3*a[0] + 0.1
	return s[0], false
}

func spread(obs []float32, x float32) {
	for i := range obs {
		obs[i] = float32(math.Sin(float64(x) * float64(2*i+1)))
	}
}

// tiledEnv makes a tiledShapes environment of D features.
func tiledEnv(obsDim int, a env.ActionSpace) env.Vector {
	return env.Vectorize(&tiledShapes{env.Spec{ID: "shapes", ObsDim: obsDim, Action: a, StateSize: 1, MaxEpisodeSteps: 5}})
}

func choices(n int) env.ActionSpace { return env.ActionSpace{Discrete: true, N: n} }

func numbers(n int) env.ActionSpace {
	a := env.ActionSpace{N: n}
	for range n {
		a.Low, a.High = append(a.Low, -1), append(a.High, 1)
	}
	return a
}

// tiledConfig is a small configuration.
func tiledConfig(population int, e env.Vector, environments, steps int, hidden ...int) *kernels.Config {
	c := &kernels.Config{
		Population: population, Seed: 11, Env: e, Environments: environments, Steps: steps,
		Hidden: hidden, Activation: kernels.Tanh, Critic: kernels.Critic{Type: kernels.ScalarCritic},
		Epochs: 1, Minibatches: 1, NormalizeAdvantage: true, LearningRateSchedule: kernels.Constant,
	}
	c.Hyperparameters = kernels.Hyperparameters{
		kernels.LearningRate: 1e-3, kernels.Gamma: 0.97, kernels.GAELambda: 0.9, kernels.ClipRange: 0.1,
		kernels.EntropyCoef: 0.02, kernels.ValueCoef: 0.6, kernels.MaxGradNorm: 0.5,
		kernels.AdamBeta1: 0.9, kernels.AdamBeta2: 0.999, kernels.AdamEps: 1e-5, kernels.KLTarget: 0.01,
	}
	return c
}

// tiled is a fixture that runs the kernels of the tiled path, small networks or
// not.
type tiled struct {
	*fixture
	layers layerKernels
}

// layerKernels launch a linear layer's kernels.
type layerKernels struct {
	forward, backwardInput, backwardWeight func(*cuda.Stream, *Params, *Rows, int) error
}

func newTiled(t *testing.T, c *kernels.Config) *tiled {
	t.Helper()
	f := newFixtureWith(t, c, true)
	return &tiled{f, layerKernels{f.k.LinearForward, f.k.LinearBackwardInput, f.k.LinearBackwardWeight}}
}

// scramble gives every member other weights of the given size, biases included,
// on the device and in the plain engine.
func (f *tiled) scramble(random *rand.Rand, size float64) {
	f.t.Helper()
	for m, s := range f.states() {
		for _, span := range f.plan.Index.Tensors {
			x := s.Floats(kernels.SectionPolicy)[span.Offset : span.Offset+span.Len]
			for i := range x {
				x[i] += float32(size * random.NormFloat64())
			}
		}
		f.setState(m, s)
		require.NoError(f.t, f.engine.Restore(m, s))
	}
}

func normalFloats(random *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	return x
}

// forward queues all layers of the networks of r.
func (f *tiled) forward(r *Rows) {
	f.t.Helper()
	f.run(func() error {
		for layer := range int(f.params.Net[r.First].Layers) {
			if err := f.layers.forward(f.stream, &f.params, r, layer); err != nil {
				return err
			}
		}
		return nil
	})
}

// output downloads rows of what a network's layer gave for member m.
func (f *tiled) output(net, layer, m, rows int) []float32 {
	f.t.Helper()
	n := &f.params.Net[net]
	out := int(n.Layer[layer].Out)
	return download[float32](f.fixture, n.Activation[layer]+Ptr(4*m*int(f.params.MaxRows)*out), rows*out)
}

// linearTwin is linear_forward.cu for one row, in float64.
func linearTwin(theta []float32, l Layer, x []float64, last, relu bool) []float64 {
	y := make([]float64, l.Out)
	for o := range y {
		y[o] = float64(theta[int(l.Bias)+o])
		for i, v := range x {
			y[o] += float64(theta[int(l.Weight)+o*int(l.In)+i]) * v
		}
		if last {
			continue
		}
		if relu {
			y[o] = max(y[o], 0)
		} else {
			y[o] = math.Tanh(y[o])
		}
	}
	return y
}

func TestLinearForward(t *testing.T) {
	for _, k := range []struct {
		members, d, rows, quantiles int
		hidden                      []int
		relu, indexed               bool
	}{
		{members: 1, d: 1, rows: 1},
		{members: 3, d: 17, rows: 7, hidden: []int{5, 7, 3}, indexed: true},
		{members: 2, d: 3, rows: 65, hidden: []int{64}, relu: true, quantiles: 5},
		{members: 2, d: 3, rows: 130, hidden: []int{70, 5}, indexed: true},
		{members: 1, d: 65, rows: 129, hidden: []int{8, 128}, relu: true, indexed: true, quantiles: 66},
	} {
		t.Run(fmt.Sprintf("P=%d/D=%d/rows=%d/hidden=%v/K=%d", k.members, k.d, k.rows, k.hidden, k.quantiles), func(t *testing.T) {
			c := tiledConfig(k.members, tiledEnv(k.d, choices(3)), k.rows, 2, k.hidden...)
			if k.relu {
				c.Activation = kernels.ReLU
			}
			if k.quantiles > 0 {
				c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: k.quantiles, Kappa: 1}
			}
			f, random := newTiled(t, c), rand.New(rand.NewPCG(1, uint64(k.rows)))
			f.scramble(random, 0.3)
			b := c.Rows()
			obs := normalFloats(random, k.members*b*k.d)
			upload(f.fixture, f.params.Obs, obs)
			// Without an index the rows of the second step, as in a rollout.
			r := Rows{Input: f.params.Obs + Ptr(4*k.rows*k.d), Stride: int64(b * k.d), Count: int32(k.rows),
				First: ActorNet, Last: CriticNet, Members: int32(k.members)}
			row := func(_, i int) int { return k.rows + i }
			if k.indexed {
				order := make([]int32, k.members*b)
				for i := range order {
					order[i] = int32(random.IntN(b))
				}
				upload(f.fixture, f.params.Order, order)
				r.Input, r.Index, r.IndexStride = f.params.Obs, f.params.Order+4, int64(b)
				row = func(m, i int) int { return int(order[m*b+1+i]) }
			}
			f.forward(&r)
			for m, s := range f.states() {
				for net := range f.params.Net {
					f.compareNetwork(net, m, k.rows, s, func(i int) []float32 {
						at := (m*b + row(m, i)) * k.d
						return obs[at : at+k.d]
					})
				}
			}
		})
	}
}

// compareNetwork compares all layers of a network with the twin. Each layer is
// given what the device's layer before gave, so that errors do not add up.
func (f *tiled) compareNetwork(net, m, rows int, s tensor.Member, obs func(i int) []float32) {
	f.t.Helper()
	n := &f.params.Net[net]
	for layer := range int(n.Layers) {
		l, last := n.Layer[layer], layer == int(n.Layers)-1
		got, before := f.output(net, layer, m, rows), []float32(nil)
		if layer > 0 {
			before = f.output(net, layer-1, m, rows)
		}
		for i := range rows {
			x := widened(obs(i))
			if layer > 0 {
				x = widened(before[i*int(l.In) : (i+1)*int(l.In)])
			}
			want := linearTwin(s.Floats(kernels.SectionPolicy), l, x, last, f.params.Relu != 0)
			for o, w := range want {
				require.InDelta(f.t, w, got[i*len(want)+o], 1e-6*(1+math.Sqrt(float64(l.In))), "member %d network %d layer %d row %d output %d", m, net, layer, i, o)
			}
		}
	}
}

func widened(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// Only the members and networks that are asked for are run.
func TestLinearForwardOfSomeNetworks(t *testing.T) {
	c := tiledConfig(2, tiledEnv(3, choices(2)), 3, 1, 5)
	f := newTiled(t, c)
	random := rand.New(rand.NewPCG(2, 2))
	upload(f.fixture, f.params.Obs, normalFloats(random, 2*3*3))
	f.forward(&Rows{Input: f.params.Obs, Stride: 9, Count: 2, First: CriticNet, Last: CriticNet, Members: 1})
	require.NotZero(t, f.output(CriticNet, 1, 0, 2)[1])
	require.Zero(t, f.output(CriticNet, 1, 0, 3)[2], "a row beyond the count")
	require.Equal(t, make([]float32, 3), f.output(CriticNet, 1, 1, 3), "another member")
	require.Equal(t, make([]float32, 6), f.output(ActorNet, 1, 0, 3), "the other network")
}

// A NaN in an observation comes out of its row, and of no other.
func TestLinearForwardKeepsNaN(t *testing.T) {
	for _, activation := range []kernels.Activation{kernels.Tanh, kernels.ReLU} {
		c := tiledConfig(1, tiledEnv(2, choices(2)), 3, 1, 4, 3, 2)
		c.Activation = activation
		f := newTiled(t, c)
		upload(f.fixture, f.params.Obs, []float32{1, 2, 3, float32(math.NaN()), 5, 6})
		f.forward(&Rows{Input: f.params.Obs, Count: 3, First: ActorNet, Last: CriticNet, Members: 1})
		for i, x := range f.output(ActorNet, 3, 0, 3) {
			require.Equal(t, i/2 == 1, math.IsNaN(float64(x)), "%s: output %d is %v", activation, i, x)
		}
	}
}

// Rounded tanh stays within the bound that activation.cuh states, and saturates.
func TestTanh(t *testing.T) {
	c := tiledConfig(1, tiledEnv(1, choices(2)), 2001, 1, 1)
	f := newTiled(t, c)
	s := f.states()[0]
	l := f.plan.Index.Actor[0]
	s.Floats(kernels.SectionPolicy)[l.Weight], s.Floats(kernels.SectionPolicy)[l.Bias] = 1, 0
	f.setState(0, s)
	x := make([]float32, 2001)
	for i := range x {
		v := float64(i-1000) / 1000
		x[i] = float32(v * v * v * 100)
	}
	upload(f.fixture, f.params.Obs, x)
	f.forward(&Rows{Input: f.params.Obs, Count: 2001, First: ActorNet, Last: ActorNet, Members: 1})
	y := f.output(ActorNet, 0, 0, len(x))
	for i := range x {
		require.InDelta(t, math.Tanh(float64(x[i])), y[i], 4e-7, "tanh(%v)", x[i])
	}
	require.Equal(t, []float32{-1, 1}, []float32{y[0], y[2000]})
}
