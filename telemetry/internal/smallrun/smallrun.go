// Package smallrun trains the small run whose folder the tests of telemetry read.
package smallrun

import (
	"path/filepath"
	"testing"

	"brood/train"

	"github.com/stretchr/testify/require"
)

// Config is that of 4 members that exploit, with settings KEY=VALUE over it.
func Config(t testing.TB, set ...string) train.Config {
	t.Helper()
	settings, err := train.ParseSettings(set)
	require.NoError(t, err)
	cfg, err := train.Load("small", []byte(`
env: {id: CartPole-v1, count: 4}
policy: {hidden: [8]}
ppo: {steps: 16, epochs: 2, minibatches: 2}
pbt:
  population_size: 4
  perturbation_interval: 3
  ready_percentage: 0.5
  hyperparameters:
    - {name: learning_rate, min: 1e-4, max: 1e-2, log_scale: true}
    - {name: clip_range, min: 0.05, max: 0.4}
run: {total_steps: 5000, selection_episodes: 3, device: cpu}
telemetry: {tensorboard: false}
`), settings)
	require.NoError(t, err)
	return cfg
}

// Train trains to the end and returns the run folder, which has the name.
func Train(t testing.TB, cfg train.Config, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	run, err := train.New(cfg, train.Options{Dir: dir})
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(t.Context())
	require.NoError(t, err)
	return dir
}
