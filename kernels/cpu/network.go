package cpu

import (
	"brood/kernels"
	"brood/kernels/cpu/simd"
	"brood/kernels/host"
	"brood/tensor"
)

// tileRows is the number of rows that go through a network together: forward,
// loss and backward of a tile touch only what fits the first two cache levels.
// Against 64 rows, 128 gain 4 % on AVX2, whose blocks of 6 rows leave less over,
// and 1 to 2 % on AVX-512; 256 gain no more.
const tileRows = 128

// wideHead is the number of outputs from which a last layer is computed as a
// matrix product; below, padding to a vector's width would cost more than dot
// products do.
const wideHead = 12

func pad(n int) int { return (n + 15) &^ 15 }

// layer is a linear layer with its places in the worker's buffers.
type layer struct {
	host.Layer
	inP, outP int // In and Out rounded up to 16
	// Offsets in the packed weights, see network.pack: forward [In][outP] (hidden
	// layers and wide heads), bias [outP], backward [Out][inP].
	forward, bias, backward int
	// Offset in a chunk's gradient: hidden layers [In+1][outP], transposed, the
	// last row being the bias; the last layer [Out][inP] and then [outP].
	grad int
}

// network is the actor or the critic.
type network struct {
	layers []layer
	hidden kernels.Activation
}

func (n *network) last() *layer { return &n.layers[len(n.layers)-1] }

// plan lays out a network's packed weights and gradient behind what is there.
func plan(layers []host.Layer, activation kernels.Activation, packed, grad *int) network {
	n := network{hidden: activation}
	for i, hl := range layers {
		l := layer{Layer: hl, inP: pad(hl.In), outP: pad(hl.Out), grad: *grad}
		take := func(size int) int {
			at := *packed
			*packed += size
			return at
		}
		l.forward, l.bias, l.backward = take(l.In*l.outP), take(l.outP), take(l.Out*l.inP)
		if i < len(layers)-1 {
			*grad += (l.In + 1) * l.outP
		} else {
			*grad += l.Out*l.inP + l.outP
		}
		n.layers = append(n.layers, l)
	}
	return n
}

// pack writes the weights in the forms the matrix routines read: transposed for
// the forward pass, with tanh's factor in hidden layers, and row by row with
// padded rows for the backward pass. Padding is zero from the allocation on.
func (n *network) pack(p *simd.Path, policy, packed []float32) {
	for i := range n.layers {
		l := &n.layers[i]
		w, b := policy[l.Weight:l.Weight+l.Out*l.In], policy[l.Bias:l.Bias+l.Out]
		last := i == len(n.layers)-1
		scale := float32(1)
		if !last && n.hidden == kernels.Tanh {
			scale = simd.TanhScale
		}
		if !last || l.Out >= wideHead {
			p.Transpose(packed[l.forward:], l.outP, w, l.In, l.Out, l.In, scale)
		}
		for j, x := range b {
			packed[l.bias+j] = scale * x
		}
		if i > 0 || last {
			for o := range l.Out {
				copy(packed[l.backward+o*l.inP:], w[o*l.In:(o+1)*l.In])
			}
		}
	}
}

// tile is a worker's buffers for tileRows rows on their way through a network.
type tile struct {
	h      [][]float32 // [layer][tileRows][outP]: activations, then their gradients
	padded []float32   // [tileRows][inP]: the input where there is no hidden layer
	out    []float32   // [outputs][tileRows]: results, then their gradients
	wide   []float32   // [tileRows][outP]: results of a wide head

	gemm simd.Gemm // arguments live here because the call lets them escape
	head simd.Head
}

func newTile(networks ...*network) *tile {
	t := &tile{}
	outputs, wide := 0, 0
	for _, n := range networks {
		last := n.last()
		outputs, wide = max(outputs, last.Out), max(wide, last.outP)
		if len(n.layers) == 1 {
			t.padded = tensor.AlignedFloats(tileRows * last.inP)
		}
	}
	for _, l := range networks[0].layers[:len(networks[0].layers)-1] {
		t.h = append(t.h, tensor.AlignedFloats(tileRows*l.outP))
	}
	t.out = tensor.AlignedFloats(outputs * tileRows)
	t.wide = tensor.AlignedFloats(tileRows * wide)
	return t
}

