//go:build cuda

package cu

import "brood/cuda"

// rolloutEnvs is the number of environments of a block of rollout.cuh.
const rolloutEnvs = 16

// Rollout plays a whole rollout of all members in the native environment
// NativeEnvs[env], for a plan whose FusedRollout is true. FinalValues are left to
// be computed from FinalObs.
func (k *Kernels) Rollout(s *cuda.Stream, p *Params, env int) error {
	kernel, err := k.native("rollout", env)
	if err != nil {
		return err
	}
	return s.Launch(kernel, launchOf(int(p.Members), ceilDiv(int(p.Environments), rolloutEnvs), 128), p)
}
