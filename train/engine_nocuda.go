//go:build !cuda

package train

import (
	"errors"

	"brood/kernels"
)

const builtForCUDA = false

var errNoCUDA = errors.New("this build has no CUDA engine")

func newGPUEngine(*kernels.Config, []int) (kernels.Engine, error) { return nil, errNoCUDA }

func gpuError() error { return errNoCUDA }

func gpuNames() ([]string, error) { return nil, errNoCUDA }
