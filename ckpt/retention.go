package ckpt

import "slices"

// Retention says which checkpoints of a run stay; one stays that any rule wants.
type Retention struct {
	// Last is how many of the newest stay. At least 1.
	Last int
	// Multiple keeps those after a multiple of so many updates. 0: the rule is off.
	Multiple int64
	// Also are the updates of checkpoints that stay for another reason, such as being
	// the best.
	Also []int64
}

// Keeps returns which of the sets, whose updates are given in any order, stay.
func (r Retention) Keeps(sets []int64) func(update int64) bool {
	newest := slices.Sorted(slices.Values(sets))
	newest = newest[max(0, len(newest)-max(r.Last, 1)):]
	return func(update int64) bool {
		return r.Multiple > 0 && update > 0 && update%r.Multiple == 0 || slices.Contains(r.Also, update) || slices.Contains(newest, update)
	}
}
