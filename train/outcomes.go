package train

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"brood/internal/stats"
	"brood/kernels"
	"brood/pbt"
)

// outcomeAfter are the numbers of updates after an exploit at which the member
// plays.
var outcomeAfter = []int64{1, 5, 10}

// outcomeTime addresses the starting states that outcomes are played from: the
// same for the source and the member, and other ones than selectionTime's.
const outcomeTime = math.MaxUint32 - 1

// pending is an exploit whose outcome is not complete.
type pending struct {
	Line DecisionLine `json:"line"`
	// Moved is the member that Line.Member is now, where the number of members was
	// changed since.
	Moved *int `json:"moved,omitempty"`
	// Offset and Size are the place of its line in decisions.jsonl.
	Offset int64 `json:"offset"`
	Size   int   `json:"size"`
	// Source are the returns of the source's episodes at the moment of copying.
	Source []float64 `json:"source"`
}

// tally counts outcomes.
type tally struct {
	Exploits  int64 `json:"exploits"`
	Judged    int64 `json:"judged"`
	Successes int64 `json:"successes"`
	// Difference[i] sums the mean returns less the source's outcomeAfter[i] updates
	// after the exploit, Measured[i] counts them.
	Difference []float64 `json:"difference"`
	Measured   []int64   `json:"measured"`
}

// outcomes follows exploits to their outcome. A checkpoint holds all of it.
type outcomes struct {
	Pending []*pending `json:"pending"`
	// Strategies by the name of what was done, Changes by "hyperparameter operation".
	Strategies map[string]*tally `json:"strategies"`
	Changes    map[string]*tally `json:"changes"`
}

func newOutcomes() outcomes {
	return outcomes{Strategies: map[string]*tally{}, Changes: map[string]*tally{}}
}

// tallies are all that an exploit counts for.
func (o *outcomes) tallies(l *DecisionLine) (list []*tally) {
	of := func(m map[string]*tally, key string) *tally {
		if m[key] == nil {
			m[key] = &tally{Difference: make([]float64, len(outcomeAfter)), Measured: make([]int64, len(outcomeAfter))}
		}
		return m[key]
	}
	list = append(list, of(o.Strategies, string(l.OptimizerStrategy)))
	for name, h := range l.Hyperparameters {
		list = append(list, of(o.Changes, name+" "+h.Operation))
	}
	return list
}

// sourceReturns plays the sources of decisions that are about to be carried out;
// nil where pbt.telemetry_episodes is 0.
func (r *Run) sourceReturns(decisions []pbt.Decision) (map[int][]float64, error) {
	if r.cfg.PBT.TelemetryEpisodes == 0 || len(decisions) == 0 {
		return nil, nil
	}
	var sources []int
	for _, d := range decisions {
		if !slices.Contains(sources, d.Source) {
			sources = append(sources, d.Source)
		}
	}
	return r.playOutcomes(sources)
}

// playOutcomes returns the members' returns in the episodes of outcomes, but for
// members whose returns are not finite.
func (r *Run) playOutcomes(members []int) (map[int][]float64, error) {
	returns, _, err := Play(r.engine, members, r.cfg.PBT.TelemetryEpisodes, r.cfg.Run.Seed, outcomeTime)
	if err != nil {
		return nil, err
	}
	by := make(map[int][]float64, len(members))
	for i, m := range members {
		if !math.IsNaN(stats.Mean(returns[i])) && !math.IsInf(stats.Mean(returns[i]), 0) {
			by[m] = returns[i]
		}
	}
	return by, nil
}

// follow writes the line of an exploit and waits for its outcome, where the
// source's returns are known.
func (r *Run) follow(line DecisionLine, source []float64) error {
	for _, t := range r.outcomes.tallies(&line) {
		t.Exploits++
	}
	p := &pending{Line: line, Offset: r.decisions.end(), Source: source}
	if source != nil {
		o := &Outcome{SourceReturn: stats.Mean(source)}
		for _, n := range outcomeAfter {
			o.After = append(o.After, ReturnAfter{Updates: n})
		}
		p.Line.Outcome = o
		r.outcomes.Pending = append(r.outcomes.Pending, p)
	}
	text, err := p.Line.encode(0)
	if err != nil {
		return err
	}
	p.Size = len(text)
	r.decisions.buf = append(r.decisions.buf, text...)
	return nil
}

// outcomeDue says whether a member is to be played after an update.
func (r *Run) outcomeDue(update int64) bool {
	return slices.ContainsFunc(r.outcomes.Pending, func(p *pending) bool { return p.slot(update) >= 0 })
}

// member is who is waited for.
func (p *pending) member() int {
	if p.Moved != nil {
		return *p.Moved
	}
	return p.Line.Member
}

// slot is the index into outcomeAfter of what is due after an update, or -1.
func (p *pending) slot(update int64) int { return slices.Index(outcomeAfter, update-p.Line.Update) }

