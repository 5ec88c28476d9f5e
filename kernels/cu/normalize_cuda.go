//go:build cuda

package cu

import "brood/cuda"

const normalizeThreads = 256

// Normalize writes what the networks see of rows observations per member at src to
// dst, and them as they are to raw, unless that is 0; see normalize.cu.
func (k *Kernels) Normalize(s *cuda.Stream, p *Params, src Ptr, srcStride int64, raw, dst Ptr, dstStride int64, rows int) error {
	return s.Launch(k.kernel("normalize"), launchOf(int(p.Members), ceilDiv(rows*int(p.ObsDim), normalizeThreads), normalizeThreads), p, src, srcStride, raw, dst, dstStride, int32(rows))
}
