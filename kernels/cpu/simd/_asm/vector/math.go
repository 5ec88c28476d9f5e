package main

import "math"

// Elementary functions in float32. The polynomials interpolate at Chebyshev
// nodes; the errors named are of the polynomial, before rounding.

const (
	ln2    = math.Ln2
	halfPi = math.Pi / 2
)

// split gives the float32 nearest to x and the float32 nearest to the rest.
func split(x float64) (high, low float64) {
	h := float32(x)
	return float64(h), float64(float32(x - float64(h)))
}

// exponential is e^x and what it was made of: x = n log 2 + f,
// e^f = 1 + f + tail.
type exponential struct{ value, n, f, tail vec }

// exp computes e^x with a relative error of about 1e-7 (polynomial: 1.1e-8).
// Below log of the smallest normal number and above that of the largest it stays
// at these numbers; NaN stays NaN.
func (e *emitter) exp(x vec) exponential {
	x = e.clamp(x, e.f(-87.33654), e.f(88.72283))
	high, low := split(ln2)
	n := e.round(e.mul(x, e.f(1/ln2)))
	f := x
	e.accNegMul(f, n, e.f(high))
	e.accNegMul(f, n, e.f(low))
	tail := e.polynomial(f, 0.5, 0.1666657521737365, 0.04166655240319022, 0.008363472722161027, 0.0013926550428495922)
	e.mulTo(tail, e.mul(f, f))
	p := e.add(e.add(f, tail), e.f(1))
	value := e.vec()
	if e.avx512() {
		e.VSCALEFPS(n, p, value)
	} else {
		// n goes to the exponent's bits. Within the limits above nothing
		// overflows there, and a NaN's n becomes zero.
		e.VPADDD(e.shift(e.VPSLLD, e.toInt(n), 23), p, value)
	}
	return exponential{value, n, f, tail}
}

// log computes the natural logarithm of a normal positive number with a relative
// error of about 1e-7 (polynomial: 2.3e-9). Infinity and NaN stay as they are.
//
// With x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), and s = f/(2 + f):
// log(1 + f) = f - (f^2/2 - s (f^2/2 + R)), R = 2/3 s^2 + 2/5 s^4 + ...; the
// form is that of Sun's fdlibm.
func (e *emitter) log(x vec) vec {
	bits := e.subInt(x, e.bits(math.Float32bits(math.Sqrt2/2)))
	k := e.shift(e.VPSRAD, bits, 23)
	f := e.sub(e.subInt(x, e.shift(e.VPSLLD, k, 23)), e.f(1))
	kf := e.toFloat(k)
	s := e.div(f, e.add(f, e.f(2)))
	z := e.mul(s, s)
	r := e.polynomial(z, 0.6666668562146653, 0.39988543617117733, 0.29590648580137957)
	half := e.mul(e.mul(f, f), e.f(0.5))
	e.mulAddTo(r, z, half)
	// The high part of log 2 has few enough bits for k*high to be exact.
	const high = 0.693138122558593750
	e.mulTo(r, s)
	e.accMul(r, kf, e.f(ln2-high))
	e.subTo(r, half)
	e.addTo(r, f)
	e.accMul(r, kf, e.f(high))
	return e.choose(e.compare(notLessOrEq, x, e.f(math.MaxFloat32)), x, r)
}

// sincos computes the sine and the cosine of an angle, absolute error about 1e-7
// for angles up to some hundred turns.
func (e *emitter) sincos(angle vec) (sin, cos vec) {
	high, low := split(halfPi)
	q := e.round(e.mul(angle, e.f(2/math.Pi)))
	r := e.get(angle)
	e.accNegMul(r, q, e.f(high))
	e.accNegMul(r, q, e.f(low))
	return e.sincosQuadrant(r, e.toInt(q))
}

// sincosQuadrant is sincos of r + q pi/2 with |r| <= pi/4 (polynomials: 1.3e-8).
func (e *emitter) sincosQuadrant(r, q vec) (sin, cos vec) {
	z := e.mul(r, r)
	s := e.polynomial(z, -0.16666664601754114, 0.00833273655917713, -0.0001958537320669302)
	e.mulTo(s, z)
	e.mulAddTo(s, r, r)
	c := e.polynomial(z, -0.5, 0.04166666459882798, -0.0013888291300556933, 2.4545419078353295e-05)
	e.mulAddTo(c, z, e.f(1))
	odd := e.signs(e.shift(e.VPSLLD, q, 31))
	sin, cos = e.choose(odd, c, s), e.choose(odd, s, c)
	sin = e.xor(sin, e.shift(e.VPSLLD, e.and(q, e.bits(2)), 30))
	cos = e.xor(cos, e.shift(e.VPSLLD, e.and(e.addInt(q, e.bits(1)), e.bits(2)), 30))
	return sin, cos
}

// upper24 is the word's upper 24 bits as a whole number in [0, 2^24).
func (e *emitter) upper24(word vec) vec { return e.toFloat(e.shift(e.VPSRLD, word, 8)) }

// sin64 computes the sine in double lanes for angles up to some hundred turns,
// absolute error 3e-13: with k half turns taken off, the polynomial
// covers [-pi/2, pi/2].
func (e *emitter) sin64(angle vec) vec {
	// Added to a small number this leaves its nearest integer in the low bits.
	const integer = 3 << 51
	k := e.mul(angle, e.f(1/math.Pi))
	e.addTo(k, e.f(integer))
	r := e.get(angle)
	e.accNegMul(r, e.sub(k, e.f(integer)), e.f(math.Pi))
	z := e.mul(r, r)
	s := e.polynomial(z, -0.16666666666658417, 0.008333333330928441, -0.00019841268704550545, 2.7557122590565795e-06, -2.5036714612185012e-08, 1.550196192291237e-10)
	e.mulTo(s, z)
	e.mulAddTo(s, r, r)
	odd, v := e.shift(e.VPSLLQ, k, 63), e.vec()
	e.VXORPD(odd, s, v)
	return v
}

func (e *emitter) cos64(angle vec) vec { return e.sin64(e.add(angle, e.f(halfPi))) }
