//go:build cuda

package cu

import "brood/cuda"

// reduceGroups is REDUCE_GROUPS of reduce_gradient.cu.
const reduceGroups = 4

// ReduceGradient sums the minibatch's partial gradients to Gradient and its
// chunks' moments to ChunkSums, of all members that have not stopped.
//
// A thread per four floats of a chunk. Where there are many parts, which is where
// there are few members and so few blocks, up to four groups of threads share
// them: a thread's loads are a chain.
func (k *Kernels) ReduceGradient(s *cuda.Stream, p *Params) error {
	groups := min(reduceGroups, ceilDiv(int(p.Splits), 8))
	return s.Launch(k.kernel("reduce_gradient"), launchOf(int(p.Members), int(p.ChunkCount), groups*ChunkLen/4), p)
}
