package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/tensor"
)

// fenced returns n floats at an aligned start with canaries on both sides, and
// a function that checks them.
func fenced(t *testing.T, rnd *rand.Rand, n int) ([]float32, func()) {
	const fence = 16
	raw := tensor.AlignedFloats(n + 2*fence)
	canary := math.Float32frombits(0x7fc0dead)
	for i := range raw {
		raw[i] = canary
	}
	s := raw[fence : fence+n : fence+n]
	for i := range s {
		s[i] = float32(rnd.NormFloat64())
	}
	return s, func() {
		t.Helper()
		for i := range fence {
			for _, at := range []int{i, fence + n + i} {
				if math.Float32bits(raw[at]) != 0x7fc0dead {
					t.Fatalf("canary %d of %d floats overwritten", at-fence, n)
				}
			}
		}
	}
}

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func roundUp16(n int) int { return (n + 15) &^ 15 }

func TestGemmAgainstReference(t *testing.T) {
	for _, p := range Paths() {
		t.Run(p.Name, func(t *testing.T) {
			rnd := seeded(t)
			for size := range 100 {
				for e := range numEpilogues {
					checkGemm(t, p, rnd, e, size, []int{16, 32, 48, 64, 80, 112}[rnd.IntN(6)], rnd.IntN(40), rnd.IntN(2) == 0)
					checkGemm(t, p, rnd, e, 1+rnd.IntN(9), roundUp16(1+size), size, rnd.IntN(2) == 0)
				}
			}
		})
	}
}

// reference is Gemm by its definition, in float64.
func reference(g *Gemm) {
	for m := range g.M {
		for n := range g.N {
			c := &g.C[m*g.Ldc+n]
			sum, old := 0.0, float64(*c)
			switch g.Epilogue {
			case Accumulate:
				sum = old
			case BiasLinear, BiasTanh, BiasReLU:
				sum = float64(g.Bias[n])
			}
			for k := range g.K {
				sum += float64(g.A[m*g.StrideM+k*g.StrideK]) * float64(g.B[k*g.Ldb+n])
			}
			switch {
			case g.Epilogue == BiasTanh:
				sum = math.Tanh(sum / TanhScale)
			case g.Epilogue == BiasReLU:
				sum = max(sum, 0)
			case g.Epilogue == TanhGradient:
				sum *= 1 - old*old
			case g.Epilogue == ReLUGradient && !(old > 0):
				sum = 0
			}
			*c = float32(sum)
		}
	}
}

// checkGemm compares one shape with A by rows, as a layer's forward has it, or by
// columns, as its weights' gradient does.
func checkGemm(t *testing.T, p *Path, rnd *rand.Rand, e Epilogue, m, n, k int, byColumns bool) {
	t.Helper()
	g := Gemm{M: m, N: n, K: k, Epilogue: e, Ldb: n + 16*rnd.IntN(2), Ldc: n + 16*rnd.IntN(2)}
	sizeA := m * (k + 3)
	g.StrideM, g.StrideK = k+3, 1
	if byColumns {
		g.StrideM, g.StrideK = 1, m+1
		sizeA = k * (m + 1)
	}
	var checks [4]func()
	g.A, checks[0] = fenced(t, rnd, sizeA)
	g.B, checks[1] = fenced(t, rnd, k*g.Ldb)
	g.C, checks[2] = fenced(t, rnd, m*g.Ldc)
	g.Bias, checks[3] = fenced(t, rnd, n)
	if e == TanhGradient { // its C are results of tanh; beyond 1, 1-C^2 would magnify rounding
		for i, c := range g.C {
			g.C[i] = float32(math.Tanh(float64(c)))
		}
	}
	want := g
	want.C = append([]float32(nil), g.C...)
	reference(&want)
	p.Gemm(&g)
	for _, c := range checks {
		c()
	}
	for i := range g.C {
		row, col := i/g.Ldc, i%g.Ldc
		if col >= n {
			require.Equal(t, math.Float32bits(want.C[i]), math.Float32bits(g.C[i]), "padding written")
			continue
		}
		scale := 1e-6 * (1 + math.Sqrt(float64(k))*4 + math.Abs(float64(want.C[i])))
		require.InDelta(t, want.C[i], g.C[i], scale, "epilogue %d, %dx%dx%d, at %d,%d", e, m, n, k, row, col)
	}
}

