package experiment

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"brood/ckpt"
	"brood/internal/stats"
	"brood/pbt"
	"brood/study"
)

// reportFile is the written report of a result folder.
const reportFile = "report.md"

// report is what the results say, on its way to be written.
type report struct {
	spec    *Spec
	dir     string
	results []Result
	after   []int64
	// reference is the index of the arm that the others are compared with: reset
	// where there is one, else the first.
	reference int
	text      strings.Builder
}

// Report writes report.md and its plots into a result folder, from the results
// alone: the same results give the same report. command is what made them. It
// returns the report's path. Where jobs are missing it is an error.
func (s *Spec) Report(dir, command string) (string, error) {
	path := filepath.Join(dir, resultsFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return "", fmt.Errorf("study: there are no results in %s yet", dir)
	}
	if err != nil {
		return "", err
	}
	digest, err := s.digest()
	if err != nil {
		return "", err
	}
	results, err := s.parseResults(path, text, digest)
	if err != nil {
		return "", err
	}
	r := &report{spec: s, dir: dir, after: study.After(s.Updates)}
	for _, j := range s.jobs() {
		i := slices.IndexFunc(results, func(x Result) bool { return x.Job == s.name(j) })
		if i < 0 {
			return "", fmt.Errorf("study: %s lacks the job %q; run the experiment to its end", path, s.name(j))
		}
		r.results = append(r.results, results[i])
	}
	r.reference = max(0, slices.IndexFunc(s.arms, func(a study.Arm) bool { return a.Strategy == pbt.ResetOptimizer }))
	if err := r.write(command); err != nil {
		return "", err
	}
	out := filepath.Join(dir, reportFile)
	return out, ckpt.WriteFile(ckpt.OS, out, []byte(r.text.String()))
}

func (r *report) printf(format string, args ...any) { fmt.Fprintf(&r.text, format, args...) }

func (r *report) write(command string) error {
	s := r.spec
	r.printf("# Experiment %s\n\n", s.Name)
	r.introduce(command)
	if s.Counterfactuals {
		r.printf("\n## What came out\n\n")
		shown, all := 0, 0
		for w := range s.Presets {
			claimed, open := r.state(w)
			shown, all = shown+claimed, all+claimed+open
		}
		r.printf("\nOf the %s behind these sentences %d exclude 0; where nothing differs, about %.0f would by chance alone.\n",
			plural(all, "interval"), shown, (1-study.Level)*float64(all))
		for w := range s.Presets {
			if err := r.exploits(w); err != nil {
				return err
			}
		}
		r.dropsOverall()
		if err := r.adaptive(); err != nil {
			return err
		}
	}
	if s.Runs {
		return r.runs()
	}
	return nil
}

// introduce says how the report was made.
func (r *report) introduce(command string) {
	s := r.spec
	r.printf("Made by `%s` from %s, on %s, in %s of wall time (%s of one core). %s.\n\n", command,
		plural(len(r.results), "job"), joined(r.results, func(x *Result) string { return x.Processor }), r.wallTime(),
		r.coreTime(), joined(r.results, func(x *Result) string { return x.Version + ", engine " + x.Engine }))
	r.printf("| workload | preset | changed | seeds | exploits |\n|---|---|---|---|---|\n")
	for i, w := range s.Presets {
		var changed []string
		for _, key := range sortedKeys(w.Set) {
			changed = append(changed, fmt.Sprintf("`%s: %s`", key, setting(key, w.Set[key]).Value))
		}
		exploits := 0
		for _, e := range r.exploitsOf(i) {
			exploits += len(e)
		}
		r.printf("| %s | %s | %s | %s | %d |\n", w.Label, w.Preset, orDash(strings.Join(changed, ", ")), numbers(s.Seeds), exploits)
	}
	r.printf("\nArms: %s. Intervals are 95%% bootstrap intervals (%d draws)", strings.Join(s.Arms, ", "), study.Resamples)
	if s.Counterfactuals {
		r.printf("; those over exploits are stratified by seed, but for seeds with fewer than five. Every exploit of the reference run of each workload and seed was lived once per arm"+
			" for %d updates, with the same weights, hyperparameters and random numbers, and played in the same %d deterministic episodes. Exploits of"+
			" one run are not independent of each other: the intervals say how sure these figures are for such runs, not for other tasks",
			s.Updates, s.Episodes)
	}
	r.printf(".\n")
}

