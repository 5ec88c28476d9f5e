//go:build cuda

package cu

import "brood/cuda"

// EndIteration updates the members' normalisation statistics, episodes and
// counters, and writes Reports.
//
// A member's episodes are entered in order, which is one block's work. Most of it is
// to find them among the rows: 32 rows for each thread, and at least eight warps for
// the columns of the statistics.
func (k *Kernels) EndIteration(s *cuda.Stream, p *Params) error {
	threads := max(256, min(1024, 32*ceilDiv(int(p.Rows), 32*32)))
	return s.Launch(k.kernel("end_iteration"), launchOf(int(p.Members), 1, threads), p)
}
