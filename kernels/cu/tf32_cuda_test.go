//go:build cuda

package cu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the tests of the kernels on the tensor cores share.

// tf32Of is a number rounded to tf32: to 10 bits of mantissa, half away from 0.
func tf32Of(x float32) float64 {
	if x != x {
		return math.NaN()
	}
	return float64(math.Float32frombits((math.Float32bits(x) + 1<<12) &^ (1<<13 - 1)))
}

func tf32s(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = tf32Of(v)
	}
	return y
}

// relativeL2 is |got - want| / |want|.
func relativeL2[G, W float32 | float64](got []G, want []W) float64 {
	off, norm := 0.0, 0.0
	for i, w := range want {
		off += (float64(got[i]) - float64(w)) * (float64(got[i]) - float64(w))
		norm += float64(w) * float64(w)
	}
	return math.Sqrt(off / norm)
}

const (
	// These bound the relative L2 distance of a gradient from that in float32, where
	// no row crosses an edge of the loss. In the fused update only the middle layer's
	// factors are rounded and 1e-4 to 5e-4 are usual; where all layers' are, 5e-4 to
	// 1e-3.
	tf32FusedGradient = 1e-3
	tf32TiledGradient = 5e-3
	// tf32Rounds is less than the distance when factors have been rounded at all.
	tf32Rounds = 1e-5
	// tf32Terms bounds the distance of a loss term's mean, absolute and relative.
	tf32Terms = 1e-3
	// tf32Outputs bounds the relative L2 distance of what a network of several
	// layers gives. Each layer by itself is compared far more closely.
	tf32Outputs = 4e-3
)

func TestTF32NeedsAnImageForIt(t *testing.T) {
	for _, image := range []string{"sm_80.cubin", "sm_86.cubin", "sm_90.cubin", "sm_120.cubin"} {
		require.NoError(t, (&Kernels{Image: image}).TF32())
	}
	require.ErrorContains(t, (&Kernels{Image: "sm_75.cubin"}).TF32(), "sm_75.cubin, which was loaded for this device, is for 7.5")
	require.ErrorContains(t, (&Kernels{Image: "kernels.ptx"}).TF32(), "kernels.ptx, which was loaded for this device, is for 7.5")
}
