package dash

import (
	"cmp"
	"maps"
	"net/http"
	"slices"

	"brood/internal/stats"
	"brood/lineage"
	"brood/train"
)

// family is what a page draws of who copied whom. A page finds what a life passed
// through by its parents.
type family struct {
	Version  int        `json:"version"`
	Names    []string   `json:"names"`
	Lives    []life     `json:"lives"`
	Current  []int      `json:"current"`
	Outcomes []outcomes `json:"outcomes"`
	Changes  []outcomes `json:"changes"`
	Warnings []string   `json:"warnings"`
	lineage.Summary
}

// life is one as package lineage has it.
type life struct {
	Member int   `json:"m"`
	Born   int64 `json:"b"`
	// Ended and Parent are -1 for none.
	Ended  int64 `json:"e"`
	Parent int   `json:"p"`
	// Source is the member it copied; -1: none. Scores are from before the copy.
	Source      int      `json:"s"`
	Score       *float64 `json:"f"`
	SourceScore *float64 `json:"g"`
	Strategy    string   `json:"o,omitempty"`
	// Success is nil where it is not known.
	Success     *bool `json:"w,omitempty"`
	Quarantined bool  `json:"q,omitempty"`
	// Values of the hyperparameters at its birth, in the order of the names.
	Values []float64 `json:"h"`
}

// outcomes are how the exploits of one kind came out.
type outcomes struct {
	Name      string `json:"name"`
	Exploits  int    `json:"exploits"`
	Judged    int    `json:"judged"`
	Successes int    `json:"successes"`
	// After are mean differences to the source's return at copying.
	After []after `json:"after"`
}

type after struct {
	Updates    int64    `json:"updates"`
	Exploits   int      `json:"exploits"`
	Difference *float64 `json:"difference"`
	sum        float64
}

func serveFamily(run *watched, w http.ResponseWriter, _ *http.Request) error {
	run.mu.RLock()
	tree, version := run.tree, run.treeVersion
	run.mu.RUnlock()
	if tree == nil {
		return sendJSON(w, &family{Names: []string{}, Lives: []life{}, Current: []int{}, Outcomes: []outcomes{}, Changes: []outcomes{}})
	}
	return sendJSON(w, familyOf(tree, version))
}

func familyOf(t *lineage.Tree, version int) *family {
	f := &family{Version: version, Names: t.Names, Lives: make([]life, len(t.Lives)), Current: t.Current, Warnings: t.Warnings, Summary: t.Summary()}
	strategies, changes := map[string]*outcomes{}, map[string]*outcomes{}
	for i := range t.Lives {
		l := &t.Lives[i]
		to := life{Member: l.Member, Born: l.Born, Ended: l.Ended, Parent: l.Parent, Source: -1}
		for _, name := range t.Names {
			to.Values = append(to.Values, l.Hyperparameters[name])
		}
		if d := l.Exploit; d != nil {
			to.Source, to.Score, to.SourceScore, to.Strategy, to.Quarantined = d.Source, d.MemberScore, d.SourceScore, string(d.OptimizerStrategy), d.Quarantined
			if d.Outcome != nil {
				to.Success = d.Outcome.Success
			}
			count(strategies, string(d.OptimizerStrategy), d)
			for name, h := range d.Hyperparameters {
				count(changes, name+": "+h.Operation, d)
			}
		}
		f.Lives[i] = to
	}
	f.Outcomes, f.Changes = sorted(strategies), sorted(changes)
	return f
}

// count adds an exploit to those of its kind.
func count(kinds map[string]*outcomes, name string, d *train.DecisionLine) {
	o := kinds[name]
	if o == nil {
		o = &outcomes{Name: name, After: []after{}}
		kinds[name] = o
	}
	o.Exploits++
	if d.Outcome == nil {
		return
	}
	if d.Outcome.Success != nil {
		o.Judged++
		if *d.Outcome.Success {
			o.Successes++
		}
	}
	for _, a := range d.Outcome.After {
		i := slices.IndexFunc(o.After, func(x after) bool { return x.Updates == a.Updates })
		if i < 0 {
			i = len(o.After)
			o.After = append(o.After, after{Updates: a.Updates})
		}
		if a.Mean != nil {
			o.After[i].Exploits++
			o.After[i].sum += *a.Mean - d.Outcome.SourceReturn
		}
	}
}

func sorted(kinds map[string]*outcomes) []outcomes {
	list := []outcomes{}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		o := kinds[name]
		slices.SortFunc(o.After, func(a, b after) int { return cmp.Compare(a.Updates, b.Updates) })
		for i := range o.After {
			if a := &o.After[i]; a.Exploits > 0 {
				a.Difference = stats.OrNil(a.sum / float64(a.Exploits))
			}
		}
		list = append(list, *o)
	}
	return list
}
