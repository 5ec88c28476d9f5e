package host

import (
	"math"

	"brood/env"
	"brood/kernels"
	"brood/rng"
	"brood/tensor"
)

// Init fills a member of zeroed state for a run that begins: orthogonal weights
// (gain sqrt(2) in hidden layers, 0.01 at the actor's output, 1 at the
// critic's), zero biases, log_std and hyperparameters from c, normalisation
// statistics of mean 0, variance 1 and count 1e-4, every environment reset.
// index is the member's index in the population, part of every draw's address.
//
// The numbers of the policy's tensor k are the normals of the stream of index k
// at rng.Address{Member: index, Purpose: rng.Init}, in C order of the taller
// orientation of the matrix.
func Init(c *kernels.Config, m tensor.Member, index int) {
	s := NewState(m)
	key := rng.NewKey(c.Seed)
	*s.Seed = c.Seed
	s.SetHyperparameters(c.Hyperparameters)
	initPolicy(c, s, key, index)

	for i := range s.ObsVar {
		s.ObsVar[i] = 1
	}
	*s.ObsCount = initialCount
	*s.RewardVar = 1
	*s.RewardCount = initialCount
	*s.KLBeta = c.KLPenalty.Beta
	if c.KLPenalty.Enabled {
		*s.KLBeta = min(max(c.KLPenalty.Beta, c.KLPenalty.Min), c.KLPenalty.Max)
	}

	ResetEnvironments(c, s, index, 0)
}

// ResetEnvironments begins a new episode in every environment of the member with
// that index; time is as for [ResetStream].
func ResetEnvironments(c *kernels.Config, s *State, index int, time uint32) {
	clear(s.EpisodeReturn)
	clear(s.EpisodeLength)
	clear(s.DiscountedReturn)
	b, key := TrainBatch(c, s), rng.NewKey(c.Seed)
	for n := range c.Environments {
		r := ResetStream(key, index, n, time)
		c.Env.Reset(&b, n, &r)
	}
}

func initPolicy(c *kernels.Config, s *State, key rng.Key, index int) {
	p := NewPolicyIndex(c, s.Member.Layout())
	number := make(map[string]uint32, len(p.Tensors))
	for k, t := range p.Tensors {
		number[t.Name] = uint32(k)
	}
	network := func(layers []Layer, outputGain float64) {
		for i := range layers {
			l := &layers[i]
			gain := math.Sqrt2
			if i == len(layers)-1 {
				gain = outputGain
			}
			stream := key.Stream(number[l.WeightName], rng.Address{Member: uint32(index), Purpose: rng.Init})
			orthogonal(s.Policy[l.Weight:l.Weight+l.Out*l.In], l.Out, l.In, gain, &stream)
		}
	}
	network(p.Actor, 0.01)
	network(p.Critic, 1)
	if p.LogStd >= 0 {
		for a := range c.Env.Spec().Action.N {
			s.Policy[p.LogStd+a] = c.LogStdInit
		}
	}
}

// orthogonal fills w [rows, cols] with gain times a random matrix whose rows (or
// columns, whichever are fewer) are orthonormal: the Q of a QR decomposition of
// Gaussian numbers with the diagonal of R positive (Saxe et al. 2014), by
// Gram-Schmidt in float64, done twice because once loses orthogonality.
func orthogonal(w []float32, rows, cols int, gain float64, r *rng.Stream) {
	count, length := min(rows, cols), max(rows, cols)
	// Component j of vector i at q[i*length+j]; drawn in C order of [length, count].
	q := make([]float64, count*length)
	for j := range length {
		for i := range count {
			q[i*length+j] = float64(r.Normal())
		}
	}
	for i := range count {
		v := q[i*length : (i+1)*length]
		for range 2 {
			for k := range i {
				u := q[k*length : (k+1)*length]
				d := dot(u, v)
				for j := range v {
					v[j] -= d * u[j]
				}
			}
		}
		scale := 1 / math.Sqrt(dot(v, v))
		for j := range v {
			v[j] *= scale
		}
	}
	for i := range count {
		for j := range length {
			if rows >= cols {
				w[j*cols+i] = float32(gain * q[i*length+j])
			} else {
				w[i*cols+j] = float32(gain * q[i*length+j])
			}
		}
	}
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// TrainBatch is the batch of all N training environments over the member's
// state, without buffers for actions, rewards and terminations.
func TrainBatch(c *kernels.Config, s *State) env.Batch {
	return env.Batch{N: c.Environments, Stride: c.Environments, State: s.EnvState}
}
