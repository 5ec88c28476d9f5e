package train

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"brood/env"
	"brood/env/gym"
	"brood/kernels"
	"brood/pbt"
	"brood/ppo"
	"brood/store"

	"github.com/goccy/go-yaml"
)

// Config is a whole run as it is written in YAML. Start from [DefaultConfig];
// [Load] does, so that a file names only what differs.
type Config struct {
	Env        ppo.EnvConfig    `yaml:"env"`
	Policy     ppo.PolicyConfig `yaml:"policy"`
	Critic     ppo.CriticConfig `yaml:"critic"`
	PPO        ppo.Config       `yaml:"ppo"`
	PBT        pbt.Config       `yaml:"pbt"`
	Checkpoint CheckpointConfig `yaml:"checkpoint"`
	Telemetry  TelemetryConfig  `yaml:"telemetry"`
	Run        RunConfig        `yaml:"run"`

	// places says where each key was set, for errors.
	places map[string]place
}

// CheckpointConfig is the config section checkpoint.
type CheckpointConfig struct {
	// Every is the number of updates from one checkpoint to the next. Default 50;
	// 0: only at the end and when interrupted.
	Every int64 `yaml:"every"`
	// Keep is the number of newest checkpoints that stay on disk. Default 3; at
	// least 1.
	Keep int `yaml:"keep"`
	// KeepEvery keeps every so many-th checkpoint for good, those after a multiple of
	// Every times KeepEvery updates. Default 0: none.
	KeepEvery int64 `yaml:"keep_every"`
	// KeepBest keeps the checkpoint whose best member's score is the best so far.
	// Default false.
	KeepBest bool `yaml:"keep_best"`
	// URL is a second place for every checkpoint that is complete: a folder, or
	// s3://BUCKET/PREFIX, as [store.Check] says. Default empty: none.
	URL string `yaml:"url"`
}

// TelemetryConfig is the config section telemetry.
type TelemetryConfig struct {
	// TensorBoard writes event files into the run folder. Default true.
	TensorBoard bool `yaml:"tensorboard"`
}

// absolute makes a folder's path one that does not depend on where the process runs.
func (c *CheckpointConfig) absolute() error {
	if c.URL == "" || strings.Contains(c.URL, "://") {
		return nil
	}
	path, err := filepath.Abs(c.URL)
	if err != nil {
		return fmt.Errorf("train: checkpoint.url: %w", err)
	}
	c.URL = path
	return nil
}

// RunConfig is the config section run.
type RunConfig struct {
	// TotalSteps is the length of the run in environment steps of the whole
	// population, rounded up to a whole update. Default 1000000; at least 1.
	TotalSteps int64 `yaml:"total_steps"`
	// Seed of everything that is drawn. Default 1; 0 is a seed like any other.
	Seed uint64 `yaml:"seed"`
	// Device is auto, cpu, cuda or cuda:N. Default auto: the fastest there is.
	Device string `yaml:"device"`
	// Precision of the update's matrix products: float32 (default), or tf32, which
	// is faster on GPUs with tensor cores and less exact.
	Precision kernels.Precision `yaml:"precision"`
	// Threads of the CPU engine. Default 0: all the process may use. The results
	// do not depend on it.
	Threads int `yaml:"threads"`
	// SelectionEpisodes is the number of deterministic episodes that each member
	// plays at the end to choose the best. Default 100; 0 chooses by the last
	// score of the run.
	SelectionEpisodes int `yaml:"selection_episodes"`
	// Schedule changes hyperparameters of all members during the run, in the order
	// of updates. Default none.
	Schedule []ScheduledValue `yaml:"schedule,omitempty"`
	// Earlier are the parts of the run in which the population had another size.
	// [Resume] writes them; a run that begins drops them.
	Earlier []EarlierPart `yaml:"earlier,omitempty"`
}

// ScheduledValue is a value that a hyperparameter of all members has from an
// update on, until a later one of the schedule or the end.
type ScheduledValue struct {
	// Update is the number of updates done before the value is taken; 0: the start.
	// One past the end of the run never comes.
	Update int64 `yaml:"update"`
	// Name of the hyperparameter, the algorithm's or the environment's; none that
	// pbt.hyperparameters evolves.
	Name string `yaml:"name"`
	// Value in the hyperparameter's own range.
	Value float64 `yaml:"value"`
}

