//go:build cuda

package cu

import "brood/cuda"

// ClearIntervals begins a new interval for every member's score.
func (k *Kernels) ClearIntervals(s *cuda.Stream, p *Params) error {
	return s.Launch(k.kernel("clear_intervals"), threadPerMember(p), p)
}
