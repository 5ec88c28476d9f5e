package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
)

func TestExport(t *testing.T) {
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "a", "--quiet")
	require.Zero(t, code, errs)

	out, errs, code := brood(t, dir, "export", "a", "agent.onnx", "--format", "onnx", "--json")
	require.Zero(t, code, errs)
	assert.Empty(t, errs)
	report := object(t, out)
	written, err := os.ReadFile(filepath.Join(dir, "agent.onnx"))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{
		"checkpoint": "a/best.ckpt", "file": "agent.onnx", "format": "onnx", "bytes": float64(len(written)), "env": "CartPole-v1", "step": 12.0,
		"parameters": float64(8*4 + 8 + 2*8 + 2 + 8*4 + 8 + 8 + 1), "normalizes_observations": false,
		"inputs": []any{map[string]any{"name": "observation", "type": "float32", "shape": []any{-1.0, 4.0}}},
		"outputs": []any{map[string]any{"name": "action", "type": "int64", "shape": []any{-1.0}},
			map[string]any{"name": "value", "type": "float32", "shape": []any{-1.0}}},
	}, report)
	_, errs, code = brood(t, dir, "export", "a/best.ckpt", "again.onnx", "--format", "onnx")
	require.Zero(t, code, errs)
	again, err := os.ReadFile(filepath.Join(dir, "again.onnx"))
	require.NoError(t, err)
	assert.Equal(t, written, again, "a run folder stands for its best member")

	human, errs, code := brood(t, dir, "export", "a/checkpoints/00000012", "agent.safetensors", "--format", "safetensors")
	require.Zero(t, code, errs)
	for _, want := range []string{"environment    CartPole-v1\n", "parameters     107\n", "observations   as they are\n", "\ntensors\n",
		"  actor.0.weight                   [8 4]        float32\n", "\nwritten        agent.safetensors  (safetensors, 1,"} {
		assert.Contains(t, human, want)
	}
	human, errs, code = brood(t, dir, "export", "a", "agent.npz", "--format", "npz")
	require.Zero(t, code, errs)
	assert.Contains(t, human, "  metadata                         scalar       str\n")

	// And back: the same agent, as far as weights go.
	_, errs, code = brood(t, dir, "export", "a", "best.safetensors", "--format", "safetensors")
	require.Zero(t, code, errs)
	_, errs, code = brood(t, dir, "convert", "best.safetensors", "back.ckpt")
	require.Zero(t, code, errs)
	first, _, _ := brood(t, dir, "eval", "a", "--json", "--episodes", "5")
	second, errs, code := brood(t, dir, "eval", "back.ckpt", "--json", "--episodes", "5")
	require.Zero(t, code, errs)
	assert.Equal(t, object(t, first)["mean_return"], object(t, second)["mean_return"])
}

func TestExportMistakes(t *testing.T) {
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "a", "--quiet")
	require.Zero(t, code, errs)
	old, err := msgpack.Marshal(map[string]any{"format_version": "v1_policy_only", "data": map[string]any{}})
	require.NoError(t, err)
	member, err := os.ReadFile(filepath.Join(dir, "a/best.ckpt"))
	require.NoError(t, err)
	member[len(member)/2] ^= 1
	for name, data := range map[string][]byte{"mine": []byte("mine"), "old.ckpt": old, "damaged.ckpt": member} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	mistakes := []mistake{
		{"export a --format onnx", 2, "brood export takes two arguments, a checkpoint or a run folder and the file to write; got 1"},
		{"export a out", 2, "brood export needs --format: one of onnx, safetensors, npz"},
		{"export a out --format h5", 2, `unknown format "h5"; valid are onnx, safetensors, npz`},
		{"export nowhere out --format onnx", 2, "nowhere"},
		{"export empty out --format onnx", 2, "no complete checkpoint"},
		{"export a mine --format onnx", 2, "mine is there already; choose another name"},
		{"export a/best.ckpt a/best.ckpt --format npz", 2, "a/best.ckpt is there already; choose another name"},
		{"export a empty --format npz", 2, "empty is there already; choose another name"},
		{"export a none/out --format npz", 2, "none/"},
		{"export old.ckpt out --format npz", 1, "old.ckpt: export: ppo: the checkpoint is v1_policy_only: it holds weights alone"},
		{"export damaged.ckpt out --format npz", 1, "damaged checkpoint"},
		{"export small.yaml out --format npz", 2, "small.yaml"},
		{"export a out --format onnx --opset 9", 2, "unknown flag: --opset"},
	}
	for _, m := range mistakes {
		m.check(t, dir, "out")
	}
	kept, err := os.ReadFile(filepath.Join(dir, "mine"))
	require.NoError(t, err)
	assert.Equal(t, "mine", string(kept))
}
