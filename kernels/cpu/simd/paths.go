package simd

import (
	"fmt"
	"slices"
	"strings"
)

// Paths returns the paths that this processor and this build have, the fastest
// first; the generic one is always there, and last. Select picks one by name.
func Paths() []*Path {
	return append(vectorPaths(), genericPath())
}

// pathNames are those of all paths there are on any machine.
var pathNames = []string{"avx512", "avx2", "generic"}

// Select returns the path of that name, or the fastest for an empty name.
func Select(name string) (*Path, error) {
	paths := Paths()
	if name == "" {
		return paths[0], nil
	}
	have := make([]string, len(paths))
	for i, p := range paths {
		if p.Name == name {
			return p, nil
		}
		have[i] = p.Name
	}
	why := "unknown CPU path"
	if slices.Contains(pathNames, name) {
		why = "this processor or build lacks the CPU path"
	}
	return nil, fmt.Errorf("%s %q; available here: %s", why, name, strings.Join(have, ", "))
}

func genericPath() *Path {
	return &Path{
		Name: "generic", Width: 1,
		Gemm: gemmGeneric, Head: headGeneric, Transpose: transposeGeneric,
		Adam: adamGeneric, SumSquares: sumSquaresGeneric, Sums: sumsGeneric,
		SumSquaredDeviations: sumSquaredDeviationsGeneric, Scale: scaleGeneric, Add: addGeneric,
		GAE: gaeGeneric, Philox: philoxGeneric, Normals: normalsGeneric,
		SampleDiscrete: sampleDiscreteGeneric, SampleGaussian: sampleGaussianGeneric,
		DiscreteLoss: discreteLossGeneric, MultiDiscreteLoss: multiDiscreteLossGeneric, GaussianLoss: gaussianLossGeneric,
		ValueLoss: valueLossGeneric, QuantileLoss: quantileLossGeneric,
		// Steps is empty: environments step themselves in Go.
	}
}
