package experiment

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"brood/internal/stats"
	"brood/study"
	"brood/train"

	"github.com/stretchr/testify/require"
)

// tiny is two workloads whose jobs take fractions of a second.
const tiny = `
name: tiny
presets:
  - preset: cartpole
    set: {env.count: 4, ppo.steps: 16, ppo.minibatches: 2, pbt.population_size: 4, pbt.perturbation_interval: 3, run.total_steps: 3000,
      run.selection_episodes: 2}
  - preset: acrobot
    label: acrobot-wide
    set: {env.count: 4, ppo.steps: 16, ppo.minibatches: 2, pbt.population_size: 4, pbt.perturbation_interval: 3, run.total_steps: 3000,
      run.selection_episodes: 2, pbt.explore_method: resample, pbt.metric_name: eval_return, pbt.eval_episodes: 2}
seeds: [1, 2]
arms: [reset, copy, stale]
updates: 2
episodes: 3
counterfactuals: true
runs: true
`

func parse(t *testing.T, text string) *Spec {
	t.Helper()
	s, err := Parse("tiny.yaml", []byte(text))
	require.NoError(t, err)
	return s
}

// run does the jobs until so many are done; 0: all.
func run(t *testing.T, s *Spec, dir string, until int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := 0
	err := s.Run(ctx, Options{Dir: dir, Jobs: 2, Progress: func(string) {
		if done++; done == until {
			cancel()
		}
	}})
	if until > 0 {
		require.ErrorIs(t, err, context.Canceled)
		return
	}
	require.NoError(t, err)
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(text)
}

var madeBy = regexp.MustCompile(`(?m)^Made by .*$`)

// report is the report without the line that holds times.
func reportOf(t *testing.T, s *Spec, dir string) string {
	t.Helper()
	path, err := s.Report(dir, "command")
	require.NoError(t, err)
	text := read(t, path)
	require.Regexp(t, "Made by `command` from 16 jobs, on .*, [0-9]+ threads, in [0-9ms]+ of wall time .*engine cpu/", text)
	return madeBy.ReplaceAllString(text, "")
}

// An experiment that was stopped, and killed in the middle of a line, goes on to
// the same report, and does no job twice.
func TestGoesOnWhereItStopped(t *testing.T) {
	s := parse(t, tiny)
	whole, parts := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	run(t, s, whole, 0)
	run(t, s, parts, 3)
	_, err := s.Report(parts, "command")
	require.ErrorContains(t, err, "lacks the job")
	first := read(t, parts, resultsFile)
	require.Less(t, strings.Count(first, "\n"), 1+16)
	require.NoError(t, os.WriteFile(filepath.Join(parts, resultsFile), []byte(first+`{"job":"cartpole seed 1 run`), 0o644))
	run(t, s, parts, 2)
	run(t, s, parts, 0)
	results := read(t, parts, resultsFile)
	require.True(t, strings.HasPrefix(results, first), "finished jobs were done again")
	require.Equal(t, 1+16, strings.Count(results, "\n"))
	require.Equal(t, reportOf(t, s, whole), reportOf(t, s, parts))
	run(t, s, parts, 0)
	require.Equal(t, results, read(t, parts, resultsFile), "nothing was left to do")

	for _, file := range []string{"cartpole-return.svg", "acrobot-wide-cosine.svg", "cartpole-first-step.svg", "cartpole-runs.svg"} {
		drawing := read(t, whole, file)
		require.Equal(t, drawing, read(t, parts, file))
		requireSVG(t, drawing)
		require.Contains(t, read(t, whole, reportFile), "]("+file+")")
	}
}

func requireSVG(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok {
			for _, a := range start.Attr {
				require.NotContains(t, a.Value, "NaN")
				require.NotContains(t, a.Value, "Inf")
			}
		}
	}
	require.Contains(t, text, ">stale</text>")
	require.NotContains(t, text, "font-family:Liberation Sans;", "a font without another to fall back on")
}

