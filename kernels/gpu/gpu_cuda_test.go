//go:build cuda

package gpu

import (
	"testing"

	"brood/kernels"
	"brood/kernels/conformance"
	"brood/softcuda/control"
)

func newOne(c *kernels.Config) (kernels.Engine, error) { return New(c, 0) }

// newSpread puts the members on two GPUs, the second of which has one more where
// they are odd; the population of one stays on one.
func newSpread(c *kernels.Config) (kernels.Engine, error) {
	if c.Population < 2 {
		return New(c, 1)
	}
	return New(c, 0, 1)
}

// newTiled makes an engine that never uses the kernels for small networks.
func newTiled(c *kernels.Config) (kernels.Engine, error) { return newEngine(c, true, 0) }

func TestGolden(t *testing.T) {
	control.NeedGPUs(t, 1)
	conformance.Golden(t, newOne)
}

func TestGoldenTiled(t *testing.T) {
	control.NeedGPUs(t, 1)
	conformance.Golden(t, newTiled)
}

func TestConformance(t *testing.T) {
	control.NeedGPUs(t, 1)
	conformance.Run(t, newOne)
}

func TestConformanceTiled(t *testing.T) {
	control.NeedGPUs(t, 1)
	conformance.Run(t, newTiled)
}

func TestConformanceSpread(t *testing.T) {
	control.NeedGPUs(t, 2)
	conformance.RunSpread(t, newSpread)
}
