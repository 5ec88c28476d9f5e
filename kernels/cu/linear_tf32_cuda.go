//go:build cuda

package cu

import "brood/cuda"

// LinearForwardTF32 is LinearForward on the tensor cores; see linear_tf32.cu, and
// TF32 for the devices that have them.
func (k *Kernels) LinearForwardTF32(s *cuda.Stream, p *Params, r *Rows, layer int) error {
	return s.Launch(k.kernel("linear_forward_tf32"), forwardLaunch(p, r, layer), p, r, int32(layer))
}

// LinearBackwardInputTF32 is LinearBackwardInput on the tensor cores.
func (k *Kernels) LinearBackwardInputTF32(s *cuda.Stream, p *Params, r *Rows, layer int) error {
	return s.Launch(k.kernel("linear_backward_input_tf32"), backwardInputLaunch(p, r, layer), p, r, int32(layer))
}

// LinearBackwardWeightTF32 is LinearBackwardWeight on the tensor cores.
func (k *Kernels) LinearBackwardWeightTF32(s *cuda.Stream, p *Params, r *Rows, layer int) error {
	return s.Launch(k.kernel("linear_backward_weight_tf32"), backwardWeightLaunch(p, r, layer), p, r, int32(layer))
}
