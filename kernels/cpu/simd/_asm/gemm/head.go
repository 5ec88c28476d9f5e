package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// head generates the dot products of one output with all rows: lanes rows at a
// time, a vector of partial sums for each, then a transposing tree of additions
// that leaves row i's sum in lane i.
func (i *isa) head() {
	TEXT(fmt.Sprintf("head%sOutput", upper(i.name)), NOSPLIT, "func(h, w, bias, out *float32, k, blocks, ldh int)")
	Doc(fmt.Sprintf("head%sOutput computes out[r] = bias + sum over k of h[r][k] w[k] for blocks of %d rows;", upper(i.name), i.lanes),
		fmt.Sprintf("k is a multiple of %d and ldh is in bytes.", i.lanes))
	Pragma("noescape")
	h, w := Load(Param("h"), GP64()), Load(Param("w"), GP64())
	out := Load(Param("out"), GP64())
	k, blocks := Load(Param("k"), GP64()), Load(Param("blocks"), GP64())
	ldh := Load(Param("ldh"), GP64())
	bias := Load(Param("bias"), GP64())
	SHLQ(U8(2), k) // bytes

	acc := i.vec[:i.lanes]
	var wv VecPhysical
	if i.lanes == 16 {
		wv = i.vec[16]
	} else {
		wv = i.vec[8]
	}
	column, row := GP64(), GP64()
	Label("block")
	z := &block{isa: i}
	for _, v := range acc {
		z.zero(v)
	}
	XORQ(column, column)
	Label("columns")
	VMOVUPS(Mem{Base: w, Index: column, Scale: 1}, wv)
	LEAQ(Mem{Base: h, Index: column, Scale: 1}, row)
	for _, v := range acc {
		VFMADD231PS(Mem{Base: row}, wv, v)
		ADDQ(ldh, row)
	}
	ADDQ(U8(i.bytes()), column)
	CMPQ(column, k)
	JLT(LabelRef("columns"))
	sum := i.transposingSum(acc)
	VBROADCASTSS(Mem{Base: bias}, wv)
	VADDPS(wv, sum, sum)
	VMOVUPS(sum, Mem{Base: out})
	ADDQ(U8(i.bytes()), out)
	for range i.lanes {
		ADDQ(ldh, h)
	}
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// transposingSum returns a vector whose lane l is the sum of the lanes of v[l].
func (i *isa) transposingSum(v []VecPhysical) VecPhysical {
	if i.lanes == 8 {
		t := i.vec[9]
		VHADDPS(v[1], v[0], v[0])
		VHADDPS(v[3], v[2], v[2])
		VHADDPS(v[5], v[4], v[4])
		VHADDPS(v[7], v[6], v[6])
		VHADDPS(v[2], v[0], v[0]) // 128-bit halves of the sums of rows 0 to 3
		VHADDPS(v[6], v[4], v[4]) // and of rows 4 to 7
		VPERM2F128(U8(0x20), v[4], v[0], t)
		VPERM2F128(U8(0x31), v[4], v[0], v[0])
		VADDPS(t, v[0], v[0])
		return v[0]
	}
	t := i.vec[17]
	// add combines shuffles of a and b by two selections of their quarters.
	add := func(a, b VecPhysical, first, second uint64, shuffle func(imm, y, x, dst Op)) {
		shuffle(U8(first), b, a, t)
		shuffle(U8(second), b, a, a)
		VADDPS(t, a, a)
	}
	quarters := func(imm, y, x, dst Op) { VSHUFF32X4(imm, y, x, dst) }
	lanes := func(imm, y, x, dst Op) { VSHUFPS(imm, y, x, dst) }
	for q := range 8 {
		add(v[q], v[q+8], 0x44, 0xEE, quarters)
	}
	for q := range 4 {
		add(v[q], v[q+4], 0x88, 0xDD, quarters)
	}
	// Each quarter now holds four partial sums of one row: transpose within.
	for q := 0; q < 4; q += 2 {
		VUNPCKLPS(v[q+1], v[q], t)
		VUNPCKHPS(v[q+1], v[q], v[q])
		VADDPS(t, v[q], v[q])
	}
	add(v[0], v[2], 0x44, 0xEE, lanes)
	VSHUFF32X4(U8(0xD8), v[0], v[0], v[0]) // quarters hold rows 0-3, 8-11, 4-7, 12-15
	return v[0]
}

// transpose generates the scaled transpose of one block of lanes x lanes.
func (i *isa) transpose() {
	n := i.lanes
	TEXT(fmt.Sprintf("transpose%sBlock", upper(i.name)), NOSPLIT, "func(dst, src *float32, lddst, ldsrc int, scale float32)")
	Doc(fmt.Sprintf("transpose%sBlock writes scale times the transpose of the %dx%d block src to dst; strides are in bytes.", upper(i.name), n, n))
	Pragma("noescape")
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	lddst, ldsrc := Load(Param("lddst"), GP64()), Load(Param("ldsrc"), GP64())
	factor, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	if n == 16 {
		VBROADCASTSS(factor.Addr, Z31)
		i.transposeRows16(dst, src, lddst, ldsrc)
	} else {
		VBROADCASTSS(factor.Addr, Y15)
		i.transposeRows8(dst, src, lddst, ldsrc)
	}
	VZEROUPPER()
	RET()
}

func (i *isa) transposeRows8(dst, src, lddst, ldsrc Register) {
	// Halves of rows r and r+4 share a register, so that what is left is a
	// transpose of 4x4 within each half.
	v := i.vec
	row4 := GP64()
	LEAQ(Mem{Base: src, Index: ldsrc, Scale: 4}, row4)
	for r := range 4 {
		VMOVUPS(Mem{Base: src}, v[8].AsX())
		VINSERTF128(U8(1), Mem{Base: row4}, v[8], v[r])
		VMOVUPS(Mem{Base: src, Disp: 16}, v[8].AsX())
		VINSERTF128(U8(1), Mem{Base: row4, Disp: 16}, v[8], v[r+4])
		ADDQ(ldsrc, src)
		ADDQ(ldsrc, row4)
	}
	for half := 0; half < 8; half += 4 {
		transpose4x4(v[half:half+4], v[8:12], v[15], dst, lddst)
	}
}

// transpose4x4 transposes 4x4 blocks within each 128-bit part of four vectors,
// scales and stores them to consecutive rows of dst, which it moves on.
func transpose4x4(v, t []VecPhysical, scale VecPhysical, dst, lddst Register) {
	VUNPCKLPS(v[1], v[0], t[0])
	VUNPCKHPS(v[1], v[0], t[1])
	VUNPCKLPS(v[3], v[2], t[2])
	VUNPCKHPS(v[3], v[2], t[3])
	VSHUFPS(U8(0x44), t[2], t[0], v[0])
	VSHUFPS(U8(0xEE), t[2], t[0], v[1])
	VSHUFPS(U8(0x44), t[3], t[1], v[2])
	VSHUFPS(U8(0xEE), t[3], t[1], v[3])
	for _, x := range v {
		VMULPS(scale, x, x)
		VMOVUPS(x, Mem{Base: dst})
		ADDQ(lddst, dst)
	}
}

func (i *isa) transposeRows16(dst, src, lddst, ldsrc Register) {
	v, t := i.vec[:16], i.vec[16:]
	// Quarter q of register 4*c+r holds columns 4c..4c+3 of row 4q+r, so that
	// what is left is a transpose of 4x4 within each quarter.
	at := make([]Register, 4)
	for q := range at {
		at[q] = GP64()
	}
	MOVQ(src, at[0])
	for q := 1; q < 4; q++ {
		LEAQ(Mem{Base: at[q-1], Index: ldsrc, Scale: 4}, at[q])
	}
	for r := range 4 {
		for c := range 4 {
			x := v[4*c+r]
			VMOVUPS(Mem{Base: at[0], Disp: 16 * c}, x.AsX())
			for q := 1; q < 4; q++ {
				VINSERTF32X4(U8(uint64(q)), Mem{Base: at[q], Disp: 16 * c}, x, x)
			}
		}
		for q := range at {
			ADDQ(ldsrc, at[q])
		}
	}
	for c := 0; c < 16; c += 4 {
		transpose4x4(v[c:c+4], t[:4], t[15], dst, lddst)
	}
}
