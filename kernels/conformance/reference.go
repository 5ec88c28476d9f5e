package conformance

import (
	"fmt"
	"math"

	"brood/kernels"
	"brood/tensor"
)

// reference computes the minibatch loss in float64, straight from the formulas
// and by tensor name, without any of the engines' code.
type reference struct {
	c       *kernels.Config
	h       kernels.Hyperparameters
	beta    float64 // of the KL penalty; 0 where off
	rollout *kernels.Rollout
	theta   map[string][]float64
}

func parameters(m tensor.Member) map[string][]float64 {
	theta := make(map[string][]float64)
	for _, s := range m.Layout().Section(kernels.SectionPolicy).Tensors {
		theta[s.Name] = widen(m.Float32(kernels.SectionPolicy, s.Name))
	}
	return theta
}

// network is Sequential(Linear, activation, ..., Linear) of one observation.
func (r *reference) network(name string, obs []float32) []float64 {
	x := widen(obs)
	for layer := 0; layer <= len(r.c.Hidden); layer++ {
		weight := r.theta[fmt.Sprintf("%s.%d.weight", name, 2*layer)]
		bias := r.theta[fmt.Sprintf("%s.%d.bias", name, 2*layer)]
		y := append([]float64(nil), bias...)
		for o := range y {
			for i, v := range x {
				y[o] += weight[o*len(x)+i] * v
			}
			switch {
			case layer == len(r.c.Hidden):
			case r.c.Activation == kernels.Tanh:
				y[o] = math.Tanh(y[o])
			default:
				y[o] = math.Max(y[o], 0)
			}
		}
		x = y
	}
	return x
}

func (r *reference) value(obs []float32) float64 {
	sum, out := 0.0, r.network("critic", obs)
	for _, q := range out {
		sum += q
	}
	return sum / float64(len(out))
}

// logProbEntropy of the action of row i under the present policy.
func (r *reference) logProbEntropy(i int) (logProb, entropy float64) {
	spec := r.c.Env.Spec()
	out := r.network("actor", r.rollout.Obs[i*spec.ObsDim:(i+1)*spec.ObsDim])
	action := r.rollout.Actions[i*spec.Action.Width() : (i+1)*spec.Action.Width()]
	if !spec.Action.Discrete {
		for a, mean := range out {
			std := math.Exp(r.theta["log_std"][a])
			z := (float64(action[a]) - mean) / std
			logProb += math.Log(math.Exp(-z*z/2) / (std * math.Sqrt(2*math.Pi)))
			entropy += 0.5 * math.Log(2*math.Pi*math.E*std*std)
		}
		return logProb, entropy
	}
	for c, n := range spec.Action.Choices() { // independent of one another
		sum, logits := 0.0, out[:n]
		for _, x := range logits {
			sum += math.Exp(x)
		}
		for _, x := range logits {
			p := math.Exp(x) / sum
			entropy -= p * math.Log(p)
		}
		logProb += math.Log(math.Exp(logits[int(action[c])]) / sum)
		out = out[n:]
	}
	return logProb, entropy
}

func (r *reference) valueLoss(i int) float64 {
	d := r.c.Env.Spec().ObsDim
	out := r.network("critic", r.rollout.Obs[i*d:(i+1)*d])
	target := float64(r.rollout.Returns[i])
	if r.c.Critic.Type == kernels.ScalarCritic {
		v, old, e := out[0], float64(r.rollout.Values[i]), float64(r.h[kernels.ValueClip])
		loss := 0.5 * math.Pow(v-target, 2)
		if e > 0 {
			held := old + math.Min(math.Max(v-old, -e), e)
			loss = math.Max(loss, 0.5*math.Pow(held-target, 2))
		}
		return loss
	}
	sum, kappa := 0.0, float64(r.c.Critic.Kappa)
	for k, theta := range out {
		u, below := target-theta, 0.0
		if u < 0 {
			below = 1
		}
		huber := 0.5 * u * u
		if math.Abs(u) > kappa {
			huber = kappa * (math.Abs(u) - 0.5*kappa)
		}
		tau := (float64(k) + 0.5) / float64(len(out))
		sum += math.Abs(tau-below) * huber / kappa
	}
	return sum / float64(len(out))
}

// loss of a minibatch of rows 0 .. n-1.
func (r *reference) loss(n int) float64 {
	mean, std := 0.0, 1.0
	if r.c.NormalizeAdvantage {
		squares := 0.0
		for _, a := range r.rollout.Advantages[:n] {
			mean += float64(a) / float64(n)
		}
		for _, a := range r.rollout.Advantages[:n] {
			squares += math.Pow(float64(a)-mean, 2)
		}
		std = math.Sqrt(squares/float64(n-1)) + 1e-8
	}
	clip := float64(r.h[kernels.ClipRange])
	total := 0.0
	for i := range n {
		advantage := (float64(r.rollout.Advantages[i]) - mean) / std
		logProb, entropy := r.logProbEntropy(i)
		ratio := math.Exp(logProb - float64(r.rollout.LogProbs[i]))
		held := math.Min(math.Max(ratio, 1-clip), 1+clip)
		total += math.Max(-advantage*ratio, -advantage*held)
		total -= float64(r.h[kernels.EntropyCoef]) * entropy
		total += float64(r.h[kernels.ValueCoef]) * r.valueLoss(i)
		total += r.beta * (ratio - 1 - math.Log(ratio))
	}
	return total / float64(n)
}
