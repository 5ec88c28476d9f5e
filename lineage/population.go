package lineage

import (
	"fmt"
	"slices"

	"brood/train"
)

// changesOf are the changes of the number of members that a run's configuration
// records.
func changesOf(cfg train.Config) (changes []Change) {
	parts := append(slices.Clone(cfg.Run.Earlier), train.EarlierPart{PopulationSize: cfg.PBT.PopulationSize})
	for i, part := range parts[:len(parts)-1] {
		changes = append(changes, Change{Update: part.Updates, Before: part.PopulationSize, After: parts[i+1].PopulationSize})
	}
	return changes
}

// change carries out a change of the number of members whose lines are these. Of the
// last lines there are it returns false where some are missing: the run was resumed
// just now, and the family is still the one before.
func (a *adding) change(c Change, lines []train.DecisionLine, last bool) (whole bool, err error) {
	t := a.tree
	if missing := c.After - c.Before - len(lines); missing > 0 {
		if last {
			t.warn("%s does not have the lines of %d members yet that came at update %d: the family is shown with %d members", a.path, missing, c.Update, c.Before)
			return false, nil
		}
		return false, fmt.Errorf("%s:%d: by %s %d members became %d at update %d; the lines of %d of them are missing",
			a.path, a.line+1, "run.earlier of the configuration", c.Before, c.After, c.Update, missing)
	}
	for len(t.Current) < c.After {
		t.Current = append(t.Current, None)
	}
	t.Population = c.After
	t.Changes = append(t.Changes, c)
	// Who moves ends where it was, too.
	gone := slices.Clone(t.Current[min(c.After, len(t.Current)):])
	if err := a.exploits(lines); err != nil {
		return false, err
	}
	for _, life := range gone {
		t.Lives[life].Ended = c.Update
	}
	t.Current = t.Current[:c.After]
	return true, nil
}
