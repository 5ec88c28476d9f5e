package env

import (
	"errors"
	"fmt"
	"math"
	"regexp"
)

// ValidateSpec returns an error that names every wrong field of a Spec, its
// value and what would be valid, or nil.
func ValidateSpec(s Spec) error {
	var errs []error
	wrong := func(field string, value any, want string) {
		errs = append(errs, fmt.Errorf("Spec.%s is %v, want %s", field, value, want))
	}
	if s.ID == "" {
		wrong("ID", `""`, "the name it is registered under")
	}
	if s.ObsDim < 1 {
		wrong("ObsDim", s.ObsDim, "at least 1")
	}
	if s.StateSize < 1 {
		wrong("StateSize", s.StateSize, "at least 1")
	}
	if s.MaxEpisodeSteps < 0 {
		wrong("MaxEpisodeSteps", s.MaxEpisodeSteps, "at least 1, or 0 for no limit")
	}
	if math.IsNaN(s.RewardThreshold) || math.IsInf(s.RewardThreshold, 0) {
		wrong("RewardThreshold", s.RewardThreshold, "a finite number, 0 where none is published")
	}
	validateHyperparameters(s.Hyperparameters, wrong)
	if s.Action.Discrete {
		validateDiscrete(s.Action, wrong)
	} else {
		validateContinuous(s.Action, wrong)
	}
	return errors.Join(errs...)
}

// MaxChoices bounds the choices of one component of an action: indices are float32s.
const MaxChoices = 1 << 20

func validateDiscrete(a ActionSpace, wrong func(field string, value any, want string)) {
	if len(a.NVec) > 0 {
		validateComponents(a, wrong)
	} else if a.N < 2 {
		wrong("Action.N", a.N, "at least 2 choices")
	}
	if len(a.Low) != 0 {
		wrong("Action.Low", a.Low, "none: choices have no bounds")
	}
	if len(a.High) != 0 {
		wrong("Action.High", a.High, "none: choices have no bounds")
	}
}

// validateComponents allows a component with one choice, which decides nothing, as
// Gymnasium does.
func validateComponents(a ActionSpace, wrong func(field string, value any, want string)) {
	sum := 0
	for i, n := range a.NVec {
		if n < 1 || n > MaxChoices {
			wrong(fmt.Sprintf("Action.NVec[%d]", i), n, fmt.Sprintf("1 to %d choices", MaxChoices))
			return
		}
		sum += n
	}
	if a.N != sum {
		wrong("Action.N", a.N, fmt.Sprintf("%d, the sum of Action.NVec", sum))
	}
	if sum == len(a.NVec) {
		wrong("Action.NVec", a.NVec, "a component with at least 2 choices")
	}
}

func validateContinuous(a ActionSpace, wrong func(field string, value any, want string)) {
	if len(a.NVec) > 0 {
		wrong("Action.NVec", a.NVec, "none: continuous actions have no choices")
	}
	if a.N < 1 {
		wrong("Action.N", a.N, "at least 1 dimension")
		return
	}
	if len(a.Low) != a.N {
		wrong("Action.Low", a.Low, fmt.Sprintf("one bound for each of the %d dimensions", a.N))
	}
	if len(a.High) != a.N {
		wrong("Action.High", a.High, fmt.Sprintf("one bound for each of the %d dimensions", a.N))
	}
	for i := range min(len(a.Low), len(a.High)) {
		// Written so that a NaN is wrong too. Infinite bounds are fine.
		if !(a.Low[i] < a.High[i]) {
			wrong(fmt.Sprintf("Action.Low[%d]", i), a.Low[i], fmt.Sprintf("less than Action.High[%d], which is %v", i, a.High[i]))
		}
	}
}

// namePattern is what a name in a config, a log and a state dict may be.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func validateHyperparameters(list []Hyperparameter, wrong func(field string, value any, want string)) {
	if len(list) > MaxHyperparameters {
		wrong("Hyperparameters", len(list), fmt.Sprintf("at most %d", MaxHyperparameters))
	}
	seen := make(map[string]bool)
	for i, h := range list {
		at := fmt.Sprintf("Hyperparameters[%d].", i)
		if !namePattern.MatchString(h.Name) {
			wrong(at+"Name", fmt.Sprintf("%q", h.Name), "small letters, digits and _, a letter first")
		}
		if seen[h.Name] {
			wrong(at+"Name", fmt.Sprintf("%q", h.Name), "a name of its own")
		}
		seen[h.Name] = true
		// Written so that a NaN is wrong too.
		if !(h.Min <= 0 && h.Max >= 0 && h.Min < h.Max) || math.IsInf(h.Min, 0) || math.IsInf(h.Max, 0) {
			wrong(at+"Min and Max", fmt.Sprintf("%v and %v", h.Min, h.Max), "a finite interval with 0 in it")
		}
	}
}
