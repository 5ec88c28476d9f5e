package train

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/internal/pyenv"
	"brood/internal/witness"
)

// watched plays episodes of a member file as [Stored.Evaluate] does, and returns
// what it saw and did.
func watched(t *testing.T, path string, episodes int) *witness.Witness {
	stored, err := Find(path)
	require.NoError(t, err)
	c, err := stored.engineConfig()
	require.NoError(t, err)
	return witness.Play(t, c, stored.Checkpoint, episodes)
}

// requireSameActions asks Python what the file's policy does on the observations.
func requireSameActions(t *testing.T, path, activation string, w *witness.Witness) {
	request, err := json.Marshal(map[string]any{"checkpoint": path, "activation": activation, "observations": w.Seen})
	require.NoError(t, err)
	var theirs []float32
	require.NoError(t, json.Unmarshal(pyenv.Run(t, playScript, request), &theirs))
	w.RequireSameActions(t, theirs)
}

// What is written here does the same in NumPy, action by action.
func TestPythonActsAsWeDo(t *testing.T) {
	pyenv.Interpreter(t)
	for name, config := range map[string]string{
		"CartPole": `
env: {id: CartPole-v1, count: 16}
policy: {hidden: [4, 4]}
ppo: {steps: 64, learning_rate: 2.0e-3}
pbt: {population_size: 2}
run: {total_steps: 60000, selection_episodes: 0, device: cpu}`,
		"Pendulum, normalised": `
env: {id: Pendulum-v1, count: 16}
policy: {hidden: [7], activation: relu}
ppo: {steps: 64, normalize_observations: true}
pbt: {population_size: 2}
run: {total_steps: 8192, selection_episodes: 0, device: cpu}`,
	} {
		t.Run(name, func(t *testing.T) {
			stored := trained(t, config)
			cfg, err := loadStored(stored.Path, stored.Config)
			require.NoError(t, err)
			requireSameActions(t, stored.Path, string(cfg.Policy.Activation), watched(t, stored.Path, 20))
		})
	}
}

// What the documentation's Python writes is played here.
func TestPythonOfTheDocumentationIsPlayed(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "checkpoint-format.md"))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "## Writing one from Python")
	require.True(t, found)
	_, block, found := strings.Cut(section, "```python\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	path := filepath.Join(t.TempDir(), "made.ckpt")
	pyenv.Run(t, strings.Replace(block, `"made.ckpt"`, fmt.Sprintf("%q", path), 1), nil)

	stored, err := Find(path)
	require.NoError(t, err)
	played, warnings, err := stored.Evaluate(DeviceCPU, 10, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"the checkpoint carries no checksums: damage to it would go unnoticed"}, warnings)
	require.GreaterOrEqual(t, played.MinReturn, 1.0)
	requireSameActions(t, path, "tanh", watched(t, path, 10))
}
