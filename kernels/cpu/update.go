package cpu

import (
	"math"

	"brood/kernels"
	"brood/kernels/cpu/simd"
	"brood/kernels/host"
)

// update runs all epochs of the owned member, minibatch by minibatch.
func (w *worker) update() {
	e, x := w.engine, &w.owned
	m := x.member
	m.steps = m.steps[:0]
	size := e.config.MinibatchRows()
	for epoch := range e.config.Epochs {
		from := e.clock()
		order := w.order(epoch)
		w.lap(kernels.PhasePermute, from)
		for i := range e.config.Minibatches {
			x.minibatch = order[i*size : (i+1)*size]
			if !w.minibatch() || len(m.steps) == e.config.MinibatchLimit {
				m.state.AdaptKLBeta(&e.config, m.steps)
				return
			}
		}
	}
	m.state.AdaptKLBeta(&e.config, m.steps)
}

// order returns the order of the rollout's rows in an epoch.
func (w *worker) order(epoch int) []int32 {
	e, x := w.engine, &w.owned
	if e.permutations != nil {
		return e.permutations[epoch]
	}
	blocks := len(x.words) / 4
	at := host.PermutationAddress(x.member.id, *x.member.state.Updates, e.config.Epochs, epoch)
	e.path.Philox(x.words, blocks, 0, x.key, at)
	host.ArgsortPlanes(x.permutation, x.words, blocks, x.sort)
	return x.permutation
}

// minibatch computes a minibatch's gradient and applies it; false means that
// target_kl ended the iteration's updates.
func (w *worker) minibatch() bool {
	e, x := w.engine, &w.owned
	m, s := x.member, x.member.state
	from := e.clock()
	e.actor.pack(e.path, s.Policy, x.packed)
	e.critic.pack(e.path, s.Policy, x.packed)
	x.terms = simd.PolicyTerms{AdvScale: 1, ClipRange: s.Hyper(kernels.ClipRange),
		EntropyCoef: s.Hyper(kernels.EntropyCoef), InvRows: 1 / float32(len(x.minibatch))}
	if e.config.KLPenalty.Enabled {
		x.terms.KLBeta = *s.KLBeta
	}
	gather(x.gathered, m.advantage, x.minibatch)
	if e.config.NormalizeAdvantage {
		x.terms.AdvMean, x.terms.AdvScale = w.advantageMoments(x.gathered)
	}
	w.lap(kernels.PhaseGather, from)
	w.split(gradientPart, e.chunks)
	from = e.clock()
	step := w.reduce()
	applied := !host.Stops(&e.config, step.KL)
	step.Applied = applied
	w.optimize(&step)
	m.steps = append(m.steps, step)
	w.lap(kernels.PhaseOptimize, from)
	return applied
}

// advantageMoments returns the mean and 1/(std + 1e-8), std with n-1.
func (w *worker) advantageMoments(a []float32) (mean, scale float32) {
	sum, _ := w.engine.path.Sums(a)
	mean = sum / float32(len(a))
	squares := float64(w.engine.path.SumSquaredDeviations(a, mean))
	return mean, float32(1 / (math.Sqrt(squares/float64(len(a)-1)) + 1e-8))
}

// gather writes src[rows[i]] to dst[i].
func gather(dst, src []float32, rows []int32) {
	dst = dst[:len(rows)]
	for i, r := range rows {
		dst[i] = src[r]
	}
}

// gatherObs writes the observations [D] of the given rows to dst.
func gatherObs(dst, obs []float32, rows []int32, d int) {
	if d == 4 { // one load and store each
		for i, r := range rows {
			*(*[4]float32)(dst[i*4:]) = *(*[4]float32)(obs[int(r)*4:])
		}
		return
	}
	for i, r := range rows {
		copy(dst[i*d:(i+1)*d], obs[int(r)*d:(int(r)+1)*d])
	}
}

// gradientChunk computes the gradient of a chunk of the minibatch's rows.
func (w *worker) gradientChunk(x *context, i int) {
	e := w.engine
	grad := x.grads[i*e.gradSize : (i+1)*e.gradSize]
	clear(grad)
	x.sums[i] = lossSums{}
	end := min((i+1)*chunkRows, len(x.minibatch))
	for first := i * chunkRows; first < end; first += tileRows {
		w.gradientTile(x, first, min(tileRows, end-first), grad, &x.sums[i])
	}
}

