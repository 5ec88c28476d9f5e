//go:build !cuda

package train

import (
	"errors"

	"brood/kernels"
)

// BuiltForCUDA says whether this build has an engine for GPUs.
const BuiltForCUDA = false

var errNoCUDA = errors.New("this build has no CUDA engine")

func newGPUEngine(*kernels.Config, []int) (kernels.Engine, error) { return nil, errNoCUDA }

func gpuError() error { return errNoCUDA }

func gpuNames() ([]string, error) { return nil, errNoCUDA }
