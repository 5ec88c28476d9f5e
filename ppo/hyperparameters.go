package ppo

import (
	"fmt"
	"math"
	"strings"

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

// Hyperparameters returns the value every member starts with for each
// hyperparameter. It does not validate them.
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

// HyperparameterNames lists the names of all hyperparameters in the order of
// [kernels.Hyperparameters].
func HyperparameterNames() []string {
	names := make([]string, kernels.NumHyperparameters)
	for h := range kernels.NumHyperparameters {
		names[h] = h.String()
	}
	return names
}

// ValidateHyperparameter returns a [FieldError] where there is no hyperparameter
// of that name or it cannot have that value. Valid values form an interval: one
// whose ends are valid is valid altogether.
func ValidateHyperparameter(name string, value float64) error {
	h, ok := kernels.HyperparameterByName(name)
	if !ok {
		return unknownHyperparameter(name)
	}
	if valid := hyperparameterBounds[h].check(value); valid != "" {
		return &FieldError{Path: name, Value: value, Valid: valid}
	}
	return nil
}

func unknownHyperparameter(name string) error {
	return &FieldError{Path: "hyperparameter", Value: name, Valid: "must be one of " + strings.Join(HyperparameterNames(), ", ")}
}

// ValidateEvolvable returns a [FieldError] where a run with these sections has no
// use for evolving the hyperparameter: there is none of that name, it belongs to
// a part that is switched off, or the critic does not allow it.
func ValidateEvolvable(name string, critic CriticConfig, c Config) error {
	h, ok := kernels.HyperparameterByName(name)
	if !ok {
		return unknownHyperparameter(name)
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
	for h, v := range values {
		name := kernels.Hyperparameter(h).String()
		check.add(ValidateHyperparameter(name, float64(v)))
	}
	if v := values[kernels.ValueClip]; c.Critic.Type == kernels.QuantileCritic && v > 0 {
		check.field(false, kernels.ValueClip.String(), v, valueClipNeedsScalar)
	}
	return check.err()
}
