//go:build cuda

package cu

import "brood/cuda"

// actThreads are the threads of a block, one per row: few, so that there are many
// blocks where a member has few environments.
const actThreads = 64

// ActSample draws the actions of step t; see act.cu.
func (k *Kernels) ActSample(s *cuda.Stream, p *Params, t int) error {
	return s.Launch(k.kernel("act_sample"), launchOf(int(p.Members), ceilDiv(int(p.Environments), actThreads), actThreads), p, int32(t))
}

// ActBest writes the best actions for the rows of r to dst, members dstStride
// floats apart; see act.cu.
func (k *Kernels) ActBest(s *cuda.Stream, p *Params, r *Rows, dst Ptr, dstStride int64) error {
	return s.Launch(k.kernel("act_best"), launchOf(int(r.Members), ceilDiv(int(r.Count), actThreads), actThreads), p, r, dst, dstStride)
}
