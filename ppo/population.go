package ppo

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strings"

	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/tensor"
)

// Population is the members of one engine as agents: their parameters can be
// read and replaced, their hyperparameters changed, and one can take over the
// state of another. Its methods are not safe for concurrent use.
type Population struct {
	engine kernels.Engine
	state  tensor.Member // scratch: one member's state
}

// New wraps an engine, which stays the caller's to close.
func New(engine kernels.Engine) *Population {
	return &Population{engine: engine, state: tensor.NewMember(engine.Layout())}
}

// Engine returns the engine.
func (p *Population) Engine() kernels.Engine { return p.engine }

// spec describes what the members play.
func (p *Population) spec() env.Spec { return p.engine.Config().Env.Spec() }

// Members is P.
func (p *Population) Members() int { return p.engine.Config().Population }

// Iterate does one PPO iteration of every member. stats has P elements and is
// overwritten.
func (p *Population) Iterate(stats []kernels.Stats) error { return p.engine.Iterate(stats) }

// parameterSections lists the names of the sections of [Population.Parameters]:
// by the layout's own rules all that a member which takes over another would
// have to take, so that state added to the layout is in it. Hyperparameters are
// set on their own, and the statistics of a normalisation that is off mean
// nothing.
func (p *Population) parameterSections(includeOptimizer bool) []string {
	c := p.engine.Config()
	var names []string
	for _, b := range p.engine.Layout().Sections() {
		switch {
		case b.Exploit != tensor.Copy && b.Exploit != tensor.ByStrategy:
		case b.Exploit == tensor.ByStrategy && !includeOptimizer:
		case b.Name == kernels.SectionHyperparameters:
		case b.Name == kernels.SectionObservationNorm && !c.NormalizeObservations:
		case b.Name == kernels.SectionRewardNorm && !c.NormalizeRewards:
		default:
			names = append(names, b.Name)
		}
	}
	return names
}

// Parameters returns a copy of what makes up the member as an agent, with the
// keys policy, vgs_state, kl_penalty_state and, if includeOptimizer is true,
// optimizer_state {exp_avg/NAME, exp_avg_sq/NAME, step}. Runs that normalise
// have observation_norm and reward_norm too, as their weights mean nothing
// without these, and sections added to the layout that an exploit copies are
// there under their keys. All tensors are views of one snapshot.
func (p *Population) Parameters(member int, includeOptimizer bool) (tensor.StateDict, error) {
	snapshot := tensor.NewMember(p.engine.Layout())
	if err := p.engine.Snapshot(member, snapshot); err != nil {
		return nil, fmt.Errorf("ppo: parameters of member %d: %w", member, err)
	}
	return snapshot.StateDict(p.parameterSections(includeOptimizer)...), nil
}

// SetParameters makes the member the agent that dict describes, in the form
// that [Population.Parameters] returns. The key policy is required. A section
// that dict lacks begins anew, as at the start of a run, because what the
// member has there belongs to its old weights: without optimizer_state the
// optimizer is reset. The window of episodes that scores are taken from is
// emptied; hyperparameters, environments, counters and random numbers stay the
// member's own. Unknown keys, missing or surplus tensors, wrong shapes and types
// and values that are not finite are errors. Nothing is changed on error.
func (p *Population) SetParameters(member int, dict tensor.StateDict) error {
	if err := p.setParameters(member, dict); err != nil {
		return fmt.Errorf("ppo: set parameters of member %d: %w", member, err)
	}
	return nil
}

func (p *Population) setParameters(member int, dict tensor.StateDict) error {
	layout := p.engine.Layout()
	names := p.parameterSections(true)
	if err := checkKeys(layout, names, dict); err != nil {
		return err
	}
	if err := p.engine.Snapshot(member, p.state); err != nil {
		return err
	}
	fresh := tensor.NewMember(layout)
	host.Init(p.engine.Config(), fresh, member)
	for _, b := range layout.Sections() {
		tensors, given := dict[b.Key]
		switch {
		case given:
			if err := p.state.Assign(b.Name, tensors); err != nil {
				return err
			}
			if err := checkFinite(p.state, &b); err != nil {
				return err
			}
		case b.Exploit == tensor.Clear || slices.Contains(names, b.Name):
			copy(p.state.Bytes()[b.Offset:b.Offset+b.Size], fresh.Bytes()[b.Offset:])
		}
	}
	return p.engine.Restore(member, p.state)
}

