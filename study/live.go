package study

import (
	"context"
	"fmt"
	"math"
	"slices"

	"brood/kernels"
	"brood/kernels/host"
	"brood/pbt"
	"brood/tensor"
	"brood/train"
)

// Options of [Case.Live].
type Options struct {
	// Arms are the lives, side by side.
	Arms []Arm
	// Updates is how long they last, at least 1.
	Updates int64
	// Episodes of each evaluation, at least 1.
	Episodes int
}

// MaxUpdates is the longest life of an arm.
const MaxUpdates = 100_000

// Validate says what is wrong.
func (o *Options) Validate() error {
	switch {
	case len(o.Arms) == 0:
		return fmt.Errorf("%w: there is none", ErrArm)
	case o.Updates < 1 || o.Updates > MaxUpdates:
		return fmt.Errorf("updates: %d is not valid: must be 1 to %d", o.Updates, MaxUpdates)
	case o.Episodes < 1 || o.Episodes > train.MaxEpisodes:
		return fmt.Errorf("episodes: %d is not valid: must be 1 to %d", o.Episodes, train.MaxEpisodes)
	}
	return nil
}

// after are the numbers of updates after an exploit at which the arms play.
var after = []int64{0, 1, 2, 5, 10, 20}

// After lists the numbers of updates after an exploit at which arms of so many
// updates play, the last one included.
func After(updates int64) []int64 {
	list := slices.DeleteFunc(slices.Clone(after), func(n int64) bool { return n > updates })
	if list[len(list)-1] != updates { // 0 is always there
		list = append(list, updates)
	}
	return list
}

// episodeTime addresses the starting states of the episodes: others than those of
// the run's own choices (train's times count down from math.MaxUint32).
const episodeTime = math.MaxUint32 - 2

// Lives is what became of a member in each arm.
type Lives struct {
	Case *Case
	Arms []Arm
	// Strategies were carried out, by arm: those of the arms but for adaptive.
	Strategies []pbt.Strategy
	// After are the numbers of updates at which the arms played.
	After []int64
	// SourceReturns are those of the source's episodes at the moment of copying,
	// Returns those of the arms in the same episodes, [arms][after][episodes].
	SourceReturns []float64
	Returns       [][][]float64
	// Cosine is that between Adam's mean and the gradient of the first minibatch, by
	// arm; NaN where one of them is 0.
	Cosine []float64
	// FirstStep is the norm of the first optimizer step in weight space, by arm; NaN
	// where target_kl forbade it.
	FirstStep []float64
	// Warnings of what limits the result.
	Warnings []string
	// Engine is the engine's name.
	Engine string
}

// Live lives the exploit once per arm, in one engine, each arm with the random
// numbers that the member had in the run: of two arms that do the same, every bit
// is equal. No member copies another meanwhile; run.schedule goes on.
func (c *Case) Live(ctx context.Context, o Options) (*Lives, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("study: %w", err)
	}
	l := &Lives{Case: c, Arms: o.Arms, After: After(o.Updates)}
	for _, a := range o.Arms {
		l.Strategies = append(l.Strategies, a.resolve(&c.Decision, c.Config.PBT.OptimizerAdaptiveFactor))
	}
	engine, err := c.newEngine(len(o.Arms), 0)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	l.Engine = engine.Name()
	states, err := l.begin(engine.Config())
	if err != nil {
		return nil, err
	}
	if err := engine.Restore(0, c.Source); err != nil {
		return nil, fmt.Errorf("study: the source: %w", err)
	}
	source, _, err := train.Play(engine, []int{0}, o.Episodes, c.Config.Run.Seed, episodeTime)
	if err != nil {
		return nil, err
	}
	l.SourceReturns = source[0]
	if err := restore(engine, states); err != nil {
		return nil, err
	}
	if err := l.live(ctx, engine, o); err != nil {
		return nil, err
	}
	if err := l.probe(states); err != nil {
		return nil, err
	}
	l.warn(o)
	return l, nil
}

// newEngine makes an engine of so many clones of the member.
func (c *Case) newEngine(clones, minibatches int) (kernels.Engine, error) {
	config, err := c.Config.EngineConfig()
	if err != nil {
		return nil, fmt.Errorf("study: %w", err)
	}
	config.Population, config.Clones, config.FirstMember, config.MinibatchLimit = clones, true, c.Decision.Member, minibatches
	engine, err := train.NewEngine(c.Config.Run.Device, config)
	if err != nil {
		return nil, fmt.Errorf("study: the arms' engine: %w", err)
	}
	return engine, nil
}

