package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func loss(e *emitter) {
	e.discreteLoss()
	e.categoricalLogProb()
	e.categoricalGradient()
	e.policyTerms()
	e.gaussianLogProb()
	e.gaussianGradient()
	e.valueLoss()
	e.quantileLoss()
}

// Floats of simd.PolicyTerms, from AdvMean on.
const (
	advMean = iota
	advScale
	clipRange
	entropyCoef
	klBeta
	invRows
	sumLoss
	sumEntropy
	sumKL
	sumClipped
)

// policy is what all rows of a tile share.
type policy struct {
	terms                                       reg.Register
	mean, scale, clip, low, high, beta, inverse operand.Op
	sumLoss, sumKL, sumClipped                  operand.Op
	logProb, advantage                          reg.Register
}

func (e *emitter) policy() *policy {
	t := e.ptr("terms")
	p := &policy{terms: t, logProb: e.ptr("logProb"), advantage: e.ptr("advantage"),
		mean: e.param(t, advMean), scale: e.param(t, advScale), clip: e.param(t, clipRange),
		beta: e.param(t, klBeta), inverse: e.param(t, invRows)}
	p.low, p.high = e.keep(e.sub(e.get(e.f(1)), p.clip)), e.keep(e.add(e.get(e.f(1)), p.clip))
	p.sumLoss, p.sumKL, p.sumClipped = e.accumulator(), e.accumulator(), e.accumulator()
	return p
}

// row takes the rows' new log probability and returns the derivative of their
// policy and KL terms by it.
func (e *emitter) row(p *policy, i reg.Register, logp vec) vec {
	x := e.sub(logp, e.load(at(p.logProb, i)))
	r := e.exp(x)
	// Near 1, r-1 and (r-1) - log r are parts of the exponential's polynomial,
	// without the digits that subtractions would lose.
	near := e.compare(equal, r.n, e.zero())
	far := e.sub(r.value, e.f(1))
	ratioMinus1 := e.choose(near, e.add(r.f, r.tail), far)
	e.accumulate(p.sumKL, e.choose(near, r.tail, e.sub(far, x)))
	e.accumulate(p.sumClipped, e.where(e.compare(greater, e.abs(ratioMinus1), p.clip), e.f(1)))

	advantage := e.negate(e.mul(e.sub(e.load(at(p.advantage, i)), p.mean), p.scale))
	plain := e.mul(advantage, r.value)
	clipped := e.mul(advantage, e.clamp(r.value, p.low, p.high))
	e.accumulate(p.sumLoss, e.max(plain, clipped))
	gradient := e.where(e.compare(notLess, plain, clipped), plain)
	e.accMul(gradient, ratioMinus1, p.beta)
	return e.mul(gradient, p.inverse)
}

func (e *emitter) storeSum(p *policy, index int, sum operand.Op) {
	e.VMOVSS(e.total(sum), operand.Mem{Base: p.terms, Disp: 4 * index})
}

func (e *emitter) storeSums(p *policy) {
	e.storeSum(p, sumLoss, p.sumLoss)
	e.storeSum(p, sumKL, p.sumKL)
	e.storeSum(p, sumClipped, p.sumClipped)
}

func (e *emitter) discreteLoss() {
	e.function("discreteLoss", "func(logits, action, logProb, advantage *float32, n, a, ld int, terms *float32)",
		"is DiscreteLoss; terms points to AdvMean in PolicyTerms.")
	p := e.policy()
	entropyWeight := e.keep(e.mul(e.broadcast(operand.Mem{Base: p.terms, Disp: 4 * entropyCoef}), p.inverse))
	entropySum := e.accumulator()
	logits, action := e.ptr("logits"), e.ptr("action")
	n, actions, stride := e.ptr("n"), e.ptr("a"), e.stride("ld")
	e.rows(n, func(i reg.Register) {
		highest := e.highest(logits, i, actions, stride)
		taken := e.load(at(action, i))
		// An action outside [0, A) leaves NaN.
		sum, weighted, logp, index := e.zero(), e.zero(), e.get(e.f(math.NaN())), e.zero()
		e.components(logits, i, actions, stride, func(a operand.Mem) {
			z := e.sub(e.load(a), highest)
			x := e.exp(z).value
			e.addTo(sum, x)
			e.accMul(weighted, x, z)
			e.VMOVUPS(e.choose(e.compare(equal, taken, index), z, logp), logp)
			e.addTo(index, e.f(1))
		})
		logSum := e.log(sum)
		inverse := e.div(e.get(e.f(1)), sum)
		entropy := e.entropy(entropySum, weighted, inverse, logSum)
		g := e.row(p, i, e.sub(logp, logSum))
		e.logitGradients(logits, i, actions, stride, taken, highest, inverse, e.sub(entropy, logSum), entropyWeight, g)
	})
	e.storeSums(p)
	e.storeSum(p, sumEntropy, entropySum)
	e.end()
}

