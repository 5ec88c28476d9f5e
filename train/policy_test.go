package train

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/internal/witness"
	"brood/kernels"
	"brood/kernels/cpu"
	"brood/kernels/cpu/simd"
	"brood/ppo"
)

// policyRuns are one of each kind of network, of its head and of its observations.
var policyRuns = map[string]string{
	"CartPole": `
env: {id: CartPole-v1, count: 16}
ppo: {steps: 64, learning_rate: 2.0e-3}
run: {total_steps: 8192, selection_episodes: 0, device: cpu}
pbt: {population_size: 1}`,
	"CartPole, normalised, relu, quantiles": `
env: {id: CartPole-v1, count: 16}
policy: {hidden: [24, 33, 5], activation: relu}
critic: {type: quantile, quantiles: 7}
ppo: {steps: 64, learning_rate: 2.0e-3, normalize_observations: true}
run: {total_steps: 8192, selection_episodes: 0, device: cpu}
pbt: {population_size: 1}`,
	"Pendulum, normalised, wide head": `
env: {id: Pendulum-v1, count: 16}
policy: {hidden: [17]}
critic: {type: quantile, quantiles: 32}
ppo: {steps: 128, learning_rate: 1.0e-2, normalize_observations: true}
run: {total_steps: 8192, selection_episodes: 0, device: cpu}
pbt: {population_size: 1}`,
	"MountainCarContinuous, linear": `
env: {id: MountainCarContinuous-v0, count: 16}
policy: {hidden: []}
ppo: {steps: 64, learning_rate: 1.0e-2}
run: {total_steps: 4096, selection_episodes: 0, device: cpu}
pbt: {population_size: 1}`,
}

// trained trains a run to its end and returns its best member.
func trained(t *testing.T, config string) *Stored {
	cfg, err := Load("test.yaml", []byte(config), nil)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "run")
	r, err := New(cfg, Options{Dir: dir})
	require.NoError(t, err)
	_, err = r.Train(context.Background())
	require.NoError(t, err)
	require.NoError(t, r.Close())
	stored, err := Find(dir)
	require.NoError(t, err)
	return stored
}

// A policy in a Go program does what Evaluate does and values what the engine values,
// to the bit, on every path and whether it acts for one observation or for many.
func TestPolicyActsAsEvaluate(t *testing.T) {
	for name, config := range policyRuns {
		t.Run(name, func(t *testing.T) {
			stored := trained(t, config)
			c, err := stored.engineConfig()
			require.NoError(t, err)
			for _, path := range simd.Paths() {
				t.Run(path.Name, func(t *testing.T) {
					t.Setenv(cpu.PathVariable, path.Name)
					p, err := ppo.LoadPolicy(stored.Path)
					require.NoError(t, err)
					requireSameConfiguration(t, p.Agent(), stored)
					requireSamePolicy(t, p, c, stored)
				})
			}
		})
	}
}

func requireSamePolicy(t *testing.T, p *ppo.Policy, c *kernels.Config, stored *Stored) {
	w := witness.Play(t, c, stored.Checkpoint, 10)
	require.Greater(t, len(w.Seen), 90)
	all, width := make([]float32, 0, len(w.Seen)*p.ObservationSize()), p.ActionSize()
	action, kinds := make([]float32, width), map[float32]bool{}
	for i, observation := range w.Seen {
		p.Act(observation, action)
		require.Equal(t, w.Actions[i*width:(i+1)*width], action, "step %d", i)
		kinds[action[0]] = true
		all = append(all, observation...)
	}
	require.Greater(t, len(kinds), 1, "it does the same everywhere: that would prove little")
	actions := make([]float32, len(w.Actions))
	p.ActBatch(all, actions)
	require.Equal(t, w.Actions, actions)

	observations, want := witness.Values(t, c, stored.Checkpoint)
	all = all[:0]
	for i, observation := range observations {
		require.Equal(t, want[i], p.Value(observation), "row %d", i)
		all = append(all, observation...)
	}
	values := make([]float32, len(want))
	p.ValueBatch(all, values)
	require.Equal(t, want, values)

	if quantiles := make([]float32, p.Quantiles()); len(quantiles) > 0 {
		p.QuantilesOf(observations[0], quantiles)
		sum := 0.0
		for _, q := range quantiles {
			sum += float64(q)
		}
		require.InEpsilon(t, want[0], sum/float64(len(quantiles)), 1e-5)
	}
}

// What an agent reads of a configuration, a run reads the same.
func requireSameConfiguration(t *testing.T, a *ppo.Agent, stored *Stored) {
	cfg, err := Load("", []byte(stored.Config), nil)
	require.NoError(t, err)
	require.Equal(t, cfg.Policy.Activation, a.Activation)
	require.Equal(t, append([]int{}, cfg.Policy.Hidden...), append([]int{}, a.Hidden...))
	require.Equal(t, cfg.Critic.Type, a.Critic)
	require.Equal(t, cfg.PPO.NormalizeObservations, a.Normalization != nil)
	require.Equal(t, stored.Step, a.Step)
}
