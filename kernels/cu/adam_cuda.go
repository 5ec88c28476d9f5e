//go:build cuda

package cu

import "brood/cuda"

// Adam applies Gradient to the weights of all members whose Coefficients say so.
//
// A thread per four floats of a chunk: the width of a load.
func (k *Kernels) Adam(s *cuda.Stream, p *Params) error {
	return s.Launch(k.kernel("adam"), launchOf(int(p.Members), int(p.ChunkCount), ChunkLen/4), p)
}
