package pbt

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Member is the record of one member of a population.
type Member struct {
	// ID is the member's index, 0 to [MaxPopulation] - 1.
	ID int `json:"id" msgpack:"id"`
	// Hyperparameters by name: all the config's, and any others the learner
	// wants to travel with the weights.
	Hyperparameters map[string]float64 `json:"hyperparameters" msgpack:"hyperparameters"`
	// Performance is the last score; NaN (null in JSON): never scored, or
	// scored with something that is not a finite number.
	Performance float64 `json:"performance" msgpack:"performance"`
	// Scored is true once a score was reported, whatever it was, since the
	// start or since the member last copied another.
	Scored bool `json:"scored" msgpack:"scored"`
	// Step is the number of updates the member had done at its last score.
	Step int64 `json:"step" msgpack:"step"`
	// Mark is the Step at which the member last took part in an interval or copied
	// another; 0: not yet.
	Mark int64 `json:"mark,omitempty" msgpack:"mark,omitempty"`
	// Returns are those of the last episodes behind Performance, in any order; for
	// the exploit method t_test. All are finite.
	Returns []float64 `json:"returns,omitempty" msgpack:"returns,omitempty"`
	// Quarantined is true while the member's weights are not finite; see
	// [Scheduler.Quarantine].
	Quarantined bool `json:"quarantined,omitempty" msgpack:"quarantined,omitempty"`
	// Baseline is the score with which the member's present interval began, for the
	// explore method pb2; nil where there is none.
	Baseline *float64 `json:"baseline,omitempty" msgpack:"baseline,omitempty"`
}

// score is the Performance that counts: a member in quarantine has none.
func (m *Member) score() float64 {
	if m.Quarantined {
		return math.NaN()
	}
	return m.Performance
}

// due reports whether a member takes part in an interval now.
func (c *Config) due(m *Member) bool {
	return m.Quarantined || m.Scored && m.Step >= c.BurnIn && m.Step-m.Mark >= c.PerturbationInterval
}

// pace is the least number of updates that the due members with a score have done:
// what is known of members that report nothing. -1: no member is due.
func (c *Config) pace(members []Member) int64 {
	pace := int64(-1)
	for i := range members {
		if m := &members[i]; m.Scored && c.due(m) && (pace < 0 || m.Step < pace) {
			pace = m.Step
		}
	}
	return pace
}

// overdue reports whether a member that has nothing to be judged by has had as many
// updates as the others for it, as far as that is known.
func (c *Config) overdue(m *Member, pace int64) bool {
	return !m.Scored && !m.Quarantined && pace >= c.BurnIn && pace-m.Mark >= c.PerturbationInterval
}

func (m Member) clone() Member {
	m.Hyperparameters = maps.Clone(m.Hyperparameters)
	m.Returns = slices.Clone(m.Returns)
	m.Baseline = clonePointer(m.Baseline)
	return m
}

func cloneMembers(members []Member) []Member {
	c := slices.Clone(members)
	for i := range c {
		c[i] = c[i].clone()
	}
	return c
}

func checkPopulation(c *Config, population []Member) error {
	seen := make(map[int]bool, len(population))
	for i := range population {
		m := &population[i]
		if m.ID < 0 || m.ID >= MaxPopulation {
			return fmt.Errorf("member ID %d; valid: 0 to %d", m.ID, MaxPopulation-1)
		}
		if seen[m.ID] {
			return fmt.Errorf("two members have the ID %d", m.ID)
		}
		seen[m.ID] = true
		if err := checkHyperparameters(c, fmt.Sprintf("member %d", m.ID), m.Hyperparameters); err != nil {
			return err
		}
		if i := slices.IndexFunc(m.Returns, notFinite); i >= 0 {
			return fmt.Errorf("member %d: return %d is %v; valid: a finite number", m.ID, i, m.Returns[i])
		}
	}
	return nil
}