func TestResultsOfAnotherFileAreRefused(t *testing.T) {
	dir := t.TempDir()
	s := parse(t, tiny)
	run(t, s, dir, 1)
	before := read(t, dir, resultsFile)
	for _, change := range []string{"episodes: 4", "updates: 3", "seeds: [1, 3]", "run.total_steps: 3001"} {
		key, _, _ := strings.Cut(change, ":")
		changed := regexp.MustCompile(regexp.QuoteMeta(key)+`: (\[.*?\]|\d+)`).ReplaceAllString(tiny, change)
		require.NotEqual(t, tiny, changed)
		err := parse(t, changed).Run(t.Context(), Options{Dir: dir, Jobs: 1})
		require.ErrorIs(t, err, ErrChanged, change)
		require.ErrorContains(t, err, "give another --out")
	}
	require.Equal(t, before, read(t, dir, resultsFile))
	run(t, parse(t, "# a remark\n"+tiny), dir, 1)
}

// What the experiment says of an exploit is what the counterfactual of a run on
// disk says.
func TestExploitIsTheCounterfactual(t *testing.T) {
	s := parse(t, tiny)
	r, err := s.do(t.Context(), job{workload: 1, seed: 2})
	require.NoError(t, err)
	require.Greater(t, len(r.Exploits), 1)
	cfg, err := s.Presets[1].config(2)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "run")
	trained, err := train.New(cfg, train.Options{Dir: dir})
	require.NoError(t, err)
	defer trained.Close()
	_, err = trained.Train(t.Context())
	require.NoError(t, err)
	for _, e := range r.Exploits {
		c, _, err := study.Find(t.Context(), dir, e.Update, e.Member, train.Options{})
		require.NoError(t, err)
		lives, err := c.Live(t.Context(), study.Options{Arms: s.arms, Updates: s.Updates, Episodes: s.Episodes})
		require.NoError(t, err)
		require.Equal(t, e, exploitOf(lives))
		summary := lives.Summary(nil)
		for a, arm := range e.Arms {
			for k, d := range arm.Difference {
				require.InDelta(t, *summary.Arms[a].Returns[k].Mean-*summary.SourceReturn, *d, 1e-9)
			}
			require.Zero(t, *arm.Difference[0])
			require.False(t, arm.Dropped[0])
			require.Equal(t, summary.Arms[a].FirstStepNorm, arm.FirstStep)
		}
	}
}

func TestWholeRunIsTheRun(t *testing.T) {
	s := parse(t, tiny)
	r, err := s.do(t.Context(), job{workload: 0, seed: 1, arm: &s.arms[2]})
	require.NoError(t, err)
	cfg, err := s.Presets[0].config(1, setting("pbt.optimizer_exploit_strategy", "stale"), setting("pbt.allow_stale_optimizer", true))
	require.NoError(t, err)
	var best []float64
	trained, err := train.New(cfg, train.Options{InMemory: true, Progress: func(p *train.Progress) {
		top := math.NaN()
		for _, x := range p.Scores(nil) {
			if !(x <= top) && !math.IsNaN(x) {
				top = x
			}
		}
		best = append(best, top)
	}})
	require.NoError(t, err)
	defer trained.Close()
	summary, err := trained.Train(t.Context())
	require.NoError(t, err)
	require.Equal(t, summary.Best.MeanReturn, *r.Final)
	require.Len(t, r.Curve, len(best))
	for i, p := range r.Curve {
		require.Equal(t, int64(i+1)*256, p.Steps)
		if math.IsNaN(best[i]) {
			require.Nil(t, p.Best)
			continue
		}
		require.Equal(t, best[i], *p.Best)
	}
	require.Equal(t, "stale", r.Arm)
}

