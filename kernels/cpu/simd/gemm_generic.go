package simd

import "math"

// gemmGeneric is Gemm a row at a time, in blocks of columns whose sums stay in
// the first-level cache; each sum still runs over k in order.
func gemmGeneric(g *Gemm) {
	g.check()
	var sums [64]float32
	for m := range g.M {
		for n := 0; n < g.N; n += len(sums) {
			c := g.C[m*g.Ldc+n : m*g.Ldc+min(n+len(sums), g.N)]
			sum := sums[:len(c)]
			switch g.Epilogue {
			case Accumulate:
				copy(sum, c)
			case BiasLinear, BiasTanh, BiasReLU:
				copy(sum, g.Bias[n:])
			default:
				clear(sum)
			}
			for k := range g.K {
				a := g.A[m*g.StrideM+k*g.StrideK]
				b := g.B[k*g.Ldb+n:][:len(sum)]
				for j := range sum {
					sum[j] += a * b[j]
				}
			}
			for j := range c {
				c[j] = g.Epilogue.store(sum[j], c[j])
			}
		}
	}
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
	need(g.C, (g.M-1)*g.Ldc+g.N, "Gemm.C")
	if g.K > 0 {
		need(g.A, (g.M-1)*g.StrideM+(g.K-1)*g.StrideK+1, "Gemm.A")
		need(g.B, (g.K-1)*g.Ldb+g.N, "Gemm.B")
	}
	if g.Epilogue == BiasLinear || g.Epilogue == BiasTanh || g.Epilogue == BiasReLU {
		need(g.Bias, g.N, "Gemm.Bias")
	}
}

func (h *Head) check() {
	if h.M%16 != 0 || h.K%16 != 0 || h.LdOut < h.M {
		panic("simd: Head: M and K must be multiples of 16 and LdOut at least M")
	}
	if h.M == 0 || h.A == 0 {
		return
	}
	need(h.H, (h.M-1)*h.LdH+h.K, "Head.H")
	need(h.W, (h.A-1)*h.LdW+h.K, "Head.W")
	need(h.Bias, h.A, "Head.Bias")
	need(h.Out, (h.A-1)*h.LdOut+h.M, "Head.Out")
}

func need(s []float32, n int, what string) {
	if len(s) < n {
		panic("simd: " + what + " is too short")
	}
}
