package export

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/rng"
)

// switches is what env/gym/testdata/brood_test_envs.py has in Python: the reward is the
// number of an action's components that are as the observation asks.
type switches struct{ id string }

// The names by which Gymnasium finds the twins, of which the first counts the choices of
// its components from other numbers than 0.
const (
	switchesID = "brood_test_envs:brood/Switches-v0"
	panelID    = "brood_test_envs:brood/Panel-v0"
)

const learnedSwitches = `
env: {id: "` + switchesID + `", count: 16}
policy: {hidden: [16]}
ppo: {steps: 40, epochs: 6, minibatches: 2, learning_rate: 1.0e-2, normalize_observations: true}
pbt: {population_size: 2, hyperparameters: []}
run: {total_steps: 60000, selection_episodes: 10, device: cpu}`

func init() {
	for _, id := range []string{switchesID, panelID} {
		env.Register(id, func() env.Env { return switches{id} })
	}
}

// twins is where Python finds the module that the names begin with.
func twins(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../env/gym/testdata")
	require.NoError(t, err)
	return dir
}

func (s switches) Spec() env.Spec {
	return env.Spec{ID: s.id, ObsDim: 7, StateSize: 2, Action: env.MultiDiscrete(3, 2, 2)}
}

func (switches) Reset(state []float32, r *rng.Stream) { state[0], state[1] = float32(r.IntN(12)), 0 }

// wanted are the digits of the state's number.
func wanted(state []float32) [3]int {
	n := int(state[0] + state[1])
	return [3]int{n % 3, n / 3 % 2, n / 6 % 2}
}

func (switches) Observe(state, obs []float32) {
	clear(obs)
	w := wanted(state)
	obs[w[0]], obs[3+w[1]], obs[5+w[2]] = 1, 1, 1
}

func (switches) Step(state, action []float32) (reward float32, terminated bool) {
	for c, w := range wanted(state) {
		if action[c] == float32(w) {
			reward++
		}
	}
	state[1]++
	return reward, state[1] == 10
}
