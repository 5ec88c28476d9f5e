package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trainedFamily is a workplace with a run a of four members that exploits often.
func trainedFamily(t *testing.T) string {
	t.Helper()
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "a", "--quiet", "--set", "pbt.exploit_method=binary_tournament")
	require.Zero(t, code, errs)
	return dir
}

func TestLineage(t *testing.T) {
	dir := trainedFamily(t)
	decisions, err := os.ReadFile(filepath.Join(dir, "a", "decisions.jsonl"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(decisions)), "\n")

	out, errs, code := brood(t, dir, "lineage", "a", "--json")
	require.Zero(t, code, errs)
	assert.Empty(t, errs)
	whole := object(t, out)
	assert.Equal(t, "a", whole["run"])
	assert.EqualValues(t, len(lines), whole["exploits"])
	assert.EqualValues(t, 12, whole["updates"])
	assert.Equal(t, []any{"learning_rate"}, whole["hyperparameters"])
	assert.Empty(t, whole["warnings"])
	lives := whole["lives"].([]any)
	require.Len(t, lives, 4+len(lines))
	for i, line := range lines {
		want := object(t, line)
		life := lives[4+i].(map[string]any)
		assert.Equal(t, want, life["exploit"], "the line as it is in the file")
		assert.Equal(t, want["member"], life["member"])
		assert.Equal(t, want["update"], life["born"])
		parent := lives[int(life["parent"].(float64))].(map[string]any)
		assert.Equal(t, want["source"], parent["member"])
	}
	members := whole["members"].([]any)
	require.Len(t, members, 4)
	for _, key := range []string{"ancestry", "slot", "ancestry_history", "slot_history"} {
		assert.NotEmpty(t, members[3].(map[string]any)[key], key)
	}

	out, _, code = brood(t, dir, "lineage", "a", "--json", "--member", "2")
	require.Zero(t, code)
	one := object(t, out)
	require.Len(t, one["members"], 1)
	assert.Equal(t, members[2], one["members"].([]any)[0])
	assert.Less(t, len(one["lives"].([]any)), len(lives))

	out, errs, code = brood(t, dir, "lineage", "a", "--dot")
	require.Zero(t, code, errs)
	assert.True(t, strings.HasPrefix(out, "digraph lineage {\n"))
	assert.Equal(t, len(lines), strings.Count(out, " -> "))
	out, errs, code = brood(t, dir, "lineage", "a", "--all")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "a  CartPole-v1  4 members, 12 updates  ")
	assert.Equal(t, len(lines), strings.Count(out, " reset "))
	out, errs, code = brood(t, dir, "lineage", "a", "--member", "0")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "the present weights of member 0 passed through")

	// A line that is being written.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "decisions.jsonl"), decisions[:len(decisions)-20], 0o644))
	out, errs, code = brood(t, dir, "lineage", "a", "--json")
	require.Zero(t, code, errs)
	assert.Contains(t, errs, "warning: a/decisions.jsonl ends in the middle of a line")
	assert.EqualValues(t, len(lines)-1, object(t, out)["exploits"])
	assert.Len(t, object(t, out)["warnings"], 1)
}

