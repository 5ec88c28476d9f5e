package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// acrobot does the four stages of the Runge-Kutta method in a loop: stage s
// evaluates the derivative at state + reach[s]*(the derivative before) and adds
// it to the sum with its weight. At high velocities a step multiplies rounding
// errors by a hundred and more, which only float64 can afford.
func (e *emitter) acrobot() {
	const dt = 0.2
	e.double, e.w = true, e.w/2
	defer func() { e.double, e.w = false, 2*e.w }()
	f := func(v float64) operand.Constant { return operand.U64(math.Float64bits(v)) }
	b := e.step("Acrobot", 4)
	coefficients := e.GP64()
	e.LEAQ(e.table("rungeKutta", f(0), f(dt/2), f(dt/2), f(dt), f(dt/6), f(dt/3), f(dt/3), f(dt/6)), coefficients)
	var state, derivative, sum [4]operand.Op
	for c := range state {
		state[c], derivative[c], sum[c] = e.place(), e.place(), e.place()
	}
	torque := e.place()
	e.rows(b.n, func(i reg.Register) {
		for c := range state {
			s := e.load(at(b.state[c], i))
			e.VMOVUPS(s, state[c])
			e.VMOVUPS(s, sum[c])
			e.VMOVUPS(e.zero(), derivative[c])
		}
		e.VMOVUPS(e.sub(e.load(at(b.action, i)), e.f(1)), torque)
		stage := e.GP64()
		e.XORQ(stage, stage)
		loop := e.label("stage")
		e.Label(loop)
		reach := e.broadcast(operand.Mem{Base: coefficients, Index: stage, Scale: 8})
		var s [4]vec
		for c := range s {
			s[c] = e.get(state[c])
			e.accMul(s[c], reach, derivative[c])
		}
		e.acrobotDerivative(s, torque, derivative)
		weight := e.broadcast(operand.Mem{Base: coefficients, Index: stage, Scale: 8, Disp: 32})
		for c := range sum {
			total := e.get(sum[c])
			e.accMul(total, weight, derivative[c])
			e.VMOVUPS(total, sum[c])
		}
		e.INCQ(stage)
		e.CMPQ(stage, operand.U8(4))
		e.JLT(operand.LabelRef(loop))

		theta1, theta2 := e.wrap(e.get(sum[0])), e.wrap(e.get(sum[1]))
		e.store(theta1, at(b.state[0], i))
		e.store(theta2, at(b.state[1], i))
		e.store(e.clamp(e.get(sum[2]), e.f(-4*math.Pi), e.f(4*math.Pi)), at(b.state[2], i))
		e.store(e.clamp(e.get(sum[3]), e.f(-9*math.Pi), e.f(9*math.Pi)), at(b.state[3], i))
		height := e.add(e.cos64(theta1), e.cos64(e.add(theta1, theta2)))
		up := e.where(e.compare(less, height, e.f(-1)), e.f(1))
		e.store(up, at(b.terminated, i))
		e.store(e.sub(up, e.f(1)), at(b.reward, i))
	})
	e.end()
}

// acrobotDerivative stores the equations of motion at s.
func (e *emitter) acrobotDerivative(s [4]vec, torque operand.Op, out [4]operand.Op) {
	e.VMOVUPS(s[2], out[0])
	e.VMOVUPS(s[3], out[1])
	sum := e.add(s[0], s[1])
	sin1 := e.sin64(s[0])
	sin12 := e.sin64(sum)
	phi2 := e.mul(sin12, e.f(4.9))
	phi1 := e.get(phi2)
	e.accMul(phi1, sin1, e.f(14.7))
	sin2, cos2 := e.sin64(s[1]), e.cos64(s[1])
	// -0.5 w2^2 sin2 - w2 w1 sin2
	rates := e.mul(s[3], e.f(0.5))
	e.addTo(rates, s[2])
	e.accNegMul(phi1, e.mul(rates, s[3]), sin2)
	d1 := e.add(cos2, e.f(3.5))
	d2 := e.mul(cos2, e.f(0.5))
	e.addTo(d2, e.f(1.25))
	ratio := e.div(d2, d1)
	acc2 := e.sub(e.get(torque), phi2)
	e.accMul(acc2, ratio, phi1)
	e.accNegMul(acc2, e.mul(e.mul(s[2], s[2]), sin2), e.f(0.5))
	divisor := e.get(d2)
	e.negMulAddTo(divisor, ratio, e.f(1.25))
	acc2 = e.div(acc2, divisor)
	e.VMOVUPS(acc2, out[3])
	e.accMul(phi1, d2, acc2)
	e.VMOVUPS(e.sub(e.zero(), e.div(phi1, d1)), out[2])
}
