package simd

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// terms makes the shared part of a policy loss whose rows' actions have the log
// probabilities logp. No ratio lies so near the edge of the clip range that
// rounding or a finite difference decides.
func (b *buffers) terms(logp []float64) PolicyTerms {
	n := len(logp)
	t := PolicyTerms{LogProb: b.floats(n), Advantage: b.floats(n), AdvMean: 0.1, AdvScale: 1.3, ClipRange: 0.2,
		EntropyCoef: 0.03, KLBeta: 0.4, InvRows: 1 / float32(n+1)}
	for i := range logp {
		change := 1.2 * (b.rnd.Float64() - 0.5)
		for math.Abs(math.Abs(math.Expm1(change))-0.2) < 2e-3 {
			change *= 0.99
		}
		t.LogProb[i] = float32(logp[i] - change)
	}
	return t
}

// rowLoss is the loss of one row as the contract states it, without the entropy:
// policy loss and kl.
func (t *PolicyTerms) rowLoss(i int, logp float64) (policy, kl float64) {
	x := logp - float64(t.LogProb[i])
	r, c := math.Exp(x), float64(t.ClipRange)
	a := (float64(t.Advantage[i]) - float64(t.AdvMean)) * float64(t.AdvScale)
	return max(-a*r, -a*min(max(r, 1-c), 1+c)), r - 1 - x
}

// expected are the sums, and the loss all gradients are of.
type expected struct{ policy, entropy, kl, clipped, loss, magnitude float64 }

func (w *expected) add(t *PolicyTerms, i int, logp, entropy float64) {
	policy, kl := t.rowLoss(i, logp)
	w.policy += policy
	w.magnitude += math.Abs(policy) + math.Abs(entropy)
	w.entropy += entropy
	w.kl += kl
	if math.Abs(math.Expm1(logp-float64(t.LogProb[i]))) > float64(t.ClipRange) {
		w.clipped++
	}
	w.loss += float64(t.InvRows) * (policy - float64(t.EntropyCoef)*entropy + float64(t.KLBeta)*kl)
}

func (w *expected) check(t *testing.T, got *PolicyTerms) {
	t.Helper()
	for _, c := range []struct {
		what string
		want float64
		got  float32
	}{{"SumLoss", w.policy, got.SumLoss}, {"SumEntropy", w.entropy, got.SumEntropy}, {"SumKL", w.kl, got.SumKL}} {
		require.InDelta(t, c.want, c.got, 1e-6*(1+w.magnitude), c.what)
	}
	require.EqualValues(t, w.clipped, got.SumClipped)
}

// derivative is the central difference of f at x.
func derivative(f func(x float64) float64, x float64) float64 {
	const h = 1e-5
	return (f(x+h) - f(x-h)) / (2 * h)
}

// softmax returns the log probability of an action and the entropy.
func softmax(logits []float64, action int) (logp, entropy float64) {
	var sum float64
	for _, l := range logits {
		sum += math.Exp(l)
	}
	for _, l := range logits {
		entropy -= math.Exp(l) / sum * (l - math.Log(sum))
	}
	return logits[action] - math.Log(sum), entropy
}

func column(x []float32, i, ld, n int) []float64 {
	c := make([]float64, n)
	for a := range c {
		c[a] = float64(x[a*ld+i])
	}
	return c
}

func requireZeroPadding(t *testing.T, x []float32, components, n, ld int) {
	t.Helper()
	for c := range components {
		for i := n; i < ld; i++ {
			require.Zero(t, math.Float32bits(x[c*ld+i]), "component %d, row %d", c, i)
		}
	}
}

func TestDiscreteLoss(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		for _, actions := range []int{1, 2, 3, 7} {
			ld := n + b.rnd.IntN(20)
			l := DiscreteLoss{N: n, A: actions, Ld: ld, Logits: b.floats(actions * ld), Action: b.floats(n)}
			logits := clone(l.Logits)
			logp := make([]float64, n)
			for i := range n {
				a := b.rnd.IntN(actions)
				l.Action[i] = float32(a)
				logp[i], _ = softmax(column(logits, i, ld, actions), a)
			}
			l.PolicyTerms = b.terms(logp)
			p.DiscreteLoss(&l)

			var want expected
			for i := range n {
				row, action := column(logits, i, ld, actions), int(l.Action[i])
				at := func(row []float64) float64 {
					var w expected
					logp, entropy := softmax(row, action)
					w.add(&l.PolicyTerms, i, logp, entropy)
					return w.loss
				}
				logp, entropy := softmax(row, action)
				want.add(&l.PolicyTerms, i, logp, entropy)
				for a := range actions {
					gradient := derivative(func(x float64) float64 {
						moved := append([]float64(nil), row...)
						moved[a] = x
						return at(moved)
					}, row[a])
					require.InDelta(t, gradient, l.Logits[a*ld+i], 3e-6*float64(l.InvRows)*8, "row %d of %d, action %d", i, n, a)
				}
			}
			want.check(t, &l.PolicyTerms)
			requireZeroPadding(t, l.Logits, actions, n, ld)
		}
	})
}

