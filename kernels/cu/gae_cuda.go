//go:build cuda

package cu

import "brood/cuda"

// GAE computes Advantages and Returns from the rollout, FinalValues and
// LastValues.
//
// A thread goes through all steps of its environment one after the other: blocks
// of one warp spread these chains over as many multiprocessors as there are.
func (k *Kernels) GAE(s *cuda.Stream, p *Params) error {
	const threads = 32
	return s.Launch(k.kernel("gae"), launchOf(int(p.Members), ceilDiv(int(p.Environments), threads), threads), p)
}