// Scheduled returns h with the values that the schedule gives after an update, and
// whether it gives any.
func (c *RunConfig) Scheduled(spec env.Spec, h kernels.Hyperparameters, update int64) (changed kernels.Hyperparameters, any bool) {
	for _, s := range c.Schedule {
		if s.Update != update {
			continue
		}
		if index, ok := kernels.HyperparameterOf(spec, s.Name); ok {
			h[index], any = float32(s.Value), true
		}
	}
	return h, any
}

// DefaultConfig returns the defaults of every section; it is valid.
func DefaultConfig() Config {
	return Config{
		Env: ppo.DefaultEnv(), Policy: ppo.DefaultPolicy(), Critic: ppo.DefaultCritic(), PPO: ppo.Default(),
		PBT:        pbt.DefaultConfig(),
		Checkpoint: CheckpointConfig{Every: 50, Keep: 3},
		Telemetry:  TelemetryConfig{TensorBoard: true},
		Run:        RunConfig{TotalSteps: 1_000_000, Seed: 1, Device: DeviceAuto, Precision: kernels.Float32, SelectionEpisodes: 100},
		places:     map[string]place{},
	}
}

// Load reads a configuration: the defaults, then the YAML text, then the
// settings, each later one over the earlier. origin is the file's name for
// errors. Every mistake is returned, as a [ConfigError].
func Load(origin string, text []byte, settings []Setting) (Config, error) {
	return loadOver(DefaultConfig(), origin, text, settings)
}

// loadOver is Load over other defaults.
func loadOver(c Config, origin string, text []byte, settings []Setting) (Config, error) {
	mistakes := decodeDocument(origin, text, &c, c.places)
	for _, s := range settings {
		mistakes = append(mistakes, s.apply(&c, c.places)...)
	}
	if len(mistakes) > 0 {
		return c, configError(mistakes)
	}
	return c, c.Validate()
}

// YAML returns the complete configuration, every default written out; [Load] of
// it gives the same one.
func (c Config) YAML() ([]byte, error) {
	text, err := yaml.MarshalWithOptions(c, yaml.Indent(2), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("train: write the configuration as YAML: %w", err)
	}
	return text, nil
}

// EngineConfig validates the sections the engine sees.
func (c Config) EngineConfig() (*kernels.Config, error) {
	engine, err := ppo.EngineConfig(c.Env, c.Policy, c.Critic, c.PPO, c.PBT.PopulationSize, c.Run.Seed, c.Run.Threads, c.TotalUpdates())
	if engine != nil {
		engine.Precision = c.Run.Precision
	}
	return engine, err
}

