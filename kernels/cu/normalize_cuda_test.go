//go:build cuda

package cu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/kernels"
	"brood/kernels/host"
)

func TestNormalizeAgainstHost(t *testing.T) {
	const n, d, steps = 87, 3, 2
	for _, on := range []bool{true, false} {
		c := tiledConfig(2, tiledEnv(d, choices(2)), n, steps, 5)
		c.NormalizeObservations = on
		f, random := newTiled(t, c), rand.New(rand.NewPCG(7, 7))
		for m, s := range f.states() {
			copy(s.Float32(kernels.SectionObservationNorm, "mean"), []float32{1, -200, float32(m)})
			copy(s.Float32(kernels.SectionObservationNorm, "var"), []float32{4, 0, 1e-3})
			f.setState(m, s)
		}
		raw := normalFloats(random, 2*n*d)
		raw[4], raw[n*d+2] = float32(math.NaN()), float32(math.Inf(-1))
		want := append([]float32(nil), raw...)
		if on {
			for m, s := range f.states() {
				normalizeTwin(s.Float32(kernels.SectionObservationNorm, "mean"), s.Float32(kernels.SectionObservationNorm, "var"), want[m*n*d:(m+1)*n*d])
			}
		}

		// Step 1 of the rollout, then in place.
		p, at := &f.params, Ptr(4*n*d)
		upload(f.fixture, p.StageObs, raw)
		rawAt := Ptr(0)
		if on {
			rawAt = p.RawObs + at
		}
		f.run(func() error { return f.k.Normalize(f.stream, p, p.StageObs, n*d, rawAt, p.Obs+at, steps*n*d, n) })
		f.run(func() error { return f.k.Normalize(f.stream, p, p.StageObs, n*d, 0, p.StageObs, n*d, n) })
		for m := range 2 {
			from, to := m*n*d, (m+1)*n*d
			offset := Ptr(4 * m * steps * n * d)
			sameAll(t, "in place", want[from:to], download[float32](f.fixture, p.StageObs+Ptr(4*from), n*d))
			sameAll(t, "rollout", want[from:to], download[float32](f.fixture, p.Obs+at+offset, n*d))
			require.True(t, allZero(download[float32](f.fixture, p.Obs+offset, n*d)), "another step")
			if on {
				sameAll(t, "raw", raw[from:to], download[float32](f.fixture, p.RawObs+at+offset, n*d))
			}
		}
	}
}

// normalizeTwin normalises rows in place by kernels/host.
func normalizeTwin(mean, variance, rows []float32) {
	invStd := make([]float32, len(mean))
	host.InvStds(invStd, variance)
	for ; len(rows) > 0; rows = rows[len(mean):] {
		host.NormalizeObs(rows[:len(mean)], rows[:len(mean)], mean, invStd)
	}
}

// sameAll compares numbers to a few units in the last place; a NaN equals a NaN.
func sameAll(t *testing.T, what string, want, got []float32) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		if math.IsNaN(float64(want[i])) || math.IsInf(float64(want[i]), 0) {
			require.Equal(t, math.Float32bits(want[i])>>23, math.Float32bits(got[i])>>23, "%s: %d is %v, want %v", what, i, got[i], want[i])
			continue
		}
		require.InEpsilon(t, 1+math.Abs(float64(want[i])), 1+math.Abs(float64(got[i])), 4e-7, "%s: %d", what, i)
		require.Equal(t, math.Signbit(float64(want[i])), math.Signbit(float64(got[i])), "%s: %d", what, i)
	}
}
