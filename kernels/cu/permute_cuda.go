//go:build cuda

package cu

import "brood/cuda"

// permuteThreads is 32*PERMUTE_WARPS of permute.cu.
const permuteThreads = 1024

// Permute draws the order of all members' rows in every epoch, to Order. The
// Params are of the whole plan, not a slice.
//
// A block sorts an epoch alone, so it is as large as can be, with four rows or more
// for each thread: a warp loads four groups of rows at once.
func (k *Kernels) Permute(s *cuda.Stream, p *Params) error {
	threads := min(permuteThreads, 32*ceilDiv(int(p.Rows), 4*32))
	return s.Launch(k.kernel("permute"), launchOf(int(p.Members), int(p.Epochs), threads), p)
}
