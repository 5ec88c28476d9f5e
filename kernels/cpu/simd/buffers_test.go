package simd

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// buffers makes test buffers that notice what does not belong to them: half of
// them lie between canaries, the others end where the process may not read (see
// atPageEnd). Starts are at any multiple of four bytes.
type buffers struct {
	t      *testing.T
	rnd    *rand.Rand
	checks []func()
}

func newBuffers(t *testing.T) *buffers {
	b := &buffers{t: t, rnd: seeded(t)}
	t.Cleanup(b.check)
	return b
}

const canaryWord = 0x7fc0dead // as a float a NaN: what reads it shows

// words returns n words and has them watched until the next check.
func (b *buffers) words(n int) []uint32 {
	if b.rnd.IntN(2) == 0 {
		if w, release := atPageEnd(b.t, n); w != nil {
			b.checks = append(b.checks, release)
			return b.fill(w)
		}
	}
	const fence = 32
	before := fence + b.rnd.IntN(16)
	raw := make([]uint32, before+n+fence)
	for i := range raw {
		raw[i] = canaryWord
	}
	b.checks = append(b.checks, func() {
		for i, w := range raw {
			if (i < before || i >= before+n) && w != canaryWord {
				b.t.Errorf("element %d of %d overwritten", i-before, n)
			}
		}
	})
	return b.fill(raw[before : before+n : before+n])
}

func (b *buffers) fill(w []uint32) []uint32 {
	for i := range w {
		w[i] = b.rnd.Uint32()
	}
	return w
}

// floats returns n standard normal numbers.
func (b *buffers) floats(n int) []float32 {
	x := asFloats(b.words(n))
	for i := range x {
		x[i] = float32(b.rnd.NormFloat64())
	}
	return x
}

// check looks after all buffers made so far and forgets them.
func (b *buffers) check() {
	for _, c := range b.checks {
		c()
	}
	b.checks = nil
}

func clone(x []float32) []float32 { return append([]float32(nil), x...) }

// closeTo requires |got-want| <= tolerance*(1+|want|) of each element.
func closeTo(t *testing.T, want, got []float32, tolerance float64, what string) {
	t.Helper()
	require.Len(t, got, len(want), what)
	for i := range want {
		w, g := float64(want[i]), float64(got[i])
		if !(math.Abs(g-w) <= tolerance*(1+math.Abs(w))) && !(math.IsNaN(w) && math.IsNaN(g)) {
			t.Fatalf("%s[%d] of %d: got %v, want %v", what, i, len(want), g, w)
		}
	}
}

// eachPath runs f for every path of this machine, with the sizes 0 to 99.
func eachPath(t *testing.T, f func(t *testing.T, p *Path, b *buffers, n int)) {
	for _, p := range Paths() {
		t.Run(p.Name, func(t *testing.T) {
			b := newBuffers(t)
			for n := range 100 {
				f(t, p, b, n)
				b.check()
			}
		})
	}
}
