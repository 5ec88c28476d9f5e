package docs

import (
	"testing"

	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever adds a key adds its row: `brood init` and the completion show it then.
func TestKeysAreThoseOfAConfiguration(t *testing.T) {
	keys, err := Keys()
	require.NoError(t, err)
	var paths []string
	for _, k := range keys {
		paths = append(paths, k.Path)
		assert.NotEmpty(t, k.Type, k.Path)
		assert.NotEmpty(t, k.Meaning, k.Path)
		assert.NotContains(t, k.Meaning+k.Valid+k.Default+k.Type, "`", k.Path)
	}
	assert.ElementsMatch(t, train.Keys(), paths)
}

func TestKeysReadsRows(t *testing.T) {
	keys, err := keysOf("| `other.table` | a |\n\n## Configuration\n\n| key | type |\n|---|---|\n" +
		"| `pbt.mode` * | text | `max` | `max`, `min` | one of [a page](page.md), or `a\\|b` |\n" +
		"| `ppo.gamma` | number | `0.99` | 0 to `max` | discount |\n| `--flag` | `1` | other tables |\n\n## Run folder\n| `config.yaml` | file |\n")
	require.NoError(t, err)
	assert.Equal(t, []Key{
		{Path: "pbt.mode", Type: "text", Default: "max", Valid: "max, min", Meaning: "one of a page, or a|b", Words: []string{"max", "min"}},
		{Path: "ppo.gamma", Type: "number", Default: "0.99", Valid: "0 to max", Meaning: "discount"},
	}, keys)
	_, err = keysOf("\n## Configuration\n| `ppo.gamma` | number | `1` | all | a |\n| `ppo.gamma` | number | `1` | all | b |\n")
	assert.ErrorContains(t, err, "ppo.gamma has two rows")
	_, err = keysOf("\n## Configuration\n| `ppo.gamma` | number | a |\n")
	assert.ErrorContains(t, err, "has 3 cells")
	_, err = keysOf("nothing")
	assert.ErrorContains(t, err, "no section Configuration")
}
