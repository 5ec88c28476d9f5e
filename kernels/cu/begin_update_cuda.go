//go:build cuda

package cu

import "brood/cuda"

// BeginUpdate resets Progress.
func (k *Kernels) BeginUpdate(s *cuda.Stream, p *Params) error {
	return s.Launch(k.kernel("begin_update"), threadPerMember(p), p)
}
