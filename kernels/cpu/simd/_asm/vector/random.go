package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

func random(e *emitter) {
	e.philox()
	e.normals()
	e.sampleDiscrete()
	e.sampleGaussian()
}

// philox keeps each word of a block in the low half of a 64-bit lane, which is
// where VPMULUDQ reads it: a product's low half is then already in place and its
// high half one shift away. What lies in the high halves never matters. Blocks
// of even and of odd index go side by side.
func (e *emitter) philox() {
	e.function("philox", "func(words *uint32, n int, first, k0, k1, c1, c2, c3 uint32)",
		"writes n blocks, word w of block i at words[w*n+i].")
	n := e.ptr("n")
	var words [4]reg.Register
	words[0] = e.ptr("words")
	for w := 1; w < 4; w++ {
		words[w] = e.GP64()
		e.LEAQ(at(words[w-1], n), words[w])
	}
	parameter := func(name string) operand.Op { return e.keep(e.broadcast(e.paramMem(name))) }
	keys := []operand.Op{parameter("k0"), parameter("k1")}
	fixed := []operand.Op{parameter("c1"), parameter("c2"), parameter("c3")}
	lanes := make([]operand.Constant, e.w)
	for l := range lanes {
		lanes[l] = operand.U32(l)
	}
	index := e.slot()
	e.VMOVUPS(e.addInt(e.get(e.table("lanes", lanes...)), e.get(parameter("first"))), index)
	e.rows(n, func(i reg.Register) {
		indices := e.get(index)
		var block [2][4]vec // of even and odd index
		for h := range block {
			block[h][0] = indices
			for w, c := range fixed {
				block[h][w+1] = e.get(c)
			}
		}
		block[1][0] = e.shift(e.VPSRLQ, indices, 32)
		e.VMOVUPS(e.addInt(indices, e.bits(uint32(e.w))), index)
		k0, k1 := e.get(keys[0]), e.get(keys[1])
		for round := range 10 {
			if round > 0 {
				k0, k1 = e.addInt(k0, e.bits(0x9E3779B9)), e.addInt(k1, e.bits(0xBB67AE85))
			}
			for h := range block {
				block[h] = e.philoxRound(block[h], k0, k1)
			}
		}
		for w := range words {
			e.store(e.interleave(block[0][w], block[1][w]), at(words[w], i))
		}
	})
	e.end()
}

func (e *emitter) philoxRound(c [4]vec, k0, k1 vec) [4]vec {
	p0 := e.two(e.VPMULUDQ, nil, c[0], e.pairs(0xD2511F53))
	p1 := e.two(e.VPMULUDQ, nil, c[2], e.pairs(0xCD9E8D57))
	return [4]vec{
		e.xor3(e.shift(e.VPSRLQ, p1, 32), c[1], k0), p1,
		e.xor3(e.shift(e.VPSRLQ, p0, 32), c[3], k1), p0,
	}
}

// pairs is an integer constant as an operand of instructions on 64-bit lanes,
// which cannot broadcast 32 bits.
func (e *emitter) pairs(v uint32) operand.Op {
	if e.avx512() {
		return e.get(e.bits(v))
	}
	return plain(e.bits(v))
}

func (e *emitter) xor3(a, b, c vec) vec {
	if e.avx512() {
		e.VPTERNLOGD(operand.U8(0x96), b, c, a) // a ^ b ^ c
		return a
	}
	return e.xor(e.xor(a, b), c)
}

// interleave puts the low halves of the 64-bit lanes of a and b in turn.
func (e *emitter) interleave(a, b vec) vec {
	high, v := e.shift(e.VPSLLQ, b, 32), e.vec()
	if e.avx512() {
		bits, odd := e.GP32(), e.K()
		e.MOVL(operand.U32(0xaaaa), bits)
		e.KMOVW(bits, odd)
		e.blend(x86.VPBLENDMD)(high, a, odd, v)
	} else {
		e.VPBLENDD(operand.U8(0xaa), high, a, v)
	}
	return v
}

