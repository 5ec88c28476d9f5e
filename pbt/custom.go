package pbt

import (
	"fmt"
	"maps"
	"slices"
)

// SetExplore sets a function that has the last word on what a member explores,
// for constraints between hyperparameters: it gets a decision as the explore
// method made it and returns the hyperparameters to use instead of After. It gets
// its own copy, and may return the After of it, changed or not. What it changed has
// the operation [OpCustom].
//
// The result must have the names of After, finite values, and values that the
// config allows; otherwise, and where the function fails, ExploitAndExplore returns
// an error and nothing is changed. The function is called once for each decision of
// an interval, in the order of the members' IDs; it must depend on its argument
// alone for a run to be repeatable, and must not call the scheduler. nil takes it
// away. It is not part of the scheduler's state.
func (s *Scheduler) SetExplore(f func(d Decision) (map[string]float64, error)) { s.custom = f }

// customise applies the function of SetExplore to a decision.
func (s *Scheduler) customise(d *Decision) error {
	after, err := s.custom(d.clone())
	if err != nil {
		return fmt.Errorf("%w: member %d: %w", ErrExplore, d.Member, err)
	}
	if err := s.checkExplored(d.After, after); err != nil {
		return fmt.Errorf("%w: member %d: %w", ErrExplore, d.Member, err)
	}
	for name, v := range after {
		if v != d.After[name] {
			d.After[name], d.Operations[name] = v, OpCustom
		}
	}
	return nil
}

// checkExplored compares what the user's function returned with the names it was
// given and with what the config allows.
func (s *Scheduler) checkExplored(before, after map[string]float64) error {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[name]; !ok {
			return fmt.Errorf("it returned the hyperparameter %q; valid: %q", name, slices.Sorted(maps.Keys(before)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[name]; !ok {
			return fmt.Errorf("it returned no hyperparameter %q", name)
		}
	}
	for i := range s.config.Hyperparameters { // NaN is in no list and no range
		h := &s.config.Hyperparameters[i]
		switch v := after[h.Name]; {
		case h.Values != nil && !slices.Contains(h.Values, v):
			return fmt.Errorf("it returned %v for the hyperparameter %q; valid: one of %v", v, h.Name, h.Values)
		case h.Values == nil && h.clip(v) != v:
			return fmt.Errorf("it returned %v for the hyperparameter %q; valid: %v to %v", v, h.Name, *h.Min, *h.Max)
		}
	}
	return nil
}
