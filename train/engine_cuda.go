//go:build cuda

package train

import (
	"fmt"

	"brood/cuda"
	"brood/kernels"
	"brood/kernels/gpu"
)

// BuiltForCUDA says whether this build has an engine for GPUs.
const BuiltForCUDA = true

func newGPUEngine(c *kernels.Config, gpus []int) (kernels.Engine, error) {
	e, err := gpu.New(c, gpus...)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// gpuError says why no GPU can be used; nil where one can.
func gpuError() error {
	devices, err := cuda.Devices()
	if err == nil && len(devices) == 0 {
		err = cuda.ErrNoDevice
	}
	return err
}

func gpuNames() (list []string, err error) {
	devices, err := cuda.Devices()
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		list = append(list, fmt.Sprintf("cuda:%d %s, compute capability %d.%d, %d multiprocessors, %.1f GiB, driver for CUDA %d.%d",
			d.Ordinal, d.Name, d.Major, d.Minor, d.SMs, float64(d.TotalMemory)/(1<<30), d.DriverVersion/1000, d.DriverVersion%1000/10))
	}
	return list, nil
}
