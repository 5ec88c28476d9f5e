//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/kernels"
)

// onTensorCores makes the fixture's forward and gradient use the kernels on the
// tensor cores.
func (f *tiled) onTensorCores() {
	f.layers = layerKernels{f.k.LinearForwardTF32, f.k.LinearBackwardInputTF32, f.k.LinearBackwardWeightTF32}
}

// linearTF32Case is a shape: edges within tiles, one and several tiles each way,
// one and several steps along k, rows that are moved four floats at once and not.
type linearTF32Case struct {
	members, d, rows, outs int
	hidden                 []int
	relu                   bool
}

var linearTF32Cases = []linearTF32Case{
	{members: 1, d: 1, rows: 1, outs: 1, hidden: []int{1}},
	{members: 2, d: 17, rows: 7, outs: 3, hidden: []int{5, 7, 3}},
	{members: 2, d: 8, rows: 65, outs: 5, hidden: []int{64}, relu: true},
	{members: 1, d: 65, rows: 129, outs: 66, hidden: []int{70, 128}, relu: true},
	{members: 1, d: 3, rows: 300, outs: 2, hidden: []int{33, 68}},
}

func (k *linearTF32Case) fixture(t *testing.T) *tiled {
	c := tiledConfig(k.members, tiledEnv(k.d, choices(3)), k.rows, 2, k.hidden...)
	c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: k.outs, Kappa: 1}
	if k.relu {
		c.Activation = kernels.ReLU
	}
	f := newTiled(t, c)
	f.onTensorCores()
	f.scramble(rand.New(rand.NewPCG(1, uint64(k.d))), 0.3)
	return f
}

func (k *linearTF32Case) name() string {
	return fmt.Sprintf("P=%d/D=%d/rows=%d/hidden=%v/K=%d", k.members, k.d, k.rows, k.hidden, k.outs)
}

// checkSums compares sums of depth products of rounded factors with the twin's. Only
// the order of the additions and the activation function differ.
func (f *tiled) checkSums(what string, want []float64, got []float32, depth int) {
	f.t.Helper()
	norm := 0.0
	for _, w := range want {
		norm = max(norm, math.Abs(w))
	}
	for i, w := range want {
		require.InDelta(f.t, w, got[i], 1e-6*(1+norm)*math.Sqrt(float64(depth)), "%s, element %d", what, i)
	}
}

// TestLinearTF32 compares each kernel's every number with the sum, in float64, of
// what the layer is given, rounded to tf32: that is all that may be lost.
func TestLinearTF32(t *testing.T) {
	for _, k := range linearTF32Cases {
		t.Run(k.name(), func(t *testing.T) {
			f, random := k.fixture(t), rand.New(rand.NewPCG(2, uint64(k.rows)))
			p, b := &f.params, f.plan.Config.Rows()
			obs := normalFloats(random, k.members*b*k.d)
			upload(f.fixture, p.Obs, obs)
			order := make([]int32, k.members*b)
			for i := range order {
				order[i] = int32(random.IntN(b))
			}
			upload(f.fixture, p.Order, order)
			r := Rows{Input: p.Obs, Stride: int64(b * k.d), Index: p.Order + 4, IndexStride: int64(b),
				Count: int32(k.rows), First: ActorNet, Last: CriticNet, Members: int32(k.members)}
			f.forward(&r)
			for m := range k.members {
				x := make([]float32, 0, k.rows*k.d)
				for _, i := range order[m*b+1:][:k.rows] {
					x = append(x, obs[(m*b+int(i))*k.d:][:k.d]...)
				}
				for net := range p.Net {
					f.checkForwardTF32(net, m, k.rows, x)
				}
			}
			for layer := int(p.Net[ActorNet].Layers) - 1; layer >= 0; layer-- {
				f.checkBackwardTF32(&r, layer, random, func(m, i int) []float32 {
					return obs[(m*b+int(order[m*b+1+i]))*k.d:][:k.d]
				})
			}
		})
	}
}

// A NaN in an observation comes out of its row and of no other, also the one whose
// bits would overflow in rounding, which is the one that devices compute.
func TestLinearForwardTF32KeepsNaN(t *testing.T) {
	for _, activation := range []kernels.Activation{kernels.Tanh, kernels.ReLU} {
		c := tiledConfig(1, tiledEnv(2, choices(2)), 3, 1, 4, 3, 2)
		c.Activation = activation
		f := newTiled(t, c)
		f.onTensorCores()
		upload(f.fixture, f.params.Obs, []float32{1, 2, 3, math.Float32frombits(0x7fffffff), 5, 6})
		f.forward(&Rows{Input: f.params.Obs, Count: 3, First: ActorNet, Last: CriticNet, Members: 1})
		for i, x := range f.output(ActorNet, 3, 0, 3) {
			require.Equal(t, i/2 == 1, math.IsNaN(float64(x)), "%s: output %d is %v", activation, i, x)
		}
	}
}

// checkForwardTF32 compares all layers; x [rows][D] is what the first is given.
func (f *tiled) checkForwardTF32(net, m, rows int, x []float32) {
	f.t.Helper()
	theta, n := f.states()[m].Floats(kernels.SectionPolicy), &f.params.Net[net]
	for layer := range int(n.Layers) {
		l := n.Layer[layer]
		in, out := int(l.In), int(l.Out)
		w, want := tf32s(theta[l.Weight:][:in*out]), make([]float64, 0, rows*out)
		for i := range rows {
			row := tf32s(x[i*in:][:in])
			for o := range out {
				z := float64(theta[int(l.Bias)+o])
				for j, v := range row {
					z += w[o*in+j] * v
				}
				if layer < int(n.Layers)-1 {
					z = activate64(f.params.Relu != 0, z)
				}
				want = append(want, z)
			}
		}
		x = f.output(net, layer, m, rows)
		f.checkSums(fmt.Sprintf("member %d network %d layer %d", m, net, layer), want, x, in)
	}
}

