//go:build amd64 && !purego

package simd

import "unsafe"

// gemmBlock is one generated routine; see _asm/gemm.
type gemmBlock = func(a, b, c, bias *float32, k, blocks, sm, sk, ldb, ldc int)

// gemmFamily is the routines of one instruction set: [epilogue][index of the
// block height in heights][width in vectors, less 1].
type gemmFamily struct {
	lanes   int
	heights []int // block heights, tallest first, ending in 1
	widths  int   // widest block, in vectors
	blocks  [numEpilogues][4][4]gemmBlock
	// rowSum, if there is one, is the Accumulate of a single row and 64 columns, which
	// other epilogues of a single row go through, too.
	rowSum gemmBlock
}

var gemmFamily512 = gemmFamily{lanes: 16, heights: []int{4, 2, 1}, widths: 4, blocks: [numEpilogues][4][4]gemmBlock{
	Accumulate: {
		{gemmAVX512Accumulate4x16, gemmAVX512Accumulate4x32, gemmAVX512Accumulate4x48, gemmAVX512Accumulate4x64},
		{gemmAVX512Accumulate2x16, gemmAVX512Accumulate2x32, gemmAVX512Accumulate2x48, gemmAVX512Accumulate2x64},
		{gemmAVX512Accumulate1x16, gemmAVX512Accumulate1x32, gemmAVX512Accumulate1x48, gemmAVX512Accumulate1x64},
	},
	BiasLinear: {
		{gemmAVX512BiasLinear4x16, gemmAVX512BiasLinear4x32, gemmAVX512BiasLinear4x48, gemmAVX512BiasLinear4x64},
		{gemmAVX512BiasLinear2x16, gemmAVX512BiasLinear2x32, gemmAVX512BiasLinear2x48, gemmAVX512BiasLinear2x64},
		{gemmAVX512BiasLinear1x16, gemmAVX512BiasLinear1x32, gemmAVX512BiasLinear1x48, gemmAVX512BiasLinear1x64},
	},
	BiasTanh: {
		{gemmAVX512BiasTanh4x16, gemmAVX512BiasTanh4x32, gemmAVX512BiasTanh4x48, gemmAVX512BiasTanh4x64},
		{gemmAVX512BiasTanh2x16, gemmAVX512BiasTanh2x32, gemmAVX512BiasTanh2x48, gemmAVX512BiasTanh2x64},
		{gemmAVX512BiasTanh1x16, gemmAVX512BiasTanh1x32, gemmAVX512BiasTanh1x48, gemmAVX512BiasTanh1x64},
	},
	BiasReLU: {
		{gemmAVX512BiasReLU4x16, gemmAVX512BiasReLU4x32, gemmAVX512BiasReLU4x48, gemmAVX512BiasReLU4x64},
		{gemmAVX512BiasReLU2x16, gemmAVX512BiasReLU2x32, gemmAVX512BiasReLU2x48, gemmAVX512BiasReLU2x64},
		{gemmAVX512BiasReLU1x16, gemmAVX512BiasReLU1x32, gemmAVX512BiasReLU1x48, gemmAVX512BiasReLU1x64},
	},
	TanhGradient: {
		{gemmAVX512TanhGradient4x16, gemmAVX512TanhGradient4x32, gemmAVX512TanhGradient4x48, gemmAVX512TanhGradient4x64},
		{gemmAVX512TanhGradient2x16, gemmAVX512TanhGradient2x32, gemmAVX512TanhGradient2x48, gemmAVX512TanhGradient2x64},
		{gemmAVX512TanhGradient1x16, gemmAVX512TanhGradient1x32, gemmAVX512TanhGradient1x48, gemmAVX512TanhGradient1x64},
	},
	ReLUGradient: {
		{gemmAVX512ReLUGradient4x16, gemmAVX512ReLUGradient4x32, gemmAVX512ReLUGradient4x48, gemmAVX512ReLUGradient4x64},
		{gemmAVX512ReLUGradient2x16, gemmAVX512ReLUGradient2x32, gemmAVX512ReLUGradient2x48, gemmAVX512ReLUGradient2x64},
		{gemmAVX512ReLUGradient1x16, gemmAVX512ReLUGradient1x32, gemmAVX512ReLUGradient1x48, gemmAVX512ReLUGradient1x64},
	},
}}

var gemmFamily2 = gemmFamily{lanes: 8, heights: []int{6, 4, 2, 1}, widths: 2, rowSum: gemmAVX2Accumulate1x64, blocks: [numEpilogues][4][4]gemmBlock{
	Accumulate:   {{1: gemmAVX2Accumulate6x16}, {1: gemmAVX2Accumulate4x16}, {1: gemmAVX2Accumulate2x16}, {1: gemmAVX2Accumulate1x16}},
	BiasLinear:   {{1: gemmAVX2BiasLinear6x16}, {1: gemmAVX2BiasLinear4x16}, {1: gemmAVX2BiasLinear2x16}, {1: gemmAVX2BiasLinear1x16}},
	BiasTanh:     {{1: gemmAVX2BiasTanh6x16}, {1: gemmAVX2BiasTanh4x16}, {1: gemmAVX2BiasTanh2x16}, {1: gemmAVX2BiasTanh1x16}},
	BiasReLU:     {{1: gemmAVX2BiasReLU6x16}, {1: gemmAVX2BiasReLU4x16}, {1: gemmAVX2BiasReLU2x16}, {1: gemmAVX2BiasReLU1x16}},
	TanhGradient: {{1: gemmAVX2TanhGradient6x16}, {1: gemmAVX2TanhGradient4x16}, {1: gemmAVX2TanhGradient2x16}, {1: gemmAVX2TanhGradient1x16}},
	ReLUGradient: {{1: gemmAVX2ReLUGradient6x16}, {1: gemmAVX2ReLUGradient4x16}, {1: gemmAVX2ReLUGradient2x16}, {1: gemmAVX2ReLUGradient1x16}},
}}

