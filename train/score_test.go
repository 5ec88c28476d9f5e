package train

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The score is of the episodes since the last interval. Where PBT is off its intervals
// still pass, or the score of an agent that learns would be the mean over its whole life.
func TestScoreIsOfTheInterval(t *testing.T) {
	for _, enabled := range []string{"pbt.enabled=true", "pbt.enabled=false"} {
		t.Run(enabled, func(t *testing.T) { scoreIsOfTheInterval(t, enabled) })
	}
}

func scoreIsOfTheInterval(t *testing.T, set ...string) {
	t.Helper()
	cfg, err := load(t, `
env: {id: CartPole-v1, count: 128}
policy: {hidden: [8]}
ppo: {steps: 64, epochs: 2, minibatches: 2, learning_rate: 2.0e-3}
pbt: {population_size: 1, perturbation_interval: 3, hyperparameters: []}
run: {total_steps: 9.0e4, selection_episodes: 0, device: cpu}
`, set...)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "run")
	trainNew(t, cfg, Options{Dir: dir})
	f, err := os.Open(filepath.Join(dir, metricsFile))
	require.NoError(t, err)
	defer f.Close()
	sum, episodes, updates := 0.0, 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var m struct {
			Episodes int     `json:"episodes"`
			Mean     float64 `json:"episode_return_mean"`
			Score    float64 `json:"train_return"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
		if updates%3 == 0 {
			sum, episodes = 0, 0
		}
		updates++
		sum, episodes = sum+m.Mean*float64(m.Episodes), episodes+m.Episodes
		require.Greater(t, episodes, 100, "fewer are judged by the last 100")
		require.InDelta(t, sum/float64(episodes), m.Score, 1e-6*m.Score, "update %d", updates)
	}
	require.Equal(t, 11, updates)
}
