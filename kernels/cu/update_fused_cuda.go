//go:build cuda

package cu

import (
	"fmt"

	"brood/cuda"
)

// fusedShared is sizeof(fused::Shared<D>) of update_fused.cuh by D, the number of
// features rounded up to a multiple of 4.
var fusedShared = map[int32]int{4: 54864, 8: 56912}

// UpdateFused computes minibatch step's partial gradients and loss sums of all
// members that have not stopped, for a plan whose FusedUpdate is true.
func (k *Kernels) UpdateFused(s *cuda.Stream, p *Params, step int) error {
	return k.launchFused("update_fused", s, p, step)
}

// launchFused launches the kernel of a family that is for p's sizes.
func (k *Kernels) launchFused(family string, s *cuda.Stream, p *Params, step int) error {
	features := (p.ObsDim + 3) / 4 * 4
	name := fmt.Sprintf("%s_d%d_a%d", family, features, p.ActionCount)
	kernel := k.kernel(name)
	if kernel == nil {
		return fmt.Errorf("cu: there is no %s: the fused update is for at most %d features and %d outputs of the actor, not %d and %d",
			name, FusedObs, FusedActions, p.ObsDim, p.ActionCount)
	}
	shared := fusedShared[features]
	if err := kernel.SetMaxShared(shared); err != nil {
		return err
	}
	grid := [3]int{int(p.Members), int(p.Splits), len(p.Net)}
	return s.Launch(kernel, cuda.Launch{Grid: grid, Block: [3]int{64, 1, 1}, Shared: shared}, p, int32(step))
}