// checkHyperparameters names in its errors whose the values are.
func checkHyperparameters(c *Config, whose string, values map[string]float64) error {
	for j := range c.Hyperparameters {
		if _, ok := values[c.Hyperparameters[j].Name]; !ok {
			return fmt.Errorf("%s lacks the hyperparameter %q", whose, c.Hyperparameters[j].Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if v := values[name]; !finite(v) {
			return fmt.Errorf("%s: the hyperparameter %q is %v; valid: a finite number", whose, name, v)
		}
	}
	return nil
}

// Decision is one member copying another. The learner gives Member the weights
// of Source as they were before any decision of the interval, does with the
// optimizer's state what Strategy says, and sets the hyperparameters to After.
type Decision struct {
	// Interval counts from 0.
	Interval int `json:"interval" msgpack:"interval"`
	Member   int `json:"member" msgpack:"member"`
	Source   int `json:"source" msgpack:"source"`
	// MemberScore and SourceScore are from before; null in JSON where they are
	// not finite.
	MemberScore float64 `json:"member_score" msgpack:"member_score"`
	SourceScore float64 `json:"source_score" msgpack:"source_score"`
	// MemberReevaluated and SourceReevaluated are the fresh scores under which the
	// decision stands; nil without [Config.ExploitReevaluate], or where they are not
	// finite.
	MemberReevaluated *float64 `json:"member_reevaluated,omitempty" msgpack:"member_reevaluated,omitempty"`
	SourceReevaluated *float64 `json:"source_reevaluated,omitempty" msgpack:"source_reevaluated,omitempty"`
	// Before are the member's own hyperparameters, SourceValues the source's,
	// After those that the member has from now on.
	Before       map[string]float64 `json:"before" msgpack:"before"`
	SourceValues map[string]float64 `json:"source_values" msgpack:"source_values"`
	After        map[string]float64 `json:"after" msgpack:"after"`
	// Operations say how After came from SourceValues: one of the Op constants.
	Operations map[string]string `json:"operations" msgpack:"operations"`
	// Strategy is what the learner does to the member's optimizer state; it is never
	// adaptive. Configured is what the config says.
	Strategy   Strategy `json:"strategy" msgpack:"strategy"`
	Configured Strategy `json:"configured_strategy" msgpack:"configured_strategy"`
	// ScaleMomentum is true where a mean of the gradients that comes from the source
	// is to be scaled by the source's learning rate over the member's.
	ScaleMomentum bool `json:"scale_momentum" msgpack:"scale_momentum"`
	// Quarantined is true where the member copies because its weights are not finite.
	Quarantined bool `json:"quarantined" msgpack:"quarantined"`
	// Step is the member's.
	Step int64 `json:"step" msgpack:"step"`
}

func (d Decision) clone() Decision {
	d.MemberReevaluated, d.SourceReevaluated = clonePointer(d.MemberReevaluated), clonePointer(d.SourceReevaluated)
	d.Before, d.SourceValues, d.After = maps.Clone(d.Before), maps.Clone(d.SourceValues), maps.Clone(d.After)
	d.Operations = maps.Clone(d.Operations)
	return d
}

// JSON has no NaN and no infinity: scores that are not finite are null.

func nullable(x float64) *float64 {
	if !finite(x) {
		return nil
	}
	return &x
}

func orNaN(p *float64) float64 {
	if p == nil {
		return math.NaN()
	}
	return *p
}

type memberFields Member

type memberJSON struct {
	memberFields
	Performance *float64 `json:"performance"`
}

// MarshalJSON writes a Performance that is not finite as null.
func (m Member) MarshalJSON() ([]byte, error) {
	return json.Marshal(memberJSON{memberFields(m), nullable(m.Performance)})
}

// UnmarshalJSON reads null, or no performance, as NaN.
func (m *Member) UnmarshalJSON(data []byte) error {
	var v memberJSON
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*m = Member(v.memberFields)
	m.Performance = orNaN(v.Performance)
	return nil
}

type decisionFields Decision

type decisionJSON struct {
	decisionFields
	MemberScore *float64 `json:"member_score"`
	SourceScore *float64 `json:"source_score"`
}

// MarshalJSON writes scores that are not finite as null.
func (d Decision) MarshalJSON() ([]byte, error) {
	return json.Marshal(decisionJSON{decisionFields(d), nullable(d.MemberScore), nullable(d.SourceScore)})
}

// UnmarshalJSON reads null scores as NaN.
func (d *Decision) UnmarshalJSON(data []byte) error {
	var v decisionJSON
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*d = Decision(v.decisionFields)
	d.MemberScore, d.SourceScore = orNaN(v.MemberScore), orNaN(v.SourceScore)
	return nil
}
