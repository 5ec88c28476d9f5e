package experiment

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"brood/internal/stats"
	"brood/pbt"
	"brood/study"
)

// exploits writes how the exploits of a workload came out.
func (r *report) exploits(workload int) error {
	w := r.spec.Presets[workload]
	r.printf("\n## %s: after an exploit\n\n", w.Label)
	if len(slices.Concat(r.exploitsOf(workload)...)) == 0 {
		r.printf("No member copied another.\n")
		return nil
	}
	if err := r.plotReturns(workload, w.Label+"-return.svg"); err != nil {
		return err
	}
	r.image("mean return less the source's, by updates after the exploit", w.Label+"-return.svg")
	r.printf("Mean return less the source's at the moment of copying, over all exploits:\n\n")
	r.table("updates after", r.after, func(arm, k int) string {
		return formatInterval(bootstrap(r.values(workload, overSource(arm, k))), 1)
	}, -1)
	reference := r.spec.arms[r.reference].Name
	r.printf("\nPaired differences to %s in the same exploits and episodes; bold where the interval does not contain 0:\n\n", reference)
	r.table("updates after", r.after, func(arm, k int) string {
		i := bootstrap(r.values(workload, between(arm, r.reference, k)))
		return decided(i, formatInterval(i, 1))
	}, r.reference)
	r.printf("\nShare of exploits after which the member's return is below the source's by more than 1.96 standard errors:\n\n")
	r.table("updates after", r.after, func(arm, k int) string { return formatInterval(bootstrap(r.values(workload, dropped(arm, k))), 2) }, -1)
	return r.firstSteps(workload)
}

// dropped is 1 for an exploit after which the member was worse than its source.
func dropped(arm, k int) func(*Exploit) *float64 {
	return func(e *Exploit) *float64 {
		x := 0.0
		if e.Arms[arm].Dropped[k] {
			x = 1
		}
		return &x
	}
}

// table writes a row per arm, without the one of index skip, and a column per
// number of updates.
func (r *report) table(corner string, columns []int64, cell func(arm, k int) string, skip int) {
	r.printf("| %s | %s |\n|---|%s\n", corner, strings.Join(strings.Fields(fmt.Sprint(columns)[1:len(fmt.Sprint(columns))-1]), " | "),
		strings.Repeat("---|", len(columns)))
	for a, arm := range r.spec.arms {
		if a == skip {
			continue
		}
		r.printf("| %s |", arm.Name)
		for k := range columns {
			r.printf(" %s |", cell(a, k))
		}
		r.printf("\n")
	}
}

func (r *report) image(words, file string) { r.printf("![%s](%s)\n\n", words, file) }

func cosineOf(arm int) func(*Exploit) *float64 {
	return func(e *Exploit) *float64 { return e.Arms[arm].Cosine }
}

func firstStepOf(arm int) func(*Exploit) *float64 {
	return func(e *Exploit) *float64 { return e.Arms[arm].FirstStep }
}

// firstSteps writes how Adam's mean fits the first gradient, and how far the first
// step goes.
func (r *report) firstSteps(workload int) error {
	label := r.spec.Presets[workload].Label
	r.printf("\nThe first optimizer step after the exploit. The cosine is that of the angle between Adam's mean and the gradient at the copied weights;" +
		" there is none where the mean is 0. Medians, quartiles in brackets:\n\n")
	r.printf("| arm | cosine | exploits with a cosine below 0 | length of the first step |\n|---|---|---|---|\n")
	for a, arm := range r.spec.arms {
		cosines := slices.Concat(r.values(workload, cosineOf(a))...)
		negative := "-"
		if len(cosines) > 0 {
			n := 0
			for _, c := range cosines {
				if c < 0 {
					n++
				}
			}
			negative = fmt.Sprintf("%d of %d", n, len(cosines))
		}
		r.printf("| %s | %s | %s | %s |\n", arm.Name, quartiles(cosines, 3), negative, quartiles(slices.Concat(r.values(workload, firstStepOf(a))...), 4))
	}
	r.printf("\n")
	figures := []struct {
		file, title, axis string
		of                func(arm int) func(*Exploit) *float64
		log               bool
	}{
		{label + "-cosine.svg", "Adam's mean and the first gradient", "cosine", cosineOf, false},
		{label + "-first-step.svg", "First optimizer step after an exploit", "length in weight space", firstStepOf, true},
	}
	for _, f := range figures {
		drawn, err := r.plotDistribution(workload, f.file, f.title+": "+label, f.axis, f.of, f.log)
		if err != nil {
			return err
		}
		if drawn {
			r.image(f.title+", by arm", f.file)
		}
	}
	return nil
}

