package study

import (
	"brood/internal/stats"
)

// Counterfactual is what `brood counterfactual` prints. A figure is nil where it
// is not defined or not finite.
type Counterfactual struct {
	// Update is the number of updates done at the exploit in which Member copied
	// Source.
	Update int64 `json:"update"`
	Member int   `json:"member"`
	Source int   `json:"source"`
	// SourceReturn is the source's mean return at the moment of copying.
	SourceReturn *float64     `json:"source_return"`
	Arms         []ArmResult  `json:"arms"`
	Differences  []Difference `json:"differences"`
	Warnings     []string     `json:"warnings,omitempty"`
}

// ArmResult is one life.
type ArmResult struct {
	Name string `json:"name"`
	// Strategy is what adaptive came to; empty elsewhere.
	Strategy string        `json:"strategy,omitempty"`
	Returns  []ReturnAfter `json:"returns"`
	// MomentumGradientCosine is that of the angle between Adam's mean and the first
	// gradient at the copied weights; nil where the mean is 0.
	MomentumGradientCosine *float64 `json:"momentum_gradient_cosine"`
	// FirstStepNorm is the length of the first optimizer step in weight space.
	FirstStepNorm *float64 `json:"first_step_norm"`
}

// ReturnAfter is a mean return so many updates after the exploit, with its standard
// error over the episodes.
type ReturnAfter struct {
	After  int64    `json:"after"`
	Mean   *float64 `json:"mean"`
	StdErr *float64 `json:"stderr"`
}

// Difference is the mean over the episodes of arm A's return less arm B's in the
// same episode, with a 95% bootstrap interval.
type Difference struct {
	A     string   `json:"a"`
	B     string   `json:"b"`
	After int64    `json:"after"`
	Mean  *float64 `json:"mean"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}

// Level is the confidence of every interval, Resamples the bootstrap's draws.
const (
	Level     = 0.95
	Resamples = 2000
)

// Summary gives the figures of the lives; warnings are those of [Find].
func (l *Lives) Summary(warnings []string) *Counterfactual {
	d := &l.Case.Decision
	c := &Counterfactual{Update: l.Case.Update, Member: d.Member, Source: d.Source, SourceReturn: stats.OrNil(stats.Mean(l.SourceReturns)),
		Differences: []Difference{}}
	c.Warnings = append(append(c.Warnings, warnings...), l.Warnings...)
	for i, arm := range l.Arms {
		r := ArmResult{Name: arm.Name, MomentumGradientCosine: stats.OrNil(l.Cosine[i]), FirstStepNorm: stats.OrNil(l.FirstStep[i])}
		if l.Strategies[i] != arm.Strategy {
			r.Strategy = string(l.Strategies[i])
		}
		for k, n := range l.After {
			returns := l.Returns[i][k]
			r.Returns = append(r.Returns, ReturnAfter{After: n, Mean: stats.OrNil(stats.Mean(returns)), StdErr: stats.OrNil(stats.StdErr(returns))})
		}
		c.Arms = append(c.Arms, r)
	}
	for i := range l.Arms {
		for j := i + 1; j < len(l.Arms); j++ {
			for k := range l.After {
				c.Differences = append(c.Differences, l.difference(i, j, k))
			}
		}
	}
	return c
}

func (l *Lives) difference(i, j, k int) Difference {
	// The seed is that of the case, so that the figures are the same every time.
	at := stats.Bootstrap(Paired(l.Returns[i][k], l.Returns[j][k]), stats.Mean, Resamples, Level, uint64(l.Case.Update))
	return Difference{A: l.Arms[i].Name, B: l.Arms[j].Name, After: l.After[k],
		Mean: stats.OrNil(at.Mean), Low: stats.OrNil(at.Low), High: stats.OrNil(at.High)}
}

// Paired returns a - b, episode by episode.
func Paired(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return d
}