// made writes results in which, at 1 update, copy is better than reset by better,
// and stale worse by worse, both give or take spread.
func made(t *testing.T, s *Spec, dir string, better, worse, spread float64, factor func(i int) float64) {
	t.Helper()
	r, err := s.openResults(dir)
	require.NoError(t, err)
	defer r.file.Close()
	for _, j := range s.jobs() {
		x := Result{Job: s.name(j), Workload: s.Presets[j.workload].Label, Seed: j.seed, Begun: 1000, Ended: 1060, Engine: "e", Processor: "p", Version: "v"}
		for i := range 20 {
			noise := spread * float64(i%5-2)
			f, source, step := factor(i), 100.0, 0.1
			e := Exploit{Update: int64(i + 1), Factor: &f, SourceReturn: &source}
			for _, d := range []float64{0, better, -worse} {
				zero, one, two := 0.0, 5+d+noise*d, noise
				c := &d
				if d == 0 {
					c = nil
				}
				e.Arms = append(e.Arms, Life{Difference: []*float64{&zero, &one, &two}, Dropped: []bool{false, one < 0, false}, Cosine: c, FirstStep: &step})
			}
			x.Exploits = append(x.Exploits, e)
		}
		require.NoError(t, r.append(x))
	}
}

func TestReportSaysWhatTheNumbersSay(t *testing.T) {
	s := parse(t, strings.Replace(tiny, "runs: true", "runs: false", 1))
	dir := t.TempDir()
	made(t, s, dir, 0.5, 8, 0.1, func(i int) float64 { return 1.2 })
	path, err := s.Report(dir, "command")
	require.NoError(t, err)
	text := read(t, path)
	require.Contains(t, text, "from 4 jobs, on p, in 1m0s of wall time (4m0s of one core). v, engine e.")
	require.Regexp(t, `(?m)^- \*\*cartpole, stale\*\*: worse than reset by 8\.0 \[7\.\d, 8\.\d\] after 1 update; after 2 updates no difference to reset is shown`, text)
	require.Regexp(t, `(?m)^- \*\*cartpole, copy\*\*: better than reset by 0\.5 \[0\.\d, 0\.\d\] after 1 update; after 2 updates no difference`, text)
	require.Regexp(t, `(?m)^\| stale \| 0\.0 \[0\.0, 0\.0\] \| \*\*-8\.0 \[-8\.\d, -7\.\d\]\*\* \| 0\.0 \[0\.0, 0\.0\] \|$`, text)
	require.Regexp(t, `(?m)^\| stale \| 0\.00 \[0\.00, 0\.00\] \| 1\.00 \[1\.00, 1\.00\] \| 0\.00`, text, "share of exploits that dropped")
	require.Contains(t, text, "| copy | 0.500 [0.500, 0.500] | 0 of 40 | 0.1000 [0.1000, 0.1000] |")
	require.Contains(t, text, "| stale | -8.000 [-8.000, -8.000] | 40 of 40 |")
	require.Contains(t, text, "| reset | - | - |")
	require.Contains(t, text, "Copy is better than reset where the hyperparameters changed by a factor of up to 1.25, and nowhere shown to be worse")
	require.Contains(t, text, "Of the 8 intervals behind these sentences 4 exclude 0; where nothing differs, about 0 would by chance alone.")
	require.NotContains(t, text, "Whole runs")
	require.NotContains(t, text, "NaN")
}

