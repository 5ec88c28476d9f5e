package convert

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"brood/ckpt"
	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/tensor"
	"brood/train"
)

// agent is what was read from a file, and what is made of it.
type agent struct {
	tensors []named // of the policy, by brood's names, in the file's order
	net     network
	// env and activation are empty where the file does not say them.
	env        string
	activation kernels.Activation
	optimizer  *optimizer // nil: not in the file
	// normalization are the statistics of observations; nil: not in the file.
	normalization []named
	// envSteps are the environment steps that the agent was trained for.
	envSteps int64
	// cfg begins as the defaults; what the file says is put over them.
	cfg    train.Config
	report Report
}

func newAgent(kind string, original []named) (*agent, error) {
	list := rename(original)
	net, err := describe(list, original)
	if err != nil {
		return nil, err
	}
	a := &agent{tensors: list, net: net, cfg: train.DefaultConfig()}
	a.report.Kind = kind
	return a, nil
}

// take notes that a key of the configuration comes from the file.
func (a *agent) take(key string, value any, from string) {
	a.report.Taken = append(a.report.Taken, Taken{Key: key, Value: value, From: from})
}

// note tells what the file has or lacks and the checkpoint does not say.
func (a *agent) note(format string, args ...any) {
	a.report.Notes = append(a.report.Notes, fmt.Sprintf(format, args...))
}

// choose settles the environment and the activation, and checks that the networks
// fit the environment.
func (a *agent) choose(o Options) error {
	id := o.Env
	switch {
	case id == "" && a.env == "":
		return fmt.Errorf("%w: the file does not say which environment the agent plays: give it with --env (%s)", ErrMismatch, strings.Join(env.IDs(), ", "))
	case id == "":
		id = a.env
	case a.env != "" && a.env != id:
		return fmt.Errorf("%w: the file is of an agent for %.80q, and the environment asked for is %q", ErrMismatch, a.env, id)
	}
	vector, err := env.Make(id)
	if err != nil {
		return fmt.Errorf("%w: the environment: %w", ErrMismatch, err)
	}
	if err := a.net.fits(vector.Spec()); err != nil {
		return err
	}
	activation := a.activation
	switch {
	case activation == "" && o.Activation == "":
		activation = kernels.Tanh
		a.note("the file does not say which activation follows its hidden layers: tanh is used; --activation relu for the other")
	case activation == "":
		activation = o.Activation
	case o.Activation != "" && o.Activation != activation:
		return fmt.Errorf("%w: the file's activation is %s, and %s is asked for", ErrMismatch, activation, o.Activation)
	}
	if activation != kernels.Tanh && activation != kernels.ReLU {
		return fmt.Errorf("%w: the activation %q; must be tanh or relu", ErrMismatch, activation)
	}
	a.cfg.Env.ID, a.cfg.Policy.Hidden, a.cfg.Policy.Activation = id, a.net.hidden, activation
	// One agent whose hyperparameters are its own.
	a.cfg.PBT.Enabled, a.cfg.PBT.PopulationSize = false, 1
	a.cfg.PBT.Hyperparameters = a.cfg.PBT.Hyperparameters[:0]
	a.report.Env, a.report.Hidden, a.report.Activation = id, a.net.hidden, activation
	return nil
}

// fits compares the networks' ends with an environment.
func (n network) fits(spec env.Spec) error {
	kind := map[bool]string{true: "continuous", false: "discrete"}
	switch continuous := !spec.Action.Discrete; {
	case n.observations != spec.ObsDim:
		return fmt.Errorf("%w: the file's networks take %d observations, and %s has %d", ErrMismatch, n.observations, spec.ID, spec.ObsDim)
	case n.continuous != continuous:
		return fmt.Errorf("%w: the file's actions are %s (log_std is %s), and those of %s are %s", ErrMismatch, kind[n.continuous],
			map[bool]string{true: "there", false: "not there"}[n.continuous], spec.ID, kind[continuous])
	case n.outputs != spec.Action.N:
		return fmt.Errorf("%w: the file's actor has %d outputs, and the actions of %s need %d", ErrMismatch, n.outputs, spec.ID, spec.Action.N)
	}
	return nil
}

// fixed are the keys that the file and the other options decide.
var fixed = []string{"env.id", "policy.hidden", "policy.activation", "pbt.population_size"}

