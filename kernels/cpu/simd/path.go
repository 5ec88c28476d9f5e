// Package simd holds the inner loops of the CPU engine: generated assembly for
// AVX-512 and AVX2, and plain Go for every other processor, behind one table of
// functions. A [Path] is one such set; the engine calls through it and never
// asks which one it has.
//
// Conventions. Buffers are float32. "Component-major" [C][ld] means component c
// of row i lies at [c*ld+i], so that a vector register holds consecutive rows.
// Functions with a count n take any n >= 0 and touch nothing beyond the elements
// they name. Sums are taken in an order that depends on n alone, so that the
// same path gives the same bits every time; different paths differ by rounding.
package simd

import (
	"brood/env"
	"brood/rng"
)

// Path is one set of implementations.
type Path struct {
	// Name is "avx512", "avx2" or "generic".
	Name string
	// Width is the number of float32 in a vector register.
	Width int

	// Gemm computes C (+)= A B with a fused epilogue; see [Gemm].
	Gemm func(g *Gemm)
	// Head computes few outputs per row as dot products; see [Head].
	Head func(h *Head)
	// Transpose writes dst[c*ldd+r] = scale*src[r*lds+c] for r < rows, c < cols.
	Transpose func(dst []float32, ldd int, src []float32, lds, rows, cols int, scale float32)

	// Adam applies one Adam step to the n = len(theta) elements; see [AdamStep].
	Adam func(theta, m, v, g []float32, s *AdamStep)
	// SumSquares returns the sum of x_i^2.
	SumSquares func(x []float32) float32
	// Sums returns the sum of x_i and of |x_i|.
	Sums func(x []float32) (sum, abs float32)
	// SumSquaredDeviations returns the sum of (x_i - mean)^2.
	SumSquaredDeviations func(x []float32, mean float32) float32
	// Scale multiplies x by s.
	Scale func(x []float32, s float32)
	// Add adds src to dst, which has the same length.
	Add func(dst, src []float32)

	// GAE does one step backwards in time for n = len(adv) environments:
	//   delta = reward + gamma*next - value
	//   carry = delta + gammaLambda*(1-done)*carry
	//   adv, ret = carry, carry + value
	// carry [n] is read and overwritten; done is 0 or 1.
	GAE func(adv, ret, carry, reward, value, next, done []float32, gamma, gammaLambda float32)

	// Philox writes the four words of the blocks of indices first .. first+n-1
	// at the address: words [4][n], word w of index first+i at [w*n+i].
	Philox func(words []uint32, n int, first uint32, key rng.Key, at rng.Address)
	// Normals maps n pairs of words to n pairs of standard normal numbers by
	// Box-Muller, as rng.Normals does, in float32.
	Normals func(z1, z2 []float32, w1, w2 []uint32)
	// SampleDiscrete draws n actions; see [SampleDiscrete].
	SampleDiscrete func(s *SampleDiscrete)
	// SampleGaussian draws n actions; see [SampleGaussian].
	SampleGaussian func(s *SampleGaussian)

	// The losses of a tile of rows and their gradients.
	DiscreteLoss      func(l *DiscreteLoss)
	MultiDiscreteLoss func(l *MultiDiscreteLoss)
	GaussianLoss      func(l *GaussianLoss)
	ValueLoss         func(l *ValueLoss)
	QuantileLoss      func(l *QuantileLoss)

	// Steps holds a step function for native environments by ID. An environment
	// that is not there is stepped by its own Go code.
	Steps map[string]func(b *env.Batch)
}

// AdamStep are the coefficients of one step, in this order per element:
//
//	g     = GradScale*grad
//	m     = Beta1*m + (1-Beta1)*g
//	v     = Beta2*v + (1-Beta2)*g*g
//	theta = Decay*theta - StepSize*m/(sqrt(v)*InvSqrtBias2 + Eps)
type AdamStep struct {
	GradScale, Beta1, Beta2, StepSize, InvSqrtBias2, Eps, Decay float32
}