func TestMultiDiscreteLoss(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		if n%10 == 7 {
			n += lossBlock // rows of more than one block
		}
		for _, choices := range [][]int{{2}, {3, 1, 2}, {2, 2, 2, 2, 2, 7}} {
			checkMultiDiscreteLoss(t, p, b, n, choices)
		}
	})
}

func checkMultiDiscreteLoss(t *testing.T, p *Path, b *buffers, n int, choices []int) {
	ld, l := n+b.rnd.IntN(20), MultiDiscreteLoss{N: n, Choices: choices}
	l.Ld, l.Logits, l.Action = ld, b.floats(l.outputs()*ld), b.floats(len(choices)*ld)
	logits := clone(l.Logits)
	// joint is the log probability and entropy of row i with other logits.
	joint := func(row []float64, i int) (logp, entropy float64) {
		for c, choices := range choices {
			one, e := softmax(row[:choices], int(l.Action[c*ld+i]))
			logp, entropy, row = logp+one, entropy+e, row[choices:]
		}
		return logp, entropy
	}
	logp := make([]float64, n)
	for i := range n {
		for c, choices := range choices {
			l.Action[c*ld+i] = float32(b.rnd.IntN(choices))
		}
		logp[i], _ = joint(column(logits, i, ld, l.outputs()), i)
	}
	l.PolicyTerms = b.terms(logp)
	p.MultiDiscreteLoss(&l)

	var want expected
	for i := range n {
		row := column(logits, i, ld, l.outputs())
		logp, entropy := joint(row, i)
		want.add(&l.PolicyTerms, i, logp, entropy)
		for a, x := range row {
			gradient := derivative(func(x float64) float64 {
				var w expected
				row[a] = x
				logp, entropy := joint(row, i)
				w.add(&l.PolicyTerms, i, logp, entropy)
				return w.loss
			}, x)
			row[a] = x
			require.InDelta(t, gradient, l.Logits[a*ld+i], 3e-6*float64(l.InvRows)*8, "row %d of %d, logit %d of %v", i, n, a, choices)
		}
	}
	want.check(t, &l.PolicyTerms)
	requireZeroPadding(t, l.Logits, l.outputs(), n, ld)
}

// One component is a single choice, up to rounding.
func TestMultiDiscreteLossOfOneComponent(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		one := DiscreteLoss{N: n, A: 3, Ld: n, Logits: b.floats(3 * n), Action: b.floats(n), PolicyTerms: b.terms(make([]float64, n))}
		for i := range n {
			one.Action[i] = float32(i % 3)
		}
		several := MultiDiscreteLoss{N: n, Choices: []int{3}, Ld: n, Logits: clone(one.Logits), Action: one.Action, PolicyTerms: one.PolicyTerms}
		p.DiscreteLoss(&one)
		p.MultiDiscreteLoss(&several)
		closeTo(t, one.Logits, several.Logits, 1e-6, p.Name)
		require.InDelta(t, one.SumEntropy, several.SumEntropy, 1e-5*float64(n), p.Name)
		require.Equal(t, one.SumClipped, several.SumClipped, p.Name)
	})
}

// gaussian returns the log probability and the entropy.
func gaussian(mean, logStd, action []float64) (logp, entropy float64) {
	for a := range mean {
		z := (action[a] - mean[a]) / math.Exp(logStd[a])
		logp -= z*z/2 + logStd[a] + math.Log(2*math.Pi)/2
		entropy += 0.5 + math.Log(2*math.Pi)/2 + logStd[a]
	}
	return logp, entropy
}

func TestGaussianLoss(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		if n%10 == 7 {
			n += lossBlock // rows of more than one block
		}
		for _, dims := range []int{1, 2, 6} {
			checkGaussianLoss(t, p, b, n, dims)
		}
	})
}