// measureOutcomes plays the members whose exploits are so many updates old.
func (r *Run) measureOutcomes() error {
	var members []int
	for _, p := range r.outcomes.Pending {
		if p.slot(r.updates) >= 0 && !slices.Contains(members, p.member()) {
			members = append(members, p.member())
		}
	}
	if len(members) == 0 {
		return nil
	}
	returns, err := r.playOutcomes(members)
	if err != nil {
		return fmt.Errorf("the outcome of exploits: %w", err)
	}
	for _, p := range slices.Clone(r.outcomes.Pending) {
		i := p.slot(r.updates)
		if i >= 0 && returns[p.member()] != nil {
			if err := r.recordOutcome(p, i, returns[p.member()]); err != nil {
				return err
			}
		}
		if i == len(outcomeAfter)-1 {
			r.settle(p)
		}
	}
	return nil
}

// recordOutcome enters what a member played into its exploit's line.
func (r *Run) recordOutcome(p *pending, slot int, returns []float64) error {
	o := p.Line.Outcome
	mean := stats.Mean(returns)
	o.After[slot].Mean = stats.OrNil(mean)
	success := notLower(returns, p.Source)
	o.Success = &success
	if o.After[slot].Mean != nil {
		for _, t := range r.outcomes.tallies(&p.Line) {
			t.Difference[slot] += mean - o.SourceReturn
			t.Measured[slot]++
		}
	}
	text, err := p.Line.encode(p.Size)
	if err != nil {
		return err
	}
	r.decisions.rewrite(p.Offset, text)
	return nil
}

// notLower says whether a is not lower than b by more than 1.96 standard errors of
// their paired differences.
func notLower(a, b []float64) bool {
	d := make([]float64, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	if len(d) == 1 {
		return d[0] >= 0
	}
	return stats.Mean(d) >= -1.96*stats.StdErr(d)
}

// settle ends the wait for an exploit's outcome: nothing more will be measured.
func (r *Run) settle(p *pending) {
	r.outcomes.Pending = slices.DeleteFunc(r.outcomes.Pending, func(x *pending) bool { return x == p })
	r.outcomes.judge(p)
}

// judge counts whether an exploit was successful, where that is known.
func (o *outcomes) judge(p *pending) {
	if p.Line.Outcome.Success == nil {
		return
	}
	for _, t := range o.tallies(&p.Line) {
		t.Judged++
		if *p.Line.Outcome.Success {
			t.Successes++
		}
	}
}

// settleMembers settles the exploits of members that are overwritten now.
func (r *Run) settleMembers(exploits []kernels.Exploit) {
	for _, p := range slices.Clone(r.outcomes.Pending) {
		if slices.ContainsFunc(exploits, func(e kernels.Exploit) bool { return e.Member == p.member() }) {
			r.settle(p)
		}
	}
}

// ExploitSummary is how the exploits of one kind came out.
type ExploitSummary struct {
	// Strategy is what was done to the optimizer's state; empty in Changes.
	Strategy pbt.Strategy `json:"strategy,omitempty"`
	// Hyperparameter and Operation are what was explored; empty in Strategies.
	Hyperparameter string `json:"hyperparameter,omitempty"`
	Operation      string `json:"operation,omitempty"`
	Exploits       int64  `json:"exploits"`
	// Judged exploits have an outcome; Successes of them were successful.
	Judged      int64    `json:"judged"`
	Successes   int64    `json:"successes"`
	SuccessRate *float64 `json:"success_rate"`
	// After are the mean returns less the source's, over all exploits that were
	// followed so far; nil without any.
	After []DifferenceAfter `json:"after"`
}

// DifferenceAfter is a mean difference some updates after an exploit.
type DifferenceAfter struct {
	Updates    int64    `json:"updates"`
	Difference *float64 `json:"difference"`
	Exploits   int64    `json:"exploits"`
}

func (t *tally) summary() ExploitSummary {
	s := ExploitSummary{Exploits: t.Exploits, Judged: t.Judged, Successes: t.Successes,
		SuccessRate: stats.OrNil(float64(t.Successes) / float64(t.Judged))}
	for i, n := range outcomeAfter {
		s.After = append(s.After, DifferenceAfter{Updates: n, Exploits: t.Measured[i],
			Difference: stats.OrNil(t.Difference[i] / float64(t.Measured[i]))})
	}
	return s
}

// summaries lists strategies and changes by name. Exploits that are still followed
// are judged by what is known of them, which leaves o as it is.
func (o *outcomes) summaries() (strategies, changes []ExploitSummary) {
	o = &outcomes{Pending: o.Pending, Strategies: cloneTallies(o.Strategies), Changes: cloneTallies(o.Changes)}
	for _, p := range o.Pending {
		o.judge(p)
	}
	strategies, changes = []ExploitSummary{}, []ExploitSummary{}
	for _, name := range slices.Sorted(maps.Keys(o.Strategies)) {
		s := o.Strategies[name].summary()
		s.Strategy = pbt.Strategy(name)
		strategies = append(strategies, s)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Changes)) {
		s := o.Changes[name].summary()
		s.Hyperparameter, s.Operation, _ = strings.Cut(name, " ")
		changes = append(changes, s)
	}
	return strategies, changes
}

func cloneTallies(m map[string]*tally) map[string]*tally {
	c := make(map[string]*tally, len(m))
	for name, t := range m {
		copied := *t // the sums are not written
		c[name] = &copied
	}
	return c
}