func TestGemmTanhExtremes(t *testing.T) {
	for _, p := range Paths() {
		x := []float32{0, 1e-30, -1e-8, 9, -9, 50, -50, 1e9, -1e30, 3e38, float32(math.NaN())}
		c := tensor.AlignedFloats(16 * len(x))
		one := tensor.AlignedFloats(16)
		for i := range one {
			one[i] = 1
		}
		p.Gemm(&Gemm{M: len(x), N: 16, K: 1, A: x, StrideM: 1, StrideK: 1, B: one, Ldb: 16, C: c, Ldc: 16,
			Bias: make([]float32, 16), Epilogue: BiasTanh})
		for i, v := range x {
			got, want := float64(c[16*i+5]), math.Tanh(float64(v)/TanhScale)
			if math.IsNaN(want) {
				require.True(t, math.IsNaN(got), "%s: tanh(NaN) = %g", p.Name, got)
				continue
			}
			require.InDelta(t, want, got, 4e-7, "%s: tanh of scaled %g", p.Name, v)
		}
	}
}

// The tanh of the epilogue stays within its documented error over its range.
func TestGemmTanhError(t *testing.T) {
	for _, p := range Paths() {
		const rows = 1024
		x := make([]float32, rows)
		c := tensor.AlignedFloats(16 * rows)
		one := tensor.AlignedFloats(16)
		one[0] = 1
		worst := 0.0
		for start := -12.0; start < 12; start += 0.125 {
			for i := range x {
				x[i] = float32(TanhScale * (start + 0.125*float64(i)/rows))
			}
			p.Gemm(&Gemm{M: rows, N: 16, K: 1, A: x, StrideM: 1, StrideK: 1, B: one, Ldb: 16, C: c, Ldc: 16,
				Bias: make([]float32, 16), Epilogue: BiasTanh})
			for i, v := range x {
				worst = max(worst, math.Abs(float64(c[16*i])-math.Tanh(float64(v)/TanhScale)))
			}
		}
		t.Logf("%s: largest error %.2g", p.Name, worst)
		require.Less(t, worst, 4e-7, p.Name)
	}
}

func TestHeadAgainstGeneric(t *testing.T) {
	for _, p := range Paths() {
		rnd := seeded(t)
		for size := range 100 {
			m, k := roundUp16(size), roundUp16(1+rnd.IntN(99))
			h := Head{M: m, A: 1 + rnd.IntN(7), K: k, LdH: k + 16*rnd.IntN(2), LdW: k + 16*rnd.IntN(2), LdOut: m + 16*rnd.IntN(2)}
			var checks [4]func()
			h.H, checks[0] = fenced(t, rnd, m*h.LdH)
			h.W, checks[1] = fenced(t, rnd, h.A*h.LdW)
			h.Bias, checks[2] = fenced(t, rnd, h.A)
			h.Out, checks[3] = fenced(t, rnd, h.A*h.LdOut)
			want := h
			want.Out = append([]float32(nil), h.Out...)
			headGeneric(&want)
			p.Head(&h)
			for _, c := range checks {
				c()
			}
			require.InDeltaSlice(t, want.Out, h.Out, 5e-5, fmt.Sprintf("%s: %dx%dx%d", p.Name, m, h.A, k))
		}
	}
}

func TestTransposeAgainstGeneric(t *testing.T) {
	for _, p := range Paths() {
		rnd := seeded(t)
		for rows := range 100 {
			cols := rnd.IntN(70)
			src, checkSrc := fenced(t, rnd, rows*(cols+2))
			dst, checkDst := fenced(t, rnd, cols*(rows+3))
			want := append([]float32{}, dst...)
			transposeGeneric(want, rows+3, src, cols+2, rows, cols, 1.5)
			p.Transpose(dst, rows+3, src, cols+2, rows, cols, 1.5)
			checkSrc()
			checkDst()
			require.Equal(t, want, dst, "%s: %dx%d", p.Name, rows, cols)
		}
	}
}

func TestGemmRefusesShortSlices(t *testing.T) {
	for _, p := range Paths() {
		f := tensor.AlignedFloats(64)
		require.Panics(t, func() {
			p.Gemm(&Gemm{M: 2, N: 32, K: 2, A: f, StrideM: 2, StrideK: 1, B: f[:60], Ldb: 32, C: f, Ldc: 32})
		}, p.Name)
	}
}

func BenchmarkGemm(b *testing.B) {
	const rows, width = 64, 64
	for _, p := range Paths() {
		for e, name := range []string{"Accumulate", "BiasLinear", "BiasTanh", "BiasReLU", "TanhGradient", "ReLUGradient"} {
			b.Run(p.Name+"/"+name, func(b *testing.B) {
				g := Gemm{M: rows, N: width, K: width, StrideM: width, StrideK: 1, Ldb: width, Ldc: width, Epilogue: Epilogue(e),
					A: tensor.AlignedFloats(rows * width), B: tensor.AlignedFloats(width * width),
					C: tensor.AlignedFloats(rows * width), Bias: tensor.AlignedFloats(width)}
				for b.Loop() {
					p.Gemm(&g)
				}
				b.ReportMetric(float64(b.N)*2*rows*width*width/float64(b.Elapsed().Nanoseconds()), "GFLOPS")
			})
		}
	}
}