func activate64(relu bool, z float64) float64 {
	if relu {
		return max(z, 0)
	}
	return math.Tanh(z)
}

// checkBackwardTF32 runs both kernels of a layer on random gradients by its outputs.
func (f *tiled) checkBackwardTF32(r *Rows, layer int, random *rand.Rand, obs func(m, i int) []float32) {
	f.t.Helper()
	p, members, rows := &f.params, int(r.Members), int(r.Count)
	var deltas [2][]float32
	for net := range p.Net {
		n := &p.Net[net]
		deltas[net] = normalFloats(random, members*int(p.MaxRows*n.MaxOut))
		upload(f.fixture, n.Delta[layer%2], deltas[net])
	}
	f.run(func() error {
		if err := f.layers.backwardWeight(f.stream, p, r, layer); err != nil || layer == 0 {
			return err
		}
		return f.layers.backwardInput(f.stream, p, r, layer)
	})
	for m := range members {
		for net := range p.Net {
			n := &p.Net[net]
			l := n.Layer[layer]
			dy := deltas[net][m*int(p.MaxRows*n.MaxOut):][:rows*int(l.Out)]
			var x []float32 // [rows][in], what the layer was given
			for i := range rows {
				if layer == 0 {
					x = append(x, obs(m, i)...)
				}
			}
			if layer > 0 {
				x = f.output(net, layer-1, m, rows)
				f.checkInputTF32(net, layer, m, dy, x)
			}
			f.checkWeightTF32(l, m, rows, dy, x)
		}
	}
}

// checkInputTF32 compares the gradient by a layer's input.
func (f *tiled) checkInputTF32(net, layer, m int, dy, x []float32) {
	f.t.Helper()
	n := &f.params.Net[net]
	l := n.Layer[layer]
	in, out := int(l.In), int(l.Out)
	w := tf32s(f.states()[m].Floats(kernels.SectionPolicy)[l.Weight:][:in*out])
	d, want := tf32s(dy), make([]float64, len(x))
	for i, y := range x {
		for o := range out {
			want[i] += d[i/in*out+o] * w[o*in+i%in]
		}
		if f.params.Relu == 0 {
			want[i] *= 1 - float64(y)*float64(y)
		} else if y <= 0 {
			want[i] = 0
		}
	}
	at := n.Delta[(layer-1)%2] + Ptr(4*m*int(f.params.MaxRows*n.MaxOut))
	f.checkSums(fmt.Sprintf("member %d network %d layer %d: dX", m, net, layer), want, download[float32](f.fixture, at, len(want)), out)
}

// checkWeightTF32 compares the gradients by a layer's weights and biases. The
// biases' are sums of dY that is not rounded.
func (f *tiled) checkWeightTF32(l Layer, m, rows int, dy, x []float32) {
	f.t.Helper()
	in, out, size := int(l.In), int(l.Out), int(f.params.PolicySize)
	parts := f.partials(m)
	d, u := tf32s(dy), tf32s(x)
	for split := range int(f.params.Splits) {
		from, to := split*int(f.params.SplitRows), min(rows, (split+1)*int(f.params.SplitRows))
		weight, bias := make([]float64, in*out), make([]float64, out)
		for i := from; i < to; i++ {
			for o := range out {
				bias[o] += float64(dy[i*out+o])
				for j := range in {
					weight[o*in+j] += d[i*out+o] * u[i*in+j]
				}
			}
		}
		part := parts[split*size:][:size]
		f.checkSums(fmt.Sprintf("member %d part %d: dW", m, split), weight, part[l.Weight:], rows)
		f.checkSums(fmt.Sprintf("member %d part %d: db", m, split), bias, part[l.Bias:], rows)
	}
}

// The whole gradient of the tiled path and what its networks give are near those in
// float32.
func TestGradientTF32AgainstPlain(t *testing.T) {
	for _, k := range tiledCases {
		t.Run(k.name(), func(t *testing.T) {
			f := newGradient(t, &k)
			require.NoError(t, f.engine.Update())
			step := k.minibatches - 1
			f.gradient(step)
			last := int(f.params.Net[ActorNet].Layers) - 1
			var exact [2][]float32
			for net := range exact {
				exact[net] = f.output(net, last, 0, int(f.params.MinibatchRows))
			}
			f.onTensorCores()
			f.gradient(step)
			for net, want := range exact {
				got := f.output(net, last, 0, int(f.params.MinibatchRows))
				require.Less(t, relativeL2(got, want), tf32Outputs, "network %d", net)
			}
			for m := range k.members {
				want := make([]float32, f.params.PolicySize)
				require.NoError(t, f.engine.Gradient(m, want))
				partials := f.partials(m)
				distance := relativeL2(f.summed(partials, 0, len(want)), want)
				require.Less(t, distance, tf32TiledGradient, "member %d", m)
				require.Greater(t, distance, tf32Rounds, "member %d", m)
			}
			first := f.partials(0)
			f.gradient(step)
			require.Equal(t, first, f.partials(0), "a second run has other bits")
		})
	}
}
