package pbt

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"brood/pbt/bandit"
	"brood/rng"
)

// Observation is what a member's hyperparameters led to in one of its intervals,
// for the explore method pb2.
type Observation struct {
	// Step is the number of updates the member had done at the interval's end.
	Step int64 `json:"step" msgpack:"step"`
	// Hyperparameters are those it had in the interval.
	Hyperparameters map[string]float64 `json:"hyperparameters" msgpack:"hyperparameters"`
	// Change is how much its score rose in the interval, or fell where the metric
	// mode is min: above 0 is better.
	Change float64 `json:"change" msgpack:"change"`
}

// observe returns the observations with those of the members that end an interval
// now, in the order of their IDs: at most as many as the bandit uses, the newest.
// A member gives one if it has a score now, had one at the interval's begin and did
// not copy in between. A change too large for a float64 is not observed.
func observe(c *Config, members []Member, before []Observation) []Observation {
	observations := slices.Clone(before)
	for i := range members {
		m := &members[i]
		if !c.due(m) || m.Baseline == nil || !finite(m.score()) {
			continue
		}
		change := m.Performance - *m.Baseline
		if c.MetricMode == Min {
			change = -change
		}
		if finite(change) {
			observations = append(observations, Observation{Step: m.Step, Hyperparameters: maps.Clone(m.Hyperparameters), Change: change})
		}
	}
	return slices.Clone(observations[max(0, len(observations)-bandit.MaxObservations):])
}

func cloneObservations(observations []Observation) []Observation {
	c := slices.Clone(observations)
	for i := range c {
		c[i].Hyperparameters = maps.Clone(c[i].Hyperparameters)
	}
	return c
}

func checkObservations(c *Config, observations []Observation) error {
	for i := range observations {
		o := &observations[i]
		whose := fmt.Sprintf("observation %d", i)
		if o.Step < 0 {
			return fmt.Errorf("%s has step %d; valid: at least 0", whose, o.Step)
		}
		if !finite(o.Change) {
			return fmt.Errorf("%s: the change is %v; valid: a finite number", whose, o.Change)
		}
		if err := checkHyperparameters(c, whose, o.Hyperparameters); err != nil {
			return err
		}
	}
	return nil
}

// suggester asks the bandit for the values of the hyperparameters that have a
// range. A nil one suggests nothing.
type suggester struct {
	ranges  []*Hyperparameter // [d]
	model   *bandit.Model
	pending [][]float64 // [k][d] chosen in this interval, scaled to [0, 1]
}

// newSuggester fits the bandit to the observations. It is nil where there are too
// few of them, or no ranges.
func newSuggester(c *Config, population []Member, observations []Observation) (*suggester, error) {
	s := &suggester{}
	for i := range c.Hyperparameters {
		if h := &c.Hyperparameters[i]; h.Values == nil {
			s.ranges = append(s.ranges, h)
		}
	}
	if len(s.ranges) == 0 {
		return nil, nil
	}
	// One present for all members: the step of the one that is furthest.
	now := int64(0)
	for i := range population {
		now = max(now, population[i].Step)
	}
	data := make([]bandit.Observation, len(observations))
	for i := range observations {
		now = max(now, observations[i].Step)
		data[i] = bandit.Observation{Time: c.intervals(observations[i].Step), X: s.scaled(observations[i].Hyperparameters),
			Change: observations[i].Change}
	}
	var err error
	if s.model, err = bandit.Fit(data, c.intervals(now)); errors.Is(err, bandit.ErrFewData) {
		return nil, nil
	}
	return s, err
}

// intervals is a number of updates in the bandit's unit of time.
func (c *Config) intervals(updates int64) float64 {
	return float64(updates) / float64(c.PerturbationInterval)
}

func (s *suggester) scaled(values map[string]float64) []float64 {
	x := make([]float64, len(s.ranges))
	for i, h := range s.ranges {
		x[i] = h.scaled(values[h.Name])
	}
	return x
}

// suggestion is the index of the suggestions' random numbers: the indices below
// are the hyperparameters'.
const suggestion = math.MaxUint32

// values returns a suggestion by name.
func (s *suggester) values(key rng.Key, at rng.Address) (map[string]float64, error) {
	if s == nil {
		return nil, nil
	}
	r := key.Stream(suggestion, at)
	x, err := s.model.Suggest(s.pending, r.Float64)
	if err != nil {
		return nil, err
	}
	values := make(map[string]float64, len(x))
	for i, h := range s.ranges {
		values[h.Name] = h.at(x[i])
	}
	return values, nil
}

// took tells the suggester what a member has from now on.
func (s *suggester) took(values map[string]float64) {
	if s != nil {
		s.pending = append(s.pending, s.scaled(values))
	}
}