func checkGaussianLoss(t *testing.T, p *Path, b *buffers, n, dims int) {
	ld := n + b.rnd.IntN(20)
	l := GaussianLoss{N: n, A: dims, Ld: ld, Mean: b.floats(dims * ld), LogStd: b.floats(dims), Action: b.floats(dims * ld),
		GradLogStd: b.floats(dims)}
	for a := range l.LogStd {
		l.LogStd[a] *= 0.3
	}
	before, means := clone(l.GradLogStd), clone(l.Mean)
	logStd := column(l.LogStd, 0, 1, dims)
	logp := make([]float64, n)
	for i := range n {
		logp[i], _ = gaussian(column(means, i, ld, dims), logStd, column(l.Action, i, ld, dims))
	}
	l.PolicyTerms = b.terms(logp)
	p.GaussianLoss(&l)

	var want expected
	gradLogStd, scale := make([]float64, dims), make([]float64, dims)
	for i := range n {
		mean, action := column(means, i, ld, dims), column(l.Action, i, ld, dims)
		logp, entropy := gaussian(mean, logStd, action)
		want.add(&l.PolicyTerms, i, logp, entropy)
		for a := range dims {
			at := func(values []float64, x float64) float64 {
				old := values[a]
				values[a] = x
				var w expected
				logp, entropy := gaussian(mean, logStd, action)
				w.add(&l.PolicyTerms, i, logp, entropy)
				values[a] = old
				return w.loss
			}
			gradient := derivative(func(x float64) float64 { return at(mean, x) }, mean[a])
			size := float64(l.InvRows) + math.Abs(gradient)
			require.InDelta(t, gradient, l.Mean[a*ld+i], 3e-6*size*(1+math.Abs(logp)), "row %d of %d, dimension %d", i, n, a)
			g := derivative(func(x float64) float64 { return at(logStd, x) }, logStd[a])
			gradLogStd[a] += g
			scale[a] += math.Abs(g) * (1 + math.Abs(logp))
		}
	}
	want.check(t, &l.PolicyTerms)
	for a := range dims {
		require.InDelta(t, float64(before[a])+gradLogStd[a], l.GradLogStd[a], 2e-6*(1+scale[a]), "log_std %d of %d rows", a, n)
	}
	requireZeroPadding(t, l.Mean, dims, n, ld)
}

// At r = 1 both arguments of the max are equal, and the gradient that of the
// first; beyond the range it is zero where the clipped one is larger.
func TestPolicyGradientAtTheEdges(t *testing.T) {
	for _, p := range Paths() {
		logp := float32(-halfLog2Pi)
		l := GaussianLoss{N: 5, A: 1, Ld: 5, Mean: make([]float32, 5), LogStd: []float32{0}, Action: []float32{0, 0, 0, 0, 0},
			GradLogStd: []float32{0}, PolicyTerms: PolicyTerms{ClipRange: 0.2, AdvScale: 1, InvRows: 1,
				LogProb:   []float32{logp, logp, logp - 1, logp - 1, logp},
				Advantage: []float32{2, -2, 2, -2, 0}}}
		p.GaussianLoss(&l) // z = 0: the gradient of log_std is the sum of -g
		require.InDelta(t, 2-2+0-2*math.E, l.GradLogStd[0], 1e-5, p.Name)
		require.EqualValues(t, 2, l.SumClipped, p.Name)
		require.InDelta(t, -2+2-2*1.2+2*math.E, l.SumLoss, 1e-5, p.Name)
	}
}

// With the action at the mean, advantage -1 and no clipping SumLoss is e^x.
func TestExponentialByRatio(t *testing.T) {
	for _, p := range Paths() {
		rnd := seeded(t)
		logp := float32(0)
		logp -= halfLog2Pi
		ratio := func(x float32) float64 {
			l := GaussianLoss{N: 1, A: 1, Ld: 1, Mean: []float32{0}, LogStd: []float32{0}, Action: []float32{0}, GradLogStd: []float32{0},
				PolicyTerms: PolicyTerms{LogProb: []float32{logp - x}, Advantage: []float32{-1}, AdvScale: 1, ClipRange: 1e38}}
			p.GaussianLoss(&l)
			return float64(l.SumLoss)
		}
		for range 4000 {
			x := float32(174*rnd.Float64() - 87)
			exact := logp - (logp - x) // as the kernel sees it
			if p.Name == "generic" {
				exact = float32(-halfLog2Pi - float64(logp-x))
			}
			want := math.Exp(float64(exact))
			tolerance := 2e-7
			if p.Name == "generic" {
				tolerance = 1e-5 // its x has more digits
			}
			require.InDelta(t, want, ratio(x), tolerance*want, "%s: exp(%v)", p.Name, exact)
		}
		for _, x := range []float32{-100, -1000, float32(math.Inf(-1))} {
			require.InDelta(t, 0, ratio(x), 1.2e-38, "%s: exp(%v)", p.Name, x)
		}
		for _, x := range []float32{100, 1000} {
			require.Greater(t, ratio(x), 9.9e37, "%s: exp(%v)", p.Name, x)
		}
		require.True(t, math.IsNaN(ratio(float32(math.NaN()))), p.Name)
	}
}

