package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConvert(t *testing.T) {
	dir := t.TempDir()
	fixtures, err := filepath.Abs("../../convert/testdata")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(fixtures, filepath.Join(dir, "in")))

	out, errs, code := brood(t, dir, "convert", "in/sb3-cartpole.zip", "a.ckpt", "--env", "CartPole-v1", "--set", "ppo.gamma=0.97", "--json")
	require.Zero(t, code, errs)
	assert.Empty(t, errs)
	report := object(t, out)
	assert.Equal(t, "a.ckpt", report["checkpoint"])
	assert.Equal(t, "Stable-Baselines3 PPO", report["kind"])
	assert.Equal(t, []any{16.0, 16.0}, report["hidden"])
	assert.EqualValues(t, 12288, report["env_steps"])
	assert.EqualValues(t, 24, report["updates"])
	assert.Equal(t, true, report["has_optimizer_state"])
	assert.Equal(t, []any{}, report["notes"])
	taken := map[string]any{}
	for _, value := range report["taken"].([]any) {
		taken[value.(map[string]any)["key"].(string)] = value.(map[string]any)["value"]
	}
	assert.Equal(t, 0.97, taken["ppo.gamma"], "--set counts last")
	assert.Equal(t, 0.003, taken["ppo.learning_rate"])
	assert.Equal(t, 0.8, taken["ppo.value_coef"])

	out, errs, code = brood(t, dir, "eval", "a.ckpt", "--json", "--episodes", "50")
	require.Zero(t, code, errs)
	assert.Empty(t, errs)
	played := object(t, out)
	assert.Equal(t, "CartPole-v1", played["env"])
	assert.Greater(t, played["mean_return"], 400.0, "it plays as a trained agent does")
	out, errs, code = brood(t, dir, "inspect", "a.ckpt", "--json")
	require.Zero(t, code, errs)
	inspected := object(t, out)
	assert.Equal(t, true, inspected["verified"])
	assert.EqualValues(t, 24, inspected["step"])
	assert.Nil(t, inspected["performance"])

	human, errs, code := brood(t, dir, "convert", "in/cleanrl-pendulum.safetensors", "b.ckpt", "--env", "Pendulum-v1")
	require.Zero(t, code, errs)
	for _, want := range []string{"hidden layers  16 16  tanh\n", "optimizer      none in the file: it starts reset\n", "left at brood's default\n",
		"  ppo.gamma                0.99\n", "\nnote\n", "normalisation of observations is not in the file", "next           brood eval b.ckpt\n"} {
		assert.Contains(t, human, want)
	}
	human, errs, code = brood(t, dir, "convert", "in/sb3-cartpole.zip", "c.ckpt", "--env", "CartPole-v1")
	require.Zero(t, code, errs)
	for _, want := range []string{"optimizer      Adam, 576 steps\n", "trained for    12,288 env steps, 24 updates\n",
		"  ppo.value_coef           0.8        2 vf_coef: the loss here is half the squared error\n"} {
		assert.Contains(t, human, want)
	}
}

func TestConvertMistakes(t *testing.T) {
	dir := t.TempDir()
	fixtures, err := filepath.Abs("../../convert/testdata")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(fixtures, filepath.Join(dir, "in")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine.ckpt"), []byte("mine"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "short"), []byte("PK\x03\x04"), 0o644))
	mistakes := []mistake{
		{"convert x", 2, "brood convert takes two arguments, the file and the checkpoint to write; got 1"},
		{"convert in/sb3-cartpole.zip out", 2, "give it with --env (Acrobot-v1, CartPole-v1"},
		{"convert nowhere out --env CartPole-v1", 2, "nowhere"},
		{"convert in/sb3-cartpole.zip mine.ckpt --env CartPole-v1", 2, "mine.ckpt is there already; choose another name"},
		{"convert in/sb3-cartpole.zip out --env Pendulum-v1", 2, "take 4 observations, and Pendulum-v1 has 3"},
		{"convert in/sb3-cartpole.zip out --env CartPole-v1 --set gamma", 2, "--set gamma: want KEY=VALUE"},
		{"convert in/sb3-cartpole.zip out --env CartPole-v1 --set ppo.gama=1", 2, "--set ppo.gama=1: ppo.gama: unknown key; did you mean gamma?"},
		{"convert in/cleanrl-cartpole.safetensors out --env CartPole-v1 --activation elu", 2, `the activation "elu"; must be tanh or relu`},
		{"convert in/refused-dqn.zip out --env CartPole-v1", 1, "a Q network (DQN)"},
		{"convert short out --env CartPole-v1", 1, "damaged file"},
	}
	for _, m := range mistakes {
		m.check(t, dir, "out")
	}
	kept, err := os.ReadFile(filepath.Join(dir, "mine.ckpt"))
	require.NoError(t, err)
	assert.Equal(t, "mine", string(kept))
}