// forward runs rows rows of x [rows][ldx] through the network and leaves the
// results in t.out. Rows beyond are not meaningful.
func (n *network) forward(p *simd.Path, t *tile, packed, x []float32, ldx, rows int) {
	epilogue := simd.BiasTanh
	if n.hidden == kernels.ReLU {
		epilogue = simd.BiasReLU
	}
	g := &t.gemm
	for i := range n.layers[:len(n.layers)-1] {
		l := &n.layers[i]
		*g = simd.Gemm{M: rows, N: l.outP, K: l.In, A: x, StrideM: ldx, StrideK: 1,
			B: packed[l.forward:], Ldb: l.outP, C: t.h[i], Ldc: l.outP, Bias: packed[l.bias:], Epilogue: epilogue}
		p.Gemm(g)
		x, ldx = t.h[i], l.outP
	}
	l := n.last()
	if len(n.layers) == 1 {
		for r := range rows {
			copy(t.padded[r*l.inP:], x[r*ldx:r*ldx+l.In])
		}
		x, ldx = t.padded, l.inP
	}
	if l.Out < wideHead {
		t.head = simd.Head{M: pad(rows), A: l.Out, K: l.inP, H: x, LdH: ldx, W: packed[l.backward:], LdW: l.inP,
			Bias: packed[l.bias:], Out: t.out, LdOut: tileRows}
		p.Head(&t.head)
		return
	}
	*g = simd.Gemm{M: rows, N: l.outP, K: l.In, A: x, StrideM: ldx, StrideK: 1,
		B: packed[l.forward:], Ldb: l.outP, C: t.wide, Ldc: l.outP, Bias: packed[l.bias:], Epilogue: simd.BiasLinear}
	p.Gemm(g)
	p.Transpose(t.out, tileRows, t.wide, l.outP, rows, l.Out, 1)
}

// one is the left factor of a sum over rows.
var one = []float32{1}

// backward takes the gradient of the results in t.out, of the rows that forward
// has just seen, and adds the gradient of the parameters to grad. It overwrites
// the activations.
func (n *network) backward(p *simd.Path, t *tile, packed, x []float32, ldx, rows int, grad []float32) {
	epilogue := simd.TanhGradient
	if n.hidden == kernels.ReLU {
		epilogue = simd.ReLUGradient
	}
	g := &t.gemm
	l := n.last()
	below := t.padded
	if len(n.layers) > 1 {
		below = t.h[len(t.h)-1]
	}
	*g = simd.Gemm{M: l.Out, N: l.inP, K: rows, A: t.out, StrideM: tileRows, StrideK: 1,
		B: below, Ldb: l.inP, C: grad[l.grad:], Ldc: l.inP, Epilogue: simd.Accumulate}
	p.Gemm(g)
	for o := range l.Out {
		sum, _ := p.Sums(t.out[o*tileRows : o*tileRows+rows])
		grad[l.grad+l.Out*l.inP+o] += sum
	}
	if len(n.layers) == 1 {
		return
	}
	*g = simd.Gemm{M: rows, N: l.inP, K: l.Out, A: t.out, StrideM: 1, StrideK: tileRows,
		B: packed[l.backward:], Ldb: l.inP, C: below, Ldc: l.inP, Epilogue: epilogue}
	p.Gemm(g)
	for i := len(n.layers) - 2; i >= 0; i-- {
		l, dz := &n.layers[i], t.h[i]
		input, ld := x, ldx
		if i > 0 {
			input, ld = t.h[i-1], n.layers[i-1].outP
		}
		*g = simd.Gemm{M: l.In, N: l.outP, K: rows, A: input, StrideM: 1, StrideK: ld,
			B: dz, Ldb: l.outP, C: grad[l.grad:], Ldc: l.outP, Epilogue: simd.Accumulate}
		p.Gemm(g)
		*g = simd.Gemm{M: 1, N: l.outP, K: rows, A: one, StrideM: 0, StrideK: 0,
			B: dz, Ldb: l.outP, C: grad[l.grad+l.In*l.outP:], Ldc: l.outP, Epilogue: simd.Accumulate}
		p.Gemm(g)
		if i > 0 {
			*g = simd.Gemm{M: rows, N: l.inP, K: l.Out, A: dz, StrideM: l.outP, StrideK: 1,
				B: packed[l.backward:], Ldb: l.inP, C: t.h[i-1], Ldc: l.inP, Epilogue: epilogue}
			p.Gemm(g)
		}
	}
}

// unpack writes a network's summed gradient to its place in the policy's layout.
func (n *network) unpack(p *simd.Path, grad, policy []float32) {
	for i := range n.layers {
		l := &n.layers[i]
		g := grad[l.grad:]
		if i < len(n.layers)-1 {
			p.Transpose(policy[l.Weight:], l.In, g, l.outP, l.In, l.Out, 1)
			copy(policy[l.Bias:l.Bias+l.Out], g[l.In*l.outP:])
			continue
		}
		for o := range l.Out {
			copy(policy[l.Weight+o*l.In:l.Weight+(o+1)*l.In], g[o*l.inP:])
		}
		copy(policy[l.Bias:l.Bias+l.Out], g[l.Out*l.inP:])
	}
}
