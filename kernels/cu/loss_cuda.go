//go:build cuda

package cu

import "brood/cuda"

// lossThreads is LOSS_THREADS of loss.cu.
const lossThreads = 256

// Loss computes the losses of a minibatch, of which r are the rows, and the
// gradients by the networks' outputs; see loss.cu.
func (k *Kernels) Loss(s *cuda.Stream, p *Params, r *Rows, step int) error {
	return s.Launch(k.kernel("loss"), launchOf(int(r.Members), int(p.Splits), lossThreads), p, r, int32(step))
}
