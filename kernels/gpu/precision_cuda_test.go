//go:build cuda

package gpu

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/kernels"
	"brood/softcuda/control"
	"brood/tensor"
)

// With tf32 the gradient of the same rollout differs by the rounding of the
// products' factors, 10 bits of mantissa: about 3e-3 of its norm, and surely by
// more than float32's rounding.
func TestTF32(t *testing.T) {
	control.NeedGPUs(t, 1)
	for _, tiled := range []bool{false, true} {
		t.Run(fmt.Sprintf("tiled=%v", tiled), func(t *testing.T) {
			gradient := func(p kernels.Precision) []float32 {
				c := small(t, "CartPole-v1")
				c.Precision, c.Hidden, c.Environments, c.Steps, c.Minibatches = p, []int{24, 40}, 9, 8, 1
				e, err := newEngine(c, tiled, 0)
				require.NoError(t, err)
				defer e.Close()
				require.NoError(t, e.Collect())
				require.NoError(t, e.Advantages())
				require.NoError(t, e.Update())
				g := make([]float32, len(tensor.NewMember(e.Layout()).Floats(kernels.SectionPolicy)))
				require.NoError(t, e.Gradient(1, g))
				require.NoError(t, e.Iterate(make([]kernels.Stats, c.Population)))
				return g
			}
			exact, rounded := gradient(kernels.Float32), gradient(kernels.TF32)
			require.Equal(t, rounded, gradient(kernels.TF32), "the same bits twice")
			difference, norm := 0.0, 0.0
			for i := range exact {
				difference += math.Pow(float64(exact[i]-rounded[i]), 2)
				norm += math.Pow(float64(exact[i]), 2)
			}
			relative := math.Sqrt(difference / norm)
			require.Greater(t, relative, 1e-5)
			require.Less(t, relative, 5e-3)
		})
	}
}