// normals is Box-Muller. The angle 2 pi u2 is 4 u2 quarter turns, exact in
// float32, so that its quadrant and the rest within it are exact too.
func (e *emitter) normals() {
	e.function("normals", "func(z1, z2 *float32, w1, w2 *uint32, n int)", "maps pairs of words to pairs of normal numbers.")
	z1, z2, w1, w2 := e.ptr("z1"), e.ptr("z2"), e.ptr("w1"), e.ptr("w2")
	e.rows(e.ptr("n"), func(i reg.Register) {
		u1 := e.mul(e.add(e.upper24(e.load(at(w1, i))), e.f(1)), e.f(1.0/(1<<24)))
		radius := e.sqrt(e.mul(e.log(u1), e.f(-2)))
		quarters := e.mul(e.upper24(e.load(at(w2, i))), e.f(1.0/(1<<22)))
		q := e.round(quarters)
		angle := e.mul(e.sub(quarters, q), e.f(halfPi))
		sin, cos := e.sincosQuadrant(angle, e.toInt(q))
		e.store(e.mul(cos, radius), at(z1, i))
		e.store(e.mul(sin, radius), at(z2, i))
	})
	e.end()
}

// highest is the largest logit of each row.
func (e *emitter) highest(logits, i, actions, stride reg.Register) vec {
	m := e.load(at(logits, i))
	e.components(logits, i, actions, stride, func(a operand.Mem) { e.VMAXPS(e.load(a), m, m) })
	return m
}

func (e *emitter) sampleDiscrete() {
	e.function("sampleDiscrete", "func(action, logProb, logits *float32, words *uint32, n, a, ld int)",
		"draws actions by inversion.")
	action, logProb, logits, words := e.ptr("action"), e.ptr("logProb"), e.ptr("logits"), e.ptr("words")
	n, actions, stride := e.ptr("n"), e.ptr("a"), e.stride("ld")
	e.rows(n, func(i reg.Register) {
		highest := e.highest(logits, i, actions, stride)
		sum := e.zero()
		e.components(logits, i, actions, stride, func(a operand.Mem) {
			e.addTo(sum, e.exp(e.sub(e.load(a), highest)).value)
		})
		u := e.mul(e.upper24(e.load(at(words, i))), e.f(1.0/(1<<24)))
		threshold := e.mul(u, sum)
		// Action a is passed by where the sum before it is within the threshold.
		before, drawn, z := e.zero(), e.get(e.f(-1)), e.zero()
		e.components(logits, i, actions, stride, func(a operand.Mem) {
			za := e.sub(e.load(a), highest)
			reached := e.compare(lessEqual, before, threshold)
			e.addTo(drawn, e.where(reached, e.f(1)))
			e.VMOVUPS(e.choose(reached, za, z), z)
			e.addTo(before, e.exp(za).value)
		})
		// Where a logit is NaN none is reached.
		e.store(e.max(e.zero(), drawn), at(action, i))
		e.store(e.sub(z, e.log(sum)), at(logProb, i))
	})
	e.end()
}

func (e *emitter) sampleGaussian() {
	e.function("sampleGaussian", "func(action, logProb, mean, noise *float32, n int, std, constant float32)",
		"writes mean + std*noise to action and", "subtracts noise^2/2 + constant from logProb.")
	action, logProb, mean, noise := e.ptr("action"), e.ptr("logProb"), e.ptr("mean"), e.ptr("noise")
	std, constant := e.broadcast(e.paramMem("std")), e.broadcast(e.paramMem("constant"))
	e.rows(e.ptr("n"), func(i reg.Register) {
		x, m := e.load(at(noise, i)), e.load(at(mean, i))
		e.accMul(m, x, std)
		e.store(m, at(action, i))
		sum := e.sub(e.load(at(logProb, i)), constant)
		e.accNegMul(sum, e.mul(x, x), e.f(0.5))
		e.store(sum, at(logProb, i))
	})
	e.end()
}
