package simd

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/rng"
)

func TestPhiloxIsRNG(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		key := rng.NewKey(b.rnd.Uint64())
		at := rng.Address{Time: b.rnd.Uint32(), Member: b.rnd.Uint32N(1 << 16), Stream: b.rnd.Uint32N(2), Purpose: rng.Purpose(b.rnd.Uint32())}
		for _, first := range []uint32{0, b.rnd.Uint32(), math.MaxUint32 - uint32(n/2)} {
			words := b.words(4 * n)
			p.Philox(words, n, first, key, at)
			for i := range n {
				block := key.Block(first+uint32(i), at)
				for w := range block {
					require.Equal(t, block[w], words[w*n+i], "word %d of block %d of %d", w, i, n)
				}
			}
		}
	})
}

func TestNormalsAreRNG(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		for _, n := range []int{n, 1000} {
			w1, w2, z1, z2 := b.words(n), b.words(n), b.floats(n), b.floats(n)
			edges := []uint32{0, 255, 256, math.MaxUint32, math.MaxUint32 - 256, 1 << 31, 1 << 30, 3 << 30, 1 << 29, 5 << 29, 7 << 29}
			for i := 0; i < n && i < len(edges); i++ {
				w1[i], w2[n-1-i] = edges[i], edges[i]
			}
			p.Normals(z1, z2, w1, w2)
			for i := range n {
				a, c := rng.Normals(w1[i], w2[i])
				require.InDelta(t, a, z1[i], 2e-6, "words %x %x", w1[i], w2[i])
				require.InDelta(t, c, z2[i], 2e-6, "words %x %x", w1[i], w2[i])
			}
		}
	})
}

// With w2 = 0 the cosine is 1, and the first number sqrt(-2 log u1).
func TestLogarithmByNormals(t *testing.T) {
	for _, p := range Paths() {
		rnd := seeded(t)
		n := 1 << 14
		w1, w2, z1, z2 := make([]uint32, n), make([]uint32, n), make([]float32, n), make([]float32, n)
		for i := range w1 {
			w1[i] = rnd.Uint32() >> rnd.IntN(24) // small u1, and
			if i%2 == 0 {
				w1[i] = ^w1[i] // u1 near 1
			}
		}
		p.Normals(z1, z2, w1, w2)
		for i, z := range z1 {
			want := math.Sqrt(-2 * math.Log(float64(w1[i]>>8+1)/(1<<24)))
			require.InDelta(t, want, z, 2.5e-7*want, "%s: %x", p.Name, w1[i])
		}
	}
}

func TestSampleDiscrete(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		for _, actions := range []int{1, 2, 3, 18} {
			ld := n + b.rnd.IntN(20)
			s := SampleDiscrete{N: n, A: actions, Ld: ld, Logits: b.floats(actions * ld), Words: b.words(n),
				Action: b.floats(n), LogProb: b.floats(n)}
			logits := clone(s.Logits)
			p.SampleDiscrete(&s)
			require.Equal(t, logits, clone(s.Logits), "the logits are only read")
			for i := range n {
				checkSample(t, &s, i)
			}
		}
	})
}

// checkSample allows either action where the draw is within rounding of the edge
// between them.
func checkSample(t *testing.T, s *SampleDiscrete, i int) {
	t.Helper()
	var sum float64
	for a := range s.A {
		sum += math.Exp(float64(s.Logits[a*s.Ld+i]))
	}
	action := int(s.Action[i])
	require.Equal(t, float32(action), s.Action[i])
	require.GreaterOrEqual(t, action, 0)
	require.Less(t, action, s.A)
	u := float64(rng.Uniform(s.Words[i]))
	var below float64
	for a := range action {
		below += math.Exp(float64(s.Logits[a*s.Ld+i])) / sum
	}
	own := math.Exp(float64(s.Logits[action*s.Ld+i])) / sum
	require.LessOrEqual(t, below, u+1e-6, "row %d", i)
	if action < s.A-1 {
		require.GreaterOrEqual(t, below+own, u-1e-6, "row %d", i)
	}
	require.InDelta(t, math.Log(own), s.LogProb[i], 2e-6, "row %d", i)
}

func TestSampleDiscreteEdges(t *testing.T) {
	for _, p := range Paths() {
		// u = 0 takes the first action, the largest u the last, whatever the others.
		s := SampleDiscrete{N: 4, A: 3, Ld: 4,
			Logits: []float32{0, 0, -100, float32(math.NaN()), 0, 0, 100, 0, 0, 0, -100, 0},
			Words:  []uint32{0, math.MaxUint32, 1 << 31, 1 << 31}, Action: make([]float32, 4), LogProb: make([]float32, 4)}
		p.SampleDiscrete(&s)
		require.Equal(t, []float32{0, 2, 1, 0}, s.Action, p.Name)
		require.InDelta(t, 0, s.LogProb[2], 1e-6, p.Name)
		require.True(t, math.IsNaN(float64(s.LogProb[3])), "%s: a NaN logit gives %v", p.Name, s.LogProb[3])
	}
}

func TestSampleGaussian(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		for _, dims := range []int{1, 2, 6} {
			ld := n + b.rnd.IntN(20)
			s := SampleGaussian{N: n, A: dims, Ld: ld, Mean: b.floats(dims * ld), LogStd: b.floats(dims), Noise: b.floats(dims * ld),
				Action: b.floats(dims * ld), LogProb: b.floats(n)}
			before := clone(s.Action)
			want := s
			want.Action, want.LogProb = clone(s.Action), clone(s.LogProb)
			sampleGaussianGeneric(&want)
			p.SampleGaussian(&s)
			closeTo(t, want.Action, s.Action, 5e-7, "action")
			closeTo(t, want.LogProb, s.LogProb, 1e-6, "log prob")
			for d := range dims {
				require.Equal(t, clone(before[d*ld+n:d*ld+ld]), clone(s.Action[d*ld+n:d*ld+ld]), "rows beyond N")
			}
		}
	})
}
