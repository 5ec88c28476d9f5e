package export

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"brood/internal/pyenv"
	"brood/internal/witness"
	"brood/kernels"
	"brood/train"
)

// The runs of agents that have learned: their play tells a good file from a bad one.
const (
	learnedCartPole = `
env: {id: CartPole-v1, count: 16}
ppo: {steps: 64, epochs: 8, learning_rate: 2.0e-3}
pbt: {population_size: 2, hyperparameters: []}
run: {total_steps: 200000, selection_episodes: 10, device: cpu}`
	learnedPendulum = `
env: {id: Pendulum-v1, count: 16}
policy: {hidden: [33, 17], activation: relu}
critic: {type: quantile, quantiles: 11}
ppo: {steps: 64, epochs: 10, learning_rate: 1.0e-3, gamma: 0.9, normalize_observations: true, normalize_rewards: true}
pbt: {population_size: 2, hyperparameters: []}
run: {total_steps: 400000, selection_episodes: 10, device: cpu}`
)

// runs are the folders of those that were trained, by their configurations: each is
// trained once.
var runs = struct {
	dir     string
	folders map[string]string
}{folders: map[string]string{}}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "brood-export-*")
	if err != nil {
		panic(err)
	}
	runs.dir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// trained trains a run to its end, where that was not done, and returns its best
// member, with the configuration of an engine of it.
func trained(t *testing.T, config string) (*train.Stored, *kernels.Config) {
	t.Helper()
	cfg, err := train.Load("test.yaml", []byte(config), nil)
	require.NoError(t, err)
	dir, done := runs.folders[config]
	if !done {
		dir = filepath.Join(runs.dir, strconv.Itoa(len(runs.folders)))
		r, err := train.New(cfg, train.Options{Dir: dir})
		require.NoError(t, err)
		_, err = r.Train(context.Background())
		require.NoError(t, err)
		require.NoError(t, r.Close())
		runs.folders[config] = dir
	}
	stored, err := train.Find(dir)
	require.NoError(t, err)
	c, err := cfg.EngineConfig()
	require.NoError(t, err)
	return stored, c
}

// script runs a Python script on a request and reads its answer.
func script(t *testing.T, path string, request map[string]any, answer any) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	input, err := json.Marshal(request)
	require.NoError(t, err)
	output := pyenv.Run(t, string(text), input)
	require.NoError(t, json.Unmarshal(output, answer), "%s", output)
}

// model is what testdata/model.py says.
type model struct {
	Inputs, Outputs []struct {
		Name, Type string
		Shape      []any
	}
	Metadata        map[string]string
	Producer        string
	Operators       []string
	Actions, Values []float32
	Quantiles       [][]float32
}

const playScript = "../train/testdata/play.py"

// ONNX Runtime does what the engine does, step by step, and values what it values.
// The agents that have learned play in the real Gymnasium as they do here.
func TestONNXRuntimeActsAsTheEngine(t *testing.T) {
	pyenv.Interpreter(t) // skips before the training where there is none
	for name, test := range map[string]struct {
		config string
		// floor is a score in Gymnasium that an untrained agent does not have; 0: the
		// agent has not learned enough to be played.
		floor     float64
		operators []string
	}{
		"CartPole":                              {learnedCartPole, 200, []string{"ArgMax", "Gemm", "Squeeze", "Tanh"}},
		"Pendulum, normalised, relu, quantiles": {learnedPendulum, -800, []string{"Clip", "Gemm", "Identity", "Max", "Min", "Mul", "ReduceMean", "Relu", "Sub"}},
		"several choices":                       {learnedSwitches, 28, []string{"ArgMax", "Clip", "Concat", "Gemm", "Mul", "Slice", "Squeeze", "Sub", "Tanh"}},
		"CartPole, normalised, relu, quantiles": {`
env: {id: CartPole-v1, count: 16}
policy: {hidden: [24, 33, 5], activation: relu}
critic: {type: quantile, quantiles: 32}
ppo: {steps: 64, learning_rate: 2.0e-3, normalize_observations: true}
pbt: {population_size: 1}
run: {total_steps: 8192, selection_episodes: 0, device: cpu}`, 0, nil},
		"Pendulum, linear": {`
env: {id: Pendulum-v1, count: 16}
policy: {hidden: []}
ppo: {steps: 64, learning_rate: 1.0e-2}
pbt: {population_size: 1}
run: {total_steps: 8192, selection_episodes: 0, device: cpu}`, 0, []string{"Gemm", "Max", "Min", "Squeeze"}},
	} {
		t.Run(name, func(t *testing.T) {
			stored, c := trained(t, test.config)
			path := filepath.Join(t.TempDir(), "agent.onnx")
			_, err := File(stored.Checkpoint, ONNX, path)
			require.NoError(t, err)
			requireModel(t, path, stored, c, test.operators)
			w := witness.Play(t, c, stored.Checkpoint, 5)
			var theirs []float32 // one observation at a time
			script(t, playScript, map[string]any{"onnx": path, "observations": w.Seen, "path": twins(t)}, &theirs)
			w.RequireSameActions(t, theirs)
			if test.floor != 0 {
				requireSameScore(t, path, stored, test.floor)
			}
		})
	}
}

