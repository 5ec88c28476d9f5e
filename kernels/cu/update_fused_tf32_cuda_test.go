//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/kernels/host"
)

// updateFusedTF32 is updateFused on the tensor cores.
func (f *fixture) updateFusedTF32(step int) fusedResult {
	return f.updateFusedBy(f.k.UpdateFusedTF32, step)
}

// TestUpdateFusedTF32 is TestUpdateFusedIsPlainsGradient within what tf32 allows.
// Where rounding moves a row across the edge of the clip range, or a unit of a row
// across that of ReLU, its part of the gradient comes or goes: by some percent with
// as few rows as here. The seed is one with which none is so near an edge.
func TestUpdateFusedTF32(t *testing.T) {
	for i, k := range fusedCases {
		t.Run(fmt.Sprintf("%+v", k), func(t *testing.T) {
			f := newFixture(t, k.config())
			f.cutMinibatches(k.splitRows)
			f.loadMinibatches(rand.New(rand.NewPCG(uint64(i), 6)))
			step := f.plan.Config.Epochs*f.plan.Config.Minibatches - 1
			got := f.updateFusedTF32(step)
			for m := range f.plan.Config.Population {
				f.checkGradientTF32(m, step, got)
			}
			require.Equal(t, got, f.updateFusedTF32(step), "a second run has other bits")
		})
	}
}

// checkGradientTF32 is checkGradient by the distance of the whole gradient. Numbers
// that cancel each other are too far off one by one.
func (f *fixture) checkGradientTF32(m, step int, got fusedResult) {
	f.t.Helper()
	want := make([]float32, f.params.PolicySize)
	require.NoError(f.t, f.engine.Gradient(m, want))
	sum := f.sumParts(m, got)
	distance := relativeL2(sum, want)
	require.Less(f.t, distance, tf32FusedGradient, "member %d", m)
	require.Greater(f.t, distance, tf32Rounds, "member %d", m)
	f.checkTerms(m, step, got, tf32Terms, tf32Terms)
}

// TestUpdateFusedTF32RoundsToNearest: of one row, the gradient by a weight of layer 2
// is one exact product, and its factors are tf32 numbers.
func TestUpdateFusedTF32RoundsToNearest(t *testing.T) {
	f := newFixture(t, smallConfig(shaped(3, true, 2), 1, 1, 19, 23))
	f.loadMinibatches(rand.New(rand.NewPCG(7, 7)))
	rounded, exact := f.updateFusedTF32(0), f.updateFused(0)
	for m := range f.plan.Config.Population {
		g, want := f.sumParts(m, rounded), f.sumParts(m, exact)
		for _, layers := range [][]host.Layer{f.plan.Index.Actor, f.plan.Index.Critic} {
			l := layers[1]
			for o := range l.Out {
				delta := g[l.Bias+o]
				require.Equal(t, tf32Of(float32(delta)), delta)
				require.InEpsilon(t, want[l.Bias+o], delta, 1e-2)
				for i := range l.In {
					h := g[l.Weight+o*l.In+i] / delta
					require.Equal(t, tf32Of(float32(h)), h)
					exactly := want[l.Weight+o*l.In+i] / want[l.Bias+o]
					_, exponent := math.Frexp(exactly)
					require.InDelta(t, exactly, h, 1.002*math.Ldexp(1, exponent-12), "unit %d: more than half a unit of tf32's last place", i)
				}
			}
		}
	}
}

func TestUpdateFusedTF32KeepsNaN(t *testing.T) { checkFusedNaN(t, (*fixture).updateFusedTF32) }

func TestUpdateFusedTF32LeavesStoppedMembersAlone(t *testing.T) {
	checkFusedStopped(t, (*fixture).updateFusedTF32)
}
