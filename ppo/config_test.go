package ppo

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/env"
	"brood/kernels"
)

// sections is a config file of this package's sections.
type sections struct {
	Env    EnvConfig    `yaml:"env"`
	Policy PolicyConfig `yaml:"policy"`
	Critic CriticConfig `yaml:"critic"`
	PPO    Config       `yaml:"ppo"`
}

func defaults() sections {
	return sections{DefaultEnv(), DefaultPolicy(), DefaultCritic(), Default()}
}

func (s sections) validate() error { return Validate(s.Env, s.Policy, s.Critic, s.PPO) }

func (s sections) engineConfig(population int) (*kernels.Config, error) {
	return EngineConfig(s.Env, s.Policy, s.Critic, s.PPO, population, 7, 2, 100)
}

// fieldErrors returns the joined field errors by path.
func fieldErrors(t *testing.T, err error) map[string]*FieldError {
	t.Helper()
	found := map[string]*FieldError{}
	var walk func(error)
	walk = func(err error) {
		var field *FieldError
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
		} else if errors.As(err, &field) {
			require.NotContains(t, found, field.Path, "two errors for one field")
			found[field.Path] = field
		} else {
			t.Fatalf("not a FieldError: %v", err)
		}
	}
	if err != nil {
		walk(err)
	}
	return found
}

func TestDefaultsAreValidAndTheCommonWorkload(t *testing.T) {
	c, err := defaults().engineConfig(8)
	require.NoError(t, err)
	require.Equal(t, "CartPole-v1", c.Env.Spec().ID)
	require.Equal(t, 8192, c.Rows())
	require.Equal(t, 2048, c.MinibatchRows())
	require.Equal(t, []int{64, 64}, c.Hidden)
	require.Equal(t, 1, c.Critic.Outputs())
	require.Equal(t, kernels.Hyperparameters{2.5e-4, .99, .95, .2, 0, .01, .5, .5, .9, .999, 1e-5, 0, .1, .01}, c.Hyperparameters)
	require.Equal(t, kernels.KLPenalty{Beta: .2, Min: 1e-4, Max: 100}, c.KLPenalty)
	require.Equal(t, kernels.VGS{Enabled: true, Beta: .99, Warmup: 100, Eps: 1e-8, Percentile: .9}, c.VGS)
	require.Equal(t, uint64(7), c.Seed)
	require.Equal(t, 2, c.Threads)
	require.Equal(t, int64(100), c.TotalUpdates)
	require.True(t, c.NormalizeAdvantage)
	require.Equal(t, kernels.Constant, c.LearningRateSchedule)
}

func TestEngineConfigDoesNotShareHidden(t *testing.T) {
	s := defaults()
	c, err := s.engineConfig(1)
	require.NoError(t, err)
	c.Hidden[0] = 3
	require.Equal(t, 64, s.Policy.Hidden[0])
}

