package train

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"brood/kernels"
	"brood/kernels/cpu"
)

// Devices a run can be told to use; cuda:N names the Nth GPU.
const (
	DeviceAuto = "auto"
	DeviceCPU  = "cpu"
	DeviceCUDA = "cuda"
)

// checkDevice says whether there is an engine for the device in this build.
func checkDevice(device string) error {
	kind, index, numbered := strings.Cut(device, ":")
	switch {
	case kind == DeviceCUDA && numbered && !isIndex(index):
		return fmt.Errorf("%q is not valid: must be cuda:N with N from 0, such as cuda:0", device)
	case kind == DeviceCUDA:
		return fmt.Errorf("%q is not available: this build has no CUDA engine; must be auto or cpu", device)
	case device == DeviceAuto || device == DeviceCPU:
		return nil
	}
	return fmt.Errorf("%q is not valid: must be auto, cpu, cuda or cuda:N", device)
}

func isIndex(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0
}

// newEngine makes the engine of a device that checkDevice let pass.
func newEngine(c *kernels.Config) (kernels.Engine, error) {
	return cpu.New(c)
}

// SelfTest trains and plays a tiny population on the engine that auto chooses,
// and names the engine.
func SelfTest() (engine string, err error) {
	cfg := DefaultConfig()
	cfg.PBT.PopulationSize, cfg.Env.Count, cfg.PPO.Steps, cfg.PPO.Minibatches = 2, 8, 16, 2
	c, err := cfg.engineConfig()
	if err != nil {
		return "none", err
	}
	e, err := newEngine(c)
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
