package train

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"brood/env"
	"brood/kernels"
	"brood/kernels/cpu"
)

// Devices a run can be told to use. cuda is the first GPU, cuda:N the Nth from 0,
// cuda:N,M several, each with a part of the population.
const (
	DeviceAuto = "auto"
	DeviceCPU  = "cpu"
	DeviceCUDA = "cuda"
)

// parseDevice returns the GPUs that a device names; none for the CPU, and for
// auto.
func parseDevice(device string) (gpus []int, err error) {
	kind, list, numbered := strings.Cut(device, ":")
	switch {
	case device == DeviceAuto || device == DeviceCPU:
		return nil, nil
	case device == DeviceCUDA:
		return []int{0}, nil
	case kind != DeviceCUDA || !numbered:
		return nil, fmt.Errorf("%q is not valid: must be auto, cpu, cuda or cuda:N", device)
	}
	seen := make(map[int]bool)
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || seen[n] {
			return nil, fmt.Errorf("%q is not valid: must be cuda:N with N from 0, or several such as cuda:0,1", device)
		}
		seen[n] = true
		gpus = append(gpus, n)
	}
	return gpus, nil
}

// checkDevice says whether a device is well named and this build has an engine
// for it; whether the GPU is there shows when it is used.
func checkDevice(device string) error {
	gpus, err := parseDevice(device)
	if err == nil && len(gpus) > 0 && !BuiltForCUDA {
		err = fmt.Errorf("%q is not available: this build has no CUDA engine (`make cuda` builds one); must be auto or cpu", device)
	}
	return err
}

// NewEngine makes the engine of a device that checkDevice let pass. auto is the
// first GPU where there is one that works, else the CPU; of environments outside of
// the process, the CPU.
func NewEngine(device string, c *kernels.Config) (kernels.Engine, error) {
	gpus, err := parseDevice(device)
	if err != nil {
		return nil, err
	}
	_, external := c.Env.(env.External)
	if device == DeviceAuto && BuiltForCUDA && !external && gpuError() == nil {
		gpus = []int{0}
	}
	if len(gpus) > 0 {
		return newGPUEngine(c, gpus)
	}
	return cpu.New(c)
}

// GPUs describes the GPUs this build can use, or says why there is none.
func GPUs() (list []string, err error) { return gpuNames() }

// SelfTest trains and plays a tiny population on the engine of a device, and
// names the engine.
func SelfTest(device string) (engine string, err error) {
	cfg := DefaultConfig()
	cfg.PBT.PopulationSize, cfg.Env.Count, cfg.PPO.Steps, cfg.PPO.Minibatches = 2, 8, 16, 2
	c, err := cfg.EngineConfig()
	if err != nil {
		return "none", err
	}
	e, err := NewEngine(device, c)
	if err != nil {
		return "none", err
	}
	defer e.Close()
	stats := make([]kernels.Stats, c.Population)
	if err := e.Iterate(stats); err != nil {
		return e.Name(), err
	}
	for m := range stats {
		if norm := float64(stats[m].GradNorm); !stats[m].Applied || math.IsNaN(norm) || norm <= 0 {
			return e.Name(), fmt.Errorf("train: the self-test's member %d had a gradient of norm %v; it must be above 0", m, norm)
		}
	}
	if _, err := evaluate(e, []int{0, 1}, 2, 0, 0); err != nil {
		return e.Name(), err
	}
	return e.Name(), nil
}
