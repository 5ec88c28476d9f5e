//go:build cuda

package cu

import "brood/cuda"

const valueThreads = 64

// Value writes what the critic has given for the rows of r to dst, members
// dstStride floats apart; see value.cu.
func (k *Kernels) Value(s *cuda.Stream, p *Params, r *Rows, dst Ptr, dstStride int64) error {
	return s.Launch(k.kernel("value"), launchOf(int(r.Members), ceilDiv(int(r.Count), valueThreads), valueThreads), p, r, dst, dstStride)
}
