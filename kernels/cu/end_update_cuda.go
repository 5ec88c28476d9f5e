//go:build cuda

package cu

import "brood/cuda"

// EndUpdate adapts the KL penalty's coefficient.
func (k *Kernels) EndUpdate(s *cuda.Stream, p *Params) error {
	return s.Launch(k.kernel("end_update"), threadPerMember(p), p)
}
