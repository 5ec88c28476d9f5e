//go:build cuda

package cu

import "brood/cuda"

// The tiles of the linear layers' kernels; see gemm.cuh and the .cu files.
const (
	tileRows   = 128 // linear_forward, linear_backward_input
	tileCols   = 64
	weightRows = 64 // linear_backward_weight
	// tileNumbers is how many numbers of a tile a thread computes.
	tileNumbers = 64
)

// LinearForward computes what a layer gives for the rows of r; see
// linear_forward.cu.
func (k *Kernels) LinearForward(s *cuda.Stream, p *Params, r *Rows, layer int) error {
	return s.Launch(k.kernel("linear_forward"), forwardLaunch(p, r, layer), p, r, int32(layer))
}

func forwardLaunch(p *Params, r *Rows, layer int) cuda.Launch {
	out, _ := p.widest(r, layer)
	tiles := ceilDiv(int(r.Count), tileRows) * ceilDiv(out, tileCols)
	return launchOf(r.networks()*tiles, 1, tileRows*tileCols/tileNumbers)
}

// LinearBackwardInput computes the gradient by a layer's input; see
// linear_backward_input.cu.
func (k *Kernels) LinearBackwardInput(s *cuda.Stream, p *Params, r *Rows, layer int) error {
	return s.Launch(k.kernel("linear_backward_input"), backwardInputLaunch(p, r, layer), p, r, int32(layer))
}

func backwardInputLaunch(p *Params, r *Rows, layer int) cuda.Launch {
	_, in := p.widest(r, layer)
	tiles := ceilDiv(int(r.Count), tileRows) * ceilDiv(in, tileCols)
	return launchOf(r.networks()*tiles, 1, tileRows*tileCols/tileNumbers)
}

// LinearBackwardWeight computes the gradients by a layer's weights and biases for
// each part of the minibatch; see linear_backward_weight.cu.
func (k *Kernels) LinearBackwardWeight(s *cuda.Stream, p *Params, r *Rows, layer int) error {
	return s.Launch(k.kernel("linear_backward_weight"), backwardWeightLaunch(p, r, layer), p, r, int32(layer))
}

func backwardWeightLaunch(p *Params, r *Rows, layer int) cuda.Launch {
	out, in := p.widest(r, layer)
	tiles := int(p.Splits) * ceilDiv(out, weightRows) * ceilDiv(in, tileCols)
	return launchOf(r.networks()*tiles, 1, weightRows*tileCols/tileNumbers)
}

// widest is a layer's size in the network of r where it has most outputs; its
// inputs are as many in both.
func (p *Params) widest(r *Rows, layer int) (out, in int) {
	first, last := &p.Net[r.First].Layer[layer], &p.Net[r.Last].Layer[layer]
	return int(max(first.Out, last.Out)), int(first.In)
}

// networks is the number of members times networks of r.
func (r *Rows) networks() int { return int(r.Members * (r.Last - r.First + 1)) }