// One wrong field each: its path, and words that its error must contain.
func TestEveryWrongFieldIsNamed(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		path  string
		wrong func(s *sections)
		says  []string
	}{
		{"env.id", func(s *sections) { s.Env.ID = "" }, []string{`env.id: ""`}},
		{"env.count", func(s *sections) { s.Env.Count = 0 }, []string{"env.count: 0 ", "1 to"}},
		{"env.count", func(s *sections) { s.Env.Count = math.MaxInt64 }, []string{"env.count: 9223372036854775807 "}},
		{"policy.hidden[1]", func(s *sections) { s.Policy.Hidden = []int{64, 0} }, []string{"policy.hidden[1]: 0 "}},
		{"policy.hidden[0]", func(s *sections) { s.Policy.Hidden = []int{-1} }, []string{"policy.hidden[0]: -1 "}},
		{"policy.hidden[0]", func(s *sections) { s.Policy.Hidden = []int{1 << 20} }, []string{"1048576", "1 to 65536"}},
		{"policy.activation", func(s *sections) { s.Policy.Activation = "gelu" }, []string{`"gelu"`, "tanh or relu"}},
		{"policy.log_std_init", func(s *sections) { s.Policy.LogStdInit = nan }, []string{"NaN", "[-20, 20]"}},
		{"critic.type", func(s *sections) { s.Critic.Type = "double" }, []string{`"double"`, "scalar or quantile"}},
		{"critic.quantiles", func(s *sections) { s.Critic.Quantiles = 0 }, []string{": 0 "}},
		{"critic.kappa", func(s *sections) { s.Critic.Kappa = 0 }, []string{"above 0"}},
		{"ppo.steps", func(s *sections) { s.PPO.Steps = 0 }, []string{"ppo.steps: 0 "}},
		{"ppo.steps", func(s *sections) { s.PPO.Steps, s.Env.Count = 1<<20, 1<<20 }, []string{"1099511627776", "2147483647"}},
		{"ppo.epochs", func(s *sections) { s.PPO.Epochs = 0 }, []string{"at least 1"}},
		{"ppo.minibatches", func(s *sections) { s.PPO.Minibatches = -4 }, []string{"-4", "at least 1"}},
		{"ppo.minibatches", func(s *sections) { s.PPO.Minibatches = 3 }, []string{"ppo.minibatches: 3 is not valid: must divide steps*count = 8192", "1, 2, 4, 8,"}},
		{"ppo.minibatches", func(s *sections) { s.PPO.Minibatches = 8192 }, []string{"at least 2 rows", "normalize_advantage"}},
		{"ppo.normalize_advantage", func(s *sections) { s.PPO.Steps, s.Env.Count = 1, 1 }, []string{"at least 2 rows"}},
		{"ppo.learning_rate", func(s *sections) { s.PPO.LearningRate = 0 }, []string{"above 0"}},
		{"ppo.learning_rate", func(s *sections) { s.PPO.LearningRate = inf }, []string{"+Inf", "finite"}},
		{"ppo.learning_rate", func(s *sections) { s.PPO.LearningRate = 1e-60 }, []string{"1e-60", "float32"}},
		{"ppo.gamma", func(s *sections) { s.PPO.Gamma = 1.01 }, []string{"1.01", "[0, 1]"}},
		{"ppo.gae_lambda", func(s *sections) { s.PPO.GAELambda = -.1 }, []string{"-0.1", "[0, 1]"}},
		{"ppo.clip_range", func(s *sections) { s.PPO.ClipRange = nan }, []string{"ppo.clip_range: NaN is not valid: must be above 0"}},
		{"ppo.value_clip", func(s *sections) { s.PPO.ValueClip = -1 }, []string{"at least 0"}},
		{"ppo.value_clip", func(s *sections) { s.PPO.ValueClip, s.Critic.Type = .2, kernels.QuantileCritic }, []string{"0.2", "quantile"}},
		{"ppo.entropy_coef", func(s *sections) { s.PPO.EntropyCoef = -.01 }, []string{"at least 0"}},
		{"ppo.value_coef", func(s *sections) { s.PPO.ValueCoef = 1e300 }, []string{"1e+300", "float32"}},
		{"ppo.max_grad_norm", func(s *sections) { s.PPO.MaxGradNorm = 0 }, []string{"above 0"}},
		{"ppo.adam_beta1", func(s *sections) { s.PPO.AdamBeta1 = 1 }, []string{"[0, 1)"}},
		{"ppo.adam_beta2", func(s *sections) { s.PPO.AdamBeta2 = 1 - 1e-12 }, []string{"[0, 1)", "float32"}},
		{"ppo.adam_eps", func(s *sections) { s.PPO.AdamEps = 0 }, []string{"above 0"}},
		{"ppo.weight_decay", func(s *sections) { s.PPO.WeightDecay = -1 }, []string{"at least 0"}},
		{"ppo.learning_rate_schedule", func(s *sections) { s.PPO.LearningRateSchedule = "cosine" }, []string{`"cosine"`, "constant or linear"}},
		{"ppo.target_kl", func(s *sections) { s.PPO.TargetKL = -1 }, []string{"at least 0"}},
		{"ppo.kl_penalty.target", func(s *sections) { s.PPO.KLPenalty.Target = 0 }, []string{"above 0"}},
		{"ppo.kl_penalty.beta", func(s *sections) { s.PPO.KLPenalty.Beta = 200 }, []string{"200", "[0.0001, 100]"}},
		{"ppo.kl_penalty.min", func(s *sections) { s.PPO.KLPenalty.Min = 0 }, []string{"above 0"}},
		{"ppo.kl_penalty.min", func(s *sections) { s.PPO.KLPenalty.Min = 101 }, []string{"at most ppo.kl_penalty.max = 100"}},
		{"ppo.kl_penalty.max", func(s *sections) { s.PPO.KLPenalty.Max = inf }, []string{"+Inf"}},
		{"ppo.vgs.beta", func(s *sections) { s.PPO.VGS.Beta = 1 }, []string{"[0, 1)"}},
		{"ppo.vgs.alpha", func(s *sections) { s.PPO.VGS.Alpha = nan }, []string{"NaN"}},
		{"ppo.vgs.warmup", func(s *sections) { s.PPO.VGS.Warmup = -1 }, []string{"at least 0"}},
		{"ppo.vgs.eps", func(s *sections) { s.PPO.VGS.Eps = 0 }, []string{"above 0"}},
		{"ppo.vgs.percentile", func(s *sections) { s.PPO.VGS.Percentile = 90 }, []string{"90", "[0, 1]"}},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			s := defaults()
			test.wrong(&s)
			err := s.validate()
			found := fieldErrors(t, err)
			require.Len(t, found, 1, "%v", err)
			require.Contains(t, found, test.path)
			for _, words := range test.says {
				require.Contains(t, err.Error(), words)
			}
		})
	}
}

