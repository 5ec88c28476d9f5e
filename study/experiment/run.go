package experiment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"brood/bench"
	"brood/internal/stats"
	"brood/pbt"
	"brood/study"
	"brood/train"
)

// Options of [Spec.Run].
type Options struct {
	// Dir is the result folder; it is made where there is none.
	Dir string
	// Jobs is how many are done at a time; nil:
	// nobody is.
	Jobs int
	// Progress is told of every job that is finished, one at a time; nil:
	// nobody is.
	Progress func(line string)
}

// job is a unit of work.
type job struct {
	workload int
	seed     uint64
	// arm of a whole run; nil: the counterfactuals of a run.
	arm *study.Arm
}

func (s *Spec) name(j job) string {
	w := s.Presets[j.workload].Label
	if j.arm == nil {
		return fmt.Sprintf("%s seed %d counterfactuals", w, j.seed)
	}
	return fmt.Sprintf("%s seed %d run %s", w, j.seed, j.arm.Name)
}

// jobs lists all of them, the long ones first: whoever waits at the end waits for a
// short one.
func (s *Spec) jobs() (list []job) {
	if s.Counterfactuals {
		for _, seed := range s.Seeds {
			for w := range s.Presets {
				list = append(list, job{workload: w, seed: seed})
			}
		}
	}
	if s.Runs {
		for _, seed := range s.Seeds {
			for w := range s.Presets {
				for a := range s.arms {
					list = append(list, job{w, seed, &s.arms[a]})
				}
			}
		}
	}
	return list
}

// Run does the jobs that the folder has no results of. When ctx ends, what is
// unfinished is given up and the error is that of ctx; a later call goes on. A
// folder of another experiment is [ErrChanged].
func (s *Spec) Run(ctx context.Context, o Options) (err error) {
	r, err := s.openResults(o.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.file.Close()) }()
	all := s.jobs()
	todo := make(chan job, len(all))
	for _, j := range all {
		if !r.done[s.name(j)] {
			todo <- j
		}
	}
	close(todo)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	var telling sync.Mutex
	finished := len(all) - len(todo)
	for range min(o.Jobs, len(todo)) {
		workers.Go(func() {
			for j := range todo {
				result, err := s.do(ctx, j)
				if err == nil {
					err = r.append(result)
				}
				if err != nil {
					cancel(fmt.Errorf("%s: %w", s.name(j), err))
					return
				}
				telling.Lock()
				finished++
				if o.Progress != nil {
					o.Progress(fmt.Sprintf("[%d/%d] %s  %.1fs", finished, len(all), result.Job, result.Ended-result.Begun))
				}
				telling.Unlock()
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// do does a job.
func (s *Spec) do(ctx context.Context, j job) (*Result, error) {
	r := &Result{Job: s.name(j), Workload: s.Presets[j.workload].Label, Seed: j.seed, Begun: now(),
		Processor: fmt.Sprintf("%s, %d threads", bench.Processor(), runtime.GOMAXPROCS(0)), Version: version()}
	var err error
	if j.arm == nil {
		err = s.liveExploits(ctx, j, r)
	} else {
		r.Arm = j.arm.Name
		err = s.trainRun(ctx, j, r)
	}
	if err == nil {
		err = ctx.Err()
	}
	r.Ended = now()
	return r, err
}

// liveExploits trains a run and lives each of its exploits once per arm.
func (s *Spec) liveExploits(ctx context.Context, j job, r *Result) error {
	cfg, err := s.Presets[j.workload].config(j.seed)
	if err != nil {
		return err
	}
	run, err := train.New(cfg, train.Options{InMemory: true, BeforeExploit: func(m *train.Moment) error {
		for i := range m.Decisions {
			c, err := study.Capture(m, cfg, i)
			if err != nil {
				return err
			}
			lives, err := c.Live(ctx, study.Options{Arms: s.arms, Updates: s.Updates, Episodes: s.Episodes})
			if err != nil {
				return fmt.Errorf("the exploit of member %d at update %d: %w", m.Decisions[i].Member, m.Update, err)
			}
			r.Exploits = append(r.Exploits, exploitOf(lives))
		}
		return nil
	}})
	if err != nil {
		return err
	}
	defer run.Close()
	r.Engine = run.EngineName()
	_, err = run.Train(ctx)
	return err
}

func exploitOf(l *study.Lives) Exploit {
	d := &l.Case.Decision
	e := Exploit{Update: l.Case.Update, Member: d.Member, Source: d.Source, Factor: stats.OrNil(study.ChangeFactor(d)),
		SourceReturn: stats.OrNil(stats.Mean(l.SourceReturns))}
	for i := range l.Arms {
		life := Life{Cosine: stats.OrNil(l.Cosine[i]), FirstStep: stats.OrNil(l.FirstStep[i])}
		for k := range l.After {
			paired := study.Paired(l.Returns[i][k], l.SourceReturns)
			mean, spread := stats.Mean(paired), stats.StdErr(paired)
			if len(paired) == 1 {
				spread = 0
			}
			life.Difference = append(life.Difference, stats.OrNil(mean))
			life.Dropped = append(life.Dropped, !(mean >= -1.96*spread)) // NaN is a drop
		}
		e.Arms = append(e.Arms, life)
	}
	return e
}

// trainRun trains a whole run with the arm's strategy.
func (s *Spec) trainRun(ctx context.Context, j job, r *Result) error {
	cfg, err := s.Presets[j.workload].config(j.seed, setting("pbt.optimizer_exploit_strategy", string(j.arm.Strategy)),
		setting("pbt.optimizer_lr_scaling", j.arm.ScaleMomentum), setting("pbt.allow_stale_optimizer", true))
	if err != nil {
		return err
	}
	best := bestOf(cfg)
	var scores []float64
	run, err := train.New(cfg, train.Options{InMemory: true, Progress: func(p *train.Progress) {
		scores = p.Scores(scores[:0])
		r.Curve = append(r.Curve, Point{Steps: p.EnvSteps, Best: stats.OrNil(best(scores))})
	}})
	if err != nil {
		return err
	}
	defer run.Close()
	r.Engine = run.EngineName()
	summary, err := run.Train(ctx)
	if err != nil {
		return err
	}
	if summary.Best != nil {
		r.Final = stats.OrNil(summary.Best.MeanReturn)
	}
	return nil
}

// bestOf returns the best score by the run's mode; NaN for none.
func bestOf(cfg train.Config) func(scores []float64) float64 {
	better := func(a, b float64) bool { return a > b }
	if cfg.PBT.MetricMode == pbt.Min {
		better = func(a, b float64) bool { return a < b }
	}
	return func(scores []float64) float64 {
		best := math.NaN()
		for _, x := range scores {
			if math.IsNaN(best) || better(x, best) {
				best = x
			}
		}
		return best
	}
}

func now() float64 { return float64(time.Now().UnixMilli()) / 1000 }

// version is that of the program and of Go.
func version() string {
	v := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v = "brood " + s.Value[:min(12, len(s.Value))] + ", " + v
		}
	}
	return v
}
