//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"brood/kernels"
)

// partials are random gradients of parts [P][Splits][PolicySize], NaN in the
// padding, where a kernel may leave anything.
func (f *fixture) partials(random *rand.Rand) [][][]float32 {
	p, nan := &f.params, float32(math.NaN())
	var all []float32
	members := make([][][]float32, p.Members)
	for m := range members {
		for range p.Splits {
			part := make([]float32, p.PolicySize)
			fill(part, func() float32 { return nan })
			for _, t := range f.plan.Index.Tensors {
				copy(part[t.Offset:], randoms(random, t.Len, 0.3))
			}
			members[m], all = append(members[m], part), append(all, part...)
		}
	}
	upload(f, p.Partial, all)
	return members
}

func TestReduceGradient(t *testing.T) {
	for name, change := range map[string]func(*kernels.Config){
		"one part": nil,
		"chunks":   func(c *kernels.Config) { c.Population, c.Hidden = 1, []int{33, 62} },
		"parts":    func(c *kernels.Config) { c.Environments, c.Steps, c.Minibatches = 50, 63, 2 },
		"many": func(c *kernels.Config) {
			c.Population, c.Environments, c.Steps, c.Minibatches, c.Hidden = 1, 100, 46, 1, []int{3}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, aroundConfig(change))
			p := &f.params
			size, splits := int(p.PolicySize), int(p.Splits)
			t.Logf("%d parts, %d chunks", splits, p.ChunkCount)
			parts := f.partials(rand.New(rand.NewPCG(5, 6)))
			reduce := func() { f.run(func() error { return f.k.ReduceGradient(f.stream, p) }) }
			reduce()
			got := download[float32](f, p.Gradient, len(parts)*size)
			sums := download[[3]float64](f, p.ChunkSums, len(parts)*int(p.ChunkCount))
			for m := range parts {
				want, g := make([]float32, size), got[m*size:(m+1)*size]
				PlainReduceGradient(want, parts[m], f.plan.Chunks)
				for i := range want {
					if !near(float64(want[i]), float64(g[i]), float64(splits)) {
						t.Fatalf("member %d: gradient[%d] is %v, want %v", m, i, g[i], want[i])
					}
				}
				for i, c := range f.plan.Chunks {
					want, got := PlainChunkSums(g, c), sums[m*len(f.plan.Chunks)+i]
					for j := range want {
						if !near(want[j], got[j], 1e-6*want[0]) {
							t.Fatalf("member %d: sum %d of chunk %d is %v, want %v", m, j, i, got[j], want[j])
						}
					}
				}
			}
			reduce()
			if again := download[float32](f, p.Gradient, len(got)); !slices.Equal(got, again) {
				t.Error("a second run gives other bits")
			}
			if again := download[[3]float64](f, p.ChunkSums, len(sums)); !slices.Equal(sums, again) {
				t.Error("a second run gives other sums")
			}
		})
	}
}

// The gradient that stopped a member is the one the engine's contract shows.
func TestReduceGradientLeavesStoppedMembers(t *testing.T) {
	f := newFixture(t, aroundConfig(nil))
	size := int(f.params.PolicySize)
	f.partials(rand.New(rand.NewPCG(7, 8)))
	upload(f, f.params.Progress, []Progress{{}, {Computed: 1, Stopped: 1}, {}})
	f.run(func() error { return f.k.ReduceGradient(f.stream, &f.params) })
	for m := range 3 {
		g := download[float32](f, at(f.params.Gradient, m, size), size)
		if zero := !slices.ContainsFunc(g, func(x float32) bool { return x != 0 }); zero != (m == 1) {
			t.Errorf("member %d: written %v, want %v", m, !zero, m != 1)
		}
	}
}

// A NaN stays in its element and in its chunk's sums.
func TestReduceGradientKeepsNaN(t *testing.T) {
	f := newFixture(t, aroundConfig(nil))
	size, chunks := int(f.params.PolicySize), int(f.params.ChunkCount)
	parts := f.partials(rand.New(rand.NewPCG(9, 10)))
	first := f.plan.Index.Tensors[0].Offset
	parts[1][0][first] = float32(math.NaN())
	upload(f, at(f.params.Partial, 1, size*int(f.params.Splits)), parts[1][0])
	f.run(func() error { return f.k.ReduceGradient(f.stream, &f.params) })
	for i, g := range download[float32](f, f.params.Gradient, 3*size) {
		if (g != g) != (i == size+first) {
			t.Errorf("element %d of member %d is %v", i%size, i/size, g)
		}
	}
	for i, sums := range download[[3]float64](f, f.params.ChunkSums, 3*chunks) {
		for _, s := range sums {
			if math.IsNaN(s) != (i == chunks) {
				t.Error(fmt.Sprintf("a sum of chunk %d of member %d is %v", i%chunks, i/chunks, s))
			}
		}
	}
}
