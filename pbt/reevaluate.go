package pbt

import (
	"fmt"
	"maps"
	"slices"
)

// SetReevaluate sets the function that measures members anew where the config says
// exploit_reevaluate. Among many noisy scores the best is likely a lucky one; the
// fresh scores of a decision's two members are not chosen for being extreme.
//
// In [Scheduler.ExploitAndExplore] it is called once with all members and sources
// of the interval's decisions, each once, in ascending order, and returns their
// scores in that order. A decision stands whose source is better by them, or whose
// member is in quarantine; the others are dropped and counted by
// [Scheduler.Rejected]. A score that is not finite is none, as ever. The function
// is not called where there is nothing to decide; it must not call the scheduler.
// It is not part of the scheduler's state.
func (s *Scheduler) SetReevaluate(f func(members []int) ([]float64, error)) { s.reevaluate = f }

// Rejected is the number of decisions dropped because fresh scores did not bear
// them out.
func (s *Scheduler) Rejected() int { return s.rejected }

// confirm returns the decisions that fresh scores bear out.
func (s *Scheduler) confirm(decisions []Decision) ([]Decision, error) {
	if !s.config.ExploitReevaluate || len(decisions) == 0 {
		return decisions, nil
	}
	concerned := map[int]float64{}
	for i := range decisions {
		concerned[decisions[i].Member], concerned[decisions[i].Source] = 0, 0
	}
	members := slices.Sorted(maps.Keys(concerned))
	scores, err := s.reevaluate(slices.Clone(members))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReevaluate, err)
	}
	if len(scores) != len(members) {
		return nil, fmt.Errorf("%w: %d scores for %d members", ErrReevaluate, len(scores), len(members))
	}
	for i, m := range members {
		concerned[m] = scores[i]
	}
	var confirmed []Decision
	for _, d := range decisions {
		member, source := concerned[d.Member], concerned[d.Source]
		if !d.Quarantined && s.config.compare(source, member) >= 0 {
			continue
		}
		d.MemberReevaluated, d.SourceReevaluated = nullable(member), nullable(source)
		confirmed = append(confirmed, d)
	}
	return confirmed, nil
}
