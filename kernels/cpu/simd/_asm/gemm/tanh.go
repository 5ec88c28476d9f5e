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
	magic, c1, c2, one, two VecPhysical // AVX-512 keeps constants in registers
	low, high               VecPhysical // and the table
}

func (i *isa) newTanh(spare []VecPhysical) *tanhState {
	t := &tanhState{isa: i}
	if i.lanes == 8 {
		t.group, t.temps = 1, spare
		if len(spare) >= 8 {
			t.group = 2
		}
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

func (t *tanhState) applyAVX2(vectors []VecPhysical) {
	limit, low := t.constant("limit", 32), t.constant("low", -32)
	magic, one, two := t.constant("magic8", 1572864), t.constant("one", 1), t.constant("two", 2)
	c1, c2, c3 := t.constant("c1", 0.69314718), t.constant("c2", 0.24022651), t.constant("c3", 0.05550411)
	table := make([]uint32, 8)
	for e := range table {
		// Less e<<20, which n<<20 adds again along with the exponent.
		table[e] = math.Float32bits(float32(math.Exp2(float64(e)/8))) - uint32(e)<<20
	}
	bits := t.words("exp2", table)
	each := func(f func(x, n, p, s VecPhysical)) {
		for q, x := range vectors {
			f(x, t.temps[3*q], t.temps[3*q+1], t.temps[3*q+2])
		}
	}
	each(func(x, n, p, s VecPhysical) { VMOVUPS(limit, n); VMINPS(x, n, x) }) // NaN in x stays
	each(func(x, n, p, s VecPhysical) { VMOVUPS(low, n); VMAXPS(x, n, x) })
	each(func(x, n, p, s VecPhysical) { VADDPS(magic, x, n) })
	each(func(x, n, p, s VecPhysical) { VPERMPS(bits, n, p) })
	each(func(x, n, p, s VecPhysical) { VPSLLD(U8(20), n, s) })
	each(func(x, n, p, s VecPhysical) { VPADDD(s, p, p) })
	each(func(x, n, p, s VecPhysical) { VSUBPS(magic, n, n) })
	each(func(x, n, p, s VecPhysical) { VSUBPS(n, x, x) })
	each(func(x, n, p, s VecPhysical) { VMOVUPS(c3, n) })
	for _, c := range []Mem{c2, c1, one} {
		each(func(x, n, p, s VecPhysical) { VFMADD213PS(c, x, n) })
	}
	each(func(x, n, p, s VecPhysical) { VFMADD213PS(one, p, n) })
	each(func(x, n, p, s VecPhysical) { VMOVUPS(two, s); VDIVPS(n, s, n) })
	each(func(x, n, p, s VecPhysical) { VMOVUPS(one, s); VSUBPS(n, s, x) })
}