func TestFactorForAdaptive(t *testing.T) {
	at := func(mean float64) stats.Interval { return stats.Interval{Mean: mean, Low: mean - 1, High: mean + 1} }
	none := stats.Interval{Mean: math.NaN(), Low: math.NaN(), High: math.NaN()}
	for _, test := range []struct {
		bins []stats.Interval
		want string
	}{
		{[]stats.Interval{none, none, none, none, none, none}, "too few exploits"},
		{[]stats.Interval{at(-2), at(2), none, none, none, none}, "reset everywhere"},
		{[]stats.Interval{at(2), at(0), at(-3), none, none, at(-2)}, "changed by a factor of 1.5 to 2: these exploits speak for a factor of 1.5 "},
		{[]stats.Interval{at(2), at(2), none, none, none, at(0)}, "a factor of at least 1.5"},
		{[]stats.Interval{at(0), at(0), none, none, none, at(2)}, "copy everywhere"},
		{[]stats.Interval{at(0), at(0.5), none, none, none, at(-0.5)}, "choose no factor"},
	} {
		require.Contains(t, chooseFactor(test.bins), test.want)
	}
	for factor, bin := range map[float64]int{1: 0, 1.2: 0, 1.25: 0, 1.3: 1, 1.5: 1, 1.5000000000000002: 1, 1.6: 2, 2.5: 3, 4: 4, 5.1: 5, 1e9: 5} {
		require.Equal(t, bin, binOf(&factor), "%v", factor)
	}
	require.Equal(t, 5, binOf(nil))
}

// A stratum of one value cannot be drawn from: the interval would have no width.
func TestSmallStrataAreTakenTogether(t *testing.T) {
	require.Equal(t, bootstrap([][]float64{{1, 2, 3, 4, 5, 6}}), bootstrap([][]float64{{1}, {2, 3}, {4, 5, 6}}))
	i := bootstrap([][]float64{{1, 1, 1, 1, 1}, {3, 3, 3, 3, 3}})
	require.Equal(t, stats.Interval{Mean: 2, Low: 2, High: 2}, i, "large ones are kept apart")
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ from, to, want string }{
		{"updates: 2", "update: 2", "unknown field \"update\""},
		{"name: tiny", "name: a/b", "name: \"a/b\" is not valid"},
		{"[reset, copy, stale]", "[reset, cpy]", "did you mean copy?"},
		{"seeds: [1, 2]", "seeds: [1, 1]", "seeds: 1 twice"},
		{"seeds: [1, 2]", "seeds: []", "seeds: there is none"},
		{"updates: 2", "updates: 0", "updates: 0 is not valid: must be 1 to"},
		{"episodes: 3", "episodes: -1", "episodes: -1 is not valid"},
		{"preset: acrobot", "preset: acrobat", "presets.1.preset: \"acrobat\" is not a preset"},
		{"    label: acrobot-wide\n", "    label: cartpole\n", "presets.1.label: \"cartpole\" twice"},
		{"pbt.explore_method: resample", "pbt.explore: resample", "presets.1.set: set: pbt.explore: unknown key"},
		{"pbt.explore_method: resample", "pbt.enabled: false", "pbt.enabled is false"},
		{"counterfactuals: true\nruns: true", "counterfactuals: false\nruns: false", "nothing to do"},
		{"seeds: [1, 2]", "seeds: [-1]", "seeds"},
	} {
		changed := strings.Replace(tiny, test.from, test.to, 1)
		require.NotEqual(t, tiny, changed)
		_, err := Parse("f.yaml", []byte(changed))
		require.ErrorIs(t, err, ErrSpec, test.to)
		require.ErrorContains(t, err, test.want)
		require.ErrorContains(t, err, "f.yaml")
	}
}

func TestDamagedResultsAreAnError(t *testing.T) {
	s := parse(t, tiny)
	dir := t.TempDir()
	require.ErrorContains(t, func() error { _, err := s.Report(dir, "c"); return err }(), "no results")
	run(t, s, dir, 1)
	path := filepath.Join(dir, resultsFile)
	text := read(t, path)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(text, `"job":`, `"job"`, 1)), 0o644))
	err := s.Run(t.Context(), Options{Dir: dir, Jobs: 1})
	require.ErrorContains(t, err, resultsFile+":2")
	for line := range strings.Lines(text) {
		require.True(t, json.Valid([]byte(line)))
	}
}

// The file that the project publishes its results from is one that runs.
func TestPublishedExperiments(t *testing.T) {
	files, err := filepath.Glob("../../experiments/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		s, err := Parse(file, []byte(read(t, file)))
		require.NoError(t, err)
		require.NotEmpty(t, s.jobs())
	}
}
