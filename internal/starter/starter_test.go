package starter

import (
	"regexp"
	"strings"
	"testing"

	"brood/presets"
	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is written is what it was made from, for every preset, the defaults, and a
// configuration in which everything differs.
func TestYAMLIsTheConfiguration(t *testing.T) {
	texts := map[string]string{"defaults": "", "other": `
env: {id: MountainCar-v0, hyperparameters: {energy_weight: 0.5}}
policy: {hidden: []}
pbt:
  hyperparameters:
    - {name: learning_rate, min: 1e-5, max: 1.5e-5, log_scale: true, perturbation_factor: 1.4}
    - {name: gamma, values: [0.9, 0.99]}
run:
  schedule: [{update: 3, name: entropy_coef, value: 1e-3}]
checkpoint: {url: "s3://bucket/a: b"}
`}
	for _, p := range presets.All() {
		text, err := p.YAML()
		require.NoError(t, err)
		texts[p.Name] = string(text)
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			want, err := train.Load(name, []byte(text), nil)
			require.NoError(t, err)
			written, err := YAML(want, "one\ntwo")
			require.NoError(t, err)
			got, err := train.Load("written", written, nil)
			require.NoError(t, err)
			wantYAML, err := want.YAML()
			require.NoError(t, err)
			gotYAML, err := got.YAML()
			require.NoError(t, err)
			assert.Equal(t, string(wantYAML), string(gotYAML))
			assert.Equal(t, want.Run, got.Run)
			assert.Equal(t, want.PBT, got.PBT)
			assert.Equal(t, want.PPO, got.PPO)
			assert.True(t, strings.HasPrefix(string(written), "# one\n# two\n"))
			for _, line := range strings.Split(string(written), "\n") {
				assert.False(t, strings.HasSuffix(line, " "), "%q", line)
				if strings.HasPrefix(strings.TrimSpace(line), "#") && strings.Count(line, " ") > 8 {
					assert.LessOrEqual(t, len(line), width, line)
				}
			}
		})
	}
}

// Every key of a configuration is there, with its default and a comment.
func TestYAMLHasEveryKey(t *testing.T) {
	cfg := train.DefaultConfig()
	text, err := YAML(cfg, "head")
	require.NoError(t, err)
	for _, key := range train.Keys() {
		name := key[strings.LastIndexByte(key, '.')+1:]
		switch {
		case strings.HasPrefix(key, kept):
		case strings.Contains(key, ".*."):
			assert.Regexp(t, `(?m)^ +# `+name+`: `, string(text), key)
		default:
			assert.Regexp(t, `(?m)^ +# .*\n +`+name+`: `, string(text), key)
		}
	}
	assert.NotContains(t, string(text), "earlier:")
	assert.Contains(t, string(text), "\n  # discount per step\n  # number, 0 to 1; default 0.99\n  gamma: 0.99\n")
	assert.NotRegexp(t, regexp.MustCompile("`|\\]\\("), string(text), "the page's marks")
}
