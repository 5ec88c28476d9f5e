package ppo

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	gt "gorgonia.org/tensor"

	"brood/kernels"
	"brood/tensor"
)

// everything switches on all that has state: continuous actions, quantiles, both
// normalisations, the KL penalty, VGS past its warm-up, weight decay, a schedule.
func everything(s *sections) {
	s.Env.ID = "Pendulum-v1"
	s.Critic.Type, s.Critic.Quantiles = kernels.QuantileCritic, 5
	s.PPO.NormalizeObservations, s.PPO.NormalizeRewards = true, true
	s.PPO.KLPenalty.Enabled, s.PPO.VGS.Warmup = true, 3
	s.PPO.WeightDecay, s.PPO.LearningRateSchedule = .01, kernels.Linear
}

// An exploit and n updates equal, to the bit, a fresh member that has the same
// environments, counters and seed, is given the source's parameters and the
// explored hyperparameters, and does the same updates.
func TestExploitEqualsFreshMemberGivenTheParameters(t *testing.T) {
	configs := map[string]func(s *sections){
		"cartpole":   nil,
		"everything": everything,
		"value clip": func(s *sections) { s.PPO.ValueClip, s.PPO.TargetKL, s.Policy.Activation = .2, .02, kernels.ReLU },
	}
	forEngines(t, func(t *testing.T, newPopulation maker) {
		for name, change := range configs {
			for _, strategy := range []kernels.Strategy{kernels.StrategyReset, kernels.StrategyCopy} {
				t.Run(name+"/"+string(strategy), func(t *testing.T) {
					p, twin := newPopulation(t, smallConfig(t, 3, 5, change)), newPopulation(t, smallConfig(t, 3, 5, change))
					require.NoError(t, p.SetHyperparameter(1, "gamma", .9))
					require.NoError(t, p.SetHyperparameter(2, "learning_rate", 1e-3))
					iterate(t, p, 3)

					// Member 1 gives its old state and is overwritten at the same time.
					exploits := []kernels.Exploit{{Member: 0, Source: 1, Strategy: strategy}, {Member: 1, Source: 2, Strategy: strategy}}
					for i := range exploits {
						e := &exploits[i]
						h, err := p.Hyperparameters(e.Source)
						require.NoError(t, err)
						h[kernels.LearningRate] *= 1.2
						h[kernels.EntropyCoef] /= 1.2
						e.Hyperparameters = h

						fresh, own := snapshot(t, twin, e.Member), snapshot(t, p, e.Member)
						for _, b := range own.Layout().Sections() {
							if b.Exploit == tensor.Keep {
								overwriteSection(fresh, own, b.Name)
							}
						}
						require.NoError(t, twin.Engine().Restore(e.Member, fresh))
						dict, err := p.Parameters(e.Source, strategy == kernels.StrategyCopy)
						require.NoError(t, err)
						require.NoError(t, twin.SetParameters(e.Member, dict))
						require.NoError(t, twin.SetHyperparameters(e.Member, h))
					}
					require.NoError(t, p.Exploit(exploits))
					for n := range 3 {
						for _, e := range exploits {
							requireSameState(t, snapshot(t, twin, e.Member), snapshot(t, p, e.Member))
						}
						iterate(t, p, 1)
						iterate(t, twin, 1)
						require.Positive(t, moments(snapshot(t, p, 0)).step, "no update was done in iteration %d", n)
					}
				})
			}
		}
	})
}

// A perturbed hyperparameter is in force at the very next update, set by hand or
// by an exploit: nothing is cached, captured or rebuilt.
func TestPerturbedHyperparameterChangesTheNextUpdate(t *testing.T) {
	names := []kernels.Hyperparameter{kernels.LearningRate, kernels.ClipRange, kernels.Gamma, kernels.EntropyCoef}
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 2, 3, func(s *sections) {
			s.PPO.LearningRate, s.PPO.Epochs, s.PPO.ClipRange = 1e-2, 4, .05 // ratios that do reach the clip range
		}))
		iterate(t, p, 1)
		start := snapshots(t, p)
		h, err := p.Hyperparameters(1)
		require.NoError(t, err)
		next := func(change func()) string {
			restore(t, p, start)
			change()
			iterate(t, p, 1)
			return fingerprint(snapshot(t, p, 0), kernels.SectionPolicy)
		}
		exploit := func(h kernels.Hyperparameters) func() {
			return func() {
				require.NoError(t, p.Exploit([]kernels.Exploit{{Member: 0, Source: 1, Strategy: kernels.StrategyReset, Hyperparameters: h}}))
			}
		}
		nothing := func() {}
		require.Equal(t, next(nothing), next(nothing), "the update is not reproducible")
		require.Equal(t, next(exploit(h)), next(exploit(h)), "the exploit is not reproducible")
		for _, name := range names {
			perturbed := h
			perturbed[name] /= 1.2
			set := func() { require.NoError(t, p.SetHyperparameter(0, name.String(), float64(perturbed[name]))) }
			require.NotEqual(t, next(nothing), next(set), "%s set by hand has no effect", name)
			require.NotEqual(t, next(exploit(h)), next(exploit(perturbed)), "%s set by an exploit has no effect", name)
		}
	})
}