// exploitsOf are the exploits of a workload, by seed.
func (r *report) exploitsOf(workload int) (bySeed [][]Exploit) {
	for _, x := range r.results {
		if x.Arm == "" && x.Workload == r.spec.Presets[workload].Label {
			bySeed = append(bySeed, x.Exploits)
		}
	}
	return bySeed
}

// values gives a figure of every exploit of a workload, by seed; without those
// where it is nil.
func (r *report) values(workload int, of func(*Exploit) *float64) (bySeed [][]float64) {
	for _, exploits := range r.exploitsOf(workload) {
		var list []float64
		for i := range exploits {
			if x := of(&exploits[i]); x != nil {
				list = append(list, *x)
			}
		}
		bySeed = append(bySeed, list)
	}
	return bySeed
}

// overSource is the difference of an arm to the source, after r.after[k] updates.
func overSource(arm, k int) func(*Exploit) *float64 {
	return func(e *Exploit) *float64 { return e.Arms[arm].Difference[k] }
}

// between is the difference of two arms.
func between(a, b, k int) func(*Exploit) *float64 {
	return func(e *Exploit) *float64 {
		x, y := e.Arms[a].Difference[k], e.Arms[b].Difference[k]
		if x == nil || y == nil {
			return nil
		}
		return stats.OrNil(*x - *y)
	}
}

// bootstrapSeed makes the report's intervals the same every time.
const bootstrapSeed = 1

// leastInStratum is the least number of values that are drawn from on their own:
// those of a stratum of one would always be the same, and the interval too narrow.
const leastInStratum = 5

// bootstrap is the mean and its interval; strata with too few values are taken
// together.
func bootstrap(strata [][]float64) stats.Interval {
	var large [][]float64
	var small []float64
	for _, stratum := range strata {
		if len(stratum) < leastInStratum {
			small = append(small, stratum...)
			continue
		}
		large = append(large, stratum)
	}
	return stats.StratifiedBootstrap(append(large, small), stats.Mean, study.Resamples, study.Level, bootstrapSeed)
}

// state says in words how the arms of a workload came out. It returns how many
// intervals exclude 0 and how many do not.
func (r *report) state(workload int) (shown, notShown int) {
	s := r.spec
	reference := s.arms[r.reference].Name
	for a, arm := range s.arms {
		if a == r.reference {
			continue
		}
		claims, open := r.compare(workload, a)
		shown, notShown = shown+len(claims), notShown+len(open)
		if len(open) > 0 {
			claims = append(claims, fmt.Sprintf("after %s no difference to %s is shown (the interval contains 0)", updates(open), reference))
		}
		if len(claims) == 0 {
			claims = []string{"without exploits there is nothing to say"}
		}
		r.printf("- **%s, %s**: %s.\n", s.Presets[workload].Label, arm.Name, strings.Join(claims, "; "))
	}
	return shown, notShown
}

// compare says after how many updates an arm differs from the reference and by how
// much, and after how many that is open.
func (r *report) compare(workload, arm int) (claims []string, open []int64) {
	reference := r.spec.arms[r.reference].Name
	for k, n := range r.after {
		if n == 0 {
			continue // the weights are the same
		}
		switch i := bootstrap(r.values(workload, between(arm, r.reference, k))); {
		case math.IsNaN(i.Mean):
		case i.Low <= 0 && i.High >= 0:
			open = append(open, n)
		case i.Mean > 0:
			claims = append(claims, fmt.Sprintf("better than %s by %s after %s", reference, formatInterval(i, 1), plural(int(n), "update")))
		default:
			i = stats.Interval{Mean: -i.Mean, Low: -i.High, High: -i.Low}
			claims = append(claims, fmt.Sprintf("worse than %s by %s after %s", reference, formatInterval(i, 1), plural(int(n), "update")))
		}
	}
	return claims, open
}

// wallTime is the time during which at least one job ran.
func (r *report) wallTime() string {
	jobs := slices.Clone(r.results)
	slices.SortFunc(jobs, func(a, b Result) int { return cmp.Compare(a.Begun, b.Begun) })
	total, end := 0.0, math.Inf(-1)
	for _, j := range jobs {
		total += max(0, j.Ended-max(j.Begun, end))
		end = max(end, j.Ended)
	}
	return seconds(total)
}

func (r *report) coreTime() string {
	total := 0.0
	for _, j := range r.results {
		total += j.Ended - j.Begun
	}
	return seconds(total)
}

func seconds(x float64) string { return time.Duration(math.Round(x) * float64(time.Second)).String() }
