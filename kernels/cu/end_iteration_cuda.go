//go:build cuda

package cu

import "brood/cuda"

// EndIteration updates the members' normalisation statistics, episodes and
// counters, and writes Reports.
//
// A member's episodes are entered in order, which is one block's work: it has as
// many threads as can be to find them among the rows.
func (k *Kernels) EndIteration(s *cuda.Stream, p *Params) error {
	return s.Launch(k.kernel("end_iteration"), launchOf(int(p.Members), 1, 1024), p)
}