func TestParametersKeys(t *testing.T) {
	keys := func(p *Population, optimizer bool) []string {
		dict, err := p.Parameters(0, optimizer)
		require.NoError(t, err)
		return slices.Sorted(maps.Keys(dict))
	}
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 1, 1, nil))
		require.Equal(t, []string{"kl_penalty_state", "policy", "vgs_state"}, keys(p, false))
		require.Equal(t, []string{"kl_penalty_state", "optimizer_state", "policy", "vgs_state"}, keys(p, true))
		dict, err := p.Parameters(0, true)
		require.NoError(t, err)
		require.Equal(t, gt.Shape{16, 4}, dict["policy"]["actor.0.weight"].Shape())
		require.Equal(t, gt.Shape{1, 12}, dict["policy"]["critic.4.weight"].Shape())
		require.Len(t, dict["policy"], 12)

		p = newPopulation(t, smallConfig(t, 1, 1, everything))
		require.Equal(t, []string{"kl_penalty_state", "observation_norm", "policy", "reward_norm", "vgs_state"}, keys(p, false))
		_, err = p.Parameters(1, false)
		require.ErrorIs(t, err, kernels.ErrMember)
	})
}

// The dict is a copy: neither training nor writing to it reaches the other side.
func TestParametersAreASnapshot(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 1, 1, nil))
		dict, err := p.Parameters(0, false)
		require.NoError(t, err)
		bias := dict["policy"]["actor.4.bias"].Data().([]float32)
		require.Equal(t, []float32{0, 0}, bias)
		iterate(t, p, 1)
		require.Equal(t, []float32{0, 0}, bias)
		before := digest(t, p)
		bias[0] = 5
		require.Equal(t, before, digest(t, p))
	})
}

func TestSetParametersBeginsMissingSectionsAnew(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 2, 1, everything))
		initial := snapshot(t, p, 0)
		iterate(t, p, 14) // past the end of an episode of 200 steps
		trained, source := snapshot(t, p, 0), snapshot(t, p, 1)
		anew := []string{kernels.SectionOptimizer, kernels.SectionVGS, kernels.SectionKLPenalty,
			kernels.SectionObservationNorm, kernels.SectionRewardNorm, kernels.SectionEpisodes}
		for _, name := range anew {
			require.NotEqual(t, fingerprint(initial, name), fingerprint(trained, name), "%s did not change in training", name)
		}
		dict, err := p.Parameters(1, false)
		require.NoError(t, err)
		require.NoError(t, p.SetParameters(0, tensor.StateDict{"policy": dict["policy"]}))
		after := snapshot(t, p, 0)
		require.Equal(t, fingerprint(source, kernels.SectionPolicy), fingerprint(after, kernels.SectionPolicy))
		for _, name := range anew {
			require.Equal(t, fingerprint(initial, name), fingerprint(after, name), name)
		}
		requireSameState(t, trained, after, append(anew, kernels.SectionPolicy)...)
		requireSameState(t, source, snapshot(t, p, 1))
	})
}

