package convert

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"

	"brood/ckpt"
	"brood/kernels"
	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHyperparametersOfSB3(t *testing.T) {
	c := convertFixture(t, "m.zip", testdata(t, "sb3-cartpole.zip"), Options{Env: "CartPole-v1"})
	g := goldenOf(t, "sb3-cartpole")
	cfg, err := train.Load("", []byte(c.Config), nil)
	require.NoError(t, err)
	want := train.DefaultConfig()
	want.Env.Count, want.PPO.Steps, want.PPO.Epochs, want.PPO.Minibatches = g.NEnvs, g.NSteps, g.NEpochs, 4
	want.PPO.Gamma, want.PPO.GAELambda, want.PPO.ClipRange, want.PPO.LearningRate = 0.98, 0.9, 0.15, 3e-3
	want.PPO.EntropyCoef, want.PPO.ValueCoef, want.PPO.MaxGradNorm = 0.002, 0.8, 0.7
	want.PPO.AdamEps, want.PPO.VGS.Enabled = 1e-5, false
	assert.Equal(t, want.PPO, cfg.PPO)
	assert.Equal(t, want.Env.Count, cfg.Env.Count)
	assert.Equal(t, []int{16, 16}, cfg.Policy.Hidden)
	assert.EqualValues(t, 7, cfg.Run.Seed)
	assert.Equal(t, 1, cfg.PBT.PopulationSize)
	assert.False(t, cfg.PBT.Enabled)
	// The member's own are those of the configuration.
	assert.Equal(t, float32(0.98), c.member.Float32(kernels.SectionHyperparameters, "gamma")[0])
	assert.Equal(t, float32(3e-3), c.member.Float32(kernels.SectionHyperparameters, "learning_rate")[0])
	assert.Equal(t, g.NumTimesteps/int64(g.NSteps)/g.NEnvs, c.Step)
	assert.Empty(t, c.report.Notes)
	assert.Empty(t, c.report.Defaults)

	c = convertFixture(t, "m.zip", testdata(t, "sb3-pendulum.zip"), Options{Env: "Pendulum-v1", Settings: []train.Setting{{Origin: "--set", Key: "ppo.epochs", Value: "3"}}})
	assert.Equal(t, kernels.ReLU, c.report.Activation)
	assert.Equal(t, kernels.ReLU, c.config.Activation)
	assert.Equal(t, 3, c.config.Epochs)
	require.Len(t, c.report.Notes, 1)
	assert.Contains(t, c.report.Notes[0], "learning_rate is a pickled object, such as a schedule, and pickles are not opened: 0.00025 is used; --set ppo.learning_rate=")
	require.Len(t, c.report.Defaults, 1)
	assert.Equal(t, "ppo.learning_rate", c.report.Defaults[0].Key)
}

// edited is the zip with its data changed, as Stable-Baselines3 would have saved it.
func edited(t testing.TB, name string, change func(map[string]any)) []byte {
	t.Helper()
	return rezip(t, testdata(t, name), func(entry string, content []byte) []byte {
		if entry != "data" {
			return content
		}
		var data map[string]any
		require.NoError(t, json.Unmarshal(content, &data))
		change(data)
		content, err := json.Marshal(data)
		require.NoError(t, err)
		return content
	})
}

// rezip writes a zip archive again with the entries that change returns; nil leaves
// one out.
func rezip(t testing.TB, data []byte, change func(name string, content []byte) []byte) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range r.File {
		in, err := f.Open()
		require.NoError(t, err)
		content, err := io.ReadAll(in)
		require.NoError(t, err)
		if content = change(f.Name, content); content != nil {
			store(t, w, f.Name, content)
		}
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func store(t testing.TB, w *zip.Writer, name string, content []byte) {
	t.Helper()
	e, err := w.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(content),
		CompressedSize64: uint64(len(content)), UncompressedSize64: uint64(len(content))})
	require.NoError(t, err)
	_, err = e.Write(content)
	require.NoError(t, err)
}

