package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What init prints can be typed, and what it writes trains.
func TestInitThenTrain(t *testing.T) {
	dir := t.TempDir()
	out, errs, code := brood(t, dir, "init", "pendulum", "--out", "my config.yaml")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "brood train 'my config.yaml'\n")
	_, errs, code = brood(t, dir, "train", "my config.yaml", "--set", "run.total_steps=1", "--set", "run.selection_episodes=1", "--out", "a", "--quiet")
	require.Zero(t, code, errs)
	_, errs, code = brood(t, dir, "train", "pendulum", "--set", "run.total_steps=1", "--set", "run.selection_episodes=1", "--out", "b", "--quiet")
	require.Zero(t, code, errs)
	a, err := os.ReadFile(filepath.Join(dir, "a", "config.yaml"))
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "b", "config.yaml"))
	require.NoError(t, err)
	assert.Equal(t, string(b), string(a), "it is the preset")

	_, errs, code = brood(t, dir, "init")
	require.Zero(t, code, errs)
	first, err := os.ReadFile(filepath.Join(dir, "brood.yaml"))
	require.NoError(t, err)
	assert.Contains(t, string(first), "# Train by it: brood train brood.yaml\n")
	_, _, code = brood(t, dir, "init", "acrobot")
	assert.Equal(t, 2, code)
	again, err := os.ReadFile(filepath.Join(dir, "brood.yaml"))
	require.NoError(t, err)
	assert.Equal(t, string(first), string(again), "never overwritten")
}

// completed asks the program as a shell's script does; the last line is the directive.
func completed(t *testing.T, dir string, args ...string) (words []string, directive string) {
	t.Helper()
	out, _, code := brood(t, dir, append([]string{"__complete"}, args...)...)
	require.Zero(t, code)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(line, "\t")
		words = append(words, word)
	}
	return words, lines[len(lines)-1]
}

func TestCompletion(t *testing.T) {
	dir := workplace(t)
	for _, run := range []string{"runs/a", "runs/b", "old"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, run), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, run, "config.yaml"), nil, 0o644))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "other"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "one.ckpt"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.zip"), nil, 0o644))
	const noFiles, noSpace = ":4", ":6"
	for _, test := range []struct {
		args      string // the last one is what was typed so far; _ for nothing
		want      []string
		directive string
	}{
		{"tra", []string{"train"}, noFiles},
		{"train _", []string{"cartpole", "acrobot", "mountaincar", "mountaincar-continuous", "pendulum", "old/", "other/", "runs/", "small.yaml"}, noSpace},
		{"train sm", []string{"small.yaml"}, noFiles},
		{"train cartpole _", nil, noFiles},
		{"init pe", []string{"pendulum"}, noFiles},
		{"resume _", []string{"runs/a", "runs/b", "old", "other/", "runs/"}, noSpace},
		{"resume runs/", []string{"runs/a", "runs/b"}, noFiles},
		{"eval o", []string{"old", "one.ckpt", "other/"}, noSpace},
		{"lineage ol", []string{"old"}, noFiles},
		{"train --set ppo.gae", []string{"ppo.gae_lambda="}, noSpace},
		{"resume old --set pbt.exploit_method=", []string{"pbt.exploit_method=truncation", "pbt.exploit_method=binary_tournament", "pbt.exploit_method=t_test"}, noFiles},
		{"train --set ppo.vgs.enabled=", []string{"ppo.vgs.enabled=true", "ppo.vgs.enabled=false"}, noFiles},
		{"train --set env.id=Cart", []string{"env.id=CartPole-v1"}, noFiles},
		{"train --set pbt.hyperparameters.0.mi", []string{"pbt.hyperparameters.0.min="}, noSpace},
		{"train --device c", []string{"cpu"}, noFiles},
		{"counterfactual old --arms reset,mo", []string{"reset,momentum"}, noFiles},
		{"convert x --env Pend", []string{"Pendulum-v1"}, noFiles},
		{"report _", []string{"runs/a", "runs/b", "old", "other/", "runs/"}, noSpace},
		{"dashboard old ru", []string{"runs/"}, noSpace},
		{"csv old _", nil, noFiles},
		{"csv old --table _", []string{"metrics", "decisions"}, noFiles},
		{"export o", []string{"old", "one.ckpt", "other/"}, noSpace},
		{"export old _", nil, ":0"}, // any file
		{"export old a --format s", []string{"safetensors"}, noFiles},
		{"convert m", []string{"model.zip"}, noFiles},
		{"completion _", []string{"bash", "zsh", "fish", "powershell"}, noFiles},
	} {
		t.Run(test.args, func(t *testing.T) {
			args := strings.Fields(test.args)
			if args[len(args)-1] == "_" {
				args[len(args)-1] = ""
			}
			words, directive := completed(t, dir, args...)
			if strings.HasSuffix(test.args, "--device c") && len(words) > 1 {
				words = words[:1] // this host has GPUs
			}
			assert.Equal(t, test.want, words)
			assert.Equal(t, test.directive, directive)
		})
	}
	words, _ := completed(t, dir, "train", "--set", "")
	offered := map[string]bool{}
	for _, word := range words {
		offered[word] = true
	}
	for _, key := range train.Keys() {
		if !strings.HasPrefix(key, "run.earlier.") {
			assert.True(t, offered[strings.ReplaceAll(key, "*", "0")+"="], key)
		}
	}
	for _, shell := range shells {
		out, errs, code := brood(t, dir, "completion", shell)
		require.Zero(t, code, errs)
		assert.Contains(t, out, "__complete", shell)
	}
}

func TestVersionAndDoctorAsJSON(t *testing.T) {
	dir := t.TempDir()
	out, errs, code := brood(t, dir, "version", "--json")
	require.Zero(t, code, errs)
	v := object(t, out)
	assert.Equal(t, runtime.Version(), v["go"])
	assert.Equal(t, runtime.GOARCH, v["arch"])
	assert.NotEmpty(t, v["version"])
	line, _, code := brood(t, dir, "version")
	require.Zero(t, code)
	flag, _, code := brood(t, dir, "--version")
	require.Zero(t, code)
	assert.Equal(t, line, flag)
	assert.True(t, strings.HasPrefix(line, "brood "+v["version"].(string)))

	out, errs, code = brood(t, dir, "doctor", "--json")
	require.Zero(t, code, errs)
	report := object(t, out)
	assert.Equal(t, true, report["trains"])
	assert.Equal(t, v, report["version"])
	names := map[any]any{}
	for _, f := range report["findings"].([]any) {
		names[f.(map[string]any)["name"]] = f.(map[string]any)["state"]
	}
	assert.Equal(t, "ok", names["engine"])
	assert.Contains(t, names, "python")
}
