package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"brood/env"
	"brood/kernels"
	"brood/tensor"
)

// gradientCase is one combination of what the gradient depends on.
type gradientCase struct {
	hidden     []int
	activation kernels.Activation
	quantiles  int // 0: scalar critic
	action     env.ActionSpace
	clip       float32 // value_clip
	beta       float32 // KL penalty; 0: off
	normalize  bool
}

func gradientCases() (cases []gradientCase) {
	for _, hidden := range [][]int{{}, {17}, {7, 33}} {
		for _, activation := range []kernels.Activation{kernels.Tanh, kernels.ReLU} {
			for _, quantiles := range []int{0, 5} {
				for _, action := range []env.ActionSpace{discrete(4), continuous(2, 1), env.MultiDiscrete(3, 1, 2, 4, 2)} {
					isContinuous := !action.Discrete
					k := gradientCase{hidden: hidden, activation: activation, quantiles: quantiles, action: action}
					if quantiles == 0 && isContinuous == (activation == kernels.Tanh) {
						k.clip = 0.02
					}
					if isContinuous != (len(hidden) == 1) {
						k.beta = 0.7
					}
					k.normalize = (len(hidden) == 2) == isContinuous
					cases = append(cases, k)
				}
			}
		}
	}
	return cases
}

func (k gradientCase) config() *kernels.Config {
	c := &kernels.Config{
		Population: 1, Seed: 7, Env: blank(3, k.action),
		Environments: 3, Steps: 7, Hidden: k.hidden, Activation: k.activation,
		Critic: kernels.Critic{Type: kernels.ScalarCritic}, Epochs: 1, Minibatches: 1,
		NormalizeAdvantage: k.normalize, LearningRateSchedule: kernels.Constant,
		KLPenalty:       kernels.KLPenalty{Enabled: k.beta > 0, Beta: k.beta, Max: 10},
		Hyperparameters: hyperparameters(),
	}
	if k.quantiles > 0 {
		c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: k.quantiles, Kappa: 0.6}
	}
	c.Hyperparameters[kernels.ValueClip] = k.clip
	c.Hyperparameters[kernels.EntropyCoef] = 0.05
	return c
}

// finiteDifferences compares the engine's gradient with central differences of
// the float64 reference loss, in every parameter.
func finiteDifferences(t *testing.T, newEngine Factory) {
	for i, k := range gradientCases() {
		name := fmt.Sprintf("hidden=%v/%s/quantiles=%d/%s/value_clip=%v/kl=%v", k.hidden, k.activation, k.quantiles, actionName(k.action), k.clip, k.beta)
		t.Run(name, func(t *testing.T) { gradientAgainstDifferences(t, newEngine, k, uint64(i)) })
	}
}

func gradientAgainstDifferences(t *testing.T, newEngine Factory, k gradientCase, seed uint64) {
	c := k.config()
	e := engine(t, newEngine, c)
	random := rand.New(rand.NewPCG(seed, 1))
	old := snapshot(t, e, 0)
	randomizePolicy(old, random, 0.4)
	check(t, e.Restore(0, old))
	r := randomRollout(c, random, parameters(old))
	check(t, e.WriteRollout(0, r))
	check(t, e.Advantages())
	// The weights move after the rollout, so that values differ from the old ones
	// and ratios leave the clip range.
	now := old.Clone()
	randomizePolicy(now, random, 0.1, old)
	check(t, e.Restore(0, now))
	check(t, e.SetPermutations([][]int32{identity(c.Rows())}))
	check(t, e.Update())

	got := tensor.NewMember(e.Layout())
	check(t, e.Gradient(0, got.Floats(kernels.SectionPolicy)))
	var full kernels.Rollout
	check(t, e.ReadRollout(0, &full))
	ref := &reference{c: c, h: c.Hyperparameters, beta: float64(k.beta), rollout: &full, theta: parameters(now)}
	for _, s := range e.Layout().Section(kernels.SectionPolicy).Tensors {
		want := ref.differences(s.Name, c.Rows())
		near(t, "gradient of "+s.Name, widen(got.Float32(kernels.SectionPolicy, s.Name)), want, 2e-6, 1e-4)
	}
	stats := e.MinibatchStats(0)
	if len(stats) != 1 || !stats[0].Applied {
		t.Fatalf("the update's minibatches are %+v, want one that was applied", stats)
	}
	if k.clip > 0 && sameGradientUnclipped(ref, c.Rows()) {
		t.Error("the case does not exercise value_clip: choose other random numbers")
	}
}

// differences are the central differences of the loss in each element of a
// tensor. The step is far above rounding in float64 and rarely straddles a kink.
func (r *reference) differences(name string, n int) []float64 {
	const step = 1e-6
	x := r.theta[name]
	d := make([]float64, len(x))
	for i, keep := range x {
		x[i] = keep + step
		up := r.loss(n)
		x[i] = keep - step
		d[i] = (up - r.loss(n)) / (2 * step)
		x[i] = keep
	}
	return d
}

