package ppo

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"brood/env"
	"brood/internal/nearest"
	"brood/kernels"
)

// bounds is an interval of float32 values; infinite ends are never included.
type bounds struct {
	low, high         float64
	lowOpen, highOpen bool
}

var (
	positive    = bounds{low: 0, lowOpen: true, high: math.Inf(1), highOpen: true}
	nonNegative = bounds{low: 0, high: math.Inf(1), highOpen: true}
	unit        = bounds{low: 0, high: 1}
	decay       = bounds{low: 0, high: 1, highOpen: true}
)

var hyperparameterBounds = [kernels.NumHyperparameters]bounds{
	kernels.LearningRate: positive,
	kernels.Gamma:        unit,
	kernels.GAELambda:    unit,
	kernels.ClipRange:    positive,
	kernels.ValueClip:    nonNegative,
	kernels.EntropyCoef:  nonNegative,
	kernels.ValueCoef:    nonNegative,
	kernels.MaxGradNorm:  positive,
	kernels.AdamBeta1:    decay,
	kernels.AdamBeta2:    decay,
	kernels.AdamEps:      positive,
	kernels.WeightDecay:  nonNegative,
	kernels.VGSAlpha:     nonNegative,
	kernels.KLTarget:     positive,
}

// contains is false for NaN.
func (b bounds) contains(v float64) bool {
	return (v > b.low || v == b.low && !b.lowOpen) && (v < b.high || v == b.high && !b.highOpen)
}

// rounded is the interval with its ends rounded as its values will be.
func (b bounds) rounded() bounds {
	b.low, b.high = float64(float32(b.low)), float64(float32(b.high))
	return b
}

func (b bounds) String() string {
	switch b {
	case positive:
		return "must be above 0 and finite"
	case nonNegative:
		return "must be at least 0 and finite"
	}
	left, right := "[", "]"
	if b.lowOpen {
		left = "("
	}
	if b.highOpen {
		right = ")"
	}
	return fmt.Sprintf("must be in %s%g, %g%s", left, b.low, b.high, right)
}

// check returns what is wrong with v, which engines will hold as float32, or "".
func (b bounds) check(v float64) string {
	switch {
	case !b.contains(v):
		return b.String()
	case !b.rounded().contains(float64(float32(v))):
		return b.String() + ", also when rounded to float32"
	}
	return ""
}

// Hyperparameters returns the value every member starts with for each of the
// algorithm's hyperparameters; the environment's are 0. It does not validate them.
func (c Config) Hyperparameters() kernels.Hyperparameters {
	var values kernels.Hyperparameters
	for h, v := range c.fields() {
		values[h] = float32(v)
	}
	return values
}

// fields gives the field of each hyperparameter.
func (c Config) fields() [kernels.NumHyperparameters]float64 {
	return [kernels.NumHyperparameters]float64{
		kernels.LearningRate: c.LearningRate,
		kernels.Gamma:        c.Gamma,
		kernels.GAELambda:    c.GAELambda,
		kernels.ClipRange:    c.ClipRange,
		kernels.ValueClip:    c.ValueClip,
		kernels.EntropyCoef:  c.EntropyCoef,
		kernels.ValueCoef:    c.ValueCoef,
		kernels.MaxGradNorm:  c.MaxGradNorm,
		kernels.AdamBeta1:    c.AdamBeta1,
		kernels.AdamBeta2:    c.AdamBeta2,
		kernels.AdamEps:      c.AdamEps,
		kernels.WeightDecay:  c.WeightDecay,
		kernels.VGSAlpha:     c.VGS.Alpha,
		kernels.KLTarget:     c.KLPenalty.Target,
	}
}

// HyperparameterNames lists the names of all hyperparameters of a member that
// plays an environment, in the order of [kernels.Hyperparameters].
func HyperparameterNames(spec env.Spec) []string { return kernels.HyperparameterNames(spec) }

