package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCounterfactual(t *testing.T) {
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "a", "--quiet")
	require.Zero(t, code, errs)
	before, err := os.ReadFile(filepath.Join(dir, "a/decisions.jsonl"))
	require.NoError(t, err)
	out, errs, code := brood(t, dir, "counterfactual", "a", "--json", "--updates", "3", "--episodes", "4")
	require.Zero(t, code, errs)
	assert.Empty(t, errs)
	got := object(t, out)
	assert.EqualValues(t, 3, got["update"])
	assert.NotContains(t, got, "warnings")
	var names []string
	for _, a := range got["arms"].([]any) {
		arm := a.(map[string]any)
		names = append(names, arm["name"].(string))
		assert.Len(t, arm["returns"], 4, "after 0, 1, 2 and 3 updates")
		assert.Equal(t, got["source_return"], arm["returns"].([]any)[0].(map[string]any)["mean"])
		assert.Positive(t, arm["first_step_norm"])
	}
	assert.Equal(t, []string{"reset", "copy", "momentum", "velocity", "adaptive", "stale"}, names)
	assert.Len(t, got["differences"], 6*5/2*4)
	again, _, _ := brood(t, dir, "counterfactual", "a", "--json", "--updates", "3", "--episodes", "4", "--at", "3", "--device", "cpu")
	assert.Equal(t, out, again)
	after, err := os.ReadFile(filepath.Join(dir, "a/decisions.jsonl"))
	require.NoError(t, err)
	assert.Equal(t, before, after)

	out, errs, code = brood(t, dir, "counterfactual", "a", "--arms", "reset,copy+lr", "--updates", "2", "--episodes", "4", "--at", "9")
	require.Zero(t, code, errs)
	assert.Regexp(t, `^update 9: member \d copied member \d, whose mean return was \d+\.\d over 4 episodes\n`, out)
	assert.Regexp(t, `(?m)^ +reset +\+0\.0( +[-+]\d+\.\d){2} +- +[\d.e-]+$`, out)
	assert.Regexp(t, `(?m)^ +copy\+lr +\+0\.0 \[\+0\.0, \+0\.0\]( +[-+]\d+\.\d \[[-+]\d+\.\d, [-+]\d+\.\d\]){2}$`, out)

	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"a", "--at", "5"}, "there is none at update 5 of a; the nearest are at 3, 6, 9"},
		{[]string{"a", "--at", "soon"}, "--at soon: want the number of updates"},
		{[]string{"a", "--member", "7"}, "at update 3 of a member 7 copied nobody"},
		{[]string{"a", "--arms", "resets"}, "did you mean reset? valid: reset, copy, momentum"},
		{[]string{"a", "--updates", "0"}, "--updates: 0 is not valid"},
		{[]string{"a", "--episodes", "0"}, "--episodes: 0 is not valid"},
		{[]string{"nowhere"}, "no run folder"},
		{[]string{"a", "--device", "abacus"}, "--device abacus: run.device"},
		{nil, "takes one argument, a run folder"},
	} {
		_, errs, code := brood(t, dir, append([]string{"counterfactual"}, test.args...)...)
		assert.Equal(t, exitUsage, code, "%v: %s", test.args, errs)
		assert.Contains(t, errs, test.want)
	}
}

const tinyExperiment = `name: tiny
presets:
  - preset: cartpole
    set: {env.count: 4, ppo.steps: 16, ppo.minibatches: 2, pbt.population_size: 4, pbt.perturbation_interval: 3, run.total_steps: 3000, run.selection_episodes: 2}
seeds: [1, 2, 3]
arms: [reset, stale]
updates: 5
episodes: 8
counterfactuals: true
runs: true
`

// An interrupted experiment says so, and the same command finishes it.
func TestExperiment(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "e.yaml")
	require.NoError(t, os.WriteFile(file, []byte(tinyExperiment), 0o644))
	cmd := exec.Command(binary, "experiment", "e.yaml", "--jobs", "1", "--out", "r")
	cmd.Dir = dir
	progress, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(progress)
	require.True(t, lines.Scan())
	require.Regexp(t, `^\[1/9\] cartpole seed 1 counterfactuals  \d+\.\ds$`, lines.Text())
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	require.Error(t, cmd.Wait())
	require.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
	require.Equal(t, "stopped; the finished jobs are in r, and the same command goes on from there", last)
	results, err := os.ReadFile(filepath.Join(dir, "r/results.jsonl"))
	require.NoError(t, err)

	out, errs, code := brood(t, dir, "experiment", "e.yaml", "--out", "r")
	require.Zero(t, code, errs)
	assert.Equal(t, "r/report.md\n", out)
	assert.NotContains(t, errs, "cartpole seed 1 counterfactuals", "it was done already")
	assert.Contains(t, errs, "[9/9] ")
	whole, err := os.ReadFile(filepath.Join(dir, "r/results.jsonl"))
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(whole), string(results)))
	report, err := os.ReadFile(filepath.Join(dir, "r/report.md"))
	require.NoError(t, err)
	assert.Contains(t, string(report), "Made by `brood experiment e.yaml --out r` from 9 jobs")

	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(tinyExperiment, "updates: 5", "updates: 6", 1)), 0o644))
	_, errs, code = brood(t, dir, "experiment", "e.yaml", "--out", "r")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errs, "the results are of another experiment")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"none.yaml"}, "no such file"},
		{[]string{"e.yaml", "--jobs", "-1"}, "--jobs -1: want at least 1"},
		{[]string{"r/results.jsonl"}, "invalid experiment"},
	} {
		_, errs, code := brood(t, dir, append([]string{"experiment"}, test.args...)...)
		assert.Equal(t, exitUsage, code, errs)
		assert.Contains(t, errs, test.want)
	}
}
