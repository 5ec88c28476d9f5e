package train

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/ckpt"
	"brood/env/gym"
	"brood/internal/pyenv"
)

// bridged is a run of 3 members on a Gymnasium environment that exploits once.
const bridged = `
env: {id: "gymnasium:CartPole-v1", count: 5, workers: 2}
policy: {hidden: [8]}
ppo: {steps: 16, epochs: 2, minibatches: 2, normalize_observations: true, normalize_rewards: true}
pbt: {population_size: 3, perturbation_interval: 4, ready_percentage: 0.5, telemetry_episodes: 2}
checkpoint: {every: 3, keep: 2}
run: {total_steps: 1900, seed: 7, selection_episodes: 3, device: cpu}
`

// withPython makes the Python of the tests the one that runs environments, and lets
// it find those of the tests.
func withPython(t *testing.T) {
	t.Helper()
	t.Setenv(gym.PythonVariable, pyenv.Interpreter(t))
	dir, err := filepath.Abs("../env/gym/testdata")
	require.NoError(t, err)
	t.Setenv("PYTHONPATH", dir)
}

// The same seed gives the same bits, whatever the number of Python processes; a
// checkpoint of such a run is played and resumed.
func TestGymnasiumRun(t *testing.T) {
	withPython(t)
	var digests [2][32]byte
	var metrics [2]string
	var dirs [2]string
	for i, workers := range []string{"1", "2"} {
		cfg, err := load(t, bridged, "env.workers="+workers)
		require.NoError(t, err)
		dirs[i] = filepath.Join(t.TempDir(), "run")
		s := trainNew(t, cfg, Options{Dir: dirs[i], Warn: func(w string) { t.Error(w) }})
		require.Positive(t, s.Exploits)
		require.Equal(t, "gymnasium:CartPole-v1", s.Env)
		digests[i], err = Digest(dirs[i])
		require.NoError(t, err)
		text, err := os.ReadFile(filepath.Join(dirs[i], metricsFile))
		require.NoError(t, err)
		metrics[i] = string(text)
	}
	require.Equal(t, metrics[0], metrics[1])
	require.Equal(t, digests[0], digests[1])

	stored, err := Find(dirs[0])
	require.NoError(t, err)
	played, _, err := stored.Evaluate(DeviceCPU, 4, 1)
	require.NoError(t, err)
	again, _, err := stored.Evaluate(DeviceCPU, 4, 1)
	require.NoError(t, err)
	require.Equal(t, played, again, "evaluating twice from one seed")
	require.Equal(t, played.MeanLength, played.MeanReturn, "CartPole's reward is 1 per step")

	var said []string
	run, err := Resume(dirs[1], []Setting{{Key: "run.total_steps", Value: "2100"}}, Options{Warn: func(w string) { said = append(said, w) }})
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(context.Background())
	require.NoError(t, err)
	require.Len(t, said, 1)
	require.Contains(t, said[0], "begin anew")

	readWithoutPython(t, dirs[1])
}

// Actions of several choices are learned: the observation says which are right.
func TestGymnasiumSeveralChoices(t *testing.T) {
	withPython(t)
	for name, binary := range map[string]string{"MultiDiscrete": "false", "MultiBinary": "true"} {
		t.Run(name, func(t *testing.T) {
			cfg, err := load(t, `
env: {id: "gymnasium:brood_test_envs:brood/Switches-v0", count: 8}
policy: {hidden: [16]}
ppo: {steps: 40, epochs: 6, minibatches: 2, learning_rate: 1.0e-2}
pbt: {population_size: 2, perturbation_interval: 5, ready_percentage: 0.5, hyperparameters: []}
run: {total_steps: 2.0e4, selection_episodes: 2, device: cpu}
`, "env.kwargs={binary: "+binary+"}")
			require.NoError(t, err)
			dir := filepath.Join(t.TempDir(), "run")
			s := trainNew(t, cfg, Options{Dir: dir})
			require.Positive(t, s.Exploits)
			stored, err := Find(dir)
			require.NoError(t, err)
			require.Equal(t, ckpt.MultiDiscrete, stored.Env.Action.Type)
			require.Len(t, stored.Env.Action.NVec, 3)
			stored.AllowImports = true
			played, _, err := stored.Evaluate(DeviceCPU, 10, 3)
			require.NoError(t, err)
			require.Greater(t, played.MeanReturn, 28.0, "of 30; by chance it is 13 to 15")
		})
	}
}