func checkKeys(layout *tensor.Layout, names []string, dict tensor.StateDict) error {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = layout.Section(name).Key
	}
	given := make([]string, 0, len(dict))
	for key := range dict {
		given = append(given, key)
	}
	slices.Sort(given)
	for _, key := range given {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("unknown key %q: valid are %s", key, strings.Join(keys, ", "))
		}
	}
	if _, ok := dict[kernels.SectionPolicy]; !ok {
		return fmt.Errorf("the key %q is missing", kernels.SectionPolicy)
	}
	return nil
}

func checkFinite(m tensor.Member, b *tensor.Block) error {
	for i := range b.Tensors {
		t := &b.Tensors[i]
		at, value := -1, 0.0
		switch t.DType {
		case tensor.Float32:
			at, value = firstNonFinite(m.Float32(b.Name, t.Name))
		case tensor.Float64:
			at, value = firstNonFinite(m.Float64(b.Name, t.Name))
		}
		if at >= 0 {
			return fmt.Errorf("%s/%s has %v at element %d: every value must be finite", b.Key, t.Name, value, at)
		}
	}
	return nil
}

func firstNonFinite[F float32 | float64](values []F) (at int, value float64) {
	for i, v := range values {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return i, f
		}
	}
	return -1, 0
}

// Hyperparameters returns the member's values.
func (p *Population) Hyperparameters(member int) (kernels.Hyperparameters, error) {
	var values kernels.Hyperparameters
	if err := p.engine.Snapshot(member, p.state); err != nil {
		return values, fmt.Errorf("ppo: hyperparameters of member %d: %w", member, err)
	}
	for h, name := range HyperparameterNames(p.spec()) {
		values[h] = p.state.Float32(kernels.SectionHyperparameters, name)[0]
	}
	return values, nil
}

// SetHyperparameter gives the member a new value of a hyperparameter, the
// algorithm's or the environment's, which takes effect at the next
// iteration. The value is rounded to float32. The error for a name or value that
// is not valid is a [FieldError].
func (p *Population) SetHyperparameter(member int, name string, value float64) error {
	spec := p.spec()
	if err := ValidateHyperparameter(spec, name, value); err != nil {
		return err
	}
	values, err := p.Hyperparameters(member)
	if err != nil {
		return err
	}
	h, _ := kernels.HyperparameterOf(spec, name)
	values[h] = float32(value)
	return p.SetHyperparameters(member, values)
}

// SetHyperparameters gives the member all values at once; see
// [Population.SetHyperparameter].
func (p *Population) SetHyperparameters(member int, values kernels.Hyperparameters) error {
	if err := validateFor(p.engine.Config(), values); err != nil {
		return err
	}
	if err := p.engine.SetHyperparameters(member, values); err != nil {
		return fmt.Errorf("ppo: set hyperparameters of member %d: %w", member, err)
	}
	return nil
}

// Score returns the mean true return of the episodes the member finished since
// the last ClearIntervals of the engine, or of its last [kernels.EpisodeWindow]
// where that is more, and their number; NaN and 0 without any.
func (p *Population) Score(member int) (mean float64, episodes int) { return p.engine.Score(member) }

// Digest is the SHA-256 over all sections of all members: equal for two
// populations exactly where they are in the same state.
func (p *Population) Digest() ([sha256.Size]byte, error) {
	h := sha256.New()
	for m := range p.Members() {
		if err := p.engine.Snapshot(m, p.state); err != nil {
			return [sha256.Size]byte{}, fmt.Errorf("ppo: digest of member %d: %w", m, err)
		}
		p.state.WriteDigest(h)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
