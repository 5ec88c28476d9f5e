// Package gym runs Gymnasium's environments in Python processes of their own. An
// [Env] is an env.External: engines step it through shared memory, many environments
// at a time. See docs/gymnasium.md.
package gym

import (
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"

	"brood/env"
	"brood/rng"
)

// Prefix begins the ID of an environment of Gymnasium: "gymnasium:Hopper-v5".
const Prefix = "gymnasium:"

// DefaultTimeout is how long a worker may take for one step of all its environments,
// making them included.
const DefaultTimeout = 120 * time.Second

// MaxWorkers bounds the Python processes.
const MaxWorkers = 1024

// Options say which environment, and how it is run.
type Options struct {
	// ID is Prefix and what gymnasium.make takes: "gymnasium:CartPole-v1",
	// "gymnasium:module:Name-v0" for one that a module registers.
	ID string
	// Kwargs are gymnasium.make's keyword arguments; values that JSON has.
	Kwargs map[string]any
	// Wrappers are applied in this order, each "package.module:Wrapper", called with
	// the environment alone.
	Wrappers []string
	// Workers is the number of Python processes; 0: as many as GOMAXPROCS. The results
	// do not depend on it.
	Workers int
	// Python is the interpreter; empty: see [Interpreter].
	Python string
	// Timeout of a worker; 0: DefaultTimeout.
	Timeout time.Duration
}

// OptionError is an option that cannot be used.
type OptionError struct {
	// Option is the key of section env: "id", "kwargs", "wrappers", "python".
	Option string
	// Problem says what is wrong and what would be valid.
	Problem string
}

// Error returns "env.OPTION: problem".
func (e *OptionError) Error() string { return "env." + e.Option + ": " + e.Problem }

// Is says whether an environment's ID is one of Gymnasium.
func Is(id string) bool { return strings.HasPrefix(id, Prefix) }

// Env is an environment of Gymnasium.
type Env struct {
	options Options
	spec    env.Spec
	// Notes are warnings that Gymnasium gave about the environment when it was first
	// made, reset and stepped.
	Notes []string
}

var _ env.External = (*Env)(nil)

// New asks Python what the environment is, once per process for the same options. The
// error is an [OptionError], or joins several.
func New(o Options) (*Env, error) {
	d, err := probe(o)
	if err != nil {
		return nil, err
	}
	spec := env.Spec{ID: o.ID, ObsDim: d.Observations, StateSize: env.ExternalState,
		Action: env.ActionSpace{Discrete: d.Action.Discrete, N: d.Action.N, NVec: d.Action.NVec}}
	if d.Threshold != nil {
		spec.RewardThreshold = *d.Threshold
	}
	if !d.Action.Discrete {
		spec.Action.Low, spec.Action.High = bounds(d.Action.Low, -1), bounds(d.Action.High, 1)
	}
	if err := env.ValidateSpec(spec); err != nil {
		return nil, &OptionError{"id", fmt.Sprintf("%q cannot be trained: %v", o.ID, err)}
	}
	return &Env{options: o, spec: spec, Notes: d.Notes}, nil
}

// Known is New for an environment whose spec is known, such as from a checkpoint;
// Python is not asked before it is opened, which fails if the spec is another.
func Known(o Options, spec env.Spec) *Env {
	spec.ID, spec.StateSize, spec.MaxEpisodeSteps = o.ID, env.ExternalState, 0
	return &Env{options: o, spec: spec}
}

// bounds turns null, where a bound is infinite, into an infinity of the sign.
func bounds(values []*float64, sign int) []float32 {
	list := make([]float32, len(values))
	for i, v := range values {
		if list[i] = float32(math.Inf(sign)); v != nil {
			list[i] = float32(*v)
		}
	}
	return list
}

// Spec describes the environment. Its time limit is Gymnasium's business.
func (e *Env) Spec() env.Spec { return e.spec }

// Reset draws the seed of an episode.
func (e *Env) Reset(b *env.Batch, i int, r *rng.Stream) { env.PutSeed(b, i, r) }

// Observe panics: a session has the observations.
func (e *Env) Observe(*env.Batch, []float32, int) { panic("gym: Observe of an external environment") }

// Step panics: a session steps.
func (e *Env) Step(*env.Batch) { panic("gym: Step of an external environment") }

// workers is the number of processes for so many environments.
func (o *Options) workers(environments int) int {
	n := o.Workers
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return max(1, min(n, environments))
}

func (o *Options) timeout() time.Duration {
	if o.Timeout > 0 {
		return o.Timeout
	}
	return DefaultTimeout
}

// bridgeConfig is what the bridge gets as its argument.
type bridgeConfig struct {
	Probe        bool           `json:"probe"`
	ID           string         `json:"id"`
	Kwargs       map[string]any `json:"kwargs"`
	Wrappers     []string       `json:"wrappers"`
	Worker       int            `json:"worker"`
	Size         int            `json:"size"`
	Lanes        int            `json:"lanes"`
	Observations int            `json:"observations"`
	Width        int            `json:"width"`
	Kind         string         `json:"kind"` // what Codec.kind must give
	Offsets      map[string]int `json:"offsets"`
	Regions      [][2]int       `json:"regions"`
}

// bridgeConfig is the part that describes the environment.
func (o *Options) bridgeConfig() bridgeConfig {
	c := bridgeConfig{ID: strings.TrimPrefix(o.ID, Prefix), Kwargs: o.Kwargs, Wrappers: o.Wrappers}
	if c.Kwargs == nil {
		c.Kwargs = map[string]any{}
	}
	if c.Wrappers == nil {
		c.Wrappers = []string{}
	}
	return c
}

func (c *bridgeConfig) encode() (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", &OptionError{"kwargs", fmt.Sprintf("cannot be written as JSON: %v", err)}
	}
	return string(text), nil
}