func requireModel(t *testing.T, path string, stored *train.Stored, c *kernels.Config, operators []string) {
	w := witness.Play(t, c, stored.Checkpoint, 20)
	var m model
	script(t, "testdata/model.py", map[string]any{"model": path, "observations": w.Seen}, &m)
	w.RequireSameActions(t, m.Actions)

	require.Len(t, m.Inputs, 1)
	require.Equal(t, "observation", m.Inputs[0].Name)
	require.Equal(t, []any{"batch", float64(c.Env.Spec().ObsDim)}, m.Inputs[0].Shape)
	require.Equal(t, "action", m.Outputs[0].Name)
	require.Equal(t, "value", m.Outputs[1].Name)
	require.Equal(t, []any{"batch"}, m.Outputs[1].Shape)
	kind, shape := "tensor(float)", []any{"batch", 1.0}
	switch space := c.Env.Spec().Action; {
	case len(space.NVec) > 0:
		kind, shape = "tensor(int64)", []any{"batch", float64(len(space.NVec))}
		require.Equal(t, "[3,2,2]", m.Metadata["action_nvec"])
		require.Equal(t, "multi_discrete", m.Metadata["action_type"])
	case space.Discrete:
		kind, shape = "tensor(int64)", []any{"batch"}
	}
	require.Equal(t, kind, m.Outputs[0].Type)
	require.Equal(t, shape, m.Outputs[0].Shape)
	assert.Equal(t, stored.Env.ID, m.Metadata["env_id"])
	assert.NotEmpty(t, m.Metadata["brood_version"])
	assert.Contains(t, m.Metadata, "step")
	assert.Equal(t, "brood", m.Producer)
	if operators != nil {
		assert.Equal(t, operators, m.Operators)
	}

	observations, values := witness.Values(t, c, stored.Checkpoint)
	script(t, "testdata/model.py", map[string]any{"model": path, "observations": observations}, &m)
	require.Len(t, m.Values, len(values))
	scale := 0.0 // a value near 0 is the difference of larger ones
	for _, v := range values {
		scale = max(scale, math.Abs(float64(v)))
	}
	for i, v := range values {
		require.InDelta(t, v, m.Values[i], 1e-5*scale, "row %d", i)
	}
	if c.Critic.Type == kernels.QuantileCritic {
		require.Len(t, m.Outputs, 3)
		require.Equal(t, []any{"batch", float64(c.Critic.Quantiles)}, m.Outputs[2].Shape)
		for i, quantiles := range m.Quantiles {
			mean := 0.0
			for _, q := range quantiles {
				mean += float64(q) / float64(len(quantiles))
			}
			require.InDelta(t, mean, m.Values[i], 1e-5*scale)
		}
	} else {
		require.Len(t, m.Outputs, 2)
	}
}

func requireSameScore(t *testing.T, path string, stored *train.Stored, floor float64) {
	const episodes = 100
	ours, _, err := stored.Evaluate(train.DeviceCPU, episodes, 1)
	require.NoError(t, err)
	var theirs train.Played
	script(t, playScript, map[string]any{"onnx": path, "episodes": episodes, "path": twins(t)}, &theirs)
	t.Logf("here %.2f +- %.2f, in Gymnasium %.2f +- %.2f", ours.MeanReturn, ours.StdReturn, theirs.MeanReturn, theirs.StdReturn)
	// Different starting states: the means differ by their noise.
	noise := math.Hypot(ours.StdReturn, theirs.StdReturn) / math.Sqrt(episodes)
	require.InDelta(t, ours.MeanReturn, theirs.MeanReturn, 4*noise+1e-9)
	require.Greater(t, theirs.MeanReturn, floor, "it has learned nothing: the comparison would prove little")
}

// Python's own readers find every tensor of the checkpoint, bit for bit.
func TestTensorsInPython(t *testing.T) {
	pyenv.Interpreter(t)
	for name, test := range map[string]struct {
		config string
		want   map[string]string
	}{
		"CartPole": {`
env: {id: CartPole-v1, count: 4}
pbt: {population_size: 1}
run: {total_steps: 1, selection_episodes: 0, device: cpu}`, map[string]string{"env_id": "CartPole-v1", "step": "1", "action_type": "discrete",
			"action_n": "2", "obs_dim": "4", "hidden": "[64,64]", "activation": "tanh", "critic_type": "scalar", "critic_outputs": "1", "normalize_observations": "false"}},
		"Pendulum, normalised": {`
env: {id: Pendulum-v1, count: 4}
policy: {hidden: [3], activation: relu}
critic: {type: quantile, quantiles: 5}
ppo: {normalize_observations: true}
pbt: {population_size: 1}
run: {total_steps: 1, selection_episodes: 0, device: cpu}`, map[string]string{"env_id": "Pendulum-v1", "step": "1", "action_type": "continuous",
			"action_n": "1", "action_low": "[-2]", "action_high": "[2]", "obs_dim": "3", "hidden": "[3]", "activation": "relu",
			"critic_type": "quantile", "critic_outputs": "5", "normalize_observations": "true"}},
	} {
		t.Run(name, func(t *testing.T) {
			stored, c := trained(t, test.config)
			request := map[string]any{"checkpoint": stored.Path, "normalized": c.NormalizeObservations}
			for _, format := range []Format{Safetensors, NPZ} {
				path := filepath.Join(t.TempDir(), "agent")
				_, err := File(stored.Checkpoint, format, path)
				require.NoError(t, err)
				request[string(format)] = path
			}
			var metadata map[string]string
			script(t, "testdata/tensors.py", request, &metadata)
			assert.NotEmpty(t, metadata["brood_version"])
			delete(metadata, "brood_version")
			assert.Equal(t, test.want, metadata)
		})
	}
}
