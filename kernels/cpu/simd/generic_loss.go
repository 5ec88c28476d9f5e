package simd

import "math"

// halfLog2Pi is log(2 pi)/2.
const halfLog2Pi = 0.91893853320467274178

// lossBlock is the number of rows whose derivatives are held at a time.
const lossBlock = 256

// policySums are the sums of a tile.
type policySums struct{ loss, entropy, kl, clipped float64 }

// store hands the sums over.
func (s policySums) store(t *PolicyTerms) {
	t.SumLoss, t.SumEntropy, t.SumKL, t.SumClipped = float32(s.loss), float32(s.entropy), float32(s.kl), float32(s.clipped)
}

// add adds the sums of a part of a tile, but the entropy.
func (s *policySums) add(t *PolicyTerms) {
	s.loss += float64(t.SumLoss)
	s.kl += float64(t.SumKL)
	s.clipped += float64(t.SumClipped)
}

// row adds row i, whose action now has the log probability logp, to the sums and
// returns the derivative of the row's policy and KL terms by logp, scaled.
func (t *PolicyTerms) row(i int, logp float64, sums *policySums) float64 {
	logRatio := logp - float64(t.LogProb[i])
	ratio, ratioMinus1 := math.Exp(logRatio), math.Expm1(logRatio)
	advantage := (float64(t.Advantage[i]) - float64(t.AdvMean)) * float64(t.AdvScale)
	clip := float64(t.ClipRange)
	plain := -advantage * ratio
	clipped := -advantage * min(max(ratio, 1-clip), 1+clip)

	sums.loss += max(plain, clipped)
	sums.kl += ratioMinus1 - logRatio
	if math.Abs(ratioMinus1) > clip {
		sums.clipped++
	}
	gradient := float64(t.KLBeta) * ratioMinus1
	if !(plain < clipped) { // as the first argument where both are equal; NaN goes on
		gradient += plain
	}
	return float64(t.InvRows) * gradient
}

// discreteLossGeneric uses, with p the softmax, H = -sum p log p the entropy and
// g the derivative by the action's log probability,
//
//	d logp / d logit_a = [a = action] - p_a
//	d H / d logit_a = -p_a (log p_a + H)
func discreteLossGeneric(l *DiscreteLoss) {
	l.check()
	var sums policySums
	for i := range l.N {
		c := softmaxOf(l.Logits[i:], l.A, l.Ld, l.Action[i])
		sums.entropy += c.entropy
		c.gradient(l.row(i, c.logProb, &sums), float64(l.EntropyCoef)*float64(l.InvRows))
	}
	sums.store(&l.PolicyTerms)
	clearPadding(l.Logits, l.A, l.N, l.Ld)
}

// multiDiscreteLossGeneric adds the log probabilities of a row's components, and their
// entropies; each component's gradient is that of a single choice.
func multiDiscreteLossGeneric(l *MultiDiscreteLoss) {
	l.check()
	var sums policySums
	each := func(i int, f func(c categorical)) {
		first := 0
		for c, n := range l.Choices {
			f(softmaxOf(l.Logits[first*l.Ld+i:], n, l.Ld, l.Action[c*l.Ld+i]))
			first += n
		}
	}
	for i := range l.N {
		logProb := 0.0
		each(i, func(c categorical) {
			logProb += c.logProb
			sums.entropy += c.entropy
		})
		g := l.row(i, logProb, &sums)
		each(i, func(c categorical) { c.gradient(g, float64(l.EntropyCoef)*float64(l.InvRows)) })
	}
	sums.store(&l.PolicyTerms)
	clearPadding(l.Logits, l.outputs(), l.N, l.Ld)
}

// categorical is the distribution of one choice in a row.
type categorical struct {
	logits []float32 // that of choice a at a*ld
	n, ld  int
	action float32
	// shift is what log p_a has less than the logit of a.
	shift, logProb, entropy float64
}

// softmaxOf computes the distribution; an action outside [0, n) shows as a NaN.
func softmaxOf(logits []float32, n, ld int, action float32) categorical {
	c := categorical{logits: logits, n: n, ld: ld, action: action}
	highest := c.logit(0)
	for a := 1; a < n; a++ {
		highest = math.Max(highest, c.logit(a))
	}
	var sum, weighted float64
	chosen := math.NaN()
	for a := range n {
		z := c.logit(a) - highest
		e := math.Exp(z)
		sum += e
		weighted += e * z
		if action == float32(a) {
			chosen = z
		}
	}
	logSum := math.Log(sum)
	c.shift, c.logProb, c.entropy = highest+logSum, chosen-logSum, logSum-weighted/sum
	return c
}