// readWithoutPython reads the files of a run where there is no Python: nothing is
// started for that.
func readWithoutPython(t *testing.T, dir string) {
	t.Setenv(gym.PythonVariable, "/no/such/python")
	_, err := Digest(dir)
	require.NoError(t, err)
	_, err = Digest(filepath.Join(dir, bestFile))
	require.NoError(t, err)
	verdicts, err := Verify(dir)
	require.NoError(t, err)
	for _, v := range verdicts {
		require.Empty(t, v.Problems, v.Path)
	}
	_, err = ReadRun(dir)
	require.NoError(t, err)
	stored, err := Find(dir)
	require.NoError(t, err)
	require.Equal(t, "gymnasium:CartPole-v1", stored.Env.ID)
	_, _, err = stored.Evaluate(DeviceCPU, 1, 1)
	require.ErrorContains(t, err, "/no/such/python")
}

// Playing a file of somebody else's runs no program that the file names.
func TestEvaluateDoesNotRunTheProgramOfACheckpoint(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "python")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o755))
	cfg := DefaultConfig()
	cfg.Env.ID, cfg.Env.Python, cfg.Env.Described = "gymnasium:CartPole-v1", program, undescribed().Env.Described
	text, err := cfg.YAML()
	require.NoError(t, err)
	s := &Stored{Path: "stranger.ckpt", Checkpoint: &ckpt.Checkpoint{FormatVersion: ckpt.V2}}
	s.Config = string(text)
	s.Env = ckpt.EnvOf(*cfg.Env.Described)
	s.Env.ID = cfg.Env.ID
	c, err := s.engineConfig()
	require.NoError(t, err)
	t.Setenv(gym.PythonVariable, "/no/such/python")
	_, err = c.Env.(*gym.Env).Open([]int{1}, nil)
	require.ErrorContains(t, err, "/no/such/python")
	require.NoFileExists(t, mark)
}

// Failures are told to the run's Warn, and one that does not go away ends the run with
// what Python says.
func TestGymnasiumFailuresInARun(t *testing.T) {
	withPython(t)
	text := strings.Replace(bridged, "gymnasium:CartPole-v1", "gymnasium:brood_test_envs:brood/Trouble-v0", 1)
	cfg, err := load(t, text, "env.kwargs={what: raise, at: 4}")
	require.NoError(t, err)
	var said []string
	run, err := New(cfg, Options{Dir: filepath.Join(t.TempDir(), "run"), Warn: func(w string) { said = append(said, w) }})
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(context.Background())
	require.ErrorContains(t, err, "failed 3 times")
	require.ErrorContains(t, err, "Traceback")
	require.NotEmpty(t, said)
	require.Contains(t, said[0], "the step is broken")

	cfg, err = load(t, text, "env.kwargs={what: exit, at: 4, once: "+filepath.Join(t.TempDir(), "done")+"}")
	require.NoError(t, err)
	said = nil
	trainNew(t, cfg, Options{Dir: filepath.Join(t.TempDir(), "run"), Warn: func(w string) { said = append(said, w) }})
	require.Len(t, said, 1)
	require.Contains(t, said[0], "exit status 7")
}

// Gymnasium's CartPole is learned through the bridge.
func TestGymnasiumIsLearned(t *testing.T) {
	withPython(t)
	cfg, err := load(t, `
env: {id: "gymnasium:CartPole-v1", count: 16}
ppo: {steps: 64, epochs: 8, learning_rate: 2e-3}
pbt: {enabled: false, population_size: 1, hyperparameters: []}
run: {total_steps: 35000, selection_episodes: 20, device: cpu}`)
	require.NoError(t, err)
	s := trainNew(t, cfg, Options{InMemory: true})
	require.GreaterOrEqual(t, s.Members[0].Selection.MeanReturn, 195.0)
}

