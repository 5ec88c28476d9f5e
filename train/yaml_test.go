package train

import (
	"math"
	"strings"
	"testing"

	"brood/presets"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// load reads a configuration of the text and --set arguments.
func load(t *testing.T, text string, set ...string) (Config, error) {
	t.Helper()
	settings, err := ParseSettings(set)
	require.NoError(t, err)
	return Load("run.yaml", []byte(text), settings)
}

func TestBadConfigurations(t *testing.T) {
	tests := []struct {
		name, text string
		set        []string
		want       []string // each a whole line of the error
	}{
		{"unknown key", "ppo:\n  learning_rat: 1\n", nil,
			[]string{"run.yaml:2:3: ppo.learning_rat: unknown key; did you mean learning_rate?"}},
		{"unknown section", "popo: {}\n", nil, []string{"run.yaml:1:1: popo: unknown key; did you mean ppo?"}},
		{"key far from any", "run: {zzzzzzzzzz: 1}\n", nil,
			[]string{"run.yaml:1:7: run.zzzzzzzzzz: unknown key; valid here: device, precision, seed, selection_episodes, threads, total_steps"}},
		{"text for a number", "ppo: {gamma: high}\n", nil, []string{`run.yaml:1:14: ppo.gamma: is the text "high", but a number is expected`}},
		{"quoted number", "ppo: {gamma: \"1e-1\"}\n", nil, []string{`run.yaml:1:14: ppo.gamma: is the text "1e-1", but a number is expected`}},
		{"fraction for a count", "ppo: {steps: 1.5}\n", nil, []string{"run.yaml:1:14: ppo.steps: is 1.5, but a whole number is expected"}},
		{"list for a number", "ppo: {steps: [1]}\n", nil, []string{"run.yaml:1:14: ppo.steps: is a list, but a whole number is expected"}},
		{"number for a list", "policy: {hidden: 64}\n", nil, []string{"run.yaml:1:18: policy.hidden: is 64, but a list is expected, such as [...]"}},
		{"number for a section", "env: 3\n", nil, []string{"run.yaml:1:6: env: is 3, but keys are expected here: id, count"}},
		{"text for a switch", "ppo: {vgs: {enabled: maybe}}\n", nil, []string{`run.yaml:1:22: ppo.vgs.enabled: is the text "maybe", but true or false is expected`}},
		{"number for a name", "env: {id: 7}\n", nil, []string{"run.yaml:1:11: env.id: is 7, but text is expected"}},
		{"negative seed", "run: {seed: -1}\n", nil, []string{"run.yaml:1:13: run.seed: is -1, but a whole number, 0 or above is expected"}},
		{"no value", "ppo:\n  gamma:\n", nil, []string{"run.yaml:2:10: ppo.gamma: has no value, but a number is expected"}},
		{"key of a list element", "pbt: {hyperparameters: [{nam: gamma}]}\n", nil,
			[]string{"run.yaml:1:26: pbt.hyperparameters.0.nam: unknown key; did you mean name?"}},
		{"two mistakes", "ppo: {gama: 1}\nrun: {sed: 1}\n", nil, []string{
			"run.yaml:1:7: ppo.gama: unknown key; did you mean gamma?", "run.yaml:2:7: run.sed: unknown key; did you mean seed?"}},
		{"two documents", "{}\n---\n{}\n", nil, []string{"run.yaml: 2 YAML documents; a configuration is one"}},
		{"anchor", "ppo: &a {gamma: 0.9}\n", nil, []string{"run.yaml:1:6: ppo: YAML anchors, aliases and tags are not supported in a configuration; write the value out"}},

		{"minibatches that do not divide", "env: {count: 5}\nppo: {steps: 3, minibatches: 4}\n", nil, []string{"run.yaml:2:30: ppo.minibatches: "}},
		{"NaN", "ppo: {learning_rate: .nan}\n", nil, []string{"run.yaml:1:22: ppo.learning_rate: NaN is not valid: "}},
		{"infinity", "ppo: {max_grad_norm: .inf}\n", nil, []string{"run.yaml:1:22: ppo.max_grad_norm: +Inf is not valid: "}},
		{"infinity where none is said", "policy: {log_std_init: -.inf}\n", nil, []string{"run.yaml:1:24: policy.log_std_init: -Inf is not valid: "}},
		{"empty range", "pbt: {hyperparameters: [{name: gamma, min: 0.9, max: 0.9}]}\n", nil, []string{"run.yaml:1:44: pbt.hyperparameters.0.min: "}},
		{"NaN in a range", "pbt: {hyperparameters: [{name: gamma, min: .nan, max: 0.9}]}\n", nil, []string{"run.yaml:1:44: pbt.hyperparameters.0.min: NaN is not valid: "}},
		{"range past what is valid", "pbt: {hyperparameters: [{name: gamma, min: 0.9, max: 1.1}]}\n", nil, []string{"run.yaml:1:54: pbt.hyperparameters.0.max: 1.1 is not valid: "}},
		{"evolving nothing", "pbt: {hyperparameters: [{name: gama, min: 0.1, max: 0.9}]}\n", nil,
			[]string{`run.yaml:1:32: pbt.hyperparameters.0.name: "gama" is not a hyperparameter; did you mean gamma?`}},
		{"evolving what is off", "pbt: {hyperparameters: [{name: kl_target, min: 0.1, max: 0.9}]}\n", nil, []string{"run.yaml:1:32: pbt.hyperparameters.0.name: "}},
		{"unknown environment", "env: {id: CartPole-v9}\n", nil, []string{`run.yaml:1:11: env.id: unknown environment "CartPole-v9" (did you mean "CartPole-v1"?)`}},
		{"unknown strategy", "pbt: {optimizer_exploit_strategy: keep}\n", nil, []string{`run.yaml:1:35: pbt.optimizer_exploit_strategy: "keep" is not valid: `}},
		{"no checkpoints to keep", "checkpoint: {keep: 0}\n", nil, []string{"run.yaml:1:20: checkpoint.keep: 0 is not valid: must be at least 1"}},
		{"no steps", "run: {total_steps: 0}\n", nil, []string{"run.yaml:1:20: run.total_steps: 0 is not valid: "}},
		{"no such device", "run: {device: tpu}\n", nil, []string{`run.yaml:1:15: run.device: "tpu" is not valid: must be auto, cpu, cuda or cuda:N`}},
		{"a device this build has not", "run: {device: cuda:1}\n", nil, []string{`run.yaml:1:15: run.device: "cuda:1" is not available: this build has no CUDA engine`}},

		{"set: unknown key", "", []string{"ppo.gama=1"}, []string{"--set ppo.gama=1: ppo.gama: unknown key; did you mean gamma?"}},
		{"set: below a value", "", []string{"ppo.gamma.x=1"}, []string{"--set ppo.gamma.x=1: ppo.gamma.x: unknown key; ppo.gamma is a single value"}},
		{"set: past the list", "", []string{"pbt.hyperparameters.4.min=1"},
			[]string{"--set pbt.hyperparameters.4.min=1: pbt.hyperparameters.4: no such element; pbt.hyperparameters is a list of 1, counted from 0"}},
		{"set: wrong type", "", []string{"ppo.steps=many"}, []string{`--set ppo.steps=many: ppo.steps: is the text "many", but a whole number is expected`}},
		{"set: no value", "", []string{"ppo.steps="}, []string{"--set ppo.steps=: ppo.steps: there is no value after ="}},
		{"set: not valid", "ppo: {gamma: 0.5}\n", []string{"ppo.gamma=2"}, []string{"--set ppo.gamma=2: ppo.gamma: 2 is not valid: "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if builtForCUDA && strings.Contains(test.want[0], "no CUDA engine") {
				t.Skip("this build has one")
			}
			_, err := load(t, test.text, test.set...)
			require.ErrorIs(t, err, ErrConfig)
			lines := strings.Split(err.Error(), "\n")
			require.Len(t, lines, len(test.want), err.Error())
			for i, want := range test.want {
				assert.True(t, strings.HasPrefix(lines[i], want), "got  %s\nwant %s", lines[i], want)
			}
		})
	}
	t.Run("not YAML", func(t *testing.T) {
		_, err := load(t, "ppo: {gamma\n")
		require.ErrorIs(t, err, ErrConfig)
		assert.Contains(t, err.Error(), "run.yaml: not valid YAML: ")
	})
	t.Run("set without a value", func(t *testing.T) {
		_, err := ParseSettings([]string{"gamma"})
		require.ErrorIs(t, err, ErrConfig)
		assert.Equal(t, "--set gamma: want KEY=VALUE, such as ppo.learning_rate=1e-3", err.Error())
	})
}

func TestLoadLayersDefaultsFileAndSettings(t *testing.T) {
	cfg, err := load(t, "ppo: {gamma: 0.5, clip_range: 1e-1}\nrun:\n", "ppo.gamma=9e-1", "policy.hidden=[8, 4]", "run.total_steps=1e6",
		"pbt.hyperparameters.0.min=2e-5", "run.seed=18446744073709551615")
	require.NoError(t, err)
	assert.Equal(t, 0.9, cfg.PPO.Gamma)
	assert.Equal(t, 0.1, cfg.PPO.ClipRange)
	assert.Equal(t, []int{8, 4}, cfg.Policy.Hidden)
	assert.EqualValues(t, 1_000_000, cfg.Run.TotalSteps)
	assert.Equal(t, 2e-5, *cfg.PBT.Hyperparameters[0].Min)
	assert.EqualValues(t, uint64(math.MaxUint64), cfg.Run.Seed)
	assert.Equal(t, DefaultConfig().PPO.GAELambda, cfg.PPO.GAELambda, "an unnamed key keeps its default")
	assert.Equal(t, 1e-5, *DefaultConfig().PBT.Hyperparameters[0].Min, "a setting must not write the defaults")
}

// The configuration a run writes is complete and gives the same run again.
func TestConfigurationRoundTrip(t *testing.T) {
	configs := map[string]string{"defaults": "", "choices": "pbt: {hyperparameters: [{name: gamma, values: [0.9, 0.99], resample_probability: 0}]}\n",
		"no hidden layers": "policy: {hidden: []}\npbt: {hyperparameters: []}\nppo: {learning_rate: 1.2345678901234567e-7}\nrun: {seed: 18446744073709551615}\n"}
	for _, p := range presets.All() {
		text, err := p.YAML()
		require.NoError(t, err)
		configs["preset "+p.Name] = string(text)
	}
	for name, text := range configs {
		t.Run(name, func(t *testing.T) {
			cfg, err := load(t, text)
			require.NoError(t, err)
			written, err := cfg.YAML()
			require.NoError(t, err)
			again, err := load(t, string(written))
			require.NoError(t, err, string(written))
			cfg.places, again.places = nil, nil
			if len(cfg.Policy.Hidden) == 0 { // nil and [] are the same list
				cfg.Policy.Hidden, again.Policy.Hidden = nil, nil
			}
			if len(cfg.PBT.Hyperparameters) == 0 {
				cfg.PBT.Hyperparameters, again.PBT.Hyperparameters = nil, nil
			}
			assert.Equal(t, cfg, again)
			for _, key := range Keys() {
				if !strings.Contains(key, "*") {
					last := key[strings.LastIndexByte(key, '.')+1:]
					assert.Contains(t, string(written), last+":", "config.yaml lacks %s", key)
				}
			}
		})
	}
}

func TestPresetsTrainOnTheirEnvironment(t *testing.T) {
	for _, p := range presets.All() {
		text, err := p.YAML()
		require.NoError(t, err)
		cfg, err := Load(p.Name, text, nil)
		require.NoError(t, err)
		assert.Equal(t, p.Environment, cfg.Env.ID)
		assert.Equal(t, 8, cfg.PBT.PopulationSize)
	}
	_, found := presets.Find(presets.Default)
	assert.True(t, found)
}

// Whatever the text, Load returns an error or a valid configuration.
func FuzzLoad(f *testing.F) {
	for _, p := range presets.All() {
		text, err := p.YAML()
		require.NoError(f, err)
		f.Add(text)
	}
	for _, text := range []string{"# nothing\n", "%YAML 1.2\n---\nrun: {seed: 1}\n", "ppo: !!map {gamma: !!float 1}\n", "ppo: {<<: {gamma: 1}}\n",
		"? ppo\n: {gamma: 1}\n", "ppo: |\n  text\n", "- 1\n", "{", "pbt: {hyperparameters: [[1], 2, {}, null]}\n", "pbt: {hyperparameters: }\n", "*a", "\xff"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := Load("run.yaml", text, nil)
		if err != nil {
			require.ErrorIs(t, err, ErrConfig)
			return
		}
		require.NoError(t, cfg.Validate())
	})
}
