package train

import (
	"math"
	"strings"
	"testing"

	"brood/kernels"
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
			[]string{"run.yaml:1:7: run.zzzzzzzzzz: unknown key; valid here: device, earlier, precision, schedule, seed, selection_episodes, threads, total_steps"}},
		{"text for a number", "ppo: {gamma: high}\n", nil, []string{`run.yaml:1:14: ppo.gamma: is the text "high", but a number is expected`}},
		{"quoted number", "ppo: {gamma: \"1e-1\"}\n", nil, []string{`run.yaml:1:14: ppo.gamma: is the text "1e-1", but a number is expected`}},
		{"fraction for a count", "ppo: {steps: 1.5}\n", nil, []string{"run.yaml:1:14: ppo.steps: is 1.5, but a whole number is expected"}},
		{"list for a number", "ppo: {steps: [1]}\n", nil, []string{"run.yaml:1:14: ppo.steps: is a list, but a whole number is expected"}},
		{"number for a list", "policy: {hidden: 64}\n", nil, []string{"run.yaml:1:18: policy.hidden: is 64, but a list is expected, such as [...]"}},
		{"number for a section", "env: 3\n", nil, []string{"run.yaml:1:6: env: is 3, but keys are expected here: id, count, hyperparameters, kwargs, wrappers, workers, python, timeout"}},
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

		{"number for a map", "env: {hyperparameters: 3}\n", nil,
			[]string{"run.yaml:1:24: env.hyperparameters: is 3, but names with their values are expected, such as {name: 1}"}},
		{"text in a map", "env: {id: MountainCar-v0, hyperparameters: {energy_weight: much}}\n", nil,
			[]string{`run.yaml:1:60: env.hyperparameters.energy_weight: is the text "much", but a number is expected`}},
		{"no value in a map", "env:\n  id: MountainCar-v0\n  hyperparameters:\n    energy_weight:\n", nil,
			[]string{"run.yaml:4:20: env.hyperparameters.energy_weight: has no value, but a number is expected"}},
		{"number for a name in a map", "env: {id: MountainCar-v0, hyperparameters: {7: 1}}\n", nil,
			[]string{"run.yaml:1:45: env.hyperparameters: is 7, but a name is expected"}},
		{"misspelt in a map", "env:\n  id: MountainCar-v0\n  hyperparameters:\n    energy_wait: 1\n", nil,
			[]string{"run.yaml:4:18: env.hyperparameters.energy_wait: 1 is not valid: MountainCar-v0 has no hyperparameter of its own with that name; did you mean energy_weight?"}},
		{"of no environment", "env: {hyperparameters: {energy_weight: 1}}\n", nil,
			[]string{"run.yaml:1:40: env.hyperparameters.energy_weight: 1 is not valid: CartPole-v1 has no hyperparameters of its own"}},
		{"too much of it", "env: {id: MountainCar-v0, hyperparameters: {energy_weight: 11}}\n", nil,
			[]string{"run.yaml:1:60: env.hyperparameters.energy_weight: 11 is not valid: must be in [0, 10]"}},
		{"NaN in a map", "env: {id: MountainCar-v0, hyperparameters: {energy_weight: .nan}}\n", nil,
			[]string{"run.yaml:1:60: env.hyperparameters.energy_weight: NaN is not valid: must be in [0, 10]"}},
		{"evolving too much of it", "env: {id: MountainCar-v0}\npbt: {hyperparameters: [{name: energy_weight, min: 0, max: 20}]}\n", nil,
			[]string{"run.yaml:2:60: pbt.hyperparameters.0.max: 20 is not valid: must be in [0, 10]"}},
		{"evolving another environment's", "pbt: {hyperparameters: [{name: energy_weight, min: 0, max: 1}]}\n", nil,
			[]string{`run.yaml:1:32: pbt.hyperparameters.0.name: "energy_weight" is not a hyperparameter; valid here: adam_beta1, `}},
		{"evolving a name of an unknown environment", "env: {id: MountainCar-v9}\npbt: {hyperparameters: [{name: energy_weight, min: 0, max: 1}]}\n", nil,
			[]string{`run.yaml:1:11: env.id: unknown environment "MountainCar-v9"`}},
		{"scheduling nothing", "run: {schedule: [{update: 3, name: gama, value: 0.9}]}\n", nil,
			[]string{`run.yaml:1:36: run.schedule.0.name: "gama" is not a hyperparameter; did you mean gamma?`}},
		{"scheduling no value", "run: {schedule: [{update: 3, name: entropy_coef}]}\n", nil,
			[]string{"run.yaml:1:19: run.schedule.0.value: is not set: must be a value of entropy_coef"}},
		{"scheduling what is not valid", "run: {schedule: [{update: -1, name: gamma, value: 1.5}]}\n", nil,
			[]string{"run.yaml:1:27: run.schedule.0.update: -1 is not valid: must be a number of updates, 0 for the start",
				"run.yaml:1:51: run.schedule.0.value: 1.5 is not valid: must be in [0, 1]"}},
		{"schedule out of order", "run: {schedule: [{update: 3, name: gamma, value: 0.9}, {update: 2, name: gamma, value: 0.8}]}\n", nil,
			[]string{"run.yaml:1:65: run.schedule.1.update: 2 is not valid: must be at least 3, which the element before it has"}},
		{"scheduled twice", "run: {schedule: [{update: 3, name: gamma, value: 0.9}, {update: 3, name: gamma, value: 0.8}]}\n", nil,
			[]string{`run.yaml:1:74: run.schedule.1.name: "gamma" is not valid: it is scheduled twice for update 3`}},
		{"scheduled and evolved", "run: {schedule: [{update: 3, name: learning_rate, value: 0.9}]}\n", nil,
			[]string{`run.yaml:1:36: run.schedule.0.name: "learning_rate" is not valid: pbt.hyperparameters evolves it; it can be evolved or scheduled`}},
		{"scheduling what is off", "run: {schedule: [{update: 3, name: kl_target, value: 0.9}]}\n", nil, []string{"run.yaml:1:36: run.schedule.0.name: "}},
		{"unknown key of the schedule", "run: {schedule: [{when: 3}]}\n", nil, []string{"run.yaml:1:19: run.schedule.0.when: unknown key; valid here: name, update, value"}},

		{"set: misspelt in a map", "env: {id: MountainCar-v0}\n", []string{"env.hyperparameters.energy=1"},
			[]string{"--set env.hyperparameters.energy=1: env.hyperparameters.energy: 1 is not valid: MountainCar-v0 has no hyperparameter"}},
		{"set: text in a map", "env: {id: MountainCar-v0}\n", []string{"env.hyperparameters.energy_weight=much"},
			[]string{`--set env.hyperparameters.energy_weight=much: env.hyperparameters.energy_weight: is the text "much", but a number is expected`}},
		{"set: below a map's value", "env: {id: MountainCar-v0}\n", []string{"env.hyperparameters.energy_weight.x=1"},
			[]string{"--set env.hyperparameters.energy_weight.x=1: env.hyperparameters.energy_weight.x: unknown key; env.hyperparameters.energy_weight is a single value"}},
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
			if BuiltForCUDA && strings.Contains(test.want[0], "no CUDA engine") {
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

func TestLoadMapsAndSchedule(t *testing.T) {
	text := "env: {id: MountainCar-v0, hyperparameters: {energy_weight: 0.5}}\n"
	cfg, err := load(t, text)
	require.NoError(t, err)
	assert.Equal(t, map[string]float64{"energy_weight": 0.5}, cfg.Env.Hyperparameters)
	engine, err := cfg.EngineConfig()
	require.NoError(t, err)
	assert.Equal(t, float32(0.5), engine.Hyperparameters[kernels.NumHyperparameters])

	shared := cfg.Env.Hyperparameters
	for _, s := range []string{"env.hyperparameters.energy_weight=1e0", "env.hyperparameters={energy_weight: 1}"} {
		settings, err := ParseSettings([]string{s})
		require.NoError(t, err)
		changed := cfg
		require.Empty(t, settings[0].apply(&changed, map[string]place{}))
		assert.Equal(t, map[string]float64{"energy_weight": 1}, changed.Env.Hyperparameters, s)
	}
	assert.Equal(t, map[string]float64{"energy_weight": 0.5}, shared, "a setting wrote into another configuration's map")
	for _, nothing := range []string{"env: {id: MountainCar-v0, hyperparameters: {}}\n", "env: {id: MountainCar-v0, hyperparameters:}\n"} {
		cfg, err = load(t, nothing)
		require.NoError(t, err)
		assert.Nil(t, cfg.Env.Hyperparameters)
	}

	cfg, err = load(t, text+"run: {schedule: [{name: gamma, value: 0.9}, {update: 5, name: energy_weight, value: 0}, {update: 5, name: gamma, value: 1}]}\n",
		"run.schedule.1.value=2")
	require.NoError(t, err)
	assert.Equal(t, []ScheduledValue{{0, "gamma", 0.9}, {5, "energy_weight", 2}, {5, "gamma", 1}}, cfg.Run.Schedule)
}

// The configuration a run writes is complete and gives the same run again.
func TestConfigurationRoundTrip(t *testing.T) {
	configs := map[string]string{"defaults": "", "choices": "pbt: {hyperparameters: [{name: gamma, values: [0.9, 0.99], resample_probability: 0}]}\n",
		"shaped and scheduled": "env: {id: MountainCar-v0, hyperparameters: {energy_weight: 0.1}}\nrun: {schedule: [{update: 2, name: gamma, value: 0.5}, {update: 7, name: energy_weight, value: 1e-3}]}\n",
		"evolved shaping":      "env: {id: MountainCar-v0}\npbt: {hyperparameters: [{name: energy_weight, min: 0, max: 10}]}\n",
		"no hidden layers":     "policy: {hidden: []}\npbt: {hyperparameters: []}\nppo: {learning_rate: 1.2345678901234567e-7}\nrun: {seed: 18446744073709551615}\n"}
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
		"? ppo\n: {gamma: 1}\n", "ppo: |\n  text\n", "- 1\n", "{", "pbt: {hyperparameters: [[1], 2, {}, null]}\n", "pbt: {hyperparameters: }\n", "env: {hyperparameters: {? [1] : 2, <<: 3, \"\": 4}}\n", "run: {schedule: [{}, 1, null]}\n", "*a", "\xff"} {
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