func sameGradientUnclipped(r *reference, n int) bool {
	with := r.loss(n)
	h := r.h
	r.h[kernels.ValueClip] = 0
	defer func() { r.h = h }()
	return math.Abs(with-r.loss(n)) < 1e-9
}

// randomizePolicy fills the policy with numbers of the given size, around those
// of another member if one is named.
func randomizePolicy(m tensor.Member, random *rand.Rand, size float64, around ...tensor.Member) {
	for _, s := range m.Layout().Section(kernels.SectionPolicy).Tensors {
		x := m.Float32(kernels.SectionPolicy, s.Name)
		for i := range x {
			x[i] = float32(size * random.NormFloat64())
			for _, a := range around {
				x[i] += a.Float32(kernels.SectionPolicy, s.Name)[i]
			}
		}
	}
}

// randomRollout has episodes that terminate and that are truncated, and log
// probabilities close to those of the policy theta.
func randomRollout(c *kernels.Config, random *rand.Rand, theta map[string][]float64) *kernels.Rollout {
	spec, b := c.Env.Spec(), c.Rows()
	normals := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		return x
	}
	r := &kernels.Rollout{
		Obs: normals(b * spec.ObsDim), Actions: normals(b * spec.Action.Width()), LogProbs: normals(b), Rewards: normals(b),
		Terminated: make([]uint8, b), Truncated: make([]uint8, b),
		FinalObs: normals(b * spec.ObsDim), LastObs: normals(c.Environments * spec.ObsDim),
	}
	ref := &reference{c: c, rollout: r, theta: theta}
	for i := range b {
		for c, n := range spec.Action.Choices() {
			r.Actions[i*spec.Action.Width()+c] = float32(random.IntN(n))
		}
		switch random.IntN(6) {
		case 0:
			r.Terminated[i] = 1
		case 1:
			r.Truncated[i] = 1
		}
		logProb, _ := ref.logProbEntropy(i)
		r.LogProbs[i] = float32(logProb + 0.1*random.NormFloat64())
	}
	return r
}

func identity(n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	return p
}

// advantages compares values, advantages and returns with the recursion written
// out forwards: the sum over later steps of (gamma lambda)^k delta, up to the end
// of the episode.
func advantages(t *testing.T, newEngine Factory) {
	for _, quantiles := range []int{0, 5} {
		k := gradientCase{hidden: []int{7, 33}, activation: kernels.Tanh, quantiles: quantiles, action: discrete(4)}
		c := k.config()
		e := engine(t, newEngine, c)
		random := rand.New(rand.NewPCG(11, uint64(quantiles)))
		m := snapshot(t, e, 0)
		randomizePolicy(m, random, 0.4)
		check(t, e.Restore(0, m))
		r := randomRollout(c, random, parameters(m))
		check(t, e.WriteRollout(0, r))
		check(t, e.Advantages())
		var got kernels.Rollout
		check(t, e.ReadRollout(0, &got))

		ref := &reference{c: c, h: c.Hyperparameters, rollout: r, theta: parameters(m)}
		values, adv, ret := ref.advantages()
		near(t, "values", widen(got.Values), values, 5e-6, 1e-5)
		near(t, "advantages", widen(got.Advantages), adv, 2e-5, 1e-5)
		near(t, "returns", widen(got.Returns), ret, 2e-5, 1e-5)
	}
}

func (r *reference) advantages() (values, adv, ret []float64) {
	n, d, b := r.c.Environments, r.c.Env.Spec().ObsDim, r.c.Rows()
	gamma, lambda := float64(r.h[kernels.Gamma]), float64(r.h[kernels.GAELambda])
	values, adv, ret = make([]float64, b), make([]float64, b), make([]float64, b)
	for i := range b {
		values[i] = r.value(r.rollout.Obs[i*d : (i+1)*d])
	}
	delta := func(i int) (delta float64, done bool) {
		next := 0.0
		switch {
		case r.rollout.Terminated[i] != 0:
			done = true
		case r.rollout.Truncated[i] != 0:
			next, done = r.value(r.rollout.FinalObs[i*d:(i+1)*d]), true
		case i+n < b:
			next = values[i+n]
		default:
			next = r.value(r.rollout.LastObs[(i%n)*d : (i%n+1)*d])
		}
		return float64(r.rollout.Rewards[i]) + gamma*next - values[i], done
	}
	for i := range b {
		weight := 1.0
		for at, done := i, false; at < b && !done; at += n {
			var dl float64
			dl, done = delta(at)
			adv[i] += weight * dl
			weight *= gamma * lambda
		}
		ret[i] = adv[i] + values[i]
	}
	return values, adv, ret
}
