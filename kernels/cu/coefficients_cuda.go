//go:build cuda

package cu

import "brood/cuda"

// Coefficients turns the sums of minibatch step into its figures and into what
// Adam is to do with its gradient: Minibatches, Progress, Coefficients.
//
// Eight warps: each sums a tensor, or a term of the loss, at a time.
func (k *Kernels) Coefficients(s *cuda.Stream, p *Params, step int) error {
	return s.Launch(k.kernel("coefficients"), launchOf(int(p.Members), 1, 256), p, int32(step))
}
