package simd

import (
	"fmt"

	"brood/env"
)

// The checks below stand before every kernel: assembly knows no bounds. A failed
// one is an error in the calling program, hence the panic.

// needs panics unless a buffer has at least want elements.
func needs(function, buffer string, have, want int) {
	if have < want {
		panic(fmt.Sprintf("simd: %s: %s has %d elements, needs %d", function, buffer, have, want))
	}
}

// needRows panics unless 0 <= n <= ld and components*ld elements are there.
func needRows(function, buffer string, have, components, n, ld int) {
	if n < 0 || ld < n {
		panic(fmt.Sprintf("simd: %s: needs 0 <= N <= Ld, got N = %d, Ld = %d", function, n, ld))
	}
	if components < 1 {
		panic(fmt.Sprintf("simd: %s: %s needs at least one component, got %d", function, buffer, components))
	}
	needs(function, buffer, have, components*ld)
}

func checkAdam(theta, m, v, g []float32) {
	needs("Adam", "m", len(m), len(theta))
	needs("Adam", "v", len(v), len(theta))
	needs("Adam", "g", len(g), len(theta))
}

func checkAdd(dst, src []float32) {
	needs("Add", "src", len(src), len(dst))
}

func checkGAE(adv, ret, carry, reward, value, next, done []float32) {
	n := len(adv)
	needs("GAE", "ret", len(ret), n)
	needs("GAE", "carry", len(carry), n)
	needs("GAE", "reward", len(reward), n)
	needs("GAE", "value", len(value), n)
	needs("GAE", "next", len(next), n)
	needs("GAE", "done", len(done), n)
}

func checkPhilox(words []uint32, n int) {
	if n < 0 {
		panic(fmt.Sprintf("simd: Philox: needs n >= 0, got %d", n))
	}
	needs("Philox", "words", len(words), 4*n)
}

func checkNormals(z1, z2 []float32, w1, w2 []uint32) {
	n := len(z1)
	needs("Normals", "z2", len(z2), n)
	needs("Normals", "w1", len(w1), n)
	needs("Normals", "w2", len(w2), n)
}

func (s *SampleDiscrete) check() {
	needRows("SampleDiscrete", "Logits", len(s.Logits), s.A, s.N, s.Ld)
	needs("SampleDiscrete", "Words", len(s.Words), s.N)
	needs("SampleDiscrete", "Action", len(s.Action), s.N)
	needs("SampleDiscrete", "LogProb", len(s.LogProb), s.N)
}

func (s *SampleGaussian) check() {
	needRows("SampleGaussian", "Mean", len(s.Mean), s.A, s.N, s.Ld)
	needRows("SampleGaussian", "Noise", len(s.Noise), s.A, s.N, s.Ld)
	needRows("SampleGaussian", "Action", len(s.Action), s.A, s.N, s.Ld)
	needs("SampleGaussian", "LogStd", len(s.LogStd), s.A)
	needs("SampleGaussian", "LogProb", len(s.LogProb), s.N)
}

func (t *PolicyTerms) check(function string, n int) {
	needs(function, "LogProb", len(t.LogProb), n)
	needs(function, "Advantage", len(t.Advantage), n)
}

func (l *DiscreteLoss) check() {
	needRows("DiscreteLoss", "Logits", len(l.Logits), l.A, l.N, l.Ld)
	needs("DiscreteLoss", "Action", len(l.Action), l.N)
	l.PolicyTerms.check("DiscreteLoss", l.N)
}

func (l *MultiDiscreteLoss) check() {
	for c, n := range l.Choices {
		if n < 1 {
			panic(fmt.Sprintf("simd: MultiDiscreteLoss: Choices[%d] must be above 0, got %d", c, n))
		}
	}
	needRows("MultiDiscreteLoss", "Logits", len(l.Logits), l.outputs(), l.N, l.Ld)
	needRows("MultiDiscreteLoss", "Action", len(l.Action), len(l.Choices), l.N, l.Ld)
	l.PolicyTerms.check("MultiDiscreteLoss", l.N)
}

// outputs is A.
func (l *MultiDiscreteLoss) outputs() (a int) {
	for _, n := range l.Choices {
		a += n
	}
	return a
}

func (l *GaussianLoss) check() {
	needRows("GaussianLoss", "Mean", len(l.Mean), l.A, l.N, l.Ld)
	needRows("GaussianLoss", "Action", len(l.Action), l.A, l.N, l.Ld)
	needs("GaussianLoss", "LogStd", len(l.LogStd), l.A)
	needs("GaussianLoss", "GradLogStd", len(l.GradLogStd), l.A)
	l.PolicyTerms.check("GaussianLoss", l.N)
}

func (l *ValueLoss) check() {
	needRows("ValueLoss", "Value", len(l.Value), 1, l.N, l.Ld)
	needs("ValueLoss", "Return", len(l.Return), l.N)
	if l.ValueClip > 0 {
		needs("ValueLoss", "OldValue", len(l.OldValue), l.N)
	}
}

func (l *QuantileLoss) check() {
	needRows("QuantileLoss", "Theta", len(l.Theta), l.K, l.N, l.Ld)
	needs("QuantileLoss", "Return", len(l.Return), l.N)
	if !(l.Kappa > 0) {
		panic(fmt.Sprintf("simd: QuantileLoss: Kappa must be above 0, got %v", l.Kappa))
	}
}

// checkBatch checks a batch of an environment with states of the given size and
// one number per action.
func checkBatch(id string, b *env.Batch, stateSize int) {
	if b.N < 0 || b.Stride < b.N {
		panic(fmt.Sprintf("simd: %s: needs 0 <= N <= Stride, got N = %d, Stride = %d", id, b.N, b.Stride))
	}
	// The last component of a batch that is a slice of a larger one may be short.
	needs(id, "State", len(b.State), (stateSize-1)*b.Stride+b.N)
	needs(id, "Action", len(b.Action), b.N)
	needs(id, "Reward", len(b.Reward), b.N)
	needs(id, "Terminated", len(b.Terminated), b.N)
}
