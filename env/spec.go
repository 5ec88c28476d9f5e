package env

import (
	"errors"
	"fmt"
	"math"
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
	if s.Action.Discrete {
		validateDiscrete(s.Action, wrong)
	} else {
		validateContinuous(s.Action, wrong)
	}
	return errors.Join(errs...)
}

func validateDiscrete(a ActionSpace, wrong func(field string, value any, want string)) {
	if a.N < 2 {
		wrong("Action.N", a.N, "at least 2 choices")
	}
	if len(a.Low) != 0 {
		wrong("Action.Low", a.Low, "none: choices have no bounds")
	}
	if len(a.High) != 0 {
		wrong("Action.High", a.High, "none: choices have no bounds")
	}
}

func validateContinuous(a ActionSpace, wrong func(field string, value any, want string)) {
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
