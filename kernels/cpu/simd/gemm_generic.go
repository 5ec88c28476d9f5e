package simd

import "math"

// gemmGeneric is Gemm in blocks of 2 rows x 4 columns, whose sums a compiler
// keeps in registers; each sum runs over k in order whatever the block.
func gemmGeneric(g *Gemm) {
	g.check()
	m := 0
	for ; m+2 <= g.M; m += 2 {
		for n := 0; n < g.N; n += 4 {
			g.block2x4(m, n)
		}
	}
	if m < g.M {
		for n := range g.N {
			sum := g.start(m, n)
			for k := range g.K {
				sum += g.A[m*g.StrideM+k*g.StrideK] * g.B[k*g.Ldb+n]
			}
			c := &g.C[m*g.Ldc+n]
			*c = g.Epilogue.store(sum, *c)
		}
	}
}

// block2x4 computes rows m, m+1 and columns n to n+3.
func (g *Gemm) block2x4(m, n int) {
	s00, s01, s02, s03 := g.start(m, n), g.start(m, n+1), g.start(m, n+2), g.start(m, n+3)
	s10, s11, s12, s13 := g.start(m+1, n), g.start(m+1, n+1), g.start(m+1, n+2), g.start(m+1, n+3)
	at0, at1, bt := m*g.StrideM, (m+1)*g.StrideM, n
	a, b := g.A, g.B
	for range g.K {
		a0, a1 := a[at0], a[at1]
		v := (*[4]float32)(b[bt:])
		s00 += a0 * v[0]
		s01 += a0 * v[1]
		s02 += a0 * v[2]
		s03 += a0 * v[3]
		s10 += a1 * v[0]
		s11 += a1 * v[1]
		s12 += a1 * v[2]
		s13 += a1 * v[3]
		at0, at1, bt = at0+g.StrideK, at1+g.StrideK, bt+g.Ldb
	}
	e := g.Epilogue
	c := (*[4]float32)(g.C[m*g.Ldc+n:])
	c[0], c[1], c[2], c[3] = e.store(s00, c[0]), e.store(s01, c[1]), e.store(s02, c[2]), e.store(s03, c[3])
	c = (*[4]float32)(g.C[(m+1)*g.Ldc+n:])
	c[0], c[1], c[2], c[3] = e.store(s10, c[0]), e.store(s11, c[1]), e.store(s12, c[2]), e.store(s13, c[3])
}

// start is what the sum of C(m, n) starts from.
func (g *Gemm) start(m, n int) float32 {
	switch g.Epilogue {
	case Accumulate:
		return g.C[m*g.Ldc+n]
	case BiasLinear, BiasTanh, BiasReLU:
		return g.Bias[n]
	}
	return 0
}

// store is what the epilogue stores over old for an accumulator.
func (e Epilogue) store(sum, old float32) float32 {
	switch e {
	case BiasTanh:
		return float32(math.Tanh(float64(sum) / TanhScale))
	case BiasReLU:
		if sum < 0 {
			return 0
		}
	case TanhGradient:
		return sum * (1 - old*old)
	case ReLUGradient:
		if !(old > 0) {
			return 0
		}
	}
	return sum
}

// headGeneric is Head one dot product at a time.
func headGeneric(h *Head) {
	h.check()
	for a := range h.A {
		w := h.W[a*h.LdW : a*h.LdW+h.K]
		for m := range h.M {
			sum := h.Bias[a]
			for k, x := range h.H[m*h.LdH : m*h.LdH+h.K] {
				sum += x * w[k]
			}
			h.Out[a*h.LdOut+m] = sum
		}
	}
}

func transposeGeneric(dst []float32, ldd int, src []float32, lds, rows, cols int, scale float32) {
	for r := range rows {
		for c, x := range src[r*lds : r*lds+cols] {
			dst[c*ldd+r] = scale * x
		}
	}
}

// check panics where a slice is too short for the sizes given: the assembly
// would write past it.
func (g *Gemm) check() {
	if g.N%16 != 0 || g.Ldb%16 != 0 || g.Ldc%16 != 0 || g.Epilogue < 0 || g.Epilogue >= numEpilogues {
		panic("simd: Gemm: N, Ldb and Ldc must be multiples of 16 and the epilogue known")
	}
	if g.M == 0 || g.N == 0 {
		return
	}
	needs("Gemm", "C", len(g.C), (g.M-1)*g.Ldc+g.N)
	if g.K > 0 {
		needs("Gemm", "A", len(g.A), (g.M-1)*g.StrideM+(g.K-1)*g.StrideK+1)
		needs("Gemm", "B", len(g.B), (g.K-1)*g.Ldb+g.N)
	}
	if g.Epilogue == BiasLinear || g.Epilogue == BiasTanh || g.Epilogue == BiasReLU {
		needs("Gemm", "Bias", len(g.Bias), g.N)
	}
}

func (h *Head) check() {
	if h.M%16 != 0 || h.K%16 != 0 || h.LdOut < h.M {
		panic("simd: Head: M and K must be multiples of 16 and LdOut at least M")
	}
	if h.M == 0 || h.A == 0 {
		return
	}
	needs("Head", "H", len(h.H), (h.M-1)*h.LdH+h.K)
	needs("Head", "W", len(h.W), (h.A-1)*h.LdW+h.K)
	needs("Head", "Bias", len(h.Bias), h.A)
	needs("Head", "Out", len(h.Out), (h.A-1)*h.LdOut+h.M)
}
