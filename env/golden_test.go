package env_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/internal/golden"
)

// natives are the environments this package ships.
var natives = []string{"Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"}

func TestGoldenTransitions(t *testing.T) {
	seen := map[string]bool{}
	for _, path := range golden.Files(t, "env") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			m := golden.Load(t, path)
			id := golden.At[string](t, m, "id")
			v, err := env.Make(id)
			require.NoError(t, err)
			require.Equal(t, golden.At[int](t, m, "max_episode_steps"), v.Spec().MaxEpisodeSteps)
			golden.CheckEnvStep(t, path, v.Step, v.Observe)
			seen[id] = true
		})
	}
	for _, id := range natives {
		require.True(t, seen[id], "no golden of %s", id)
	}
}