func TestAllWrongFieldsAreReportedAtOnce(t *testing.T) {
	s := defaults()
	s.Env.Count, s.Policy.Activation, s.PPO.Gamma, s.PPO.VGS.Eps = -1, "x", 2, -1
	found := fieldErrors(t, s.validate())
	require.Len(t, found, 4)
	require.Equal(t, -1.0, found["ppo.vgs.eps"].Value)
}

func TestEngineConfigRefusesTheRunsFields(t *testing.T) {
	s := defaults()
	tests := []struct {
		path                string
		population, threads int
		updates             int64
	}{
		{"pbt.population_size", 0, 1, 1},
		{"pbt.population_size", 1<<16 + 1, 1, 1},
		{"run.threads", 1, -1, 1},
		{"run.total_steps", 1, 1, 0},
		{"run.total_steps", 1, 1, 1 << 40},
	}
	for _, test := range tests {
		c, err := EngineConfig(s.Env, s.Policy, s.Critic, s.PPO, test.population, 1, test.threads, test.updates)
		require.Nil(t, c)
		found := fieldErrors(t, err)
		require.Len(t, found, 1)
		require.Contains(t, found, test.path)
	}

	s.Env.ID = "CartPole-v9"
	_, err := s.engineConfig(1)
	require.ErrorIs(t, err, env.ErrUnknown)
	require.ErrorContains(t, err, "env.id: ")
	require.ErrorContains(t, err, "CartPole-v1")
}

func TestKLPenaltyBetaMayLieOnItsBounds(t *testing.T) {
	s := defaults()
	for _, v := range []float64{.1, 1e-4, .3} { // none of them is a float32
		s.PPO.KLPenalty.Min, s.PPO.KLPenalty.Beta, s.PPO.KLPenalty.Max = v, v, v
		require.NoError(t, s.validate())
	}
}

// A minibatch count that the error lists is valid, and none that is valid and
// small is left out.
func TestMinibatchesListedAreThoseThatDivide(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := defaults()
		s.PPO.Steps = rapid.IntRange(1, 60).Draw(rt, "steps")
		s.Env.Count = int64(rapid.IntRange(2, 60).Draw(rt, "count"))
		s.PPO.NormalizeAdvantage = rapid.Bool().Draw(rt, "normalize_advantage")
		s.PPO.Minibatches = rapid.IntRange(1, 4000).Draw(rt, "minibatches")
		rows, least := s.PPO.Steps*int(s.Env.Count), 1
		if s.PPO.NormalizeAdvantage {
			least = 2
		}
		valid := func(m int) bool { return rows%m == 0 && rows/m >= least }
		err := s.validate()
		require.Equal(rt, valid(s.PPO.Minibatches), err == nil, "%v", err)
		if err == nil {
			return
		}
		text := err.Error()
		list := strings.Split(strings.TrimSuffix(text[strings.LastIndex(text, "(")+1:], ")"), ", ")
		for i, m := 0, 1; i < len(list) && list[i] != "..."; m++ {
			if valid(m) {
				require.Equal(rt, m, atoi(rt, list[i]))
				i++
			}
		}
	})
}

