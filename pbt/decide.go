package pbt

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"brood/rng"
)

// Decide returns the decisions of one interval, in the order of the members'
// IDs. It is a pure function: all decisions are taken from the population as it
// is, the order of its elements does not matter, and equal arguments give equal
// decisions.
//
// Members rank by score, ties by ID with the lower first. A score that is not
// finite counts as none: an infinite return or loss is a broken learner, not the
// best or a comparable one. A member with such a score ranks last and is never
// copied from. So does one that has reported none, since the start or since it copied.
//
// Only a member that is due copies: one that was Scored, has done BurnIn updates,
// and PerturbationInterval since its Mark. Whoever has a score may be copied, due
// or not. A member without a report is due once every due member has done that many
// updates since its Mark; before, truncation leaves it out of account.
//
//   - Truncation: each of the worst [Config.Truncated] copies one drawn uniformly from as many best, or from those
//     of them that have a score. The rank alone decides: with equal scores the higher
//     IDs copy the lower.
//   - BinaryTournament: each member draws another uniformly and copies it if its
//     score is better; an equal score is not better.
//   - TTest: as BinaryTournament, but only if the mean of the other's Returns is
//     better too, and Welch's two-sided t-test of the Returns of both gives p < 0.05.
//     Who has fewer than 2 neither copies nor is copied.
//
// A member in quarantine always copies: one drawn from the best under Truncation,
// else the member it drew if that has a score, or the best. It is never copied
// from. It keeps its state where nobody has a score.
//
// The observations are what pb2 suggests from; the other explore methods use none.
//
// Decide panics if c is invalid, if IDs repeat or are out of range, if a member or
// an observation lacks a hyperparameter of c or has one that is not finite, or if
// a member's return or an observation's change is not finite; a [Scheduler] never
// passes such arguments.
func Decide(c Config, population []Member, interval int, key rng.Key, observations ...Observation) []Decision {
	if err := c.Validate(); err != nil {
		panic(fmt.Sprintf("pbt: Decide: %v", err))
	}
	if err := checkPopulation(&c, population); err != nil {
		panic(fmt.Sprintf("pbt: Decide: %v", err))
	}
	if err := checkObservations(&c, observations); err != nil {
		panic(fmt.Sprintf("pbt: Decide: %v", err))
	}
	decisions := propose(&c, population, interval, key)
	if err := explore(&c, decisions, population, observations, key, nil); err != nil {
		panic(fmt.Sprintf("pbt: Decide: %v", err))
	}
	return decisions
}

// propose says who copies whom; what becomes of the hyperparameters and the
// optimizer is open.
func propose(c *Config, population []Member, interval int, key rng.Key) []Decision {
	if !c.Enabled {
		return nil
	}
	members := slices.Clone(population)
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })

	var decisions []Decision
	pace := c.pace(members)
	for i, j := range chooseSources(c, members, interval, key) {
		if j < 0 || !c.due(&members[i]) && !c.overdue(&members[i], pace) {
			continue
		}
		member, source := &members[i], &members[j]
		decisions = append(decisions, Decision{
			Interval: interval, Member: member.ID, Source: source.ID,
			MemberScore: member.score(), SourceScore: source.score(),
			Before: maps.Clone(member.Hyperparameters), SourceValues: maps.Clone(source.Hyperparameters),
			Quarantined: member.Quarantined, Step: member.Step,
		})
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
	draw := func(i, n int) int {
		r := key.Stream(0, rng.Address{Time: uint32(interval), Member: uint32(members[i].ID), Purpose: rng.Exploit})
		return r.IntN(n)
	}
	if c.ExploitMethod == Truncation {
		truncate(c, members, sources, draw)
	} else {
		compete(c, members, sources, draw)
	}
	return sources
}

// truncate fills sources under truncation.
func truncate(c *Config, members []Member, sources []int, draw func(i, n int) int) {
	// Who could not report yet is neither good nor bad: where members train at their
	// own pace it would keep the worst from their places.
	pace := c.pace(members)
	ranked := slices.DeleteFunc(rank(c, members), func(i int) bool {
		m := &members[i]
		return !m.Scored && !m.Quarantined && !c.overdue(m, pace)
	})
	n := c.Truncated(len(ranked))
	best := slices.DeleteFunc(slices.Clone(ranked[:n]), func(i int) bool { return !finite(members[i].score()) })
	if len(best) == 0 {
		return
	}
	for k, i := range ranked {
		if k >= len(ranked)-n || members[i].Quarantined {
			sources[i] = best[draw(i, len(best))]
		}
	}
}

// compete fills sources under the methods in which each member draws another.
func compete(c *Config, members []Member, sources []int, draw func(i, n int) int) {
	best := rank(c, members)[0]
	if !finite(members[best].score()) {
		return
	}
	for i := range members {
		j := draw(i, len(members)-1)
		if j >= i { // skip the member itself
			j++
		}
		member, other := &members[i], &members[j]
		switch {
		case member.Quarantined && finite(other.score()):
			sources[i] = j
		case member.Quarantined:
			sources[i] = best
		case c.compare(other.score(), member.score()) < 0 && (c.ExploitMethod != TTest || c.significantlyBetter(other, member)):
			sources[i] = j
		}
	}
}

// rank returns the indices of members, which are sorted by ID, best first.
func rank(c *Config, members []Member) []int {
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		return c.compare(members[i].score(), members[j].score())
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