func TestReplay(t *testing.T) {
	dir := trainedFamily(t)
	out, errs, code := brood(t, dir, "replay", "a", "--member", "1", "--out", "b", "--seed", "5")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "the hyperparameters of member 1 of a, for one agent over 12 updates\nupdate  learning_rate\n     0  ")
	assert.Contains(t, out, "next        brood eval b\n")
	assert.Contains(t, errs, "CartPole-v1  1 members x 4 environments")

	out, _, code = brood(t, dir, "lineage", "a", "--json", "--member", "1")
	require.Zero(t, code)
	values := func(out string) (list [][2]any) {
		for _, s := range object(t, out)["members"].([]any)[0].(map[string]any)["ancestry_history"].([]any) {
			step := s.(map[string]any)
			list = append(list, [2]any{step["update"], step["hyperparameters"].(map[string]any)["learning_rate"]})
		}
		return list
	}
	want := values(out)
	require.Greater(t, len(want), 1, "member 1 copied another")
	out, _, code = brood(t, dir, "lineage", "b", "--json")
	require.Zero(t, code)
	assert.Equal(t, want, values(out), "the replay's own family has the same values")

	digest, _, code := brood(t, dir, "inspect", "b", "--digest")
	require.Zero(t, code)
	_, errs, code = brood(t, dir, "train", "b/config.yaml", "--out", "c", "--quiet")
	require.Zero(t, code, errs)
	again, _, _ := brood(t, dir, "inspect", "c", "--digest")
	assert.Equal(t, digest, again, "config.yaml runs again as it is")

	out, errs, code = brood(t, dir, "replay", "a", "--member", "1", "--out", "d", "--steps", "130", "--json", "--quiet", "--device", "cpu")
	require.Zero(t, code, errs)
	summary := object(t, out)
	assert.EqualValues(t, 3, summary["updates"], "130 steps of 64 are rounded up")
	assert.EqualValues(t, 1, summary["population"])
	config, err := os.ReadFile(filepath.Join(dir, "b", "config.yaml"))
	require.NoError(t, err)
	assert.Contains(t, string(config), "seed: 5\n")
	config, err = os.ReadFile(filepath.Join(dir, "d", "config.yaml"))
	require.NoError(t, err)
	assert.Contains(t, string(config), "seed: 1\n", "that of the run")
	assert.Contains(t, string(config), "device: cpu\n")
	_, errs, code = brood(t, dir, "resume", "d", "--set", "run.total_steps=400", "--quiet")
	require.Zero(t, code, errs)
}

func TestLineageAndReplayRefuse(t *testing.T) {
	dir := trainedFamily(t)
	require.NoError(t, os.CopyFS(filepath.Join(dir, "damaged"), os.DirFS(filepath.Join(dir, "a"))))
	path := filepath.Join(dir, "damaged", "decisions.jsonl")
	decisions, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(decisions), "\n")
	lines[1] = strings.Replace(lines[1], `"member":`, `"member":x`, 1)
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644))

	mistakes := []mistake{
		{"lineage", 2, "takes one argument, the run folder; got 0"},
		{"lineage nowhere", 2, "nowhere"},
		{"lineage small.yaml", 2, "small.yaml"},
		{"lineage damaged", 1, "damaged/decisions.jsonl:2: "},
		{"lineage a --member 4", 2, "--member 4: the members of a are 0 to 3"},
		{"lineage a --member -1", 2, "--member -1: want a whole number, 0 or above"},
		{"lineage a --json --dot", 2, "give one of them"},
		{"lineage a --all --member 1", 2, "--all is for the tree"},
		{"replay a", 2, "needs --member N"},
		{"replay nowhere --member 0", 2, "nowhere"},
		{"replay a --member 4", 2, "--member 4: the members of a are 0 to 3"},
		{"replay damaged --member 0", 1, "damaged/decisions.jsonl:2: "},
		{"replay a --member 0 --out a", 2, "the run folder is not empty"},
		{"replay a --member 0 --steps 0", 2, "--steps 0: want 1 to "},
		{"replay a --member 0 --device gpu", 2, `"gpu" is not valid`},
		{"replay a --member 0 --set run.total_steps=9", 2, "replay sets run.total_steps itself"},
		{"replay a --member 0 --set pbt.hyperparameters.0.min=1", 2, "replay sets pbt.hyperparameters itself"},
		{"replay a --member 0 --set ppo.gama=1", 2, "did you mean gamma?"},
	}
	for _, m := range mistakes {
		m.check(t, dir)
	}
	runs, err := filepath.Glob(filepath.Join(dir, "runs", "*"))
	require.NoError(t, err)
	assert.Empty(t, runs, "what was refused leaves no folder")
}
