package pbt

import (
	"fmt"
	"slices"
)

// State is everything a scheduler needs to go on where it stopped, beside its
// config. It can be written as JSON and as msgpack.
type State struct {
	Seed uint64 `json:"seed" msgpack:"seed"`
	// Interval is the number of intervals decided.
	Interval int      `json:"interval" msgpack:"interval"`
	Members  []Member `json:"members" msgpack:"members"`
	// Rejected is the number of decisions that fresh scores did not bear out.
	Rejected int `json:"rejected,omitempty" msgpack:"rejected,omitempty"`
	// Observations are those of pb2, in the order in which they were made.
	Observations []Observation `json:"observations,omitempty" msgpack:"observations,omitempty"`
}

// State returns a copy of the scheduler's state.
func (s *Scheduler) State() State {
	return State{Seed: s.seed, Interval: s.interval, Members: s.Population(), Rejected: s.rejected,
		Observations: cloneObservations(s.observations)}
}

// Restore continues from a state: the decisions that follow are those of the
// scheduler it was taken from, given the same scores. The config may differ in
// all but the population's size and the hyperparameters' names; values outside a
// range that was narrowed are clipped when they are next explored. A state written
// before members had a Mark, or States observations, is that of a population which
// has not taken part in an interval yet. The functions of SetExplore and
// SetReevaluate stay those of this scheduler.
//
// It returns ErrState, wrapped with what does not fit, and then changes nothing.
func (s *Scheduler) Restore(state State) error {
	if state.Seed != s.seed {
		return fmt.Errorf("%w: seed %d; this scheduler's is %d", ErrState, state.Seed, s.seed)
	}
	if state.Interval < 0 {
		return fmt.Errorf("%w: interval %d; valid: at least 0", ErrState, state.Interval)
	}
	if len(state.Members) != s.config.PopulationSize {
		return fmt.Errorf("%w: %d members; population_size is %d", ErrState, len(state.Members), s.config.PopulationSize)
	}
	if state.Rejected < 0 {
		return fmt.Errorf("%w: %d decisions rejected; valid: at least 0", ErrState, state.Rejected)
	}
	if err := checkPopulation(&s.config, state.Members); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	last := int64(0)
	for i := range state.Members {
		last = max(last, state.Members[i].Step)
	}
	for i := range state.Members {
		if err := s.checkStored(i, &state.Members[i], last); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	if err := checkObservations(&s.config, state.Observations); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	s.interval, s.rejected = state.Interval, state.Rejected
	s.members, s.observations = cloneMembers(state.Members), cloneObservations(state.Observations)
	return nil
}

// checkStored checks what checkPopulation leaves open: what only a scheduler
// promises of the member at place i. last is the most steps of any: a member that
// reported nothing and copied another has a mark beyond its own step.
func (s *Scheduler) checkStored(i int, m *Member, last int64) error {
	switch {
	case m.ID != i:
		return fmt.Errorf("member %d at place %d", m.ID, i)
	case m.Step < 0:
		return fmt.Errorf("member %d has step %d; valid: at least 0", i, m.Step)
	case m.Mark < 0 || m.Mark > last:
		return fmt.Errorf("member %d has mark %d; valid: 0 to the last step of any member, %d", i, m.Mark, last)
	case m.Quarantined && finite(m.Performance):
		return fmt.Errorf("member %d is in quarantine and has the performance %v; valid: none", i, m.Performance)
	case m.Baseline != nil && !finite(*m.Baseline):
		return fmt.Errorf("member %d has the baseline %v; valid: a finite number, or none", i, *m.Baseline)
	}
	for name := range m.Hyperparameters {
		if !s.config.has(name) {
			return fmt.Errorf("member %d has the hyperparameter %q, which the config lacks", i, name)
		}
	}
	return nil
}

func (c *Config) has(name string) bool {
	return slices.ContainsFunc(c.Hyperparameters, func(h Hyperparameter) bool { return h.Name == name })
}