// Validate returns nil or a [ConfigError] with every wrong field of every
// section, each with the place where it was set.
func (c Config) Validate() error {
	v := &validation{places: c.places, seen: map[string]bool{}}
	if c.Run.TotalSteps >= 1 && (c.PBT.PopulationSize < 1 || c.PPO.Steps < 1 || c.Env.Count < 1) {
		v.seen["run.total_steps"] = true // which of these leaves no update is told
	}
	engine, err := c.EngineConfig()
	v.add(err)
	if err == nil {
		c.validateSize(v, engine)
	}
	v.add(c.PBT.Validate())
	names := c.hyperparameterNames()
	c.validateEvolved(v, names)
	c.validateSchedule(v, names)
	c.validateEarlier(v)
	if c.Checkpoint.Every < 0 || c.Checkpoint.Every > math.MaxInt32 {
		v.field("checkpoint.every", c.Checkpoint.Every, fmt.Sprintf("must be a number of updates up to %d, or 0 for the end alone", math.MaxInt32))
	}
	if c.Checkpoint.Keep < 1 {
		v.field("checkpoint.keep", c.Checkpoint.Keep, "must be at least 1")
	}
	if c.Checkpoint.URL != "" {
		if err := store.Check(c.Checkpoint.URL); err != nil {
			v.problem("checkpoint.url", err.Error())
		}
	}
	switch k := c.Checkpoint.KeepEvery; {
	case k < 0 || k > math.MaxInt32:
		v.field("checkpoint.keep_every", k, fmt.Sprintf("must be a number of checkpoints, 1 to %d, or 0 for none", math.MaxInt32))
	case k > 0 && c.Checkpoint.Every == 0:
		v.field("checkpoint.keep_every", k, "counts checkpoints at intervals; checkpoint.every must be above 0")
	}
	if c.Run.TotalSteps < 1 {
		v.field("run.total_steps", c.Run.TotalSteps, "must be at least 1")
	}
	if c.Run.Threads < 0 || c.Run.Threads > maxThreads {
		v.field("run.threads", c.Run.Threads, fmt.Sprintf("must be 0 (all) to %d", maxThreads))
	}
	if c.Run.SelectionEpisodes < 0 || c.Run.SelectionEpisodes > MaxEpisodes {
		v.field("run.selection_episodes", c.Run.SelectionEpisodes, fmt.Sprintf("must be 0 to %d", MaxEpisodes))
	}
	if err := checkDevice(c.Run.Device); err != nil {
		v.problem("run.device", err.Error())
	} else if gpus, _ := parseDevice(c.Run.Device); len(gpus) > 0 && gym.Is(c.Env.ID) {
		v.field("run.device", c.Run.Device, "environments of Gymnasium (env.id) are trained on the processor; must be auto or cpu")
	}
	switch p := c.Run.Precision; {
	case p != kernels.Float32 && p != kernels.TF32:
		v.field("run.precision", p, "must be float32 or tf32")
	case p == kernels.TF32 && (c.Run.Device == DeviceCPU || !BuiltForCUDA):
		v.field("run.precision", p, "the processor computes in float32; must be float32, or run.device a GPU in a build for CUDA")
	}
	return configError(v.mistakes)
}

const maxThreads = 4096

// MaxEpisodes is the largest number of episodes of an evaluation: their
// starting states are addressed by 32 bits, and their returns kept in memory.
const MaxEpisodes = 1_000_000

// hyperparameters says which hyperparameters a member of the run has.
type hyperparameters struct {
	spec env.Spec
	// known is false where the environment is not: the names may be its own.
	known bool
}

func (c Config) hyperparameterNames() hyperparameters {
	if gym.Is(c.Env.ID) {
		return hyperparameters{known: true} // which have none of their own
	}
	vector, err := env.Make(c.Env.ID) // EngineConfig has reported the error
	if err != nil {
		return hyperparameters{}
	}
	return hyperparameters{spec: vector.Spec(), known: true}
}

// check reports at key.name a hyperparameter that there is not, or that has no
// use in the run, and says whether there is one whose values can be checked.
func (h hyperparameters) check(v *validation, c *Config, key, name string) bool {
	if _, ok := kernels.HyperparameterOf(h.spec, name); !ok {
		if h.known {
			v.problem(key+".name", fmt.Sprintf("%q is not a hyperparameter; %s", name, suggestion(name, ppo.HyperparameterNames(h.spec))))
		}
		return false
	}
	if err := ppo.ValidateEvolvable(h.spec, name, c.Critic, c.PPO); err != nil {
		v.problem(key+".name", problemOf(err))
	}
	return true
}

// value reports at key a value that the hyperparameter cannot have.
func (h hyperparameters) value(v *validation, key, name string, value float64) {
	if err := ppo.ValidateHyperparameter(h.spec, name, value); err != nil {
		v.problem(key, problemOf(err))
	}
}

// validateEvolved checks that what is to be evolved exists, has a use, and
// stays valid over its whole range.
func (c Config) validateEvolved(v *validation, names hyperparameters) {
	for i, h := range c.PBT.Hyperparameters {
		key := fmt.Sprintf("pbt.hyperparameters.%d", i)
		if !names.check(v, &c, key, h.Name) {
			continue
		}
		if h.Min != nil {
			names.value(v, key+".min", h.Name, *h.Min)
		}
		if h.Max != nil {
			names.value(v, key+".max", h.Name, *h.Max)
		}
		for j, value := range h.Values {
			names.value(v, fmt.Sprintf("%s.values.%d", key, j), h.Name, value)
		}
	}
}

