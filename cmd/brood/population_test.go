package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A run goes on with more members and then with fewer; every command reads it.
func TestResumeWithAnotherPopulation(t *testing.T) {
	dir := trainedFamily(t)
	_, errs, code := brood(t, dir, "resume", "a", "--set", "pbt.population_size=8")
	require.Equal(t, 2, code, errs)
	assert.Contains(t, errs, "--set pbt.population_size=8: pbt.population_size: 8 after 4 has nothing to train: the run has done its 3072 steps; it needs a larger run.total_steps")

	out, errs, code := brood(t, dir, "resume", "a", "--json", "--quiet", "--set", "pbt.population_size=8", "--set", "run.total_steps=6000")
	require.Zero(t, code, errs)
	assert.Regexp(t, `^note: the checkpoint of update 12 has 4 members, the run now 8: members 4 to 7 are copies of member \d \(the best 20 %\), optimizer state by the strategy reset, hyperparameters explored\n$`, errs)
	summary := object(t, out)
	assert.EqualValues(t, 8, summary["population"])
	assert.EqualValues(t, 18, summary["updates"])
	assert.EqualValues(t, 3072+6*512, summary["env_steps"])

	_, errs, code = brood(t, dir, "resume", "a", "--set", "pbt.population_size=2", "--set", "run.total_steps=7000")
	require.Zero(t, code, errs)
	assert.Contains(t, errs, "note: the checkpoint of update 18 has 8 members, the run now 2: the best by train_return stay")
	assert.Contains(t, errs, "CartPole-v1  2 members x 4 environments  ")
	assert.Contains(t, errs, ", from update 18 of 25\n")

	out, errs, code = brood(t, dir, "lineage", "a")
	require.Zero(t, code, errs)
	assert.Empty(t, errs)
	assert.Contains(t, out, " of 4 members of the start have living descendants\n4 members became 8 at update 12\n8 members became 2 at update 18\n")
	out, errs, code = brood(t, dir, "lineage", "a", "--json")
	require.Zero(t, code, errs)
	family := object(t, out)
	assert.EqualValues(t, 4, family["start"])
	assert.EqualValues(t, 2, family["population"])
	assert.Equal(t, []any{map[string]any{"update": 12.0, "before": 4.0, "after": 8.0}, map[string]any{"update": 18.0, "before": 8.0, "after": 2.0}}, family["changes"])
	assert.Len(t, family["members"], 2)
	_, errs, code = brood(t, dir, "lineage", "a", "--member", "2")
	require.Equal(t, 2, code)
	assert.Contains(t, errs, "the members of a are 0 to 1")

	_, errs, code = brood(t, dir, "replay", "a", "--member", "1", "--out", "b", "--quiet")
	require.Zero(t, code, errs)
	out, errs, code = brood(t, dir, "counterfactual", "a", "--arms", "reset,copy", "--updates", "1", "--episodes", "2", "--json")
	require.Zero(t, code, errs)
	assert.EqualValues(t, 3, object(t, out)["update"], "from the seed, with the members of then")
	assert.Empty(t, errs)
	_, errs, code = brood(t, dir, "counterfactual", "a", "--at", "12")
	require.Equal(t, 2, code)
	assert.Contains(t, errs, "there is none at update 12", "the new members are no exploit of an interval")
	_, errs, code = brood(t, dir, "train", "a/config.yaml", "--out", "c", "--quiet")
	require.Zero(t, code, errs)
	assert.Contains(t, errs, "warning: run.earlier belongs to the run that the configuration is from; this one has 2 members from its start\n")
}