// finalConfig puts the settings over what the file says and validates the whole.
func (a *agent) finalConfig(name string, settings []train.Setting) (train.Config, error) {
	for _, s := range settings {
		for _, key := range fixed {
			if s.Key == key || strings.HasPrefix(s.Key, key+".") || strings.HasPrefix(key, s.Key+".") {
				return a.cfg, fmt.Errorf("%w: %s cannot be set: the file, --env and --activation decide it (%s)", ErrMismatch, s.Key, s.Origin)
			}
		}
	}
	a.cfg.Run.TotalSteps = max(a.cfg.Run.TotalSteps, a.envSteps)
	text, err := a.cfg.YAML()
	if err != nil {
		return a.cfg, err
	}
	cfg, err := train.Load(name+", as a configuration", text, settings)
	if err != nil {
		return cfg, err
	}
	if want := (kernels.Critic{Type: cfg.Critic.Type, Quantiles: cfg.Critic.Quantiles}).Outputs(); a.net.values != want {
		return cfg, fmt.Errorf("%w: the file's critic has %d outputs, and one of critic.type %s has %d; for a quantile critic: --set critic.type=quantile --set critic.quantiles=%d",
			ErrMismatch, a.net.values, cfg.Critic.Type, want, a.net.values)
	}
	return cfg, a.report.settle(cfg, settings)
}

// maxEnvironments bounds the environments of the checkpoint's member, whose states
// are in it.
const maxEnvironments = 1 << 16

// member makes the member file: a fresh member of the configuration, with what the
// file has in the place of what is fresh.
func (a *agent) member(cfg train.Config) ([]byte, error) {
	if cfg.Env.Count > maxEnvironments {
		return nil, fmt.Errorf("%w: env.count is %d; at most %d are made here (--set env.count=64)", ErrMismatch, cfg.Env.Count, maxEnvironments)
	}
	c, err := cfg.EngineConfig()
	if err != nil {
		return nil, err
	}
	layout, err := kernels.NewLayout(c)
	if err != nil {
		return nil, err
	}
	m := tensor.NewMember(layout)
	host.Init(c, m, 0)
	if err := a.fill(m, kernels.SectionPolicy, "", a.tensors); err != nil {
		return nil, err
	}
	if err := a.fill(m, kernels.SectionObservationNorm, "", a.normalization); err != nil {
		return nil, err
	}
	least := min(float64(slices.Min(m.Float32(kernels.SectionObservationNorm, "var"))), m.Float64(kernels.SectionObservationNorm, "count")[0])
	if least < 0 {
		return nil, fmt.Errorf("%w: %svar or count has %v; want at least 0", ErrRefused, normalizationPrefix, least)
	}
	if a.optimizer != nil {
		if err := a.optimizer.fill(a, m); err != nil {
			return nil, err
		}
	}
	updates := a.envSteps / (int64(c.Steps) * int64(c.Environments))
	m.Int64(kernels.SectionCounters, "env_steps")[0] = a.envSteps
	m.Int64(kernels.SectionCounters, "updates")[0] = updates
	text, err := cfg.YAML()
	if err != nil {
		return nil, err
	}
	a.report.EnvSteps, a.report.Updates, a.report.HasOptimizerState = a.envSteps, updates, a.optimizer != nil
	meta := ckpt.Meta{Step: updates, Performance: math.NaN(), Env: ckpt.EnvOf(c.Env.Spec()), Config: string(text)}
	return ckpt.Encode(m, meta, a.optimizer != nil)
}

// fill writes tensors into a section whose tensors have their names after the
// prefix. Their shapes are those of the layout, which was made from them.
func (a *agent) fill(m tensor.Member, section, prefix string, list []named) error {
	block := m.Layout().Section(section)
	for _, t := range list {
		target := block.Tensor(prefix + t.name)
		if target == nil || !slices.Equal(target.Shape, t.shape) {
			return fmt.Errorf("%w: %s%s has shape %v, which the configuration does not need", ErrMismatch, prefix, t.name, t.shape)
		}
		if err := ckpt.Convert(m.Raw(section, target.Name), target.DType, t.data, t.code); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrRefused, target.Name, err)
		}
		if err := checkFinite(m, section, target); err != nil {
			return err
		}
	}
	return nil
}

// checkFinite refuses values that are not finite.
func checkFinite(m tensor.Member, section string, t *tensor.Tensor) error {
	for i := range t.Len {
		var v float64
		if t.DType == tensor.Float64 {
			v = m.Float64(section, t.Name)[i]
		} else {
			v = float64(m.Float32(section, t.Name)[i])
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: %s has %v at element %d; every value must be finite", ErrRefused, t.Name, v, i)
		}
	}
	return nil
}
