package pbt

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// fieldErrors gathers every wrong field, so that a user mends all at once.
type fieldErrors []error

func (e *fieldErrors) require(ok bool, path string, value any, valid string) {
	if !ok {
		*e = append(*e, &FieldError{Path: "pbt." + path, Value: value, Valid: "must be " + valid})
	}
}

// oneOf requires one of the names.
func oneOf[T ~string](e *fieldErrors, path string, value T, names ...T) {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	e.require(slices.Contains(names, value), path, string(value), strings.Join(words, " or "))
}

// Validate returns nil or every wrong field as a [*FieldError], joined by
// errors.Join.
func (c *Config) Validate() error {
	var e fieldErrors
	e.require(c.PopulationSize >= 1 && c.PopulationSize <= MaxPopulation, "population_size", c.PopulationSize,
		fmt.Sprintf("1 to %d", MaxPopulation))
	e.require(c.PerturbationInterval >= 1, "perturbation_interval", c.PerturbationInterval, "a number of updates, at least 1")
	oneOf(&e, "exploit_method", c.ExploitMethod, Truncation, BinaryTournament, TTest)
	oneOf(&e, "explore_method", c.ExploreMethod, Perturb, Resample, Both, PB2)
	// Written so that NaN, which compares false, is refused.
	e.require(c.TruncationRatio > 0 && c.TruncationRatio <= 0.5, "truncation_ratio", c.TruncationRatio, "above 0, at most 0.5")
	oneOf(&e, "metric_mode", c.MetricMode, Max, Min)
	oneOf(&e, "metric_name", c.MetricName, TrainReturn, EvalReturn)
	e.require(c.EvalEpisodes >= 1, "eval_episodes", c.EvalEpisodes, "at least 1")
	e.require(c.ReadyPercentage > 0 && c.ReadyPercentage <= 1, "ready_percentage", c.ReadyPercentage,
		"a fraction of the members above 0, at most 1")
	e.require(c.BurnIn >= 0, "burn_in", c.BurnIn, "a number of updates, at least 0")
	c.validateStrategy(&e)
	e.require(c.TelemetryEpisodes >= 0, "telemetry_episodes", c.TelemetryEpisodes, "at least 0 (0: none)")

	first := make(map[string]int, len(c.Hyperparameters))
	for i := range c.Hyperparameters {
		h := &c.Hyperparameters[i]
		path := fmt.Sprintf("hyperparameters[%d]", i)
		h.validate(&e, path)
		if j, dup := first[h.Name]; dup && h.Name != "" {
			e.require(false, path+".name", h.Name, fmt.Sprintf("a name of its own (hyperparameters[%d] has this one)", j))
		} else {
			first[h.Name] = i
		}
	}
	return errors.Join(e...)
}

func (c *Config) validateStrategy(e *fieldErrors) {
	names := []Strategy{ResetOptimizer, CopyOptimizer, MomentumOptimizer, VelocityOptimizer, AdaptiveOptimizer}
	switch {
	case c.OptimizerExploitStrategy != StaleOptimizer:
		oneOf(e, "optimizer_exploit_strategy", c.OptimizerExploitStrategy, names...)
	case !c.AllowStaleOptimizer:
		e.require(false, "optimizer_exploit_strategy", string(StaleOptimizer),
			"another strategy: stale keeps an optimizer state gathered on weights that are gone, "+
				"which is an error outside of experiments about it; those set allow_stale_optimizer: true")
	}
	f := c.OptimizerAdaptiveFactor
	e.require(f > 1 && !math.IsInf(f, 1), "optimizer_adaptive_factor", f, "a finite number above 1")
}

func (h *Hyperparameter) validate(e *fieldErrors, path string) {
	e.require(h.Name != "", path+".name", nil, "the name of a hyperparameter")
	hasRange := h.Min != nil || h.Max != nil
	switch {
	case hasRange && h.Values != nil:
		e.require(false, path+".values", h.Values, "left out where min or max is given")
	case hasRange:
		h.validateRange(e, path)
	case h.Values != nil:
		h.validateValues(e, path)
	default:
		e.require(false, path, nil, "a range (min and max) or a list (values)")
	}
	if p := h.ResampleProbability; p != nil {
		e.require(*p >= 0 && *p <= 1, path+".resample_probability", *p, "0 to 1")
	}
}

func (h *Hyperparameter) validateRange(e *fieldErrors, path string) {
	f := h.PerturbationFactor
	e.require(f == 0 || f > 1 && !math.IsInf(f, 1), path+".perturbation_factor", f,
		fmt.Sprintf("a finite number above 1 (or 0 for the default, %g)", DefaultPerturbationFactor))
	bounds := true
	for _, b := range []struct {
		name  string
		value *float64
	}{{"min", h.Min}, {"max", h.Max}} {
		p := path + "." + b.name
		if b.value == nil {
			e.require(false, p, nil, "a finite number (a range needs min and max)")
			bounds = false
		} else if !finite(*b.value) {
			e.require(false, p, *b.value, "a finite number")
			bounds = false
		}
	}
	if h.Min != nil && h.LogScale {
		e.require(*h.Min > 0, path+".min", *h.Min, "above 0 with log_scale")
	}
	if bounds {
		e.require(*h.Min < *h.Max, path+".min", *h.Min, fmt.Sprintf("below max, which is %g", *h.Max))
	}
}

func (h *Hyperparameter) validateValues(e *fieldErrors, path string) {
	e.require(len(h.Values) >= 2, path+".values", h.Values, "at least two values")
	for i, v := range h.Values {
		p := fmt.Sprintf("%s.values[%d]", path, i)
		e.require(finite(v), p, v, "a finite number")
		// A repeated value would make a step along the list ambiguous.
		e.require(!slices.Contains(h.Values[:i], v), p, v, "a value that is not in the list yet")
	}
	e.require(!h.LogScale, path+".log_scale", h.LogScale, "false with values (it is the scale of a range)")
	e.require(h.PerturbationFactor == 0, path+".perturbation_factor", h.PerturbationFactor,
		"left out with values (perturb takes one step along them)")
}

// ValidateNames returns nil, or a [*FieldError] for each hyperparameter that the
// learner does not know, joined by errors.Join.
func (c *Config) ValidateNames(known []string) error {
	var e fieldErrors
	for i := range c.Hyperparameters {
		if name := c.Hyperparameters[i].Name; !slices.Contains(known, name) {
			e.require(false, fmt.Sprintf("hyperparameters[%d].name", i), name, "one of "+strings.Join(known, ", "))
		}
	}
	return errors.Join(e...)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func notFinite(x float64) bool { return !finite(x) }
