package pbt

import "math"

// Quarantine says that a member's weights are not finite. From then on it has no
// score, whatever is reported for it, and is never copied from. At the next
// interval it copies one of the best, whether or not it did its burn-in, was bad
// enough or would have passed a test; that ends the quarantine. It counts as due in
// [Scheduler.Ready], so that it does not hold the others up, and it stays in
// quarantine while nobody has a finite score.
//
// It returns ErrMember, wrapped, for a member outside the population.
func (s *Scheduler) Quarantine(member int) error {
	if err := s.checkMember(member); err != nil {
		return err
	}
	m := &s.members[member]
	m.Quarantined, m.Performance, m.Returns, m.Baseline = true, math.NaN(), nil, nil
	return nil
}