// boundsOf is the interval of a hyperparameter's values.
func boundsOf(spec env.Spec, h kernels.Hyperparameter) bounds {
	if h < kernels.NumHyperparameters {
		return hyperparameterBounds[h]
	}
	own := spec.Hyperparameters[h-kernels.NumHyperparameters]
	return bounds{low: own.Min, high: own.Max}
}

// ValidateHyperparameter returns a [FieldError] where a member that plays the
// environment has no hyperparameter of that name or it cannot have that value.
// Valid values form an interval: one whose ends are valid is valid altogether.
func ValidateHyperparameter(spec env.Spec, name string, value float64) error {
	h, ok := kernels.HyperparameterOf(spec, name)
	if !ok {
		return unknownHyperparameter(spec, name)
	}
	if valid := boundsOf(spec, h).check(value); valid != "" {
		return &FieldError{Path: name, Value: value, Valid: valid}
	}
	return nil
}

func unknownHyperparameter(spec env.Spec, name string) error {
	return &FieldError{Path: "hyperparameter", Value: name, Valid: "must be one of " + strings.Join(HyperparameterNames(spec), ", ")}
}

// validateOwn checks a config's values of the environment's own hyperparameters.
// The error joins a [FieldError] for each that is wrong, in the names' order.
func validateOwn(spec env.Spec, values map[string]float64) error {
	var check checker
	var own []string
	for _, h := range spec.Hyperparameters {
		own = append(own, h.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		path := "env.hyperparameters." + name
		switch {
		case len(own) == 0:
			check.field(false, path, values[name], "%s has no hyperparameters of its own", spec.ID)
		case !slices.Contains(own, name):
			check.field(false, path, values[name], "%s has no hyperparameter of its own with that name; %s", spec.ID, suggestion(name, own))
		default:
			h, _ := kernels.HyperparameterOf(spec, name)
			check.within(path, values[name], boundsOf(spec, h))
		}
	}
	return check.err()
}

// suggestion names the nearest valid word, and all of them where none is near.
func suggestion(got string, valid []string) string {
	if near := nearest.Word(got, valid); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return "it has " + strings.Join(valid, ", ")
}

// ValidateEvolvable returns a [FieldError] where a run with these sections has no
// use for changing the hyperparameter: there is none of that name, it belongs to
// a part that is switched off, or the critic does not allow it.
func ValidateEvolvable(spec env.Spec, name string, critic CriticConfig, c Config) error {
	h, ok := kernels.HyperparameterOf(spec, name)
	if !ok {
		return unknownHyperparameter(spec, name)
	}
	switch {
	case h == kernels.VGSAlpha && !c.VGS.Enabled:
		return &FieldError{Path: "hyperparameter", Value: name, Valid: "it has no effect while ppo.vgs.enabled is false"}
	case h == kernels.KLTarget && !c.KLPenalty.Enabled:
		return &FieldError{Path: "hyperparameter", Value: name, Valid: "it has no effect while ppo.kl_penalty.enabled is false"}
	case h == kernels.ValueClip && critic.Type == kernels.QuantileCritic:
		return &FieldError{Path: "hyperparameter", Value: name, Valid: valueClipNeedsScalar}
	}
	return nil
}

const valueClipNeedsScalar = "must be 0 with critic.type quantile"

// validateFor checks all values for an engine of that config.
func validateFor(c *kernels.Config, values kernels.Hyperparameters) error {
	var check checker
	spec := c.Env.Spec()
	names := HyperparameterNames(spec)
	for h, v := range values {
		if h < len(names) { // a value that is rounded lies between rounded bounds
			check.within(names[h], float64(v), boundsOf(spec, kernels.Hyperparameter(h)).rounded())
			continue
		}
		check.field(v == 0, kernels.Hyperparameter(h).String(), v, "must be 0: %s has %d hyperparameters of its own", spec.ID, len(spec.Hyperparameters))
	}
	if v := values[kernels.ValueClip]; c.Critic.Type == kernels.QuantileCritic && v > 0 {
		check.field(false, kernels.ValueClip.String(), v, valueClipNeedsScalar)
	}
	return check.err()
}
