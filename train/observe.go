package train

import (
	"math"
	"slices"
	"time"

	"brood/pbt"
)

// What onlookers may ask of a run while it trains. All of it is a copy of a few numbers
// from the training goroutine's memory; nothing waits.

// MemberFigures are a member's after an update; NaN stands for what does not exist.
type MemberFigures struct {
	// Return is train_return, the others are as in metrics.jsonl.
	Return, PolicyLoss, ValueLoss, Entropy, KL float64
	Quarantined                                bool
	// Hyperparameters in the order of Progress.Evolved, as they are from now on.
	Hyperparameters []float64
}

// CheckpointFigures are those of the checkpoints of this process.
type CheckpointFigures struct {
	// Update of the newest checkpoint; -1: there is none. At is when it was complete;
	// of one that the run went on from, when it did.
	Update          int64
	At              time.Time
	Written, Failed int64
}

// RecentExploit is one of the last exploits of this process.
type RecentExploit struct {
	Update         int64
	Member, Source int
	Strategy       pbt.Strategy
}

// maxRecent is how many exploits are remembered for onlookers.
const maxRecent = 16

// remember keeps what was decided for onlookers.
func (r *Run) remember(decisions []pbt.Decision) {
	for _, d := range decisions {
		r.recent = append(r.recent, RecentExploit{r.updates, d.Member, d.Source, d.Strategy})
	}
	r.recent = slices.Delete(r.recent, 0, max(len(r.recent)-maxRecent, 0))
}

// Evolved names the hyperparameters that differ between members or updates.
func (p *Progress) Evolved() []string {
	names := make([]string, len(p.run.evolved))
	for i, e := range p.run.evolved {
		names[i] = e.name
	}
	return names
}

// Population is the number of members.
func (p *Progress) Population() int { return len(p.run.stats) }

// LowerIsBetter is true where pbt.metric_mode is min.
func (p *Progress) LowerIsBetter() bool { return p.run.cfg.PBT.MetricMode == pbt.Min }

// Member is how a member does after the update.
func (p *Progress) Member(m int) MemberFigures {
	s := &p.run.stats[m]
	f := MemberFigures{Return: s.Score, PolicyLoss: applied(s, s.PolicyLoss), ValueLoss: applied(s, s.ValueLoss), Entropy: applied(s, s.Entropy),
		KL: applied(s, s.KL), Quarantined: p.run.quarantined[m]}
	for _, e := range p.run.evolved {
		f.Hyperparameters = append(f.Hyperparameters, float64(p.run.hyper[m][e.Hyperparameter]))
	}
	return f
}

// Exploited appends the last exploits of this process to dst, the newest last.
func (p *Progress) Exploited(dst []RecentExploit) []RecentExploit {
	return append(dst, p.run.recent...)
}

// Checkpoints tells of the newest checkpoint. One that has just become complete counts,
// though the training has not come to look at it.
func (p *Progress) Checkpoints() CheckpointFigures {
	r := p.run
	c := CheckpointFigures{Update: r.saved, At: r.savedAt, Written: r.checkpoints.Written, Failed: r.checkpoints.Failed}
	if x := r.saving; x != nil {
		if at := x.completed.Load(); at != 0 {
			c.Update, c.At, c.Written = x.update, time.Unix(0, at), c.Written+1
		}
	}
	return c
}

// BestAndMedian are those of returns, which it sorts; NaN where none is a number.
func BestAndMedian(returns []float64, lowerIsBetter bool) (best, median float64) {
	known := slices.DeleteFunc(returns, math.IsNaN)
	n := len(known)
	if n == 0 {
		return math.NaN(), math.NaN()
	}
	slices.Sort(known)
	best = known[n-1]
	if lowerIsBetter {
		best = known[0]
	}
	return best, (known[(n-1)/2] + known[n/2]) / 2
}

// OutcomeUpdates are the numbers of updates after an exploit at which its outcome is
// measured.
func OutcomeUpdates() []int64 { return slices.Clone(outcomeAfter) }
