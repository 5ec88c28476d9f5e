package main

import (
	"slices"

	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

type instruction func(...operand.Op)

// emit writes an instruction whose first operand (the last in Intel's order) may
// be a register, a slot or a constant.
func (e *emitter) emit(plainForm, broadcastForm instruction, first operand.Op, rest ...operand.Op) {
	c, ok := first.(constant)
	if ok {
		first = c.Mem
		if e.avx512() {
			plainForm = broadcastForm
		}
	}
	plainForm(append([]operand.Op{first}, rest...)...)
}

// pick is the instruction for the present kind of lane.
func (e *emitter) pick(single, double instruction) instruction {
	if e.double {
		return double
	}
	return single
}

func (e *emitter) two(plainForm, broadcastForm instruction, a vec, b operand.Op) vec {
	v := e.vec()
	e.emit(plainForm, broadcastForm, b, a, v)
	return v
}

func (e *emitter) add(a vec, b operand.Op) vec {
	return e.two(e.pick(e.VADDPS, e.VADDPD), e.pick(e.VADDPS_BCST, e.VADDPD_BCST), a, b)
}
func (e *emitter) sub(a vec, b operand.Op) vec {
	return e.two(e.pick(e.VSUBPS, e.VSUBPD), e.pick(e.VSUBPS_BCST, e.VSUBPD_BCST), a, b)
}
func (e *emitter) mul(a vec, b operand.Op) vec {
	return e.two(e.pick(e.VMULPS, e.VMULPD), e.pick(e.VMULPS_BCST, e.VMULPD_BCST), a, b)
}
func (e *emitter) div(a vec, b operand.Op) vec {
	return e.two(e.pick(e.VDIVPS, e.VDIVPD), e.pick(e.VDIVPS_BCST, e.VDIVPD_BCST), a, b)
}

// max and min return b where either is NaN.
func (e *emitter) max(a vec, b operand.Op) vec {
	return e.two(e.pick(e.VMAXPS, e.VMAXPD), e.pick(e.VMAXPS_BCST, e.VMAXPD_BCST), a, b)
}
func (e *emitter) min(a vec, b operand.Op) vec {
	return e.two(e.pick(e.VMINPS, e.VMINPD), e.pick(e.VMINPS_BCST, e.VMINPD_BCST), a, b)
}

// clamp limits v to [low, high]; a NaN stays one.
func (e *emitter) clamp(v vec, low, high operand.Op) vec {
	return e.max(e.get(low), e.min(e.get(high), v))
}

func (e *emitter) sqrt(a vec) vec {
	v := e.vec()
	e.VSQRTPS(a, v)
	return v
}

// round gives the nearest integer, ties to even.
func (e *emitter) round(a vec) vec {
	v := e.vec()
	switch {
	case e.avx512():
		e.pick(e.VRNDSCALEPS, e.VRNDSCALEPD)(operand.U8(8), a, v)
	case e.double:
		e.VROUNDPD(operand.U8(8), a, v)
	default:
		e.VROUNDPS(operand.U8(8), a, v)
	}
	return v
}

// addTo, subTo: dst += a, dst -= a.
func (e *emitter) addTo(dst vec, a operand.Op) {
	e.emit(e.pick(e.VADDPS, e.VADDPD), e.pick(e.VADDPS_BCST, e.VADDPD_BCST), a, dst, dst)
}
func (e *emitter) subTo(dst vec, a operand.Op) {
	e.emit(e.pick(e.VSUBPS, e.VSUBPD), e.pick(e.VSUBPS_BCST, e.VSUBPD_BCST), a, dst, dst)
}

// mulTo: dst *= a.
func (e *emitter) mulTo(dst vec, a operand.Op) {
	e.emit(e.pick(e.VMULPS, e.VMULPD), e.pick(e.VMULPS_BCST, e.VMULPD_BCST), a, dst, dst)
}

// accMul: acc += a*b; accNegMul: acc -= a*b.
func (e *emitter) accMul(acc, a vec, b operand.Op) {
	e.emit(e.pick(e.VFMADD231PS, e.VFMADD231PD), e.pick(e.VFMADD231PS_BCST, e.VFMADD231PD_BCST), b, a, acc)
}
func (e *emitter) accNegMul(acc, a vec, b operand.Op) {
	e.emit(e.pick(e.VFNMADD231PS, e.VFNMADD231PD), e.pick(e.VFNMADD231PS_BCST, e.VFNMADD231PD_BCST), b, a, acc)
}

// mulAddTo: dst = dst*a + b; mulSubTo: dst = dst*a - b; negMulAddTo: dst = b - dst*a.
func (e *emitter) mulAddTo(dst, a vec, b operand.Op) {
	e.emit(e.pick(e.VFMADD213PS, e.VFMADD213PD), e.pick(e.VFMADD213PS_BCST, e.VFMADD213PD_BCST), b, a, dst)
}
func (e *emitter) mulSubTo(dst, a vec, b operand.Op) {
	e.emit(e.VFMSUB213PS, e.VFMSUB213PS_BCST, b, a, dst)
}
func (e *emitter) negMulAddTo(dst, a vec, b operand.Op) {
	e.emit(e.pick(e.VFNMADD213PS, e.VFNMADD213PD), e.pick(e.VFNMADD213PS_BCST, e.VFNMADD213PD_BCST), b, a, dst)
}

// scaleAddTo: dst = dst*a + b, where a is the operand that may be a constant.
func (e *emitter) scaleAddTo(dst vec, a operand.Op, b vec) {
	e.emit(e.VFMADD132PS, e.VFMADD132PS_BCST, a, b, dst)
}

// scaleSubTo: dst = dst*a - b.
func (e *emitter) scaleSubTo(dst vec, a operand.Op, b vec) {
	e.emit(e.VFMSUB132PS, e.VFMSUB132PS_BCST, a, b, dst)
}

// polynomial evaluates c[0] + c[1] x + ... by Horner's rule.
func (e *emitter) polynomial(x vec, c ...float64) vec {
	p := e.get(e.f(c[len(c)-1]))
	for i := len(c) - 2; i >= 0; i-- {
		e.mulAddTo(p, x, e.f(c[i]))
	}
	return p
}

// Bitwise and integer instructions, which differ in name.

func (e *emitter) xor(a vec, b operand.Op) vec {
	if e.avx512() {
		return e.two(e.VPXORD, e.VPXORD_BCST, a, b)
	}
	v := e.vec()
	e.VXORPS(plain(b), a, v)
	return v
}

func (e *emitter) and(a vec, b operand.Op) vec {
	if e.avx512() {
		return e.two(e.VPANDD, e.VPANDD_BCST, a, b)
	}
	v := e.vec()
	e.VANDPS(plain(b), a, v)
	return v
}

// abs clears the sign.
func (e *emitter) abs(a vec) vec { return e.and(a, e.bits(0x7fffffff)) }

// negate flips the sign.
func (e *emitter) negate(a vec) vec { return e.xor(a, e.bits(0x80000000)) }

func (e *emitter) addInt(a vec, b operand.Op) vec { return e.two(e.VPADDD, e.VPADDD_BCST, a, b) }
func (e *emitter) subInt(a vec, b operand.Op) vec { return e.two(e.VPSUBD, e.VPSUBD_BCST, a, b) }

func (e *emitter) shift(by func(...operand.Op), a vec, bits uint8) vec {
	v := e.vec()
	by(operand.U8(bits), a, v)
	return v
}

// toFloat and toInt convert 32-bit signed integers.
func (e *emitter) toFloat(a vec) vec { return e.convert(e.VCVTDQ2PS, a) }
func (e *emitter) toInt(a vec) vec   { return e.convert(e.VCVTPS2DQ, a) }

func (e *emitter) convert(by instruction, a vec) vec {
	v := e.vec()
	by(a, v)
	return v
}

// Comparisons, as VCMPPS numbers them.
const (
	equal       = 0
	less        = 1
	lessEqual   = 2
	notLess     = 5  // true with a NaN
	notLessOrEq = 6  // true with a NaN
	notBelow    = 13 // greater or equal
	greater     = 14
)

// mask is an opmask register, or a vector of ones and zeros.
type mask struct{ reg.Register }

func (e *emitter) newMask() mask {
	if e.avx512() {
		return mask{e.K()}
	}
	return mask{e.YMM()}
}

func (e *emitter) compare(predicate uint64, a vec, b operand.Op) mask {
	m := e.newMask()
	with := func(i instruction) instruction {
		return func(ops ...operand.Op) { i(append([]operand.Op{operand.U8(predicate)}, ops...)...) }
	}
	e.emit(with(e.pick(e.VCMPPS, e.VCMPPD)), with(e.pick(e.VCMPPS_BCST, e.VCMPPD_BCST)), b, a, m.Register)
	return m
}

// signs is true where the sign bit is set; only choose may use it.
func (e *emitter) signs(a vec) mask {
	if !e.avx512() {
		return mask{a}
	}
	m := e.newMask()
	e.VPMOVD2M(a, m.Register)
	return m
}

// both is true where a and b are.
func (e *emitter) both(a, b mask) mask {
	m := e.newMask()
	if e.avx512() {
		e.KANDW(a.Register, b.Register, m.Register)
	} else {
		e.VANDPS(a.Register, b.Register, m.Register)
	}
	return m
}

// either is true where a or b is.
func (e *emitter) either(a, b mask) mask {
	m := e.newMask()
	if e.avx512() {
		e.KORW(a.Register, b.Register, m.Register)
	} else {
		e.VORPS(a.Register, b.Register, m.Register)
	}
	return m
}

// blend adds a blend, which avo takes for a masked instruction that keeps part of
// its destination: that register would count as used from the loop before on.
func (e *emitter) blend(make func(...operand.Op) (*ir.Instruction, error)) instruction {
	return func(ops ...operand.Op) {
		i, err := make(ops...)
		if err != nil {
			panic(err)
		}
		destination := ops[len(ops)-1]
		i.Inputs = slices.DeleteFunc(i.Inputs, func(op operand.Op) bool { return op == destination })
		e.Instruction(i)
	}
}

// choose is a where m is true, else b.
func (e *emitter) choose(m mask, a operand.Op, b vec) vec {
	v := e.vec()
	if e.avx512() {
		e.emit(e.blend(x86.VBLENDMPS), e.blend(x86.VBLENDMPS_BCST), a, b, m.Register, v)
	} else {
		e.VBLENDVPS(m.Register, plain(a), b, v)
	}
	return v
}

// where is a where m is true, else zero.
func (e *emitter) where(m mask, a operand.Op) vec {
	v := e.vec()
	if !e.avx512() {
		e.VANDPS(plain(a), m.Register, v)
	} else if c, ok := a.(constant); ok {
		if e.double {
			e.VBROADCASTSD_Z(c.Mem, m.Register, v)
		} else {
			e.VBROADCASTSS_Z(c.Mem, m.Register, v)
		}
	} else {
		e.VMOVUPS_Z(a, m.Register, v)
	}
	return v
}
