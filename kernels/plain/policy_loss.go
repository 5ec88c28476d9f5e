package plain

import "math"

// policyLoss holds what the policy loss of a minibatch needs, and its sums over
// the rows.
type policyLoss struct {
	clipRange, entropyCoef, klBeta float64
	invRows                        float64 // 1 over the rows of the minibatch

	sumLoss, sumEntropy, sumKL, sumClipped float64
}

// row adds a row to the sums and returns the gradient of the minibatch's loss by
// the log probability of the row's action. The loss of a row is
//
//	max(-a r, -a clip(r, 1-c, 1+c)) + klBeta ((r-1) - log r),  r = exp(logProb - old)
//
// (Schulman et al. 2017). Where both arguments of max are equal the gradient is
// the first's; it is written such that a NaN comes out as one.
func (p *policyLoss) row(logProb, old, advantage float64) (dLogProb float64) {
	logRatio := logProb - old
	r := math.Exp(logRatio)
	first := -advantage * r
	second := -advantage * max(1-p.clipRange, min(1+p.clipRange, r))
	loss, dRatio := first, -advantage
	if second > first {
		loss, dRatio = second, 0
	}
	p.sumLoss += loss
	p.sumKL += r - 1 - logRatio
	if math.Abs(r-1) > p.clipRange {
		p.sumClipped++
	}
	return (dRatio*r + p.klBeta*(r-1)) * p.invRows
}

// discrete turns the logits [A] of a row into the gradient by them. The components of
// the action [W] are independent: their log probabilities and entropies add up.
func (p *policyLoss) discrete(logits, action []float32, choices []int, old, advantage float32) {
	logProb, rest := 0.0, logits
	for c, n := range choices {
		logSoftmax(rest[:n])
		logProb += float64(rest[int(action[c])])
		rest = rest[n:]
	}
	d := p.row(logProb, float64(old), float64(advantage))
	for c, n := range choices {
		p.choice(logits[:n], int(action[c]), d)
		logits = logits[n:]
	}
}

// choice turns the log probabilities of a component's choices into the gradient by its
// logits and adds its entropy; d is the gradient by the log probability of the action.
func (p *policyLoss) choice(logits []float32, action int, d float64) {
	entropy := 0.0
	for _, logP := range logits {
		entropy -= math.Exp(float64(logP)) * float64(logP)
	}
	p.sumEntropy += entropy
	for a, logP := range logits {
		prob := math.Exp(float64(logP))
		g := -d*prob + p.entropyCoef*p.invRows*prob*(float64(logP)+entropy)
		if a == action {
			g += d
		}
		logits[a] = float32(g)
	}
}

// gaussian turns the mean [A] of a row into the gradient by it and adds to the
// gradient by logStd [A].
func (p *policyLoss) gaussian(mean, dLogStd, logStd, action []float32, old, advantage float32) {
	logProb, entropy := 0.0, 0.0
	for a := range mean {
		z := (float64(action[a]) - float64(mean[a])) * math.Exp(-float64(logStd[a]))
		logProb -= z*z/2 + float64(logStd[a]) + halfLog2Pi
		entropy += 0.5 + halfLog2Pi + float64(logStd[a])
	}
	p.sumEntropy += entropy
	d := p.row(logProb, float64(old), float64(advantage))
	for a := range mean {
		invStd := math.Exp(-float64(logStd[a]))
		z := (float64(action[a]) - float64(mean[a])) * invStd
		mean[a] = float32(d * z * invStd)
		dLogStd[a] += float32(d*(z*z-1) - p.entropyCoef*p.invRows)
	}
}

// advantageMoments returns the mean and 1/(std + 1e-8) of the advantages of the
// minibatch's rows, std with n-1; 0 and 1 where advantages are not normalised.
func advantageMoments(normalize bool, advantages []float32, rows []int32) (mean, scale float32) {
	if !normalize {
		return 0, 1
	}
	sum, squares := 0.0, 0.0
	for _, i := range rows {
		sum += float64(advantages[i])
	}
	sum /= float64(len(rows))
	for _, i := range rows {
		d := float64(advantages[i]) - sum
		squares += d * d
	}
	return float32(sum), float32(1 / (math.Sqrt(squares/float64(len(rows)-1)) + 1e-8))
}
