package ppo

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/kernels"
)

// taken is an environment whose hyperparameter has a name of the algorithm's.
type taken struct{ env.MountainCar }

func (taken) Spec() env.Spec {
	spec := env.MountainCar{}.Spec()
	spec.ID = "Taken-v0"
	spec.Hyperparameters = []env.Hyperparameter{{Name: "gamma", Max: 1}}
	return spec
}

// narrow is an environment whose hyperparameter has bounds that are no float32.
type narrow struct{ env.MountainCar }

func (narrow) Spec() env.Spec {
	spec := env.MountainCar{}.Spec()
	spec.ID = "Narrow-v0"
	spec.Hyperparameters = []env.Hyperparameter{{Name: "bonus", Min: -.1, Max: .1}, {Name: "malus", Max: .3}}
	return spec
}

func init() {
	env.RegisterVector("Taken-v0", func() env.Vector { return taken{} })
	env.RegisterVector("Narrow-v0", func() env.Vector { return narrow{} })
}

// shapedSections are those of a small run on an environment with values for its
// own hyperparameters.
func shapedSections(id string, values map[string]float64) sections {
	s := defaults()
	s.Env = EnvConfig{ID: id, Count: 8, Hyperparameters: values}
	s.Policy.Hidden = []int{8}
	s.PPO.Steps, s.PPO.Epochs, s.PPO.Minibatches = 16, 1, 1
	return s
}

func TestEngineConfigHasTheEnvironmentsHyperparameters(t *testing.T) {
	c, err := shapedSections("MountainCar-v0", map[string]float64{"energy_weight": .5}).engineConfig(2)
	require.NoError(t, err)
	require.Equal(t, float32(.5), c.Hyperparameters[kernels.NumHyperparameters])
	require.Equal(t, float32(.99), c.Hyperparameters[kernels.Gamma])
	c, err = shapedSections("Narrow-v0", map[string]float64{"malus": .3}).engineConfig(2)
	require.NoError(t, err)
	require.Equal(t, []float32{0, .3, 0, 0}, c.Hyperparameters[kernels.NumHyperparameters:])
	c, err = shapedSections("MountainCar-v0", nil).engineConfig(2)
	require.NoError(t, err)
	require.Equal(t, []float32{0, 0, 0, 0}, c.Hyperparameters[kernels.NumHyperparameters:])

	for path, test := range map[string]struct {
		id     string
		name   string
		value  float64
		errors string
	}{
		"unknown": {"MountainCar-v0", "energy_wieght", 1, "MountainCar-v0 has no hyperparameter of its own with that name; did you mean energy_weight?"},
		"far":     {"Narrow-v0", "zzzzzzzzzzzz", 1, "Narrow-v0 has no hyperparameter of its own with that name; it has bonus, malus"},
		"none":    {"CartPole-v1", "energy_weight", 0, "CartPole-v1 has no hyperparameters of its own"},
		"theirs":  {"MountainCar-v0", "gamma", .9, "did you mean"},
		"large":   {"MountainCar-v0", "energy_weight", 10.1, "10.1 is not valid: must be in [0, 10]"},
		"below":   {"Narrow-v0", "malus", -.1, "must be in [0, 0.3]"},
		"NaN":     {"Narrow-v0", "bonus", math.NaN(), "must be in [-0.1, 0.1]"},
	} {
		_, err := shapedSections(test.id, map[string]float64{test.name: test.value}).engineConfig(2)
		found := fieldErrors(t, err)
		require.Len(t, found, 1, path)
		require.Contains(t, found, "env.hyperparameters."+test.name, path)
		if path != "theirs" {
			require.ErrorContains(t, err, test.errors)
		}
	}
	_, err = shapedSections("Narrow-v0", map[string]float64{"bonus": 1, "malus": 1, "x": 1}).engineConfig(2)
	require.Len(t, fieldErrors(t, err), 3, "all are reported at once")
	_, err = shapedSections("Taken-v0", nil).engineConfig(2)
	require.ErrorContains(t, err, "env.id: ")
	require.ErrorContains(t, err, "the algorithm has a hyperparameter of that name")
}

// The environment's hyperparameters are read and set by name like the algorithm's,
// up to bounds that are no float32.
func TestPopulationHasTheEnvironmentsHyperparameters(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		c, err := shapedSections("Narrow-v0", map[string]float64{"malus": .3}).engineConfig(2)
		require.NoError(t, err)
		p := newPopulation(t, c)
		for _, v := range []float64{.1, -.1, 0} {
			require.NoError(t, p.SetHyperparameter(1, "bonus", v))
			h, err := p.Hyperparameters(1)
			require.NoError(t, err)
			want := c.Hyperparameters
			want[kernels.NumHyperparameters] = float32(v)
			require.Equal(t, want, h)
			require.NoError(t, p.SetHyperparameters(1, h), "what was read cannot be set")
		}
		h, err := p.Hyperparameters(0)
		require.NoError(t, err)
		require.Equal(t, c.Hyperparameters, h)
		require.Equal(t, float32(.3), h[kernels.NumHyperparameters+1])

		before := digest(t, p)
		require.EqualError(t, p.SetHyperparameter(1, "bonus", .2), "bonus: 0.2 is not valid: must be in [-0.1, 0.1]")
		require.ErrorContains(t, p.SetHyperparameter(1, "energy_weight", .2), "must be one of learning_rate")
		h[kernels.NumHyperparameters+2] = 1
		require.ErrorContains(t, p.SetHyperparameters(1, h), "must be 0: Narrow-v0 has 2 hyperparameters of its own")
		require.Equal(t, before, digest(t, p))
	})
}

// A weight changes the next update of its member alone.
func TestShapingWeightChangesTheNextUpdate(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		c, err := shapedSections("MountainCar-v0", nil).engineConfig(2)
		require.NoError(t, err)
		p, without := newPopulation(t, c), newPopulation(t, c)
		require.NoError(t, p.SetHyperparameter(1, "energy_weight", 5))
		iterate(t, p, 1)
		iterate(t, without, 1)
		requireSameState(t, snapshot(t, without, 0), snapshot(t, p, 0))
		require.NotEqual(t, fingerprint(snapshot(t, without, 1), kernels.SectionPolicy), fingerprint(snapshot(t, p, 1), kernels.SectionPolicy))
	})
}
