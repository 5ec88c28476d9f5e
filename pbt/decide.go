package pbt

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"brood/rng"
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
	// Before are the member's own hyperparameters, SourceValues the source's,
	// After those that the member has from now on.
	Before       map[string]float64 `json:"before" msgpack:"before"`
	SourceValues map[string]float64 `json:"source_values" msgpack:"source_values"`
	After        map[string]float64 `json:"after" msgpack:"after"`
	// Operations say how After came from SourceValues: "perturb up", "perturb
	// down", "resample" or "keep".
	Operations map[string]string `json:"operations" msgpack:"operations"`
	// Strategy is what the learner does to the member's optimizer state.
	Strategy Strategy `json:"strategy" msgpack:"strategy"`
	// Step is the member's.
	Step int64 `json:"step" msgpack:"step"`
}

// Decide returns the decisions of one interval, in the order of the members'
// IDs. It is a pure function: all decisions are taken from the population as it
// is, the order of its elements does not matter, and equal arguments give equal
// decisions.
//
// Members rank by score, ties by ID with the lower first. A score that is not
// finite counts as none: an infinite return or loss is a broken learner, not the
// best or a comparable one. A member without a score ranks last and is never
// copied from. A member whose Step is below BurnIn copies nobody.
//
//   - Truncation: each of the worst [Config.Truncated] members copies one drawn
//     uniformly from as many best, or from those of them that have a score. The
//     rank alone decides: with equal scores the higher IDs copy the lower.
//   - BinaryTournament: each member draws another uniformly and copies it if its
//     score is better; an equal score is not better.
//
// Decide panics if c is invalid, if IDs repeat or are out of range, or if a
// member lacks a hyperparameter of c or has one that is not finite; a
// [Scheduler] never passes such arguments.
func Decide(c Config, population []Member, interval int, key rng.Key) []Decision {
	if err := c.Validate(); err != nil {
		panic(fmt.Sprintf("pbt: Decide: %v", err))
	}
	if err := checkPopulation(&c, population); err != nil {
		panic(fmt.Sprintf("pbt: Decide: %v", err))
	}
	if !c.Enabled {
		return nil
	}
	members := slices.Clone(population)
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })

	var decisions []Decision
	for i, j := range chooseSources(&c, members, interval, key) {
		if j < 0 || members[i].Step < c.BurnIn {
			continue
		}
		decisions = append(decisions, decision(&c, &members[i], &members[j], interval, key))
	}
	return decisions
}

// chooseSources returns for each index of members, which are sorted by ID, the
// index of the member to copy, or -1.
func chooseSources(c *Config, members []Member, interval int, key rng.Key) []int {
	sources := make([]int, len(members))
	for i := range sources {
		sources[i] = -1
	}
	if len(members) < 2 {
		return sources
	}
	draw := func(i int) rng.Stream {
		return key.Stream(0, rng.Address{Time: uint32(interval), Member: uint32(members[i].ID), Purpose: rng.Exploit})
	}
	if c.ExploitMethod == BinaryTournament {
		for i := range members {
			r := draw(i)
			j := r.IntN(len(members) - 1)
			if j >= i { // skip the member itself
				j++
			}
			if c.compare(members[j].Performance, members[i].Performance) < 0 {
				sources[i] = j
			}
		}
		return sources
	}
	ranked := rank(c, members)
	n := c.Truncated(len(members))
	best := slices.DeleteFunc(slices.Clone(ranked[:n]), func(i int) bool { return !finite(members[i].Performance) })
	if len(best) == 0 {
		return sources
	}
	for _, i := range ranked[len(ranked)-n:] {
		r := draw(i)
		sources[i] = best[r.IntN(len(best))]
	}
	return sources
}

// rank returns the indices of members, which are sorted by ID, best first.
func rank(c *Config, members []Member) []int {
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		return c.compare(members[i].Performance, members[j].Performance)
	})
	return order
}

// compare is negative where score a is better than b: the better by MetricMode,
// and any finite score than none.
func (c *Config) compare(a, b float64) int {
	switch {
	case !finite(a) && !finite(b):
		return 0
	case !finite(a):
		return 1
	case !finite(b):
		return -1
	case c.MetricMode == Min:
		return cmp.Compare(a, b)
	}
	return cmp.Compare(b, a)
}

func decision(c *Config, member, source *Member, interval int, key rng.Key) Decision {
	d := Decision{
		Interval: interval, Member: member.ID, Source: source.ID,
		MemberScore: member.Performance, SourceScore: source.Performance,
		Before:       maps.Clone(member.Hyperparameters),
		SourceValues: maps.Clone(source.Hyperparameters),
		After:        maps.Clone(source.Hyperparameters),
		Operations:   make(map[string]string, len(source.Hyperparameters)),
		Strategy:     c.OptimizerExploitStrategy,
		Step:         member.Step,
	}
	for name := range d.After {
		d.Operations[name] = OpKeep
	}
	for i := range c.Hyperparameters {
		h := &c.Hyperparameters[i]
		r := key.Stream(uint32(i), rng.Address{Time: uint32(interval), Member: uint32(member.ID), Purpose: rng.Explore})
		d.After[h.Name], d.Operations[h.Name] = h.explore(c.ExploreMethod, source.Hyperparameters[h.Name], &r)
	}
	return d
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
		for j := range c.Hyperparameters {
			if _, ok := m.Hyperparameters[c.Hyperparameters[j].Name]; !ok {
				return fmt.Errorf("member %d lacks the hyperparameter %q", m.ID, c.Hyperparameters[j].Name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(m.Hyperparameters)) {
			if v := m.Hyperparameters[name]; !finite(v) {
				return fmt.Errorf("member %d: the hyperparameter %q is %v; valid: a finite number", m.ID, name, v)
			}
		}
	}
	return nil
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
