//go:build cuda

package cu

import (
	"fmt"

	"brood/cuda"
)

// nativeNames are the parts of kernels' names that say which environment they are
// for, in the order of NativeEnvs.
var nativeNames = [...]string{"cartpole", "acrobot", "mountain_car", "mountain_car_continuous", "pendulum"}

// native returns the kernel of an operation for NativeEnvs[env].
func (k *Kernels) native(operation string, env int) (*cuda.Kernel, error) {
	if env < 0 || env >= len(nativeNames) {
		return nil, fmt.Errorf("cu: there is no %s of environment %d: the native ones are 0 to %d", operation, env, len(nativeNames)-1)
	}
	return k.kernel(operation + "_" + nativeNames[env]), nil
}

// EnvObserve leaves the raw observations of all environments in StageObs.
func (k *Kernels) EnvObserve(s *cuda.Stream, p *Params, env int) error {
	kernel, err := k.native("env_observe", env)
	if err != nil {
		return err
	}
	return s.Launch(kernel, envLaunch(p), p)
}

// EnvStep does step t of all environments with the actions in Actions, records what
// came of it, begins new episodes and leaves the next raw observations in StageObs.
func (k *Kernels) EnvStep(s *cuda.Stream, p *Params, env, t int) error {
	kernel, err := k.native("env_step", env)
	if err != nil {
		return err
	}
	return s.Launch(kernel, envLaunch(p), p, int32(t))
}

func envLaunch(p *Params) cuda.Launch {
	const threads = 128
	return launchOf(int(p.Members), ceilDiv(int(p.Environments), threads), threads)
}
