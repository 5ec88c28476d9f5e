//go:build cuda

package control

import (
	"os"
	"testing"

	"brood/cuda"
)

// NeedGPUs skips a test, or fails it where everything must be present, with fewer
// than n GPUs, real or fake. BROOD_REQUIRE_ALL=1 asks for one.
func NeedGPUs(t *testing.T, n int) {
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