// quartiles writes "median [lower, upper]".
func quartiles(x []float64, decimals int) string {
	if len(x) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s [%s, %s]", fixed(quantile(x, 0.5), decimals), fixed(quantile(x, 0.25), decimals), fixed(quantile(x, 0.75), decimals))
}

// quantile interpolates linearly between the values.
func quantile(x []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// dropsOverall writes the share of exploits that dropped over all workloads.
func (r *report) dropsOverall() {
	if len(r.spec.Presets) < 2 {
		return
	}
	r.printf("\n## All workloads\n\nShare of exploits after which the member's return is below the source's by more than 1.96 standard errors," +
		" stratified by workload:\n\n")
	r.table("updates after", r.after, func(arm, k int) string {
		var strata [][]float64
		for w := range r.spec.Presets {
			strata = append(strata, slices.Concat(r.values(w, dropped(arm, k))...))
		}
		return formatInterval(bootstrap(strata), 2)
	}, -1)
}

// factorBins are the upper ends of the bins of factors by which hyperparameters
// changed, the end included; the last bin has none.
var factorBins = []float64{1.25, 1.5, 2, 3, 5, math.Inf(1)}

func binOf(factor *float64) int {
	if factor == nil {
		return len(factorBins) - 1
	}
	// A step by a factor is rounded where it was computed.
	return slices.IndexFunc(factorBins, func(end float64) bool { return *factor <= end*(1+1e-9) })
}

func binName(i int) string {
	switch {
	case i == 0:
		return fmt.Sprintf("up to %v", factorBins[0])
	case math.IsInf(factorBins[i], 1):
		return fmt.Sprintf("above %v", factorBins[i-1])
	default:
		return fmt.Sprintf("%v to %v", factorBins[i-1], factorBins[i])
	}
}

// adaptive writes copy less reset by how much the hyperparameters changed, from
// which the factor of the strategy adaptive is chosen.
func (r *report) adaptive() error {
	arm := func(s pbt.Strategy) int {
		return slices.IndexFunc(r.spec.arms, func(a study.Arm) bool { return a.Strategy == s && !a.ScaleMomentum })
	}
	copied, reset := arm(pbt.CopyOptimizer), arm(pbt.ResetOptimizer)
	if copied < 0 || reset < 0 {
		return nil
	}
	r.printf("\n## Copy or reset, by how much the hyperparameters changed\n\n" +
		"The return of copy less that of reset, averaged over the updates after an exploit at which both played, by the largest factor by which the exploit" +
		" changed a hyperparameter. The last column is in standard deviations of each workload's differences, over all workloads." +
		" Bold where the interval does not contain 0.\n\n| factor | exploits |")
	for _, w := range r.spec.Presets {
		r.printf(" %s |", w.Label)
	}
	r.printf(" all, standardised |\n|---|---|%s---|\n", strings.Repeat("---|", len(r.spec.Presets)))
	all := make([]stats.Interval, len(factorBins))
	for bin := range factorBins {
		var standardised [][]float64
		var cells []string
		n := 0
		for w := range r.spec.Presets {
			strata := r.values(w, copyLessReset(copied, reset, bin))
			count := len(slices.Concat(strata...))
			n += count
			cells = append(cells, intervalOf(strata, 1))
			everywhere := slices.Concat(r.values(w, copyLessReset(copied, reset, -1))...)
			if spread := stats.StdErr(everywhere) * math.Sqrt(float64(len(everywhere))); spread > 0 {
				standardised = append(standardised, scaled(slices.Concat(strata...), 1/spread))
			}
		}
		all[bin] = stats.Interval{Mean: math.NaN(), Low: math.NaN(), High: math.NaN()}
		if len(slices.Concat(standardised...)) >= leastForInterval {
			all[bin] = bootstrap(standardised)
		}
		r.printf("| %s | %d | %s | %s |\n", binName(bin), n, strings.Join(cells, " | "), intervalOf(standardised, 2))
	}
	r.printf("\n%s\n\n", chooseFactor(all))
	drawn, err := r.plotFactors(all, "copy-reset-factor.svg")
	if err == nil && drawn {
		r.image("copy less reset by the factor by which the hyperparameters changed", "copy-reset-factor.svg")
	}
	return err
}

// leastForInterval is the least number of exploits that an interval is given for in
// a bin: the bootstrap of fewer says next to nothing.
const leastForInterval = 10

func intervalOf(strata [][]float64, decimals int) string {
	switch n := len(slices.Concat(strata...)); {
	case n == 0:
		return "-"
	case n < leastForInterval:
		return fmt.Sprintf("%s (%s)", fixed(stats.Mean(slices.Concat(strata...)), decimals), plural(n, "exploit"))
	}
	i := bootstrap(strata)
	return decided(i, formatInterval(i, decimals))
}

func scaled(x []float64, by float64) []float64 {
	y := make([]float64, len(x))
	for i := range x {
		y[i] = x[i] * by
	}
	return y
}

// copyLessReset is the mean difference of the two arms over all updates after the
// exploit at which they played; of the exploits of a bin, or of all for -1.
func copyLessReset(copied, reset, bin int) func(*Exploit) *float64 {
	return func(e *Exploit) *float64 {
		if bin >= 0 && binOf(e.Factor) != bin {
			return nil
		}
		var list []float64
		for k := 1; k < len(e.Arms[copied].Difference); k++ { // at 0 the weights are the same
			if d := between(copied, reset, k)(e); d != nil {
				list = append(list, *d)
			}
		}
		return stats.OrNil(stats.Mean(list))
	}
}

// chooseFactor says which factor for adaptive the bins speak for: copy where it
// is not worse than reset.
func chooseFactor(bins []stats.Interval) string {
	worse := slices.IndexFunc(bins, func(i stats.Interval) bool { return i.High < 0 })
	better, known := -1, 0
	for i, b := range bins {
		if !math.IsNaN(b.Mean) {
			known++
		}
		if b.Low > 0 && (worse < 0 || i < worse) {
			better = i
		}
	}
	switch {
	case known == 0:
		return "There are too few exploits in every bin to choose a factor for the strategy adaptive."
	case worse == 0:
		return "Copy is worse than reset even after the smallest changes: reset everywhere, and no factor for the strategy adaptive, is what these exploits speak for."
	case worse > 0:
		return fmt.Sprintf("Copy is first shown to be worse than reset where a hyperparameter changed by a factor of %s: these exploits speak for a factor of %v for the"+
			" strategy adaptive.", binName(worse), factorBins[worse-1])
	case better >= 0 && math.IsInf(factorBins[better], 1):
		return "Copy is better than reset even after the largest changes, and nowhere shown to be worse: these exploits speak for copy everywhere."
	case better >= 0:
		return fmt.Sprintf("Copy is better than reset where the hyperparameters changed by a factor of %s, and nowhere shown to be worse: these exploits speak for a factor of"+
			" at least %v for the strategy adaptive.", binName(better), factorBins[better])
	default:
		return "In no bin does the interval exclude 0: these exploits choose no factor for the strategy adaptive."
	}
}
