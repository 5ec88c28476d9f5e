package conformance

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"brood/kernels"
	"brood/kernels/plain"
	"brood/tensor"
)

// initial checks a fresh member's weights and figures.
func initial(t *testing.T, newEngine Factory) {
	c := config()
	c.Env, c.LogStdInit = chase(byNumbers), -0.5
	e := engine(t, newEngine, c)
	m := snapshot(t, e, 2)
	for _, s := range kernels.PolicyTensors(c) {
		x := widen(m.Float32(kernels.SectionPolicy, s.Name))
		switch {
		case s.Name == "log_std":
			near(t, s.Name, x, []float64{-0.5, -0.5}, 0, 0)
		case len(s.Shape) == 1:
			near(t, s.Name, x, slices.Repeat([]float64{0}, len(x)), 0, 0)
		default:
			gain := map[string]float64{"actor.4.weight": 0.01, "critic.4.weight": 1}[s.Name]
			if gain == 0 {
				gain = math.Sqrt2
			}
			orthogonal(t, s.Name, x, s.Shape[0], s.Shape[1], gain)
		}
	}
	for _, s := range m.Layout().Section(kernels.SectionHyperparameters).Tensors {
		h, _ := kernels.HyperparameterByName(s.Name)
		near(t, s.Name, numbers(m, kernels.SectionHyperparameters, &s), []float64{float64(c.Hyperparameters[h])}, 0, 0)
	}
	near(t, "beta", widen(m.Float32(kernels.SectionKLPenalty, "beta")), []float64{float64(c.KLPenalty.Beta)}, 0, 0)
	near(t, "var", widen(m.Float32(kernels.SectionObservationNorm, "var")), []float64{1, 1, 1}, 0, 0)
	near(t, "count", m.Float64(kernels.SectionRewardNorm, "count"), []float64{1e-4}, 0, 0)
	if a, b := digest(m), digest(snapshot(t, e, 1)); a == b {
		t.Error("two members begin with the same state")
	}
}

// orthogonal checks that the rows or columns of w, whichever are fewer, are
// orthogonal and gain long.
func orthogonal(t *testing.T, name string, w []float64, rows, cols int, gain float64) {
	t.Helper()
	n, length := min(rows, cols), max(rows, cols)
	at := func(i, j int) float64 {
		if rows > cols {
			return w[j*cols+i]
		}
		return w[i*cols+j]
	}
	for i := range n {
		for k := range n {
			sum, want := 0.0, 0.0
			for j := range length {
				sum += at(i, j) * at(k, j)
			}
			if i == k {
				want = gain * gain
			}
			near(t, fmt.Sprintf("%s: product of %d and %d", name, i, k), []float64{sum}, []float64{want}, 1e-6*gain*gain, 0)
		}
	}
}

// hyperparametersTakeEffect: a change acts on the very next update, and as if the
// member had had it from the start.
func hyperparametersTakeEffect(t *testing.T, newEngine Factory) {
	for h, value := range map[kernels.Hyperparameter]float32{
		kernels.LearningRate: 2e-3, kernels.Gamma: 0.9, kernels.GAELambda: 0.5, kernels.ClipRange: 0.02,
		kernels.ValueClip: 0.01, kernels.EntropyCoef: 0.1, kernels.ValueCoef: 0.9, kernels.MaxGradNorm: 0.1,
		kernels.AdamBeta1: 0.8, kernels.AdamBeta2: 0.9, kernels.AdamEps: 1e-3, kernels.WeightDecay: 0.2,
		kernels.VGSAlpha: 0.5, kernels.KLTarget: 1e-4,
	} {
		t.Run(h.String(), func(t *testing.T) {
			changed := config()
			changed.Hyperparameters[h] = value
			unchanged, set, made := engine(t, newEngine, config()), engine(t, newEngine, config()), engine(t, newEngine, changed)
			check(t, set.SetHyperparameters(1, changed.Hyperparameters))
			for _, e := range []kernels.Engine{unchanged, set, made} {
				iterate(t, e, 1)
			}
			got := snapshot(t, set, 1)
			sameBits(t, "set against made", got, snapshot(t, made, 1))
			sameBits(t, "the member not changed", snapshot(t, set, 0), snapshot(t, unchanged, 0))
			section := kernels.SectionPolicy
			if h == kernels.KLTarget {
				section = kernels.SectionKLPenalty // acts on the loss through beta
			}
			if slices.Equal(got.Floats(section), snapshot(t, unchanged, 1).Floats(section)) {
				t.Errorf("%s = %v makes no difference to %s in the next update", h, value, section)
			}
		})
	}
}