func TestLossesOfNaN(t *testing.T) {
	nan := float32(math.NaN())
	for _, p := range Paths() {
		l := DiscreteLoss{N: 2, A: 2, Ld: 2, Logits: []float32{nan, 0, 1, 1}, Action: []float32{1, 0},
			PolicyTerms: PolicyTerms{LogProb: []float32{0, -1}, Advantage: []float32{1, 1}, AdvScale: 1, ClipRange: 0.2, InvRows: 1}}
		p.DiscreteLoss(&l)
		for i, x := range []float32{l.Logits[0], l.Logits[2], l.SumLoss, l.SumEntropy, l.SumKL} {
			require.True(t, math.IsNaN(float64(x)), "%s: figure %d is %v", p.Name, i, x)
		}
		require.False(t, math.IsNaN(float64(l.Logits[1]+l.Logits[3])), "%s: the other row", p.Name)

		s := MultiDiscreteLoss{N: 2, Choices: []int{2, 1}, Ld: 2, Logits: []float32{nan, 0, 1, 1, 5, 5}, Action: []float32{1, 0, 0, 0},
			PolicyTerms: PolicyTerms{LogProb: []float32{0, -1}, Advantage: []float32{1, 1}, AdvScale: 1, ClipRange: 0.2, InvRows: 1}}
		p.MultiDiscreteLoss(&s)
		for i, x := range []float32{s.Logits[0], s.Logits[2], s.Logits[4], s.SumLoss, s.SumEntropy, s.SumKL} {
			require.True(t, math.IsNaN(float64(x)), "%s: figure %d of several choices is %v", p.Name, i, x)
		}
		require.False(t, math.IsNaN(float64(s.Logits[1]+s.Logits[3]+s.Logits[5])), "%s: the other row of several choices", p.Name)

		v := ValueLoss{N: 1, Ld: 1, Value: []float32{nan}, Return: []float32{1}, OldValue: []float32{1}, ValueClip: 0.2, Coef: 1}
		p.ValueLoss(&v)
		require.True(t, math.IsNaN(float64(v.SumLoss)) && math.IsNaN(float64(v.Value[0])), p.Name)

		q := QuantileLoss{N: 1, K: 1, Ld: 1, Theta: []float32{nan}, Return: []float32{1}, Kappa: 1, Coef: 1}
		p.QuantileLoss(&q)
		require.True(t, math.IsNaN(float64(q.SumLoss)) && math.IsNaN(float64(q.Theta[0])), p.Name)
	}
}

// Logits far apart: the probability of the one is 1, of the other 0.
func TestDiscreteLossSaturates(t *testing.T) {
	for _, p := range Paths() {
		l := DiscreteLoss{N: 2, A: 2, Ld: 2, Logits: []float32{100, -100, -100, 100}, Action: []float32{0, 1},
			PolicyTerms: PolicyTerms{LogProb: []float32{0, 0}, Advantage: []float32{1, 1}, AdvScale: 1, ClipRange: 0.2, EntropyCoef: 1, InvRows: 1}}
		p.DiscreteLoss(&l)
		closeTo(t, []float32{0, 0, 0, 0}, l.Logits, 1e-30, p.Name)
		require.InDelta(t, -2, l.SumLoss, 1e-6, p.Name)
		require.InDelta(t, 0, l.SumEntropy, 1e-30, p.Name)
	}
}

// Near r = 1 the kl keeps its digits: r - 1 - log r is x^2/2 + x^3/6 + ..., of
// which subtracting in float32 would leave few.
func TestKLOfSmallChanges(t *testing.T) {
	for _, p := range Paths() {
		for _, x := range []float32{1.0 / 1024, -1.0 / 1024, 1.0 / 128} {
			logp := float32(0)
			logp -= halfLog2Pi
			l := GaussianLoss{N: 1, A: 1, Ld: 1, Mean: []float32{0}, LogStd: []float32{0}, Action: []float32{0}, GradLogStd: []float32{0},
				PolicyTerms: PolicyTerms{LogProb: []float32{logp - x}, Advantage: []float32{0}, AdvScale: 1, ClipRange: 0.2}}
			p.GaussianLoss(&l)
			exact := float64(logp - (logp - x))
			want := math.Expm1(exact) - exact
			require.InDelta(t, want, l.SumKL, 1e-4*want, "%s: %v", p.Name, x)
		}
	}
}