func TestWhatSB3CannotSay(t *testing.T) {
	for name, test := range map[string]struct {
		key   string
		value any
		note  string
	}{
		"a schedule of the clip range": {"clip_range", map[string]any{":serialized:": "gAQu", "value_schedule": "<function f at 0x7f>"},
			"clip_range is a pickled object, such as a schedule, and pickles are not opened: ppo.clip_range is 0.2; --set ppo.clip_range=..."},
		"no gamma":        {"gamma", nil, "gamma is None: ppo.gamma is 0.99; --set ppo.gamma=..."},
		"batches of 100":  {"batch_size", 100, "batch_size 100 does not divide the 512 rows of a rollout, and minibatches here are equal: 4 of 128 rows are used"},
		"VecNormalize":    {"_last_original_obs", map[string]any{":serialized:": "gAQu"}, "its statistics are in another file (vecnormalize.pkl)"},
		"old SB3":         {"normalize_advantage", nil, "normalize_advantage is not in the file: true"},
		"a learning rate": {"learning_rate", "x", `learning_rate is "\"x\"" and not a number: 0.003 is used, which the optimizer had last`},
	} {
		t.Run(name, func(t *testing.T) {
			data := edited(t, "sb3-cartpole.zip", func(d map[string]any) { d[test.key] = test.value })
			c := convertFixture(t, "m.zip", data, Options{Env: "CartPole-v1"})
			require.Len(t, c.report.Notes, 1)
			assert.Contains(t, c.report.Notes[0], test.note)
		})
	}
	data := edited(t, "sb3-cartpole.zip", func(d map[string]any) {
		d["clip_range_vf"], d["target_kl"] = map[string]any{"value_schedule": "ConstantSchedule(val=0.4)"}, 0.03
	})
	c := convertFixture(t, "m.zip", data, Options{Env: "CartPole-v1"})
	assert.Equal(t, float32(0.4), c.config.Hyperparameters[kernels.ValueClip])
	assert.Equal(t, float32(0.03), c.config.TargetKL)
}

func TestWithoutTheOptimizer(t *testing.T) {
	data := rezip(t, testdata(t, "sb3-cartpole.zip"), func(name string, content []byte) []byte {
		if name == "policy.optimizer.pth" {
			return nil
		}
		return content
	})
	c := convertFixture(t, "m.zip", data, Options{Env: "CartPole-v1"})
	assert.False(t, c.HasOptimizerState)
	assert.Contains(t, c.report.Notes[0], "no policy.optimizer.pth")
	assert.Zero(t, c.report.OptimizerSteps)
	assert.Contains(t, c.report.Defaults, Taken{Key: "ppo.adam_eps", Value: 1e-5})
}

// A model that was never trained has an optimizer that has done no step.
func TestUntrained(t *testing.T) {
	data := edited(t, "refused-elu.zip", func(d map[string]any) { d["policy_kwargs"] = map[string]any{"net_arch": []int{4}} })
	c := convertFixture(t, "m.zip", data, Options{Env: "CartPole-v1"})
	assert.True(t, c.HasOptimizerState)
	assert.Zero(t, c.member.Int64(kernels.SectionOptimizer, "step")[0])
	assert.Zero(t, c.Step)
	assert.Equal(t, []int{4}, c.report.Hidden)
}

func TestRefusals(t *testing.T) {
	cartpole, set := Options{Env: "CartPole-v1"}, func(arg string) Options {
		settings, err := train.ParseSettings([]string{arg})
		require.NoError(t, err)
		return Options{Env: "CartPole-v1", Settings: settings}
	}
	sb3 := func(key string, value any) []byte {
		return edited(t, "sb3-cartpole.zip", func(d map[string]any) { d[key] = value })
	}
	model, weights := testdata(t, "sb3-cartpole.zip"), testdata(t, "cleanrl-cartpole.safetensors")
	for name, test := range map[string]struct {
		data []byte
		o    Options
		kind error
		want string
	}{
		"gSDE":                {testdata(t, "refused-sde.zip"), Options{Env: "Pendulum-v1"}, ErrRefused, "use_sde"},
		"A2C":                 {testdata(t, "refused-a2c.zip"), cartpole, ErrRefused, "has no n_epochs"},
		"DQN":                 {testdata(t, "refused-dqn.zip"), cartpole, ErrRefused, `"q_net.q_net.0.weight" is of a Q network (DQN)`},
		"ELU":                 {testdata(t, "refused-elu.zip"), cartpole, ErrRefused, "activation.ELU'>\"; brood has torch.nn.Tanh and torch.nn.ReLU"},
		"widths":              {testdata(t, "refused-widths.zip"), cartpole, ErrRefused, "the actor has 4 inputs and hidden layers [4], the critic 4 and [6]"},
		"no environment":      {model, Options{}, ErrMismatch, "give it with --env (Acrobot-v1, CartPole-v1,"},
		"unknown environment": {model, Options{Env: "CartPole-v2"}, ErrMismatch, `"CartPole-v2"`},
		"observations":        {model, Options{Env: "Acrobot-v1"}, ErrMismatch, "take 4 observations, and Acrobot-v1 has 6"},
		"continuous":          {testdata(t, "cleanrl-pendulum.safetensors"), Options{Env: "CartPole-v1"}, ErrMismatch, "take 3 observations, and CartPole-v1 has 4"},
		"activation":          {model, Options{Env: "CartPole-v1", Activation: kernels.ReLU}, ErrMismatch, "the file's activation is tanh, and relu is asked for"},
		"no activation":       {weights, Options{Env: "CartPole-v1", Activation: "gelu"}, ErrMismatch, `the activation "gelu"; must be tanh or relu`},
		"fixed":               {model, set("policy.hidden=[8]"), ErrMismatch, "policy.hidden cannot be set"},
		"a part of fixed":     {model, set("policy={}"), ErrMismatch, "policy cannot be set"},
		"invalid":             {model, set("ppo.gamma=2"), train.ErrConfig, "--set ppo.gamma=2: ppo.gamma: 2 is not valid"},
		"quantiles":           {model, set("critic.type=quantile"), ErrMismatch, "critic has 1 outputs, and one of critic.type quantile has 32"},
		"gamma of the file":   {sb3("gamma", 7), cartpole, train.ErrConfig, "ppo.gamma: 7 is not valid: must be in [0, 1]"},
		"no steps":            {sb3("n_steps", 0), cartpole, ErrDamaged, "n_steps is 0; want a whole number from 1"},
		"half a step":         {sb3("n_steps", 1.5), cartpole, ErrDamaged, "n_steps is 1.5"},
		"many environments":   {sb3("n_envs", 1<<30), cartpole, ErrRefused, "at most 65536 environments"},
		"many rows":           {sb3("n_steps", 1<<30), cartpole, ErrRefused, "16777216 steps"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Bytes("m.zip", test.data, test.o)
			require.ErrorIs(t, err, test.kind)
			assert.ErrorContains(t, err, test.want)
			assert.ErrorContains(t, err, "m.zip")
		})
	}
}