// schedule: the linear schedule follows the member's own updates and ends at 0.
func schedule(t *testing.T, newEngine Factory) {
	c := config()
	c.LearningRateSchedule, c.TotalUpdates = kernels.Linear, 4
	e := engine(t, newEngine, c)
	for u := range 6 {
		before := snapshot(t, e, 0)
		stats := iterate(t, e, 1)
		want := 1e-3 * math.Max(0, 1-float64(u)/4)
		near(t, fmt.Sprintf("learning rate of update %d", u), []float64{float64(stats[0].LearningRate)}, []float64{want}, 1e-9, 0)
		moved := !slices.Equal(before.Floats(kernels.SectionPolicy), snapshot(t, e, 0).Floats(kernels.SectionPolicy))
		if moved != (u < 4) {
			t.Errorf("update %d at learning rate %v: weights changed is %v", u, want, moved)
		}
	}
}

// plainCases are the configurations of [againstPlain].
func plainCases() map[string]*kernels.Config {
	cases := map[string]*kernels.Config{"everything": config(), "continuous": config(), "relu": config(),
		"quantile": config(), "bare": config(), "target_kl": config(), "wide": config(), "linear": config(), "choices": config()}
	cases["continuous"].Env, cases["continuous"].LogStdInit = chase(byNumbers), -0.3
	cases["relu"].Activation, cases["relu"].Hidden = kernels.ReLU, []int{33}
	q := cases["quantile"]
	q.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 11, Kappa: 0.5}
	q.Env, q.Hidden, q.Environments, q.Steps, q.Minibatches = chase(byNumbers), []int{7, 33}, 7, 9, 9
	b := cases["bare"]
	b.NormalizeAdvantage, b.NormalizeObservations, b.NormalizeRewards = false, false, false
	b.VGS.Enabled, b.KLPenalty.Enabled = false, false
	b.Environments, b.Steps, b.Minibatches = 1, 17, 1
	b.Hyperparameters[kernels.ValueClip] = 0.05
	cases["target_kl"].TargetKL = 1e-5
	cases["target_kl"].Hyperparameters[kernels.LearningRate] = 3e-3
	w := cases["wide"]
	w.Hidden, w.Environments, w.Steps, w.Minibatches = []int{64, 48}, 33, 11, 3
	cases["linear"].Hidden = nil
	cases["choices"].Env = chase(byChoices)
	shapedCases(cases)
	return cases
}

// againstPlain compares whole iterations with the plain engine's, member by
// member with different hyperparameters.
func againstPlain(t *testing.T, newEngine Factory) {
	for name, c := range plainCases() {
		t.Run(name, func(t *testing.T) {
			got, want := engine(t, newEngine, c), engine(t, plain.New, c)
			for i := range c.Population {
				h := c.Hyperparameters
				h[kernels.LearningRate] *= float32(1 + i)
				h[kernels.Gamma] -= 0.05 * float32(i)
				h[kernels.ClipRange] /= float32(1 + i)
				h[kernels.NumHyperparameters] *= 0.5 * float32(i)
				check(t, got.SetHyperparameters(i, h))
				check(t, want.SetHyperparameters(i, h))
			}
			for n := range 2 {
				a, b := iterate(t, got, 1), iterate(t, want, 1)
				for i := range c.Population {
					what := fmt.Sprintf("iteration %d, member %d: ", n, i)
					nearRollout(t, what, got, want, i)
					nearState(t, what, snapshot(t, got, i), snapshot(t, want, i))
					nearStats(t, what, a[i], b[i])
				}
				if t.Failed() {
					return
				}
			}
			nearEvaluation(t, got, want)
		})
	}
}

