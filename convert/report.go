package convert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"brood/kernels"
	"brood/train"

	"github.com/goccy/go-yaml"
)

// Report says what became of a file.
type Report struct {
	File string `json:"file"`
	// Kind of the file, for people.
	Kind       string             `json:"kind"`
	Checkpoint string             `json:"checkpoint"`
	Env        string             `json:"env"`
	Hidden     []int              `json:"hidden"`
	Activation kernels.Activation `json:"activation"`
	// HasOptimizerState says whether Adam's state came along; OptimizerSteps is the
	// number of its steps.
	HasOptimizerState bool  `json:"has_optimizer_state"`
	OptimizerSteps    int64 `json:"optimizer_steps"`
	// EnvSteps and Updates are the counters of the member.
	EnvSteps int64 `json:"env_steps"`
	Updates  int64 `json:"updates"`
	// Taken are the keys of the configuration that have their values from the file
	// or a setting, in the order in which they were read.
	Taken []Taken `json:"taken"`
	// Defaults are the keys that a file could have said and that have brood's
	// defaults.
	Defaults []Taken `json:"defaults"`
	// Notes say what could not be taken, and why.
	Notes []string `json:"notes"`
}

// Taken is a key of the configuration with its value.
type Taken struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	// From says what the value is in the file; empty for a default.
	From string `json:"from,omitempty"`
}

// settle gives every key the value that it has in the end.
func (r *Report) settle(cfg train.Config, settings []train.Setting) error {
	for _, s := range settings {
		r.Taken = slices.DeleteFunc(r.Taken, func(t Taken) bool { return t.Key == s.Key })
		r.Taken = append(r.Taken, Taken{Key: s.Key, From: s.Origin})
	}
	text, err := cfg.YAML()
	if err != nil {
		return err
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return fmt.Errorf("read the configuration back: %w", err)
	}
	for i := range r.Taken {
		r.Taken[i].Value = valueAt(tree, r.Taken[i].Key)
	}
	for _, key := range train.Keys() {
		said := slices.ContainsFunc(r.Taken, func(t Taken) bool { return t.Key == key })
		if !said && sayable(key) {
			r.Defaults = append(r.Defaults, Taken{Key: key, Value: valueAt(tree, key)})
		}
	}
	// Empty lists and not null in JSON.
	r.Taken, r.Defaults, r.Notes = append([]Taken{}, r.Taken...), append([]Taken{}, r.Defaults...), append([]string{}, r.Notes...)
	r.Hidden = append([]int{}, r.Hidden...)
	return nil
}

// sayable tells the keys that other programs have, too, from brood's own.
func sayable(key string) bool {
	switch key {
	case "env.count", "ppo.vgs.enabled":
		return true
	case "ppo.normalize_observations", "ppo.normalize_rewards", "ppo.learning_rate_schedule":
		return false
	}
	return strings.HasPrefix(key, "ppo.") && strings.Count(key, ".") == 1
}

func valueAt(tree map[string]any, key string) any {
	var at any = tree
	for _, part := range strings.Split(key, ".") {
		switch node := at.(type) {
		case map[string]any:
			at = node[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i < 0 || i >= len(node) {
				return nil
			}
			at = node[i]
		default:
			return nil
		}
	}
	if text, ok := at.(string); ok { // the library writes 1e-05 and reads it as a text
		if number, err := strconv.ParseFloat(text, 64); err == nil {
			return number
		}
	}
	return at
}
