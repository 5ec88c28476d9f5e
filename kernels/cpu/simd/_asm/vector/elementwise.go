package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func elementwise(e *emitter) {
	e.adam()
	e.sums()
	e.sumSquaredDeviations()
	e.scale()
	e.addVectors()
	e.gae()
}

func (e *emitter) adam() {
	e.function("adam", "func(theta, m, v, grad *float32, n int, step *float32)",
		"does one Adam step; step points to the fields of an AdamStep.")
	theta, m, v, gradient, n, step := e.ptr("theta"), e.ptr("m"), e.ptr("v"), e.ptr("grad"), e.ptr("n"), e.ptr("step")
	gradScale, beta1, beta2 := e.param(step, 0), e.param(step, 1), e.param(step, 2)
	stepSize, bias, eps, decay := e.param(step, 3), e.param(step, 4), e.param(step, 5), e.param(step, 6)
	rest1 := e.keep(e.sub(e.get(e.f(1)), beta1))
	rest2 := e.keep(e.sub(e.get(e.f(1)), beta2))
	e.rows(n, func(i reg.Register) {
		grad := e.mul(e.load(at(gradient, i)), gradScale)
		mean := e.mul(e.load(at(m, i)), beta1)
		e.accMul(mean, grad, rest1)
		e.store(mean, at(m, i))
		square := e.mul(e.load(at(v, i)), beta2)
		e.accMul(square, e.mul(grad, rest2), grad)
		e.store(square, at(v, i))
		denominator := e.mul(e.sqrt(square), bias)
		e.addTo(denominator, eps)
		update := e.div(e.mul(mean, stepSize), denominator)
		weight := e.load(at(theta, i))
		e.scaleSubTo(weight, decay, update)
		e.store(weight, at(theta, i))
	})
	e.end()
}

// fourSums emits a sum over n elements with four independent accumulators for
// each of the results: one would wait for its own additions.
func (e *emitter) fourSums(x, n reg.Register, results int, term func(x vec) []vec) []reg.Register {
	const chains = 4
	acc := make([][chains]vec, results)
	for r := range acc {
		for c := range chains {
			acc[r][c] = e.zero()
		}
	}
	i := e.GP64()
	e.XORQ(i, i)
	e.fullRows(i, n, chains, func() {
		for c := range chains {
			m := at(x, i)
			m.Disp = 4 * e.w * c
			for r, t := range term(e.load(m)) {
				e.addTo(acc[r][c], t)
			}
		}
	})
	e.rowsFrom(i, n, func(i reg.Register) {
		for r, t := range term(e.load(at(x, i))) {
			e.accumulate(acc[r][0], t)
		}
	})
	totals := make([]reg.Register, results)
	for r, a := range acc {
		totals[r] = e.total(e.add(e.add(a[0], a[1]), e.add(a[2], a[3])))
	}
	return totals
}

func (e *emitter) sums() {
	e.function("sums", "func(x *float32, n int) (sum, abs float32)", "returns the sum of x and that of |x|.")
	totals := e.fourSums(e.ptr("x"), e.ptr("n"), 2, func(x vec) []vec { return []vec{x, e.abs(x)} })
	e.Store(totals[0], e.Return("sum"))
	e.Store(totals[1], e.Return("abs"))
	e.end()
}

func (e *emitter) sumSquaredDeviations() {
	e.function("sumSquaredDeviations", "func(x *float32, n int, mean float32) float32", "returns the sum of (x-mean)^2.")
	mean := e.broadcast(e.paramMem("mean"))
	totals := e.fourSums(e.ptr("x"), e.ptr("n"), 1, func(x vec) []vec {
		d := e.sub(x, mean)
		return []vec{e.mul(d, d)}
	})
	e.Store(totals[0], e.ReturnIndex(0))
	e.end()
}

func (e *emitter) scale() {
	e.function("scale", "func(x *float32, n int, s float32)", "multiplies x by s.")
	x, s := e.ptr("x"), e.broadcast(e.paramMem("s"))
	e.rows(e.ptr("n"), func(i reg.Register) { e.store(e.mul(e.load(at(x, i)), s), at(x, i)) })
	e.end()
}

func (e *emitter) addVectors() {
	e.function("add", "func(dst, src *float32, n int)", "adds src to dst.")
	dst, src := e.ptr("dst"), e.ptr("src")
	e.rows(e.ptr("n"), func(i reg.Register) {
		e.store(e.add(e.load(at(dst, i)), e.load(at(src, i))), at(dst, i))
	})
	e.end()
}

func (e *emitter) gae() {
	e.function("gae", "func(adv, ret, carry, reward, value, next, done *float32, n int, gamma, gammaLambda float32)",
		"does one step backwards in time.")
	var p [7]reg.Register
	for j, name := range []string{"adv", "ret", "carry", "reward", "value", "next", "done"} {
		p[j] = e.ptr(name)
	}
	gamma, gammaLambda := e.broadcast(e.paramMem("gamma")), e.broadcast(e.paramMem("gammaLambda"))
	one := e.get(e.f(1))
	e.rows(e.ptr("n"), func(i reg.Register) {
		row := func(j int) operand.Mem { return at(p[j], i) }
		value, sum := e.load(row(4)), e.load(row(3))
		e.accMul(sum, e.load(row(5)), gamma)
		e.subTo(sum, value)
		alive := e.sub(one, e.load(row(6)))
		e.accMul(sum, e.mul(alive, gammaLambda), e.load(row(2)))
		e.store(sum, row(2))
		e.store(sum, row(0))
		e.store(e.add(sum, value), row(1))
	})
	e.end()
}
