package host

import (
	"math"

	"brood/kernels"
)

// Summarize is [Summarize] with what the member's state says after the iteration.
func (s *State) Summarize(steps []kernels.MinibatchStats, f *Finished, lr, explained float32) kernels.Stats {
	st := Summarize(steps, f, lr, *s.KLBeta, explained)
	st.Score, st.ScoreEpisodes = s.Score()
	return st
}

// Summarize averages the applied minibatches of an iteration and adds the
// finished episodes. lr is the learning rate used, explained what
// [ExplainedVariance] returned. With no applied minibatch the averages are 0. The
// score is not set.
func Summarize(steps []kernels.MinibatchStats, f *Finished, lr, klBeta, explained float32) kernels.Stats {
	st := kernels.Stats{LearningRate: lr, KLBeta: klBeta, ExplainedVariance: explained}
	var sum [7]float64
	for i := range steps {
		m := &steps[i]
		if !m.Applied {
			st.Stopped = true
			continue
		}
		st.Minibatches++
		for j, v := range [7]float32{m.PolicyLoss, m.ValueLoss, m.Entropy, m.KL, m.ClipFraction, m.GradNorm, m.VGSScale} {
			sum[j] += float64(v)
		}
	}
	if n := float64(st.Minibatches); n > 0 {
		st.MinibatchStats = kernels.MinibatchStats{
			PolicyLoss: float32(sum[0] / n), ValueLoss: float32(sum[1] / n), Entropy: float32(sum[2] / n),
			KL: float32(sum[3] / n), ClipFraction: float32(sum[4] / n), GradNorm: float32(sum[5] / n),
			VGSScale: float32(sum[6] / n), Applied: true,
		}
	}
	st.Episodes = f.Count
	st.ReturnMean, st.ReturnMin, st.ReturnMax, st.LengthMean = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	if f.Count > 0 {
		st.ReturnMean, st.LengthMean = f.Sum/float64(f.Count), f.LengthSum/float64(f.Count)
		st.ReturnMin, st.ReturnMax = f.Min, f.Max
	}
	return st
}

// ExplainedVariance is 1 - Var(R - V)/Var(R) over the rows of a rollout, with
// R - V the advantages; NaN where Var(R) is 0.
func ExplainedVariance(advantages, returns []float32) float32 {
	_, residual := moments2(advantages, len(advantages), 1)
	_, total := moments2(returns, len(returns), 1)
	if total == 0 {
		return float32(math.NaN())
	}
	return float32(1 - residual/total)
}