// entropy of the rows, added to the sum: weighted is that of exp(z) z, and inverse 1
// over that of exp(z), whose logarithm is logSum.
func (e *emitter) entropy(sum operand.Op, weighted, inverse, logSum vec) vec {
	entropy := e.get(logSum)
	e.accNegMul(entropy, weighted, inverse)
	e.accumulate(sum, entropy)
	return entropy
}

// logitGradients overwrites the rows' logits with p_a (c (log p_a + H) - g), plus g for
// the action taken; shift is H - log sum.
func (e *emitter) logitGradients(logits, i, actions, stride reg.Register, taken, highest, inverse, shift vec, entropyWeight operand.Op, g vec) {
	index := e.zero()
	e.components(logits, i, actions, stride, func(a operand.Mem) {
		z := e.sub(e.load(a), highest)
		probability := e.mul(e.exp(z).value, inverse)
		factor := e.add(z, shift)
		e.scaleSubTo(factor, entropyWeight, g)
		gradient := e.where(e.compare(equal, taken, index), g)
		e.accMul(gradient, probability, factor)
		e.store(gradient, a)
		e.addTo(index, e.f(1))
	})
}

func (e *emitter) categoricalLogProb() {
	e.function("categoricalLogProb", "func(logp, logits, action *float32, n, a, ld int)",
		"adds to logp the log probability of a component's choice; NaN where it is outside [0, a).")
	logp, logits, action := e.ptr("logp"), e.ptr("logits"), e.ptr("action")
	n, actions, stride := e.ptr("n"), e.ptr("a"), e.stride("ld")
	e.rows(n, func(i reg.Register) {
		highest := e.highest(logits, i, actions, stride)
		taken := e.load(at(action, i))
		sum, chosen, index := e.zero(), e.get(e.f(math.NaN())), e.zero()
		e.components(logits, i, actions, stride, func(a operand.Mem) {
			z := e.sub(e.load(a), highest)
			e.addTo(sum, e.exp(z).value)
			e.VMOVUPS(e.choose(e.compare(equal, taken, index), z, chosen), chosen)
			e.addTo(index, e.f(1))
		})
		e.store(e.add(e.load(at(logp, i)), e.sub(chosen, e.log(sum))), at(logp, i))
	})
	e.end()
}

func (e *emitter) categoricalGradient() {
	e.function("categoricalGradient", "func(logits, action, derivative *float32, n, a, ld int, entropyWeight float32) float32",
		"overwrites a component's logits with the gradient, of which derivative is that by the action's",
		"log probability, and returns the sum of the rows' entropies.")
	logits, action, derivatives := e.ptr("logits"), e.ptr("action"), e.ptr("derivative")
	entropyWeight, entropySum := e.keep(e.broadcast(e.paramMem("entropyWeight"))), e.accumulator()
	n, actions, stride := e.ptr("n"), e.ptr("a"), e.stride("ld")
	e.rows(n, func(i reg.Register) {
		highest := e.highest(logits, i, actions, stride)
		sum, weighted := e.zero(), e.zero()
		e.components(logits, i, actions, stride, func(a operand.Mem) {
			z := e.sub(e.load(a), highest)
			x := e.exp(z).value
			e.addTo(sum, x)
			e.accMul(weighted, x, z)
		})
		logSum := e.log(sum)
		inverse := e.div(e.get(e.f(1)), sum)
		entropy := e.entropy(entropySum, weighted, inverse, logSum)
		e.logitGradients(logits, i, actions, stride, e.load(at(action, i)), highest, inverse, e.sub(entropy, logSum), entropyWeight, e.load(at(derivatives, i)))
	})
	e.Store(e.total(entropySum), e.ReturnIndex(0))
	e.end()
}

func (e *emitter) policyTerms() {
	e.function("policyTerms", "func(logp, logProb, advantage *float32, n int, terms *float32)",
		"replaces each new log probability by the derivative of the row's loss by it,",
		"entropy aside, and sets the sums but that of the entropy.")
	p := e.policy()
	logp := e.ptr("logp")
	e.rows(e.ptr("n"), func(i reg.Register) { e.store(e.row(p, i, e.load(at(logp, i))), at(logp, i)) })
	e.storeSums(p)
	e.end()
}

func (e *emitter) gaussianLogProb() {
	e.function("gaussianLogProb", "func(logp, mean, action *float32, n int, inverseStd, constant float32)",
		"subtracts from logp ((action-mean)*inverseStd)^2/2 + constant.")
	logp, mean, action := e.ptr("logp"), e.ptr("mean"), e.ptr("action")
	inverse, constant := e.broadcast(e.paramMem("inverseStd")), e.broadcast(e.paramMem("constant"))
	e.rows(e.ptr("n"), func(i reg.Register) {
		z := e.mul(e.sub(e.load(at(action, i)), e.load(at(mean, i))), inverse)
		sum := e.sub(e.load(at(logp, i)), constant)
		e.accNegMul(sum, e.mul(z, z), e.f(0.5))
		e.store(sum, at(logp, i))
	})
	e.end()
}

