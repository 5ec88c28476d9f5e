//go:build cuda

package cu

import "brood/cuda"

const (
	// momentThreads and momentFeatures are those of moments.cu.
	momentThreads  = 256
	momentFeatures = 64
)

// Moments computes the moments of every chunk of the rollout's rows.
//
// A chunk's features are dealt to blocks by 64, so that long observations keep
// more than one multiprocessor busy.
func (k *Kernels) Moments(s *cuda.Stream, p *Params) error {
	l := launchOf(int(p.Members), int(p.MomentChunks), momentThreads)
	if p.NormalizeObservations != 0 {
		l.Grid[2] += ceilDiv(int(p.ObsDim), momentFeatures)
	}
	return s.Launch(k.kernel("moments"), l, p)
}
