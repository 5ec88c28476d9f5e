package experiment

import (
	"fmt"
	"slices"
	"strings"

	"brood/internal/stats"
	"brood/study"
)

// curvePoints is about how many points of a curve are drawn.
const curvePoints = 60

// leastRuns is the least number of runs that a difference is claimed for.
const leastRuns = 5

// curve is the interquartile mean of the best return over runs, by steps.
type curve struct {
	steps []float64
	best  []stats.Interval
}

// runsOf are the whole runs of a workload with an arm, by seed.
func (r *report) runsOf(workload, arm int) (list []*Result) {
	for i := range r.results {
		if x := &r.results[i]; x.Arm == r.spec.arms[arm].Name && x.Workload == r.spec.Presets[workload].Label {
			list = append(list, x)
		}
	}
	return list
}

// iqm is the interquartile mean with its interval, over runs.
func iqm(runs []float64) stats.Interval {
	return stats.StratifiedBootstrap([][]float64{runs}, stats.IQM, study.Resamples, study.Level, bootstrapSeed)
}

// curveOf takes the points at which every run has a best member.
func (r *report) curveOf(workload, arm int) (c curve) {
	runs := r.runsOf(workload, arm)
	points := len(runs[0].Curve)
	every := max(1, points/curvePoints)
	for k := range points {
		if k%every != 0 && k != points-1 {
			continue
		}
		var values []float64
		for _, run := range runs {
			if b := run.Curve[k].Best; b != nil {
				values = append(values, *b)
			}
		}
		if len(values) == len(runs) {
			c.steps = append(c.steps, float64(runs[0].Curve[k].Steps))
			c.best = append(c.best, iqm(values))
		}
	}
	return c
}

// meanOfCurve is the mean best return over a run, from the first point on: a run
// that learns sooner has a better one.
func meanOfCurve(run *Result) *float64 {
	var list []float64
	for _, p := range run.Curve {
		if p.Best != nil {
			list = append(list, *p.Best)
		}
	}
	return stats.OrNil(stats.Mean(list))
}

// runs writes how whole runs came out.
func (r *report) runs() error {
	r.printf("\n## Whole runs\n\nInterquartile means over %s with stratified bootstrap intervals (Agarwal et al. 2021). During: the best member's return in"+
		" training, averaged over the run. At the end: that of the member the run chose, in deterministic episodes. With so few seeds an interval"+
		" is a rough guide.\n", plural(len(r.spec.Seeds), "seed"))
	for w, workload := range r.spec.Presets {
		r.printf("\n### %s\n\n| strategy | during | at the end |\n|---|---|---|\n", workload.Label)
		for a, arm := range r.spec.arms {
			var during, final []float64
			for _, run := range r.runsOf(w, a) {
				if x := meanOfCurve(run); x != nil {
					during = append(during, *x)
				}
				if run.Final != nil {
					final = append(final, *run.Final)
				}
			}
			r.printf("| %s | %s | %s |\n", arm.Name, r.ofRuns(during), r.ofRuns(final))
		}
		r.printf("\n%s\n\n", r.compareRuns(w))
		if err := r.plotCurves(w, workload.Label+"-runs.svg"); err != nil {
			return err
		}
		r.image("best member's return over the population's steps, by strategy", workload.Label+"-runs.svg")
	}
	return nil
}

// ofRuns says how many runs a figure misses, where it does.
func (r *report) ofRuns(values []float64) string {
	text := formatInterval(iqm(values), 1)
	if missing := len(r.spec.Seeds) - len(values); missing > 0 && len(values) > 0 {
		text += fmt.Sprintf(" (%s without)", plural(missing, "run"))
	}
	return strings.TrimSpace(text)
}

// compareRuns says which strategies differ from the reference over whole runs, by
// the differences of runs of the same seed.
func (r *report) compareRuns(workload int) string {
	reference := r.spec.arms[r.reference].Name
	text := ""
	var open []string
	base := r.runsOf(workload, r.reference)
	for a, arm := range r.spec.arms {
		if a == r.reference {
			continue
		}
		var differences []float64
		for i, run := range r.runsOf(workload, a) {
			if x, y := meanOfCurve(run), meanOfCurve(base[i]); x != nil && y != nil {
				differences = append(differences, *x-*y)
			}
		}
		switch i := bootstrap([][]float64{differences}); {
		case len(differences) < leastRuns:
			return fmt.Sprintf("With fewer than %d seeds nothing is said of differences between strategies.", leastRuns)
		case i.Low > 0 || i.High < 0:
			text += fmt.Sprintf("During the run %s differs from %s by %s. ", arm.Name, reference, formatInterval(i, 1))
		default:
			open = append(open, arm.Name)
		}
	}
	if len(open) > 0 {
		text += fmt.Sprintf("During the run no difference to %s is shown for %s (the intervals of the mean differences of runs of the same seed contain 0).",
			reference, numbers(slices.Clone(open)))
	}
	return strings.TrimSpace(text)
}