func (c *categorical) logit(a int) float64 { return float64(c.logits[a*c.ld]) }

// gradient overwrites the logits with the loss's gradient by them, of which g is that by
// the action's log probability.
func (c *categorical) gradient(g, entropyCoef float64) {
	for a := range c.n {
		logPA := c.logit(a) - c.shift
		gradient := math.Exp(logPA) * (entropyCoef*(logPA+c.entropy) - g)
		if c.action == float32(a) {
			gradient += g
		}
		c.logits[a*c.ld] = float32(gradient)
	}
}

// gaussianLossGeneric uses, with z = (action - mean)/std,
//
//	d logp / d mean = z/std,  d logp / d log_std = z^2 - 1,  d H / d log_std = 1
func gaussianLossGeneric(l *GaussianLoss) {
	l.check()
	var sums policySums
	var g [lossBlock]float64
	for first := 0; first < l.N; first += lossBlock {
		n := min(lossBlock, l.N-first)
		for i := range n {
			var logp float64
			for a := range l.A {
				z, _ := l.standardise(a, first+i)
				logp -= 0.5*z*z + float64(l.LogStd[a]) + halfLog2Pi
			}
			g[i] = l.row(first+i, logp, &sums)
		}
		for a := range l.A {
			var gradient float64
			for i := range n {
				z, inverse := l.standardise(a, first+i)
				gradient += g[i] * (z*z - 1)
				l.Mean[a*l.Ld+first+i] = float32(g[i] * z * inverse)
			}
			l.GradLogStd[a] += float32(gradient)
		}
	}
	sums.store(&l.PolicyTerms)
	l.entropy()
	clearPadding(l.Mean, l.A, l.N, l.Ld)
}

// standardise returns z = (action - mean)/std of dimension a and row i, and 1/std.
func (l *GaussianLoss) standardise(a, i int) (z, inverse float64) {
	inverse = math.Exp(-float64(l.LogStd[a]))
	return (float64(l.Action[a*l.Ld+i]) - float64(l.Mean[a*l.Ld+i])) * inverse, inverse
}

// inverseStd returns 1/std of dimension a.
func (l *GaussianLoss) inverseStd(a int) float32 { return float32(math.Exp(-float64(l.LogStd[a]))) }

// entropy sets the sum of the entropies, which no row changes, and adds its
// gradient.
func (l *GaussianLoss) entropy() {
	var entropy float64
	for a := range l.A {
		entropy += 0.5 + halfLog2Pi + float64(l.LogStd[a])
		l.GradLogStd[a] -= l.EntropyCoef * l.InvRows * float32(l.N)
	}
	l.SumEntropy = float32(entropy * float64(l.N))
}

func valueLossGeneric(l *ValueLoss) {
	l.check()
	var sum float64
	for i := range l.N {
		difference := l.Value[i] - l.Return[i]
		gradient, loss := difference, 0.5*difference*difference
		if e := l.ValueClip; e > 0 {
			move := l.Value[i] - l.OldValue[i]
			clipped := l.OldValue[i] + min(max(move, -e), e) - l.Return[i]
			if other := 0.5 * clipped * clipped; other > loss {
				loss = other
				if move < -e || move > e {
					gradient = 0
				}
			}
		}
		sum += float64(loss)
		l.Value[i] = l.Coef * gradient
	}
	l.SumLoss = float32(sum)
	clearPadding(l.Value, 1, l.N, l.Ld)
}

// quantileLossGeneric uses c = clip(u, -kappa, kappa), with which the Huber
// function is c (u - c/2) and its derivative c.
func quantileLossGeneric(l *QuantileLoss) {
	l.check()
	var sum float64
	for i := range l.N {
		for k := range l.K {
			theta := &l.Theta[k*l.Ld+i]
			u := l.Return[i] - *theta
			c := min(max(u, -l.Kappa), l.Kappa)
			weight := (float32(k) + 0.5) / float32(l.K)
			if u < 0 {
				weight = 1 - weight
			}
			sum += float64(weight * c * (u - 0.5*c))
			*theta = -l.Coef * weight * c / l.Kappa
		}
	}
	l.SumLoss = float32(sum / float64(l.Kappa))
	clearPadding(l.Theta, l.K, l.N, l.Ld)
}

// clearPadding zeroes the elements n .. ld-1 of each of the components.
func clearPadding(x []float32, components, n, ld int) {
	if n == ld {
		return
	}
	for c := range components {
		clear(x[c*ld+n : c*ld+ld])
	}
}