func atoi(t *rapid.T, s string) (n int) {
	require.NotEmpty(t, s)
	for _, c := range s {
		require.True(t, c >= '0' && c <= '9', "%q is no number", s)
		n = 10*n + int(c-'0')
	}
	return n
}

func TestYAMLOverDefaults(t *testing.T) {
	s := defaults()
	text := "env: {count: 8, hyperparameters: {energy_weight: 0.5}, kwargs: {name: x}, wrappers: [\"m:W\"]}\npolicy: {hidden: [32]}\nppo: {gamma: 0.9, vgs: {alpha: 0.5}, kl_penalty: {enabled: true}}\ncritic: {type: quantile}\n"
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict()))
	want := defaults()
	want.Env.Count, want.Policy.Hidden, want.PPO.Gamma, want.PPO.VGS.Alpha = 8, []int{32}, .9, .5
	want.PPO.KLPenalty.Enabled, want.Critic.Type = true, kernels.QuantileCritic
	want.Env.Hyperparameters = map[string]float64{"energy_weight": .5}
	want.Env.Kwargs, want.Env.Wrappers = map[string]any{"name": "x"}, []string{"m:W"}
	require.Equal(t, want, s)

	written, err := yaml.Marshal(s)
	require.NoError(t, err)
	var back sections
	require.NoError(t, yaml.UnmarshalWithOptions(written, &back, yaml.Strict()))
	require.Equal(t, s, back)
}

func TestYAMLRefusesUnknownKeysAndWrongTypes(t *testing.T) {
	for _, text := range []string{"ppo: {gama: 0.9}", "ppo: {gamma: high}", "ppo: {vgs: {alhpa: 1}}", "env: {count: many}", "policy: {hidden: 64}"} {
		s := defaults()
		require.Error(t, yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict()), text)
	}
}

func TestValidateHyperparameter(t *testing.T) {
	spec := env.MountainCar{}.Spec()
	names := HyperparameterNames(spec)
	require.Len(t, names, int(kernels.NumHyperparameters)+1)
	require.Equal(t, "energy_weight", names[kernels.NumHyperparameters])
	for _, name := range names {
		require.NoError(t, ValidateHyperparameter(spec, name, .5), name)
		for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1e-3} {
			var field *FieldError
			require.ErrorAs(t, ValidateHyperparameter(spec, name, v), &field, "%s %v", name, v)
			require.Equal(t, name, field.Path)
		}
	}
	require.NoError(t, ValidateHyperparameter(spec, "energy_weight", 10))
	require.EqualError(t, ValidateHyperparameter(spec, "energy_weight", 10.5), "energy_weight: 10.5 is not valid: must be in [0, 10]")
	err := ValidateHyperparameter(spec, "lr", .5)
	require.ErrorContains(t, err, `"lr"`)
	require.ErrorContains(t, err, "learning_rate, gamma,")
	require.ErrorContains(t, err, "kl_target, energy_weight")
	require.ErrorContains(t, ValidateHyperparameter(env.CartPole{}.Spec(), "energy_weight", .5), `"energy_weight"`)
}

func TestValidateEvolvable(t *testing.T) {
	s, spec := defaults(), env.MountainCar{}.Spec()
	for _, name := range HyperparameterNames(spec) {
		err := ValidateEvolvable(spec, name, s.Critic, s.PPO)
		require.Equal(t, name == "kl_target", err != nil, "%v", err) // the KL penalty is off by default
	}
	s.PPO.KLPenalty.Enabled, s.PPO.VGS.Enabled, s.Critic.Type = true, false, kernels.QuantileCritic
	require.NoError(t, ValidateEvolvable(spec, "kl_target", s.Critic, s.PPO))
	require.ErrorContains(t, ValidateEvolvable(spec, "vgs_alpha", s.Critic, s.PPO), "ppo.vgs.enabled")
	require.ErrorContains(t, ValidateEvolvable(spec, "value_clip", s.Critic, s.PPO), "quantile")
	require.ErrorContains(t, ValidateEvolvable(spec, "lr", s.Critic, s.PPO), "learning_rate")
	require.Error(t, ValidateEvolvable(env.CartPole{}.Spec(), "energy_weight", s.Critic, s.PPO))
}
