//go:build cuda

package cu

import "brood/cuda"

// UpdateFusedTF32 is UpdateFused on the tensor cores; see update_fused_tf32.cu, and
// TF32 for the devices that have them.
func (k *Kernels) UpdateFusedTF32(s *cuda.Stream, p *Params, step int) error {
	return k.launchFused("update_fused_tf32", s, p, step)
}
