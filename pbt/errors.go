package pbt

import (
	"errors"
	"fmt"
)

// Errors of a [Scheduler].
var (
	// ErrNotReady is returned where decisions are asked for before enough
	// members are due; see [Scheduler.Ready].
	ErrNotReady = errors.New("pbt: the population is not ready")
	// ErrMember is returned for a member outside the population.
	ErrMember = errors.New("pbt: no such member")
	// ErrStep is returned for a score from before the member's last one.
	ErrStep = errors.New("pbt: a member's step cannot go back")
	// ErrState is returned for a state that does not fit the scheduler.
	ErrState = errors.New("pbt: the state does not fit")
	// ErrNoSource is returned where a larger population has nobody to copy.
	ErrNoSource = errors.New("pbt: no member can be copied")
	// ErrExplore is returned where the function of [Scheduler.SetExplore] fails, or
	// returns hyperparameters that the config does not allow.
	ErrExplore = errors.New("pbt: the user's explore function")
	// ErrReevaluate is returned where the function of [Scheduler.SetReevaluate] is
	// missing, fails, or returns too few scores or too many.
	ErrReevaluate = errors.New("pbt: the fresh scores of exploit_reevaluate")
)

// FieldError is one wrong field of a [Config].
type FieldError struct {
	// Path names the field: "pbt.hyperparameters[0].min".
	Path string
	// Value is what was found there; nil where the field is not set.
	Value any
	// Valid says what would be valid.
	Valid string
}

// Error names the field, its value and what would be valid.
func (e *FieldError) Error() string {
	switch v := e.Value.(type) {
	case nil:
		return fmt.Sprintf("%s is not set: %s", e.Path, e.Valid)
	case string:
		return fmt.Sprintf("%s: %q is not valid: %s", e.Path, v, e.Valid)
	default:
		return fmt.Sprintf("%s: %v is not valid: %s", e.Path, v, e.Valid)
	}
}
