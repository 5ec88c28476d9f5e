package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tanhState holds the registers of tanh(x) = 1 - 2/(2^t + 1) for t = 2 log2(e) x,
// which comes prescaled. 2^t = T*p: T = 2^(n/32) (AVX2: 2^(n/8)) by a table on
// the low bits of n = round(32 t), p a polynomial in the rest f = t - n/32.
//
// Adding 1.5*2^18 rounds t to 32nds and leaves n in the mantissa's low bits.
// AVX-512 looks them up in two registers, which lets degree 2 do what one
// register of 16 and degree 3 would, and scales by vscalefps, which needs no
// clamp: |t| of any finite size saturates to +-1 and infinities give NaN. AVX2
// adds n to the exponent bits instead and clamps first. The largest absolute
// error is in TestGemmTanhError.
type tanhState struct {
	*isa
	group                   int // vectors worked on at once
	temps                   []VecPhysical
	magic, c1, c2, one, two VecPhysical // constants that stay in registers
	low, high               VecPhysical // and the table
	shift                   VecPhysical // AVX2: shared by the group, renamed by the processor
}

func (i *isa) newTanh(spare []VecPhysical) *tanhState {
	t := &tanhState{isa: i}
	if i.lanes == 8 {
		t.group = 4
		t.temps = i.vec[4:12]
		t.shift, t.magic, t.one, t.two = i.vec[12], i.vec[13], i.vec[14], i.vec[15]
		return t
	}
	n := len(spare)
	t.magic, t.c1, t.c2, t.one, t.two = spare[n-1], spare[n-2], spare[n-3], spare[n-4], spare[n-5]
	t.low, t.high = spare[n-6], spare[n-7]
	t.group, t.temps = 4, spare[:n-7]
	VMOVUPS(i.constant("magic", 393216), t.magic)
	VMOVUPS(i.constant("c1", 0.69315734), t.c1)
	VMOVUPS(i.constant("c2", 0.24022651), t.c2)
	VMOVUPS(i.constant("one", 1), t.one)
	VMOVUPS(i.constant("two", 2), t.two)
	table := make([]uint32, 32)
	for e := range table {
		table[e] = math.Float32bits(float32(math.Exp2(float64(e) / 32)))
	}
	VMOVUPS(i.words("exp2_low", table[:16]), t.low)
	VMOVUPS(i.words("exp2_high", table[16:]), t.high)
	return t
}

// apply replaces each vector by its tanh, all in step so that their latencies
// overlap.
func (t *tanhState) apply(vectors []VecPhysical) {
	if t.lanes == 8 {
		t.applyAVX2(vectors)
		return
	}
	each := func(f func(x, n, p VecPhysical)) {
		for q, x := range vectors {
			f(x, t.temps[2*q], t.temps[2*q+1])
		}
	}
	each(func(x, n, p VecPhysical) { VADDPS(t.magic, x, n) })
	each(func(x, n, p VecPhysical) { VMOVAPS(n, p); VPERMI2PS(t.high, t.low, p) })
	each(func(x, n, p VecPhysical) { VSUBPS(t.magic, n, n) })
	each(func(x, n, p VecPhysical) { VSUBPS(n, x, x) })
	each(func(x, n, p VecPhysical) { VSCALEFPS(n, p, p) })
	each(func(x, n, p VecPhysical) { VMOVAPS(t.c2, n) })
	each(func(x, n, p VecPhysical) { VFMADD213PS(t.c1, x, n) })
	each(func(x, n, p VecPhysical) { VFMADD213PS(t.one, x, n) })
	each(func(x, n, p VecPhysical) { VFMADD213PS(t.one, p, n) })
	each(func(x, n, p VecPhysical) { VDIVPS(n, t.two, n) })
	each(func(x, n, p VecPhysical) { VSUBPS(n, t.one, x) })
}

// loadAVX2 loads the constants that AVX2 keeps in registers.
func (t *tanhState) loadAVX2() {
	VMOVUPS(t.constant("magic8", 1572864), t.magic)
	VMOVUPS(t.constant("one", 1), t.one)
	VMOVUPS(t.constant("two", 2), t.two)
}

func (t *tanhState) applyAVX2(vectors []VecPhysical) {
	limit, low := t.constant("limit", 32), t.constant("low", -32)
	c1, c2, c3 := t.constant("c1", 0.69314718), t.constant("c2", 0.24022651), t.constant("c3", 0.05550411)
	table := make([]uint32, 8)
	for e := range table {
		// Less e<<20, which n<<20 adds again along with the exponent.
		table[e] = math.Float32bits(float32(math.Exp2(float64(e)/8))) - uint32(e)<<20
	}
	bits := t.words("exp2", table)
	each := func(f func(x, n, p VecPhysical)) {
		for q, x := range vectors {
			f(x, t.temps[2*q], t.temps[2*q+1])
		}
	}
	each(func(x, n, p VecPhysical) { VMOVUPS(limit, n); VMINPS(x, n, x) }) // NaN in x stays
	each(func(x, n, p VecPhysical) { VMOVUPS(low, n); VMAXPS(x, n, x) })
	each(func(x, n, p VecPhysical) { VADDPS(t.magic, x, n) })
	each(func(x, n, p VecPhysical) { VPERMPS(bits, n, p) })
	each(func(x, n, p VecPhysical) { VPSLLD(U8(20), n, t.shift); VPADDD(t.shift, p, p) })
	each(func(x, n, p VecPhysical) { VSUBPS(t.magic, n, n) })
	each(func(x, n, p VecPhysical) { VSUBPS(n, x, x) })
	each(func(x, n, p VecPhysical) { VMOVUPS(c3, n) })
	each(func(x, n, p VecPhysical) { VFMADD213PS(c2, x, n) })
	each(func(x, n, p VecPhysical) { VFMADD213PS(c1, x, n) })
	each(func(x, n, p VecPhysical) { VFMADD213PS(t.one, x, n) })
	each(func(x, n, p VecPhysical) { VFMADD213PS(t.one, p, n) })
	each(func(x, n, p VecPhysical) { VDIVPS(n, t.two, n) })
	each(func(x, n, p VecPhysical) { VSUBPS(n, t.one, x) })
}