// validateSchedule checks that what is scheduled exists, has a use, is no
// business of PBT's, and comes in the order of updates.
func (c Config) validateSchedule(v *validation, names hyperparameters) {
	type moment struct {
		update int64
		name   string
	}
	scheduled := make(map[moment]bool, len(c.Run.Schedule))
	for i, s := range c.Run.Schedule {
		key := fmt.Sprintf("run.schedule.%d", i)
		if s.Update < 0 {
			v.field(key+".update", s.Update, "must be a number of updates, 0 for the start")
		}
		if i > 0 && s.Update < c.Run.Schedule[i-1].Update {
			v.field(key+".update", s.Update, fmt.Sprintf("must be at least %d, which the element before it has", c.Run.Schedule[i-1].Update))
		}
		at := moment{s.Update, s.Name}
		if scheduled[at] {
			v.field(key+".name", s.Name, fmt.Sprintf("it is scheduled twice for update %d", s.Update))
		}
		scheduled[at] = true
		if slices.ContainsFunc(c.PBT.Hyperparameters, func(h pbt.Hyperparameter) bool { return h.Name == s.Name }) {
			v.field(key+".name", s.Name, "pbt.hyperparameters evolves it; it can be evolved or scheduled")
		}
		if names.check(v, &c, key, s.Name) {
			if _, written := c.places[key]; written && c.places[key+".value"] == (place{}) {
				v.problem(key+".value", "is not set: must be a value of "+s.Name)
				continue
			}
			names.value(v, key+".value", s.Name, s.Value)
		}
	}
}

// problemOf is an error's text without the path, which the caller knows better.
func problemOf(err error) string {
	var p *ppo.FieldError
	if errors.As(err, &p) {
		return formatProblem(p.Value, p.Valid)
	}
	return err.Error()
}

// formatProblem says it in the same words as the packages of the sections.
func formatProblem(value any, valid string) string {
	if value == nil {
		return "is not set: " + valid
	}
	if v := reflect.ValueOf(value); v.Kind() == reflect.String {
		return fmt.Sprintf("%q is not valid: %s", v.String(), valid)
	}
	return fmt.Sprintf("%v is not valid: %s", value, valid)
}

// validation gathers the mistakes of all sections, one per key.
type validation struct {
	places   map[string]place
	seen     map[string]bool
	mistakes []error
}

func (v *validation) field(key string, value any, valid string) {
	v.problem(key, formatProblem(value, valid))
}

func (v *validation) problem(key, problem string) {
	if v.seen[key] {
		return
	}
	v.seen[key] = true
	e := &FieldError{Key: key, Problem: problem}
	// The place of the key, or of the nearest one around it that was written.
	for at := key; at != ""; {
		if p, ok := v.places[at]; ok {
			e.Place = p.String()
			break
		}
		dot := strings.LastIndexByte(at, '.')
		if dot < 0 {
			break
		}
		at = at[:dot]
	}
	v.mistakes = append(v.mistakes, e)
}

var indexPattern = regexp.MustCompile(`\[(\d+)\]`)

// add takes over a section's joined errors.
func (v *validation) add(err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			v.add(e)
		}
		return
	}
	var fromPPO *ppo.FieldError
	var fromPBT *pbt.FieldError
	path, problem := "", ""
	switch {
	case errors.As(err, &fromPPO):
		path, problem = fromPPO.Path, formatProblem(fromPPO.Value, fromPPO.Valid)
	case errors.As(err, &fromPBT):
		path, problem = fromPBT.Path, formatProblem(fromPBT.Value, fromPBT.Valid)
	default:
		// Another package's error that names the key itself.
		var named bool
		if path, problem, named = strings.Cut(err.Error(), ": "); !named || !slices.Contains(Keys(), path) {
			v.mistakes = append(v.mistakes, err)
			return
		}
	}
	v.problem(indexPattern.ReplaceAllString(path, ".$1"), problem)
}

// Keys lists every key of a configuration as a dotted path; the elements of a
// list of sections are written as "*".
func Keys() []string {
	var keys []string
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		switch {
		case t.Kind() == reflect.Struct:
			for i := range t.NumField() {
				if name := yamlName(t.Field(i)); name != "" {
					walk(join(prefix, name), t.Field(i).Type)
				}
			}
		case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
			walk(prefix+".*", t.Elem())
		default:
			keys = append(keys, prefix)
		}
	}
	walk("", reflect.TypeFor[Config]())
	return keys
}
