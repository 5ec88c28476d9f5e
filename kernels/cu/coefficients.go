package cu

import (
	"math"

	"brood/kernels"
	"brood/kernels/host"
)

// PlainCoefficients is coefficients.cu for one member: terms are its LossSums over
// all parts, sums its ChunkSums [ChunkCount]. Where the minibatch stops the update
// the state stays as it is and Apply is 0.
func PlainCoefficients(p *Plan, s *host.State, terms [LossTerms]float64, sums [][3]float64) (Coefficients, Minibatch) {
	c, rows := p.Config, float64(p.Params.MinibatchRows)
	b := Minibatch{
		PolicyLoss: float32(terms[TermPolicy] / rows), ValueLoss: float32(terms[TermValue] / rows),
		Entropy: float32(terms[TermEntropy] / rows), KL: float32(terms[TermKL] / rows),
		ClipFraction: float32(terms[TermClipped] / rows), VGSScale: 1,
	}
	tensors := len(p.Index.Tensors)
	meanAbs, variance, squares := make([]float64, tensors), make([]float64, tensors), 0.0
	means := make([]float64, tensors)
	for i, chunk := range p.Chunks {
		t, n := chunk.Tensor, float64(p.Index.Tensors[chunk.Tensor].Len)
		meanAbs[t] += sums[i][0] / n
		means[t] += sums[i][1] / n
		variance[t] += sums[i][2] / n
		squares += sums[i][2]
	}
	for t, mean := range means {
		variance[t] = max(0, variance[t]-mean*mean)
	}
	if host.Stops(c, b.KL) {
		b.GradNorm = float32(math.Sqrt(squares))
		return Coefficients{}, b
	}
	if c.VGS.Enabled {
		b.VGSScale = s.StepVGS(&c.VGS, meanAbs, variance, make([]float64, tensors))
	}
	b.GradNorm = float32(math.Sqrt(squares) * float64(b.VGSScale))
	b.Applied = 1
	a := s.NextAdamStep(host.ClipCoefficient(b.GradNorm, s.Hyper(kernels.MaxGradNorm)), s.LearningRate(c))
	return Coefficients{
		GradScale: b.VGSScale * a.GradScale, Beta1: a.Beta1, Beta2: a.Beta2, StepSize: a.StepSize,
		InvSqrtBias2: a.InvSqrtBias2, Eps: a.Eps, Decay: a.Decay, Apply: 1,
	}, b
}
