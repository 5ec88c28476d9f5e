//go:build cuda

package gpu

import (
	"os"
	"testing"

	"brood/cuda"
	"brood/kernels"
	"brood/kernels/conformance"
)

// needDevices skips, or fails where everything must be present, with fewer GPUs.
func needDevices(t *testing.T, n int) {
	t.Helper()
	devices, err := cuda.Devices()
	if err == nil && len(devices) >= n {
		return
	}
	if os.Getenv("BROOD_REQUIRE_ALL") == "1" && (err != nil || n == 1) {
		t.Fatalf("needs %d GPUs; there are %d: %v", n, len(devices), err)
	}
	t.Skipf("needs %d GPUs; there are %d: %v", n, len(devices), err)
}

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
	needDevices(t, 1)
	conformance.Golden(t, newOne)
}

func TestGoldenTiled(t *testing.T) {
	needDevices(t, 1)
	conformance.Golden(t, newTiled)
}

func TestConformance(t *testing.T) {
	needDevices(t, 1)
	conformance.Run(t, newOne)
}

func TestConformanceTiled(t *testing.T) {
	needDevices(t, 1)
	conformance.Run(t, newTiled)
}

func TestConformanceSpread(t *testing.T) {
	needDevices(t, 2)
	conformance.Run(t, newSpread)
}
