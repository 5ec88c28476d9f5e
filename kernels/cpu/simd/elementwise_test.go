package simd

import (
	"math"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func asFloats(w []uint32) []float32 {
	if len(w) == 0 {
		return []float32{}
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&w[0])), len(w))
}

func TestAdam(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		theta, m, v, g := b.floats(n), b.floats(n), b.floats(n), b.floats(n)
		for i := range v {
			v[i] *= v[i]
		}
		theta2, m2, v2 := clone(theta), clone(m), clone(v)
		s := AdamStep{GradScale: 0.7, Beta1: 0.9, Beta2: 0.999, StepSize: 0.01, InvSqrtBias2: 1.7, Eps: 1e-8, Decay: 0.99}
		adamGeneric(theta2, m2, v2, g, &s)
		p.Adam(theta, m, v, g, &s)
		closeTo(t, m2, m, 2e-7, "m")
		closeTo(t, v2, v, 2e-7, "v")
		closeTo(t, theta2, theta, 5e-7, "theta")
	})
}

func TestSums(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		for _, n := range []int{n, 500 + 97*n} {
			x := b.floats(n)
			var sum, abs, squares, deviations float64
			for _, v := range x {
				v := float64(v)
				sum += v
				abs += math.Abs(v)
				squares += v * v
				deviations += (v - 0.25) * (v - 0.25)
			}
			gotSum, gotAbs := p.Sums(x)
			require.InDelta(t, sum, gotSum, 1e-6*(1e-30+abs), "sum of %d", n)
			require.InDelta(t, abs, gotAbs, 1e-6*(1e-30+abs), "sum |x| of %d", n)
			require.InDelta(t, squares, p.SumSquares(x), 1e-6*(1e-30+squares), "sum x^2 of %d", n)
			require.InDelta(t, deviations, p.SumSquaredDeviations(x, 0.25), 1e-6*(1e-30+deviations), "of %d", n)

			elsewhere := b.floats(n) // the same bits wherever it lies
			copy(elsewhere, x)
			again, _ := p.Sums(elsewhere)
			require.Equal(t, gotSum, again)
		}
	})
}

func TestScaleAndAdd(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		x, y := b.floats(n), b.floats(n)
		x2 := clone(x)
		scaleGeneric(x2, 0.3)
		addGeneric(x2, y)
		p.Scale(x, 0.3)
		p.Add(x, y)
		require.Equal(t, x2, clone(x))
	})
}

func TestGAE(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		adv, ret, carry := b.floats(n), b.floats(n), b.floats(n)
		reward, value, next, done := b.floats(n), b.floats(n), b.floats(n), b.floats(n)
		for i := range done {
			done[i] = float32(b.rnd.IntN(2))
		}
		adv2, ret2, carry2 := clone(adv), clone(ret), clone(carry)
		gaeGeneric(adv2, ret2, carry2, reward, value, next, done, 0.99, 0.9405)
		p.GAE(adv, ret, carry, reward, value, next, done, 0.99, 0.9405)
		closeTo(t, adv2, adv, 1e-6, "adv")
		closeTo(t, ret2, ret, 1e-6, "ret")
		closeTo(t, carry2, carry, 1e-6, "carry")
	})
}

// A hand-worked step: delta = 1 + 0.5*4 - 2 = 1, then + 0.25*(1-done)*8.
func TestGAEByHand(t *testing.T) {
	for _, p := range Paths() {
		adv, ret, carry := make([]float32, 2), make([]float32, 2), []float32{8, 8}
		p.GAE(adv, ret, carry, []float32{1, 1}, []float32{2, 2}, []float32{4, 4}, []float32{0, 1}, 0.5, 0.25)
		require.Equal(t, []float32{3, 1}, adv, p.Name)
		require.Equal(t, []float32{5, 3}, ret, p.Name)
		require.Equal(t, []float32{3, 1}, carry, p.Name)
	}
}

// The kernels take the floats of these structs as one array.
func TestStructsThatKernelsReadAsArrays(t *testing.T) {
	var s AdamStep
	require.EqualValues(t, 0, unsafe.Offsetof(s.GradScale))
	require.EqualValues(t, 4*6, unsafe.Offsetof(s.Decay))
	var p PolicyTerms
	for i, offset := range []uintptr{
		unsafe.Offsetof(p.AdvMean), unsafe.Offsetof(p.AdvScale), unsafe.Offsetof(p.ClipRange), unsafe.Offsetof(p.EntropyCoef),
		unsafe.Offsetof(p.KLBeta), unsafe.Offsetof(p.InvRows), unsafe.Offsetof(p.SumLoss), unsafe.Offsetof(p.SumEntropy),
		unsafe.Offsetof(p.SumKL), unsafe.Offsetof(p.SumClipped),
	} {
		require.Equal(t, unsafe.Offsetof(p.AdvMean)+uintptr(4*i), offset, "field %d", i)
	}
}