func nearRollout(t *testing.T, what string, a, b kernels.Engine, member int) {
	t.Helper()
	var got, want kernels.Rollout
	check(t, a.ReadRollout(member, &got))
	check(t, b.ReadRollout(member, &want))
	near(t, what+"terminated", widen(got.Terminated), widen(want.Terminated), 0, 0)
	near(t, what+"truncated", widen(got.Truncated), widen(want.Truncated), 0, 0)
	near(t, what+"obs", widen(got.Obs), widen(want.Obs), 1e-5, 1e-4)
	near(t, what+"last_obs", widen(got.LastObs), widen(want.LastObs), 1e-5, 1e-4)
	near(t, what+"actions", widen(got.Actions), widen(want.Actions), 1e-5, 1e-4)
	near(t, what+"log_probs", widen(got.LogProbs), widen(want.LogProbs), 2e-5, 1e-4)
	near(t, what+"rewards", widen(got.Rewards), widen(want.Rewards), 1e-5, 1e-4)
	near(t, what+"values", widen(got.Values), widen(want.Values), 1e-5, 1e-4)
	near(t, what+"advantages", widen(got.Advantages), widen(want.Advantages), 4e-5, 1e-4)
	near(t, what+"returns", widen(got.Returns), widen(want.Returns), 4e-5, 1e-4)
	d := len(got.LastObs) / a.Config().Environments
	for i, truncated := range want.Truncated {
		if truncated != 0 {
			near(t, what+"final_obs", widen(got.FinalObs[i*d:(i+1)*d]), widen(want.FinalObs[i*d:(i+1)*d]), 1e-5, 1e-4)
		}
	}
}

func nearState(t *testing.T, what string, got, want tensor.Member) {
	t.Helper()
	for _, s := range want.Layout().Sections() {
		for i := range s.Tensors {
			k := &s.Tensors[i]
			near(t, what+s.Name+"/"+k.Name, numbers(got, s.Name, k), numbers(want, s.Name, k), 4e-5, 1e-4)
		}
	}
}

func nearStats(t *testing.T, what string, a, b kernels.Stats) {
	t.Helper()
	list := func(s kernels.Stats) []float64 {
		return []float64{float64(s.PolicyLoss), float64(s.ValueLoss), float64(s.Entropy), float64(s.KL), float64(s.GradNorm),
			float64(s.VGSScale), float64(s.LearningRate), float64(s.KLBeta), float64(s.ExplainedVariance),
			s.ReturnMean, s.ReturnMin, s.ReturnMax, s.LengthMean}
	}
	near(t, what+"stats", list(a), list(b), 4e-5, 2e-4)
	if a.Minibatches != b.Minibatches || a.Stopped != b.Stopped || a.Applied != b.Applied || a.Episodes != b.Episodes {
		t.Errorf("%sstats are %+v, want %+v", what, a, b)
	}
}

func nearEvaluation(t *testing.T, a, b kernels.Engine) {
	t.Helper()
	got, gotLengths := evaluated(t, a, 3, 5)
	want, wantLengths := evaluated(t, b, 3, 5)
	for i := range want {
		near(t, fmt.Sprintf("evaluation of member %d", i), got[i], want[i], 1e-4, 1e-4)
		if !slices.Equal(gotLengths[i], wantLengths[i]) {
			t.Errorf("lengths of member %d are %v, want %v", i, gotLengths[i], wantLengths[i])
		}
	}
}
