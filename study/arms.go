// Package study lives the exploits of a run again, each several times from the
// same moment with the same random numbers, so that what becomes of the member
// differs by what was done to its optimizer's state and by nothing else.
package study

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"brood/internal/nearest"
	"brood/pbt"
)

// ErrArm is an arm that there is not, or not twice.
var ErrArm = errors.New("invalid arm")

// Arm is one of the lives of an exploit: what it does to the optimizer's state.
type Arm struct {
	// Name is the strategy's, with the suffix "+lr" where ScaleMomentum.
	Name     string
	Strategy pbt.Strategy
	// ScaleMomentum scales a mean that comes from the source with the learning
	// rate, as pbt.optimizer_lr_scaling does.
	ScaleMomentum bool
}

// scalingSuffix marks an arm with ScaleMomentum.
const scalingSuffix = "+lr"

// armStrategies are those an arm may have, in the order of [DefaultArms].
var armStrategies = []pbt.Strategy{pbt.ResetOptimizer, pbt.CopyOptimizer, pbt.MomentumOptimizer, pbt.VelocityOptimizer,
	pbt.AdaptiveOptimizer, pbt.StaleOptimizer}

// DefaultArms names every strategy, the bug included.
func DefaultArms() []string {
	names := make([]string, len(armStrategies))
	for i, s := range armStrategies {
		names[i] = string(s)
	}
	return names
}

// ParseArms reads arms by their names. Without a name, one that is not known or
// one that is there twice the error is an [ErrArm] that lists what is valid.
func ParseArms(names []string) ([]Arm, error) {
	valid := DefaultArms()
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: there is none; valid: %s, each also with %s", ErrArm, strings.Join(valid, ", "), scalingSuffix)
	}
	var arms []Arm
	for _, name := range names {
		strategy, scaled := strings.CutSuffix(name, scalingSuffix)
		if !slices.Contains(valid, strategy) {
			hint := ""
			if near := nearest.Word(strategy, valid); near != "" {
				hint = fmt.Sprintf("did you mean %s? ", near)
			}
			return nil, fmt.Errorf("%w: %q; %svalid: %s, each also with %s", ErrArm, name, hint, strings.Join(valid, ", "), scalingSuffix)
		}
		if slices.ContainsFunc(arms, func(a Arm) bool { return a.Name == name }) {
			return nil, fmt.Errorf("%w: %q twice", ErrArm, name)
		}
		arms = append(arms, Arm{Name: name, Strategy: pbt.Strategy(strategy), ScaleMomentum: scaled})
	}
	return arms, nil
}

// ChangeFactor is the largest factor, at least 1, by which the decision changed
// one of the hyperparameters that came from the source. It is infinite where one
// changed to or from 0, or its sign.
func ChangeFactor(d *pbt.Decision) float64 {
	factor := 1.0
	for name, after := range d.After {
		before := d.SourceValues[name]
		switch {
		case after == before:
		case after == 0 || before == 0 || (after < 0) != (before < 0):
			return math.Inf(1)
		default:
			factor = max(factor, after/before, before/after)
		}
	}
	return factor
}

// resolve is the strategy that the arm carries out: adaptive copies where every
// hyperparameter is within the factor of the source's, else resets.
func (a Arm) resolve(d *pbt.Decision, factor float64) pbt.Strategy {
	if a.Strategy != pbt.AdaptiveOptimizer {
		return a.Strategy
	}
	for name, after := range d.After {
		if !pbt.WithinFactor(d.SourceValues[name], after, factor) {
			return pbt.ResetOptimizer
		}
	}
	return pbt.CopyOptimizer
}