// SampleDiscrete draws categorical actions for N rows by inversion: with
// e_a = exp(logit_a - max) and s their sum, the action is the number of a in
// [0, A-2] with e_0 + ... + e_a <= u*s, u = rng.Uniform(Words[i]).
type SampleDiscrete struct {
	N, A, Ld int
	Logits   []float32 // [A][Ld]
	Words    []uint32  // [N]
	Action   []float32 // [N], overwritten with the index
	LogProb  []float32 // [N], overwritten with log softmax of the action
}

// SampleGaussian draws Action = Mean + exp(LogStd) Noise for N rows and A
// dimensions, and LogProb = sum over A of -Noise^2/2 - LogStd - log(2 pi)/2.
type SampleGaussian struct {
	N, A, Ld int
	Mean     []float32 // [A][Ld]
	LogStd   []float32 // [A]
	Noise    []float32 // [A][Ld], standard normal
	Action   []float32 // [A][Ld], overwritten
	LogProb  []float32 // [N], overwritten
}

// PolicyTerms are what the policy losses of both action types share. The loss of
// a row is InvRows times
//
//	max(-a r, -a clip(r, 1-ClipRange, 1+ClipRange)) - EntropyCoef*entropy + KLBeta*((r-1) - log r)
//
// with r = exp(logp - LogProb) and a = (Advantage - AdvMean)*AdvScale. Where the
// two arguments of max are equal the gradient is that of the first.
type PolicyTerms struct {
	LogProb   []float32 // [N], of the behaviour policy
	Advantage []float32 // [N]

	AdvMean, AdvScale, ClipRange, EntropyCoef, KLBeta, InvRows float32

	// The sums over the tile's rows, overwritten: unscaled policy loss, entropy,
	// kl = (r-1) - log r, and the number of rows with |r-1| > ClipRange.
	SumLoss, SumEntropy, SumKL, SumClipped float32
}

// DiscreteLoss is the policy loss of a tile with categorical actions. Logits is
// overwritten with the gradient; rows N .. Ld-1 of it with zero.
type DiscreteLoss struct {
	PolicyTerms
	N, A, Ld int
	Logits   []float32 // [A][Ld]
	Action   []float32 // [N], index
}

// MultiDiscreteLoss is the policy loss of a tile whose actions are W independent
// categorical choices at once, of which component c has Choices[c] logits; A is their
// sum. Logits is overwritten with the gradient; rows N .. Ld-1 of it with zero.
type MultiDiscreteLoss struct {
	PolicyTerms
	N, Ld   int
	Choices []int     // [W]
	Logits  []float32 // [A][Ld], of one component after the other
	Action  []float32 // [W][Ld], index
}

// GaussianLoss is the policy loss of a tile with Gaussian actions. Mean is
// overwritten with the gradient; rows N .. Ld-1 of it with zero. GradLogStd is
// added to.
type GaussianLoss struct {
	PolicyTerms
	N, A, Ld   int
	Mean       []float32 // [A][Ld]
	LogStd     []float32 // [A]
	Action     []float32 // [A][Ld]
	GradLogStd []float32 // [A]
}

// ValueLoss is the squared error of a scalar critic; see ppo's documentation for
// ValueClip (0: off). Value is overwritten with the gradient times Coef (the
// value coefficient over the rows of the minibatch); rows N .. Ld-1 with zero.
type ValueLoss struct {
	N, Ld           int
	Value           []float32 // [Ld]
	Return          []float32 // [N]
	OldValue        []float32 // [N]
	ValueClip, Coef float32
	SumLoss         float32 // overwritten: sum of the rows' losses, unscaled
}

// QuantileLoss is the quantile Huber loss of K quantiles (Dabney et al. 2018).
// Theta is overwritten with the gradient times Coef (the value coefficient over
// rows of the minibatch times K); rows N .. Ld-1 with zero.
type QuantileLoss struct {
	N, K, Ld    int
	Theta       []float32 // [K][Ld]
	Return      []float32 // [N]
	Kappa, Coef float32
	SumLoss     float32 // overwritten: sum over rows and quantiles, unscaled
}