func gemmAVX512(g *Gemm) { gemmFamily512.run(g) }
func gemmAVX2(g *Gemm)   { gemmFamily2.run(g) }

// run covers C by column panels and, within each, by row blocks of falling
// height. The panel of B stays in the first-level cache over all its rows.
func (f *gemmFamily) run(g *Gemm) {
	g.check()
	if g.M == 0 || g.N == 0 {
		return
	}
	if g.K == 0 { // nothing to add: the loops below want at least one product
		gemmGeneric(g)
		return
	}
	// check has seen that all of this lies within the slices.
	at := func(s []float32, i int) *float32 {
		return (*float32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), 4*i))
	}
	blocks := &f.blocks[g.Epilogue]
	sm, sk, ldb, ldc := 4*g.StrideM, 4*g.StrideK, 4*g.Ldb, 4*g.Ldc
	n := 0
	if f.rowSum != nil && g.M == 1 {
		for ; n+64 <= g.N && f.sumsRow(g.Epilogue); n += 64 {
			if g.Epilogue != Accumulate {
				copy(g.C[n:n+64], g.Bias[n:n+64])
			}
			f.rowSum(at(g.A, 0), at(g.B, n), at(g.C, n), nil, g.K, 1, sm, sk, ldb, ldc)
			if g.Epilogue == BiasTanh || g.Epilogue == BiasReLU {
				f.finishRow(g.Epilogue, g.C[n:n+64])
			}
		}
	}
	for n < g.N {
		width := min(f.widths, (g.N-n)/f.lanes)
		var bias *float32
		if g.Bias != nil {
			bias = at(g.Bias, n)
		}
		m := 0
		for h, height := range f.heights {
			if count := (g.M - m) / height; count > 0 {
				blocks[h][width-1](at(g.A, m*g.StrideM), at(g.B, n), at(g.C, m*g.Ldc+n), bias, g.K, count, sm, sk, ldb, ldc)
				if m += count * height; m == g.M {
					break
				}
			}
		}
		n += width * f.lanes
	}
}

// sumsRow says whether rowSum does a single row of that epilogue. A narrower block
// has too few accumulators to hide the latency of their additions, which a single
// row, a policy's one observation, would wait for.
func (f *gemmFamily) sumsRow(e Epilogue) bool {
	return e == Accumulate || e == BiasLinear || e == BiasTanh || e == BiasReLU
}

// noProduct is a row of B whose product with 0 adds nothing to a sum.
var noProduct [16]float32

// finishRow replaces 64 sums by what the epilogue makes of them: the block of 16
// columns that starts from them as its bias and adds nothing.
func (f *gemmFamily) finishRow(e Epilogue, sums []float32) {
	block := f.blocks[e][len(f.heights)-1][f.widths-1]
	for n := 0; n < 64; n += 16 {
		block(&noProduct[0], &noProduct[0], &sums[n], &sums[n], 1, 1, 0, 0, 0, 0)
	}
}

func headAVX512(h *Head) { h.run(headAVX512Output, 16) }
func headAVX2(h *Head)   { h.run(headAVX2Output, 8) }

func (h *Head) run(output func(h, w, bias, out *float32, k, blocks, ldh int), lanes int) {
	h.check()
	if h.M == 0 || h.K == 0 {
		headGeneric(h)
		return
	}
	for a := range h.A {
		output(&h.H[0], &h.W[a*h.LdW], &h.Bias[a], &h.Out[a*h.LdOut], h.K, h.M/lanes, 4*h.LdH)
	}
}

func transposeAVX512(dst []float32, ldd int, src []float32, lds, rows, cols int, scale float32) {
	transposeBlocks(transposeAVX512Block, 16, dst, ldd, src, lds, rows, cols, scale)
}

func transposeAVX2(dst []float32, ldd int, src []float32, lds, rows, cols int, scale float32) {
	transposeBlocks(transposeAVX2Block, 8, dst, ldd, src, lds, rows, cols, scale)
}

// transposeBlocks covers what is whole blocks by assembly and the edges in Go.
func transposeBlocks(block func(dst, src *float32, lddst, ldsrc int, scale float32), n int,
	dst []float32, ldd int, src []float32, lds, rows, cols int, scale float32) {
	if rows == 0 || cols == 0 {
		return
	}
	r := 0
	for ; r+n <= rows; r += n {
		c := 0
		for ; c+n <= cols; c += n {
			_, _ = src[(r+n-1)*lds+c+n-1], dst[(c+n-1)*ldd+r+n-1]
			block(&dst[c*ldd+r], &src[r*lds+c], 4*ldd, 4*lds, scale)
		}
		if c < cols {
			transposeGeneric(dst[c*ldd+r:], ldd, src[r*lds+c:], lds, n, cols-c, scale)
		}
	}
	if r < rows {
		transposeGeneric(dst[r:], ldd, src[r*lds:], lds, rows-r, cols, scale)
	}
}

// peakLoops is the assembly of Peak, nil for the generic path.
func peakLoops(path string) func(loops int) {
	switch path {
	case "avx512":
		return peakAVX512
	case "avx2":
		return peakAVX2
	}
	return nil
}