func TestGymnasiumConfigurations(t *testing.T) {
	withPython(t)
	for want, text := range map[string]string{
		"run.yaml:1:12: env.id: \"gymnasium:CartPol-v1\": ": `env: { id: "gymnasium:CartPol-v1" }`,
		"run.yaml:2:13: env.wrappers: ":                     "env:\n  wrappers: [\"no_such:W\"]\n  id: gymnasium:CartPole-v1",
		"run.yaml:1:36: env.kwargs: ":                       `env: {id: gymnasium:CartPole-v1, kwargs: {no_such: 1}}`,
		"run.yaml:1:15: env.kwargs: ":                       `env: {kwargs: {a: 1}}`,
		"run.yaml:1:16: env.workers: ":                      `env: {workers: 3}`,
		"run.yaml:1:34: env.workers: -1 is not valid: ":     `env: {id: gymnasium:X, workers: -1}`,
		"run.yaml:1:33: env.timeout: 0 is not valid: ":      `env: {id: gymnasium:X, timeout: 0}`,
		"run.yaml:1:11: env.id: ":                           `env: {id: "gymnasium:"}`,
		"run.yaml:1:33: env.kwargs.a: ":                     `env: {id: gymnasium:X, kwargs: {a: .nan}}`,
	} {
		_, err := load(t, text)
		require.ErrorIs(t, err, ErrConfig, text)
		place, key, _ := strings.Cut(want, ": ")
		require.ErrorContains(t, err, key, text)
		line, _, _ := strings.Cut(strings.TrimPrefix(place, "run.yaml:"), ":")
		require.ErrorContains(t, err, "run.yaml:"+line, text)
	}
}

func TestExampleOfHopper(t *testing.T) {
	text, err := os.ReadFile("../examples/hopper.yaml")
	require.NoError(t, err)
	c, err := loadOver(undescribed(), "hopper.yaml", text, nil)
	require.NoError(t, err)
	require.Equal(t, "gymnasium:Hopper-v5", c.Env.ID)
}

// Keyword arguments keep their types, also written out and read again.
func TestGymnasiumKwargs(t *testing.T) {
	want := map[string]any{"whole": int64(3), "number": 1.5, "small": 1e-3, "text": "yes", "yes": true, "none": nil,
		"list": []any{int64(1), "a", nil}, "names": map[string]any{"b": map[string]any{"c": 0.5}}}
	c, err := loadOver(undescribed(), "run.yaml", []byte(`
env:
  id: gymnasium:CartPole-v1
  kwargs: {whole: 3, number: 1.5, small: 1e-3, text: "yes", yes: true, none: null, list: [1, a, null], names: {b: {c: 0.5}}}`), nil)
	require.NoError(t, err)
	require.Equal(t, want, c.Env.Kwargs)
	text, err := c.YAML()
	require.NoError(t, err)
	again, err := loadOver(undescribed(), "again.yaml", text, []Setting{{Key: "env.kwargs.whole", Value: "4"}})
	require.NoError(t, err)
	want["whole"] = int64(4)
	require.Equal(t, want, again.Env.Kwargs)
}

// A file of somebody else's imports no code until somebody says that it may.
func TestEvaluateImportsNothingUnasked(t *testing.T) {
	withPython(t)
	dir := t.TempDir()
	mark := filepath.Join(dir, "ran")
	module := "import pathlib, gymnasium\npathlib.Path(" + strconv.Quote(mark) + ").touch()\nclass W(gymnasium.Wrapper): pass\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "marks.py"), []byte(module), 0o644))
	t.Setenv("PYTHONPATH", dir)
	cfg, err := load(t, bridged, "run.total_steps=1", "run.selection_episodes=0", "pbt.telemetry_episodes=0")
	require.NoError(t, err)
	run := filepath.Join(t.TempDir(), "run")
	trainNew(t, cfg, Options{Dir: run})
	for _, change := range []func(*Config){
		func(c *Config) { c.Env.Wrappers = []string{"gymnasium.wrappers:Autoreset", "marks:W"} },
		func(c *Config) { c.Env.ID = "gymnasium:marks:CartPole-v1" },
	} {
		stored, err := Find(run)
		require.NoError(t, err)
		change(&cfg)
		text, err := cfg.YAML()
		require.NoError(t, err)
		stored.Config = string(text)
		_, _, err = stored.Evaluate(DeviceCPU, 1, 1)
		require.ErrorIs(t, err, ErrImports)
		require.ErrorContains(t, err, "(marks")
		require.NoFileExists(t, mark)
	}
	stored, err := Find(run)
	require.NoError(t, err)
	cfg.Env.ID, cfg.Env.Wrappers = "gymnasium:CartPole-v1", []string{"marks:W"}
	text, err := cfg.YAML()
	require.NoError(t, err)
	stored.Config, stored.AllowImports = string(text), true
	_, _, err = stored.Evaluate(DeviceCPU, 1, 1)
	require.NoError(t, err)
	require.FileExists(t, mark)
}