func TestSetParametersRefusesAndChangesNothing(t *testing.T) {
	tests := []struct {
		says   string
		member int
		change func(d tensor.StateDict)
	}{
		{`"policy" is missing`, 0, func(d tensor.StateDict) { delete(d, "policy") }},
		{`unknown key "optimiser_state"`, 0, func(d tensor.StateDict) { d["optimiser_state"] = d["optimizer_state"] }},
		{`unknown key "hyperparameters"`, 0, func(d tensor.StateDict) { d["hyperparameters"] = d["policy"] }},
		{`lacks the tensor "critic.0.bias"`, 0, func(d tensor.StateDict) { delete(d["policy"], "critic.0.bias") }},
		{`no tensor "log_std"`, 0, func(d tensor.StateDict) { d["policy"]["log_std"] = d["policy"]["actor.4.bias"] }},
		{"shape", 0, func(d tensor.StateDict) { d["policy"]["actor.0.weight"] = d["policy"]["actor.2.weight"] }},
		{"float64", 0, func(d tensor.StateDict) {
			d["policy"]["actor.4.bias"] = gt.New(gt.WithShape(2), gt.WithBacking([]float64{0, 0}))
		}},
		{"policy/actor.0.bias has NaN at element 2", 0, func(d tensor.StateDict) {
			d["policy"]["actor.0.bias"].Data().([]float32)[2] = float32(math.NaN())
		}},
		{"optimizer_state/exp_avg_sq/actor.0.bias has +Inf", 0, func(d tensor.StateDict) {
			d["optimizer_state"]["exp_avg_sq/actor.0.bias"].Data().([]float32)[0] = float32(math.Inf(1))
		}},
		{`lacks the tensor "step"`, 0, func(d tensor.StateDict) { delete(d["optimizer_state"], "step") }},
		{"no such member", 2, func(tensor.StateDict) {}},
		{"no such member", -1, func(tensor.StateDict) {}},
	}
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 2, 1, nil))
		iterate(t, p, 1)
		before := digest(t, p)
		for _, test := range tests {
			dict, err := p.Parameters(1, true)
			require.NoError(t, err)
			require.Contains(t, dict, "optimizer_state")
			test.change(dict)
			require.ErrorContains(t, p.SetParameters(test.member, dict), test.says)
			require.Equal(t, before, digest(t, p), test.says)
		}
	})
}

// State that is added to the layout travels with the parameters by its rule
// alone.
func TestParametersCoverAddedSections(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		for _, rule := range []tensor.Rule{tensor.Copy, tensor.Keep, tensor.Clear} {
			c := smallConfig(t, 2, 1, nil)
			c.Sections = []tensor.Section{extraSection(rule)}
			p := newPopulation(t, c)
			for m := range 2 {
				s := snapshot(t, p, m)
				copy(s.Float32("extra", "numbers"), []float32{float32(m), 2, 3})
				require.NoError(t, p.Engine().Restore(m, s))
			}
			dict, err := p.Parameters(1, true)
			require.NoError(t, err)
			require.Equal(t, rule == tensor.Copy, dict["extra_state"] != nil)
			require.NoError(t, p.SetParameters(0, dict))
			want := map[tensor.Rule][]float32{tensor.Copy: {1, 2, 3}, tensor.Keep: {0, 2, 3}, tensor.Clear: {0, 0, 0}}[rule]
			require.Equal(t, want, snapshot(t, p, 0).Float32("extra", "numbers"), rule.String())
		}
	})
}

func TestSetHyperparameter(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 2, 1, func(s *sections) { s.Critic.Type = kernels.QuantileCritic }))
		require.NoError(t, p.SetHyperparameter(1, "gae_lambda", .5))
		h, err := p.Hyperparameters(1)
		require.NoError(t, err)
		want := p.Engine().Config().Hyperparameters
		want[kernels.GAELambda] = .5
		require.Equal(t, want, h)
		h, err = p.Hyperparameters(0)
		require.NoError(t, err)
		require.Equal(t, p.Engine().Config().Hyperparameters, h)

		before := digest(t, p)
		require.ErrorContains(t, p.SetHyperparameter(1, "lr", .5), "learning_rate")
		require.ErrorContains(t, p.SetHyperparameter(1, "gamma", 1.5), "[0, 1]")
		require.ErrorContains(t, p.SetHyperparameter(1, "value_clip", .5), "quantile")
		require.ErrorIs(t, p.SetHyperparameter(2, "gamma", .5), kernels.ErrMember)
		_, err = p.Hyperparameters(2)
		require.ErrorIs(t, err, kernels.ErrMember)
		require.Equal(t, before, digest(t, p))
	})
}

func TestScoreIsEmptiedWithTheWeights(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 2, 1, nil))
		score, episodes := p.Score(0)
		require.True(t, math.IsNaN(score))
		require.Zero(t, episodes)
		iterate(t, p, 5)
		score, episodes = p.Score(0)
		require.Positive(t, episodes)
		require.Greater(t, score, 5.0)
		dict, err := p.Parameters(1, true)
		require.NoError(t, err)
		require.NoError(t, p.SetParameters(0, dict))
		_, episodes = p.Score(0)
		require.Zero(t, episodes)
	})
}