// gradientTile adds the gradient of rows first to first+n-1 of the minibatch.
func (w *worker) gradientTile(x *context, first, n int, grad []float32, sums *lossSums) {
	e, m, r, p := w.engine, x.member, &w.rows, w.engine.path
	from := e.clock()
	rows, d := x.minibatch[first:first+n], e.spec.ObsDim
	gatherObs(r.obs, m.obs, rows, d)
	gather(r.logProb, m.logProb, rows)
	gather(r.ret, m.ret, rows)
	for c := range e.spec.Action.Width() {
		gather(r.action[c*tileRows:], m.action[c*e.config.Rows():], rows)
	}
	from = w.lap(kernels.PhaseGather, from)

	e.actor.forward(p, w.tile, x.packed, r.obs, d, n)
	w.policyLoss(x, first, n, grad, sums)
	e.actor.backward(p, w.tile, x.packed, r.obs, d, n, grad)

	e.critic.forward(p, w.tile, x.packed, r.obs, d, n)
	w.valueLoss(x, rows, n, sums)
	e.critic.backward(p, w.tile, x.packed, r.obs, d, n, grad)
	w.lap(kernels.PhaseGradient, from)
}

// policyLoss turns the actor's results into their gradient.
func (w *worker) policyLoss(x *context, first, n int, grad []float32, sums *lossSums) {
	e, r := w.engine, &w.rows
	terms, a := x.terms, e.spec.Action.N
	terms.LogProb, terms.Advantage = r.logProb[:n], x.gathered[first:first+n]
	switch {
	case len(e.choices) > 1:
		r.several = simd.MultiDiscreteLoss{PolicyTerms: terms, N: n, Ld: tileRows, Choices: e.choices, Logits: w.tile.out, Action: r.action}
		e.path.MultiDiscreteLoss(&r.several)
		terms = r.several.PolicyTerms
	case e.choices != nil:
		r.discrete = simd.DiscreteLoss{PolicyTerms: terms, N: n, A: a, Ld: tileRows, Logits: w.tile.out, Action: r.action}
		e.path.DiscreteLoss(&r.discrete)
		terms = r.discrete.PolicyTerms
	default:
		r.gaussian = simd.GaussianLoss{PolicyTerms: terms, N: n, A: a, Ld: tileRows, Mean: w.tile.out,
			LogStd: x.member.state.Policy[e.index.LogStd : e.index.LogStd+a], Action: r.action,
			GradLogStd: grad[e.logStdGrad : e.logStdGrad+a]}
		e.path.GaussianLoss(&r.gaussian)
		terms = r.gaussian.PolicyTerms
	}
	sums.policy += float64(terms.SumLoss)
	sums.entropy += float64(terms.SumEntropy)
	sums.kl += float64(terms.SumKL)
	sums.clipped += float64(terms.SumClipped)
}

// valueLoss turns the critic's results into their gradient.
func (w *worker) valueLoss(x *context, rows []int32, n int, sums *lossSums) {
	e, r, s := w.engine, &w.rows, x.member.state
	coef := s.Hyper(kernels.ValueCoef) * x.terms.InvRows
	if c := &e.config.Critic; c.Type == kernels.QuantileCritic {
		r.quantile = simd.QuantileLoss{N: n, K: c.Quantiles, Ld: tileRows, Theta: w.tile.out, Return: r.ret,
			Kappa: c.Kappa, Coef: coef / float32(c.Quantiles)}
		e.path.QuantileLoss(&r.quantile)
		sums.value += float64(r.quantile.SumLoss) / float64(c.Quantiles)
		return
	}
	valueClip := s.Hyper(kernels.ValueClip)
	if valueClip > 0 {
		gather(r.oldValue, x.member.value, rows)
	}
	r.scalar = simd.ValueLoss{N: n, Ld: tileRows, Value: w.tile.out, Return: r.ret, OldValue: r.oldValue,
		ValueClip: valueClip, Coef: coef}
	e.path.ValueLoss(&r.scalar)
	sums.value += float64(r.scalar.SumLoss)
}
