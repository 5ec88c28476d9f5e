// Package presets holds the configurations that `brood train NAME` runs: tuned
// populations for the classic-control tasks, each with the score published for
// tuned PPO on its task.
package presets

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Default is the preset that `brood train` runs without an argument.
const Default = "cartpole"

// Preset is a named configuration.
type Preset struct {
	// Name is what the user types.
	Name string
	// Environment is the task's registered name.
	Environment string
	// Description is one line for people.
	Description string
	// Published is the mean return of tuned PPO in rl-baselines3-zoo's
	// benchmark.md, which the best member is meant to reach.
	Published float64
}

var list = []Preset{
	{"cartpole", "CartPole-v1", "balance a pole on a cart", 500},
	{"acrobot", "Acrobot-v1", "swing a two-link arm up to a line", -73.5},
	{"mountaincar", "MountainCar-v0", "rock a car out of a valley, pushing left or right", -110.4},
	{"mountaincar-continuous", "MountainCarContinuous-v0", "the same, with a continuous force that costs", 88.3},
	{"pendulum", "Pendulum-v1", "swing a pendulum up and hold it there", -172.2},
}

// All lists the presets in the order in which they are shown.
func All() []Preset { return append([]Preset(nil), list...) }

// Names lists the presets' names.
func Names() []string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	return names
}

// Find returns the preset of that name.
func Find(name string) (Preset, bool) {
	for _, p := range list {
		if p.Name == name {
			return p, true
		}
	}
	return Preset{}, false
}

// YAML returns the preset's configuration.
func (p Preset) YAML() ([]byte, error) {
	text, err := files.ReadFile(p.Name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("presets: no preset %q; there are %s", p.Name, strings.Join(Names(), ", "))
	}
	return text, nil
}