func TestTheFileNamesItsEnvironment(t *testing.T) {
	data := withHeader(t, testdata(t, "cleanrl-cartpole.safetensors"), func(h map[string]any) {
		h["__metadata__"] = map[string]string{"env_id": "CartPole-v1"}
	})
	assert.Equal(t, "CartPole-v1", convertFixture(t, "m", data, Options{}).report.Env)
	_, _, err := Bytes("m", data, Options{Env: "Pendulum-v1"})
	require.ErrorContains(t, err, `the file is of an agent for "CartPole-v1", and the environment asked for is "Pendulum-v1"`)
}

// brood's own names, with which its checkpoints' policies come from Python, are read.
func TestBroodsOwnNames(t *testing.T) {
	data := withHeader(t, testdata(t, "cleanrl-pendulum.safetensors"), func(h map[string]any) {
		for theirs, ours := range cleanrlContinuous {
			value := h[theirs]
			delete(h, theirs)
			h[ours] = value
		}
		h["log_std"].(map[string]any)["shape"] = []int{1}
	})
	theirs := convertFixture(t, "m", testdata(t, "cleanrl-pendulum.safetensors"), Options{Env: "Pendulum-v1"})
	ours := convertFixture(t, "m", data, Options{Env: "Pendulum-v1"})
	assert.Equal(t, theirs.member.Bytes(), ours.member.Bytes())
}

func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.ckpt")
	model := filepath.Join("testdata", "sb3-cartpole.zip")
	require.NoError(t, os.WriteFile(out, []byte("mine"), 0o644))
	_, err := File(model, out, Options{Env: "CartPole-v1"})
	require.ErrorIs(t, err, ErrExists)
	assert.ErrorContains(t, err, out)
	// Also where it appears while the file is read.
	require.ErrorIs(t, ckpt.WriteNew(out, []byte("other")), ErrExists)
	kept, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(kept))
	// A conversion that fails leaves nothing.
	_, err = File(model, filepath.Join(dir, "new.ckpt"), Options{Env: "Acrobot-v1"})
	require.ErrorIs(t, err, ErrMismatch)
	_, err = File(model, filepath.Join(dir, "none", "new.ckpt"), Options{Env: "CartPole-v1"})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = File(dir, filepath.Join(dir, "new.ckpt"), Options{Env: "CartPole-v1"})
	require.ErrorContains(t, err, "is not a file; want a zip of Stable-Baselines3")
	names, err := ckpt.OS.ReadDir(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"out.ckpt"}, names)
	// And one that succeeds is whole.
	report, err := File(model, filepath.Join(dir, "new.ckpt"), Options{Env: "CartPole-v1"})
	require.NoError(t, err)
	c, err := ckpt.ReadFile(ckpt.OS, report.Checkpoint)
	require.NoError(t, err)
	assert.True(t, c.Verified)
}
