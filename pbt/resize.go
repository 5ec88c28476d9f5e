package pbt

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"brood/rng"
)

// Resized is how a population became one of another size.
type Resized struct {
	// Origins are the members that go on: member m is what member Origins[m] was
	// before, with its whole state, the optimizer's included.
	Origins []int
	// Fills are the copies from which members come that were not there before, in the
	// order of their IDs. Nothing was theirs before: Before is nil, MemberScore NaN.
	Fills []Decision
	// Best is the number of members that the sources were drawn from, the best; 0:
	// nobody has a score, and the sources were taken in turn.
	Best int
}

// Resize continues from the state of a population of another size, after so many
// updates. scores are the members' present ones, by ID; one that is not finite is
// none.
//
// In a smaller population the best stay. Members in quarantine rank last, before
// them those without a score. Who stays keeps its ID where the new population has it;
// the others move, in the order of their IDs, to the IDs that became free.
//
// In a larger one everybody stays, and each new member copies one drawn from the best
// [Config.Truncated] of those with a score, at least one; where nobody has a score,
// those that are not in quarantine are copied in turn. Its hyperparameters are
// explored and its optimizer is treated as in any exploit, but for the strategy
// stale: it has no state of its own that could stay, and is reset. Its first interval
// is counted from now on. The draws are none that an interval makes.
//
// It returns ErrState, ErrExplore or ErrNoSource, wrapped, and then changes nothing.
func (s *Scheduler) Resize(state State, scores []float64, update int64) (Resized, error) {
	if err := s.checkState(&state); err != nil {
		return Resized{}, err
	}
	if len(scores) != len(state.Members) || update < 0 {
		return Resized{}, fmt.Errorf("%w: %d scores for %d members, after %d updates; valid: as many, and at least 0 updates",
			ErrState, len(scores), len(state.Members), update)
	}
	judged := cloneMembers(state.Members)
	for i := range judged {
		judged[i].Performance = scores[i]
	}
	var custom func(*Decision) error
	if s.custom != nil {
		custom = s.customise
	}
	r, err := resize(&s.config, judged, state.Interval, resizeKey(s.key, update), state.Observations, custom)
	if err != nil {
		return Resized{}, err
	}
	members := make([]Member, 0, s.config.PopulationSize)
	last := int64(0)
	for id, origin := range r.Origins {
		m := state.Members[origin].clone()
		m.ID = id
		members = append(members, m)
		last = max(last, m.Step)
	}
	// A member that reported nothing may have the mark of others, who are gone now.
	for i := range members {
		if m := &members[i]; m.Mark > last {
			m.Step = m.Mark
		}
	}
	for i := range r.Fills {
		d := &r.Fills[i]
		d.Step = update
		members = append(members, Member{ID: d.Member, Hyperparameters: maps.Clone(d.After), Performance: math.NaN(), Step: update, Mark: update})
	}
	s.interval, s.rejected = state.Interval, state.Rejected
	s.members, s.observations = members, cloneObservations(state.Observations)
	return r, nil
}

// resizeKey is a key of its own, so that none of its draws is one of an interval.
// It lies at an address of the initial hyperparameters, whose time is 0; a
// population that has done no update has nothing to copy.
func resizeKey(key rng.Key, update int64) rng.Key {
	w := key.Block(0, rng.Address{Time: uint32(update), Purpose: rng.Population})
	return rng.Key{Lo: w[0], Hi: w[1]}
}

// resize is the pure function beneath [Scheduler.Resize]. members are sorted by ID,
// 0 to P-1, and have the scores that count.
func resize(c *Config, members []Member, interval int, key rng.Key, observations []Observation, custom func(*Decision) error) (Resized, error) {
	ranked := rank(c, members)
	slices.SortStableFunc(ranked, func(i, j int) int { // weights that are not finite are worth less than a score that is missing
		return cmp.Compare(asInt(members[i].Quarantined), asInt(members[j].Quarantined))
	})
	r := Resized{Origins: origins(ranked, c.PopulationSize)}
	if c.PopulationSize <= len(members) {
		return r, nil
	}
	best := slices.DeleteFunc(slices.Clone(ranked), func(i int) bool { return !finite(members[i].score()) })
	inTurn := slices.DeleteFunc(slices.Clone(r.Origins), func(i int) bool { return members[i].Quarantined })
	if len(inTurn) == 0 {
		return r, fmt.Errorf("%w: all %d are in quarantine", ErrNoSource, len(members))
	}
	if len(best) > 0 {
		best = best[:max(1, c.Truncated(len(best)))]
	}
	r.Best = len(best)
	for id := len(members); id < c.PopulationSize; id++ {
		source := &members[inTurn[(id-len(members))%len(inTurn)]]
		if len(best) > 0 {
			draw := key.Stream(0, rng.Address{Member: uint32(id), Purpose: rng.Exploit})
			source = &members[best[draw.IntN(len(best))]]
		}
		r.Fills = append(r.Fills, Decision{Interval: interval, Member: id, Source: source.ID, MemberScore: math.NaN(), SourceScore: source.score(),
			SourceValues: maps.Clone(source.Hyperparameters)})
	}
	if err := explore(c, r.Fills, members, observations, key, custom); err != nil {
		return r, err
	}
	for i := range r.Fills {
		if d := &r.Fills[i]; d.Strategy == StaleOptimizer {
			d.Strategy = ResetOptimizer
		}
	}
	return r, nil
}

// origins says which member each of a population of p was before, as far as there
// were as many; ranked are those before, best first.
func origins(ranked []int, p int) []int {
	stay := slices.Sorted(slices.Values(ranked[:min(p, len(ranked))]))
	place := make([]int, len(stay))
	for m := range place {
		place[m] = -1
	}
	for _, m := range stay {
		if m < len(place) {
			place[m] = m
		}
	}
	free := 0
	for _, m := range stay {
		if m < len(place) {
			continue
		}
		for place[free] >= 0 {
			free++
		}
		place[free] = m
	}
	return place
}

func asInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
