// Package experiment compares optimizer strategies over many exploits and many
// runs, and writes down what came out, with plots.
package experiment

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"brood/presets"
	"brood/study"
	"brood/train"

	"github.com/goccy/go-yaml"
)

// ErrSpec is an experiment file that cannot be run.
var ErrSpec = errors.New("invalid experiment")

// Spec is an experiment as it is written in YAML.
type Spec struct {
	// Name of the experiment; letters, digits, - and _.
	Name string `yaml:"name"`
	// Presets are the workloads.
	Presets []Workload `yaml:"presets"`
	// Seeds of each workload's runs.
	Seeds []uint64 `yaml:"seeds"`
	// Arms are optimizer strategies, see [study.ParseArms]. Default all.
	Arms []string `yaml:"arms"`
	// Updates is how long an exploit's lives last. Default 20.
	Updates int64 `yaml:"updates"`
	// Episodes of each evaluation of a life. Default 64.
	Episodes int `yaml:"episodes"`
	// Counterfactuals: live every exploit of a run of each workload and seed once per
	// arm. Runs: train a whole run of each workload and seed per arm.
	Counterfactuals bool `yaml:"counterfactuals"`
	Runs            bool `yaml:"runs"`

	arms    []study.Arm
	configs []train.Config // by workload, with the first seed
}

// Workload is a preset and what is changed in it.
type Workload struct {
	Preset string `yaml:"preset"`
	// Label names the workload in the report; default the preset's name.
	Label string `yaml:"label,omitempty"`
	// Set changes configuration keys, as --set does.
	Set map[string]any `yaml:"set,omitempty"`
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// Parse reads an experiment file; origin is its name for errors. All mistakes are
// returned, as [ErrSpec].
func Parse(origin string, text []byte) (*Spec, error) {
	s := &Spec{Arms: study.DefaultArms(), Updates: 20, Episodes: 64}
	if err := yaml.UnmarshalWithOptions(text, s, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrSpec, origin, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	var mistakes []string
	wrong := func(key, format string, args ...any) {
		mistakes = append(mistakes, fmt.Sprintf("%s: %s: %s", origin, key, fmt.Sprintf(format, args...)))
	}
	if !namePattern.MatchString(s.Name) {
		wrong("name", "%q is not valid: want letters, digits, - and _", s.Name)
	}
	if len(s.Presets) == 0 {
		wrong("presets", "there is none")
	}
	if len(s.Seeds) == 0 {
		wrong("seeds", "there is none")
	}
	for i, seed := range s.Seeds {
		if slices.Contains(s.Seeds[:i], seed) {
			wrong("seeds", "%d twice", seed)
		}
	}
	if !s.Counterfactuals && !s.Runs {
		wrong("counterfactuals, runs", "both are off: nothing to do")
	}
	var err error
	if s.arms, err = study.ParseArms(s.Arms); err != nil {
		wrong("arms", "%v", err)
	} else if err := (&study.Options{Arms: s.arms, Updates: s.Updates, Episodes: s.Episodes}).Validate(); err != nil {
		mistakes = append(mistakes, fmt.Sprintf("%s: %v", origin, err))
	}
	for i := range s.Presets {
		s.checkWorkload(i, wrong)
	}
	if len(mistakes) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrSpec, strings.Join(mistakes, "\n"))
	}
	return s, nil
}

// checkWorkload fills in the label and loads the configuration.
func (s *Spec) checkWorkload(i int, wrong func(key, format string, args ...any)) {
	w := &s.Presets[i]
	key := fmt.Sprintf("presets.%d", i)
	if w.Label == "" {
		w.Label = w.Preset
	}
	if !namePattern.MatchString(w.Label) {
		wrong(key+".label", "%q is not valid: want letters, digits, - and _", w.Label)
	}
	for j := range i {
		if s.Presets[j].Label == w.Label {
			wrong(key+".label", "%q twice; a preset that is there twice needs labels", w.Label)
		}
	}
	if _, ok := presets.Find(w.Preset); !ok {
		wrong(key+".preset", "%q is not a preset: want one of %s", w.Preset, strings.Join(presets.Names(), ", "))
		return
	}
	seed := uint64(0)
	if len(s.Seeds) > 0 {
		seed = s.Seeds[0]
	}
	cfg, err := w.config(seed)
	if err != nil {
		wrong(key+".set", "%v", err)
		return
	}
	if !cfg.PBT.Enabled {
		wrong(key+".set", "pbt.enabled is false: without exploits there is nothing to compare")
	}
	s.configs = append(s.configs, cfg)
}

// config is the workload's configuration for a seed; more settings follow those of
// the file. Each job has a thread of its own, and measures exploits itself.
func (w *Workload) config(seed uint64, more ...train.Setting) (train.Config, error) {
	preset, _ := presets.Find(w.Preset)
	text, err := preset.YAML()
	if err != nil {
		return train.Config{}, err
	}
	settings := []train.Setting{setting("run.device", train.DeviceCPU), setting("run.threads", 1),
		setting("pbt.telemetry_episodes", 0)}
	for _, key := range sortedKeys(w.Set) {
		settings = append(settings, setting(key, w.Set[key]))
	}
	settings = append(settings, setting("run.seed", seed))
	return train.Load("preset "+w.Preset, text, append(settings, more...))
}

func setting(key string, value any) train.Setting {
	text, err := yaml.MarshalWithOptions(value, yaml.Flow(true))
	if err != nil {
		panic(fmt.Sprintf("experiment: a value that came from YAML does not go back: %v", err))
	}
	return train.Setting{Origin: "set", Key: key, Value: strings.TrimSpace(string(text))}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// digest changes with everything that the results depend on: the experiment, and
// the presets of this build with what is set.
func (s *Spec) digest() (string, error) {
	h := sha256.New()
	text, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	h.Write(text)
	for i := range s.configs {
		if text, err = s.configs[i].YAML(); err != nil {
			return "", err
		}
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