func (e *emitter) gaussianGradient() {
	e.function("gaussianGradient", "func(mean, action, derivative *float32, n int, inverseStd float32) float32",
		"with z = (action-mean)*inverseStd and g the derivative overwrites mean with g*z*inverseStd",
		"and returns the sum of g*(z^2-1).")
	mean, action, derivatives := e.ptr("mean"), e.ptr("action"), e.ptr("derivative")
	inverse, sum := e.broadcast(e.paramMem("inverseStd")), e.accumulator()
	e.rows(e.ptr("n"), func(i reg.Register) {
		z := e.mul(e.sub(e.load(at(action, i)), e.load(at(mean, i))), inverse)
		derivative := e.load(at(derivatives, i))
		e.store(e.mul(e.mul(z, inverse), derivative), at(mean, i))
		e.mulSubTo(z, z, e.get(e.f(1)))
		e.accumulate(sum, e.mul(z, derivative))
	})
	e.Store(e.total(sum), e.ReturnIndex(0))
	e.end()
}

func (e *emitter) valueLoss() {
	e.function("valueLoss", "func(value, target *float32, n int, coef float32) float32",
		"overwrites value with coef*(value-target) and returns the sum of (value-target)^2/2.")
	value, target := e.ptr("value"), e.ptr("target")
	coef, sum := e.broadcast(e.paramMem("coef")), e.accumulator()
	e.rows(e.ptr("n"), func(i reg.Register) {
		d := e.sub(e.load(at(value, i)), e.load(at(target, i)))
		e.accumulate(sum, e.mul(e.mul(d, e.f(0.5)), d))
		e.store(e.mul(d, coef), at(value, i))
	})
	e.Store(e.total(sum), e.ReturnIndex(0))
	e.end()

	e.function("clippedValueLoss", "func(value, target, old *float32, n int, coef, clip float32) float32",
		"is valueLoss with the larger of the losses of value and of",
		"old + clip(value-old); where that is the latter's and value-old was clipped, the gradient is zero.")
	value, target = e.ptr("value"), e.ptr("target")
	old, n := e.ptr("old"), e.ptr("n")
	coef, sum = e.broadcast(e.paramMem("coef")), e.accumulator()
	high := e.broadcast(e.paramMem("clip"))
	low := e.keep(e.negate(high))
	e.rows(n, func(i reg.Register) {
		v, r, o := e.load(at(value, i)), e.load(at(target, i)), e.load(at(old, i))
		d, move := e.sub(v, r), e.sub(v, o)
		other := e.sub(e.add(o, e.clamp(move, low, high)), r)
		first, second := e.mul(e.mul(d, e.f(0.5)), d), e.mul(e.mul(other, e.f(0.5)), other)
		e.accumulate(sum, e.max(first, second))
		flat := e.both(e.compare(less, first, second), e.compare(greater, e.abs(move), high))
		e.store(e.choose(flat, e.zero(), e.mul(d, coef)), at(value, i))
	})
	e.Store(e.total(sum), e.ReturnIndex(0))
	e.end()
}

func (e *emitter) quantileLoss() {
	e.function("quantileLoss", "func(theta, target *float32, n, k, ld int, kappa, inverseK, scale float32) float32",
		"overwrites theta with scale*weight*c and returns the sum of weight*c*(u-c/2),",
		"with u = target-theta, c = clip(u, -kappa, kappa), weight = |tau-[u<0]|.")
	theta, target, n := e.ptr("theta"), e.ptr("target"), e.ptr("n")
	quantiles, stride := e.ptr("k"), e.stride("ld")
	high := e.keep(e.broadcast(e.paramMem("kappa")))
	low := e.keep(e.negate(e.get(high)))
	inverse, scale := e.keep(e.broadcast(e.paramMem("inverseK"))), e.keep(e.broadcast(e.paramMem("scale")))
	sum := e.accumulator()
	e.rows(n, func(i reg.Register) {
		goal, rows, index := e.load(at(target, i)), e.zero(), e.get(e.f(0.5))
		e.components(theta, i, quantiles, stride, func(m operand.Mem) {
			u := e.sub(goal, e.load(m))
			c := e.clamp(u, low, high)
			tau := e.mul(index, inverse)
			weight := e.choose(e.compare(less, u, e.zero()), e.sub(e.get(e.f(1)), tau), tau)
			e.mulTo(weight, c)
			e.store(e.mul(weight, scale), m)
			e.accNegMul(u, c, e.f(0.5))
			e.accMul(rows, weight, u)
			e.addTo(index, e.f(1))
		})
		e.accumulate(sum, rows)
	})
	e.Store(e.total(sum), e.ReturnIndex(0))
	e.end()
}