// begin returns the member's state after the exploit, by arm.
func (l *Lives) begin(config *kernels.Config) ([]tensor.Member, error) {
	pair := *config
	pair.Population = 2
	states := make([]tensor.Member, len(l.Arms))
	for i, arm := range l.Arms {
		arena, err := tensor.NewArena(l.Case.Member.Layout(), 2)
		if err != nil {
			return nil, err
		}
		arena.Member(0).CopyFrom(l.Case.Member)
		arena.Member(1).CopyFrom(l.Case.Source)
		exploit := kernels.Exploit{Member: 0, Source: 1, Strategy: kernels.Strategy(l.Strategies[i]), ScaleMomentum: arm.ScaleMomentum,
			Hyperparameters: l.Case.Hyperparameters}
		list, err := host.ArenaExploits(&pair, []kernels.Exploit{exploit}, func(m int) *host.State { return host.NewState(arena.Member(m)) })
		if err == nil {
			err = arena.Exploit(list)
		}
		if err != nil {
			return nil, fmt.Errorf("study: the exploit of arm %s: %w", arm.Name, err)
		}
		states[i] = arena.Member(0)
		h, _ := l.Case.Config.Run.Scheduled(config.Env.Spec(), l.Case.Hyperparameters, l.Case.Update)
		host.NewState(states[i]).SetHyperparameters(h)
	}
	return states, nil
}

// live trains the arms and plays them.
func (l *Lives) live(ctx context.Context, engine kernels.Engine, o Options) error {
	arms := make([]int, len(l.Arms))
	for i := range arms {
		arms[i] = i
	}
	l.Returns = make([][][]float64, len(arms))
	stats := make([]kernels.Stats, len(arms))
	spec, run := engine.Config().Env.Spec(), &l.Case.Config.Run
	h, _ := run.Scheduled(spec, l.Case.Hyperparameters, l.Case.Update)
	for done := int64(0); ; done++ {
		if slices.Contains(l.After, done) {
			returns, _, err := train.Play(engine, arms, o.Episodes, l.Case.Config.Run.Seed, episodeTime)
			if err != nil {
				return err
			}
			for i := range arms {
				l.Returns[i] = append(l.Returns[i], returns[i])
			}
		}
		if done == o.Updates {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := engine.Iterate(stats); err != nil {
			return fmt.Errorf("study: %d updates after the exploit: %w", done+1, err)
		}
		changed := false
		if h, changed = run.Scheduled(spec, h, l.Case.Update+done+1); !changed {
			continue
		}
		for i := range arms {
			if err := engine.SetHyperparameters(i, h); err != nil {
				return fmt.Errorf("study: run.schedule at update %d: %w", l.Case.Update+done+1, err)
			}
		}
	}
}

// probe measures the first optimizer step of each arm: in an engine that stops
// after one minibatch, its gradient is that at the weights that were copied, and
// the weights' change is that one step.
func (l *Lives) probe(states []tensor.Member) error {
	engine, err := l.Case.newEngine(len(states), 1)
	if err != nil {
		return err
	}
	defer engine.Close()
	if err := restore(engine, states); err != nil {
		return err
	}
	stats := make([]kernels.Stats, len(states))
	if err := engine.Iterate(stats); err != nil {
		return fmt.Errorf("study: the first step: %w", err)
	}
	moved := tensor.NewMember(engine.Layout())
	for i, state := range states {
		begin, end := host.NewState(state), host.NewState(moved)
		gradient := make([]float32, len(begin.Policy))
		if err := engine.Gradient(i, gradient); err != nil {
			return fmt.Errorf("study: arm %s: %w", l.Arms[i].Name, err)
		}
		if err := engine.Snapshot(i, moved); err != nil {
			return fmt.Errorf("study: arm %s: %w", l.Arms[i].Name, err)
		}
		l.Cosine = append(l.Cosine, cosine(begin.ExpAvg, gradient))
		step := math.NaN()
		if stats[i].Applied {
			step = distance(begin.Policy, end.Policy)
		}
		l.FirstStep = append(l.FirstStep, step)
	}
	return nil
}

// warn tells of a run that ends before the arms do.
func (l *Lives) warn(o Options) {
	c := &l.Case.Config
	if left := c.TotalUpdates() - l.Case.Update; c.PPO.LearningRateSchedule == kernels.Linear && left < o.Updates {
		l.Warnings = append(l.Warnings, fmt.Sprintf("the run ends %d updates after the exploit; its learning rate is 0 from there on", left))
	}
}

// restore gives each member of the engine its state.
func restore(engine kernels.Engine, states []tensor.Member) error {
	for i, s := range states {
		if err := engine.Restore(i, s); err != nil {
			return fmt.Errorf("study: %w", err)
		}
	}
	return nil
}

// cosine is that of the angle between two vectors; NaN where one is 0.
func cosine(a, b []float32) float64 {
	ab, aa, bb := 0.0, 0.0, 0.0
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / (math.Sqrt(aa) * math.Sqrt(bb))
}

// distance is the Euclidean one.
func distance(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		d := float64(b[i]) - float64(a[i])
		sum += d * d
	}
	return math.Sqrt(sum)
}
