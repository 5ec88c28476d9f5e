package train

import (
	"context"
	_ "embed"
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/internal/pyenv"
)

//go:embed testdata/play.py
var playScript string

// A policy trained here, read in Python from its checkpoint into plain linear
// layers and played in the real Gymnasium, scores the same as `brood eval` says:
// the file's tensors, their orientation, the observation statistics and the
// environments' physics and time limits all agree.
func TestPolicyScoresTheSameInGymnasium(t *testing.T) {
	pyenv.Interpreter(t) // skips before the training where there is none
	for name, config := range map[string]string{
		"discrete": `
env: {id: CartPole-v1, count: 16}
ppo: {steps: 64, epochs: 8, learning_rate: 2.0e-3}
pbt: {population_size: 2, hyperparameters: []}
run: {total_steps: 200000}`,
		"discrete, normalised": `
env: {id: Acrobot-v1, count: 16}
ppo: {steps: 128, learning_rate: 2.0e-3, normalize_observations: true, normalize_rewards: true}
pbt: {population_size: 2, hyperparameters: []}
run: {total_steps: 200000}`,
		"continuous, normalised": `
env: {id: Pendulum-v1, count: 16}
policy: {hidden: [33, 17], activation: relu}
ppo: {steps: 64, epochs: 10, learning_rate: 1.0e-3, gamma: 0.9, normalize_observations: true, normalize_rewards: true}
pbt: {population_size: 2, hyperparameters: []}
run: {total_steps: 400000}`,
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Load("test.yaml", []byte(config), nil)
			require.NoError(t, err)
			dir := filepath.Join(t.TempDir(), "run")
			r, err := New(cfg, Options{Dir: dir})
			require.NoError(t, err)
			defer r.Close()
			s, err := r.Train(context.Background())
			require.NoError(t, err)
			ours := s.Members[s.Best.Member].Selection
			require.Equal(t, 100, ours.Episodes)

			out := pyenv.Run(t, playScript, []byte(`{"checkpoint": "`+filepath.ToSlash(s.Best.Checkpoint)+`", "episodes": 100, "activation": "`+string(cfg.Policy.Activation)+`"}`))
			var theirs Played
			require.NoError(t, json.Unmarshal(out, &theirs), string(out))
			t.Logf("here %.2f +- %.2f, in Gymnasium %.2f +- %.2f", ours.MeanReturn, ours.StdReturn, theirs.MeanReturn, theirs.StdReturn)
			// Different starting states: the means of 100 episodes differ by their noise.
			noise := math.Hypot(ours.StdReturn, theirs.StdReturn) / math.Sqrt(100)
			require.InDelta(t, ours.MeanReturn, theirs.MeanReturn, 4*noise+1e-9)
			// An untrained policy scores about 22, -500 and -1200.
			floor := map[string]float64{"CartPole-v1": 200, "Acrobot-v1": -200, "Pendulum-v1": -700}[cfg.Env.ID]
			require.Greater(t, theirs.MeanReturn, floor, "the policy has learned nothing: the comparison would prove little")
		})
	}
}
