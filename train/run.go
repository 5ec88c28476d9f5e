// Package train runs a population: it turns a [Config] into an engine, iterates,
// lets package pbt decide at every interval, writes checkpoints and metrics, and
// stops and resumes so that a resumed run equals an uninterrupted one to the bit.
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"brood/ckpt"
	"brood/env/gym"
	"brood/kernels"
	"brood/pbt"
)

// Options are what a run needs beside its configuration.
type Options struct {
	// Dir is the run folder. New makes it and refuses one that is not empty.
	Dir string
	// FS is where the run folder is; nil means the disk. Tests inject failures here.
	FS ckpt.FS
	// Warn is told of what went wrong without ending the run, such as a
	// checkpoint that could not be written; nil means nobody is.
	Warn func(message string)
	// Note is told what a resumed run did to its checkpoint because it was asked to,
	// such as filling a larger population; nil means nobody is.
	Note func(message string)
	// Progress is called after every update, from the training goroutine; it
	// must be quick. nil means no progress.
	Progress func(*Progress)
	// DiskWait is how long a run waits at its end for a disk that refuses its last
	// files, trying again. 0: it tries again once, at once.
	DiskWait time.Duration
	// InMemory runs without a folder: nothing is written, Dir is not used.
	InMemory bool
	// Settings change the configuration of [Rewind].
	Settings []Setting
	// Explore, where not nil, has the last word on what a member explores: it gets a
	// decision and returns the hyperparameters to use instead of After. For
	// constraints between them. It must depend on its argument alone, and a resumed
	// run needs the same one.
	Explore func(pbt.Decision) (map[string]float64, error)
	// BeforeExploit is called with the decisions of an interval that has any, before
	// they are carried out. An error ends the run; see [ErrStop].
	BeforeExploit func(*Moment) error
}

func (o *Options) setDefaults() {
	if o.FS == nil {
		o.FS = ckpt.OS
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
}

// Progress is how far a run has come. It is valid during the call it is passed to.
type Progress struct {
	// Update of Updates are done.
	Update, Updates int64
	// EnvSteps of TotalSteps are done, of the whole population.
	EnvSteps, TotalSteps int64
	Exploits             int64
	// StepsThisProcess were done in SecondsThisProcess: since this process began
	// training, so that a resumed run shows its present speed.
	StepsThisProcess   int64
	SecondsThisProcess float64

	run *Run
}

// Scores appends every member's train_return after the update to dst; NaN for a
// member without a finished episode.
func (p *Progress) Scores(dst []float64) []float64 {
	for m := range p.run.stats {
		dst = append(dst, p.run.stats[m].Score)
	}
	return dst
}

// Run is a population in training.
type Run struct {
	cfg      Config
	yaml     []byte // cfg, as in config.yaml and in every checkpoint
	opts     Options
	engine   kernels.Engine
	schedule *pbt.Scheduler

	metrics, decisions *appendLog
	// boards is what TensorBoard shows; nil: it is switched off.
	boards *boards

	stats   []kernels.Stats           // [P], of the last update
	hyper   []kernels.Hyperparameters // [P], what each member has now
	scores  []float64                 // [P], the last score by the run's metric; NaN: none
	evolved []evolved                 // what pbt changes
	// quarantined members have weights that are not finite.
	quarantined []bool
	outcomes    outcomes

	updates, total int64
	exploits       int64
	recent         []RecentExploit
	// trained is the training time of the processes before this one.
	trained time.Duration
	started time.Time
	// startedAt is the number of updates at which this process began.
	startedAt int64
	// saved is the update of the last checkpoint on disk; -1: none. saving is one
	// that is being written while training goes on; nil: none.
	saved       int64
	savedAt     time.Time
	saving      *saving
	checkpoints CheckpointSummary
	// bestSet is the update of the checkpoint with the best score, bestScore; -1:
	// none has one.
	bestSet   int64
	bestScore float64
	// origins say which members of the checkpoint of update resizedAt the members
	// are whose number was changed there; nil: none was.
	origins   []int
	resizedAt int64
	// id is drawn when a run begins, and stays for all its processes.
	id string
	// mirror copies checkpoints to checkpoint.url; nil: none is given.
	mirror *mirror
	// restored is the checkpoint that the run went on from; nil: it began anew.
	restored *mirrored
	// releaseFolder gives the run folder back; nil: it is not locked.
	releaseFolder func() error
	// begun is the number of updates begun, with an engine that runs ahead.
	begun int64
	// requests come from other goroutines.
	requests requests
}

// New makes the run folder and a population initialised from the seed. Close it.
func New(cfg Config, opts Options) (*Run, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(cfg.Run.Earlier) > 0 && opts.Warn != nil {
		opts.Warn(fmt.Sprintf("run.earlier belongs to the run that the configuration is from; this one has %d members from its start", cfg.PBT.PopulationSize))
	}
	r, err := begin(cfg, opts)
	if err != nil {
		return nil, err
	}
	if err := r.createFolder(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// begin makes a run at its start, without touching the disk.
func begin(cfg Config, opts Options) (*Run, error) {
	cfg.Run.Earlier = nil
	r, err := prepare(cfg, opts)
	if err != nil {
		return nil, err
	}
	for _, m := range r.schedule.InitializePopulation() {
		r.setEvolved(&r.hyper[m.ID], m.Hyperparameters)
		if err := r.engine.SetHyperparameters(m.ID, r.hyper[m.ID]); err != nil {
			return nil, errors.Join(fmt.Errorf("train: member %d: %w", m.ID, err), r.Close())
		}
	}
	if err := r.applySchedule(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.id = randomID()
	return r, nil
}

// evolved is a hyperparameter and its name.
type evolved struct {
	kernels.Hyperparameter
	name string
}

// prepare makes a run without touching the disk.
func prepare(cfg Config, opts Options) (*Run, error) {
	if err := cfg.Checkpoint.absolute(); err != nil {
		return nil, err
	}
	text, err := cfg.YAML()
	if err != nil {
		return nil, err
	}
	engineConfig, err := cfg.EngineConfig()
	if err != nil {
		return nil, err
	}
	schedule, err := pbt.NewScheduler(cfg.PBT, cfg.Run.Seed)
	if err != nil {
		return nil, err
	}
	opts.setDefaults()
	engineConfig.Warn = opts.Warn
	engine, err := NewEngine(cfg.Run.Device, engineConfig)
	if err != nil {
		return nil, err
	}
	if e, ok := engineConfig.Env.(*gym.Env); ok {
		for _, note := range e.Notes {
			opts.Warn(fmt.Sprintf("Gymnasium says of %s: %s", cfg.Env.ID, note))
		}
	}
	p := cfg.PBT.PopulationSize
	r := &Run{cfg: cfg, yaml: text, opts: opts, engine: engine, schedule: schedule, total: cfg.TotalUpdates(), saved: -1, bestSet: -1, bestScore: math.NaN(),
		stats: make([]kernels.Stats, p), hyper: make([]kernels.Hyperparameters, p), scores: make([]float64, p),
		quarantined: make([]bool, p), outcomes: newOutcomes(), requests: requests{wake: make(chan struct{}, 1)}}
	if opts.Explore != nil {
		schedule.SetExplore(opts.Explore)
	}
	schedule.SetReevaluate(r.reevaluate)
	for m := range p {
		r.hyper[m] = engineConfig.Hyperparameters
		r.scores[m] = math.NaN()
	}
	for _, h := range cfg.PBT.Hyperparameters {
		index, _ := kernels.HyperparameterOf(engineConfig.Env.Spec(), h.Name) // Validate has seen the name
		r.evolved = append(r.evolved, evolved{index, h.Name})
	}
	// What is scheduled is no constant either, and belongs in the metrics.
	for _, s := range cfg.Run.Schedule {
		if !slices.ContainsFunc(r.evolved, func(e evolved) bool { return e.name == s.Name }) {
			index, _ := kernels.HyperparameterOf(engineConfig.Env.Spec(), s.Name)
			r.evolved = append(r.evolved, evolved{index, s.Name})
		}
	}
	return r, nil
}

// Config returns the run's configuration.
func (r *Run) Config() Config { return r.cfg }

// EngineName says which engine trains, such as "cpu/avx512".
func (r *Run) EngineName() string { return r.engine.Name() }

// Updates returns how many updates are done and how many the run has.
func (r *Run) Updates() (done, total int64) { return r.updates, r.total }

// Train runs until all updates are done or ctx ends; then it finishes the update
// it is in, writes a checkpoint and returns a summary with Stopped set. It is
// called once.
func (r *Run) Train(ctx context.Context) (*Summary, error) {
	r.started, r.startedAt = time.Now(), r.updates
	r.begun = r.updates
	// An update that was begun is finished.
	for r.updates < r.total && (ctx.Err() == nil || r.begun > r.updates) {
		if err := r.update(ctx); err != nil {
			unsaved := r.finishSaving() // one that was begun before may still become whole
			if errors.Is(err, ErrStop) {
				return nil, errors.Join(ErrStop, unsaved)
			}
			return nil, errors.Join(r.howToGoOn(err), unsaved)
		}
		if r.checkpointDue(r.updates) && r.updates < r.total {
			r.warnOfSave(r.updates, r.beginSaving())
		}
		r.serve(ctx)
	}
	r.boards.finish(r.updates >= r.total)
	last := fmt.Sprintf("the checkpoint of update %d, the last of this run,", r.updates)
	if err := r.insist(ctx, last, r.save); err != nil {
		return nil, r.whole(fmt.Errorf("train: %s could not be written: %w", last, err))
	}
	r.trained += time.Since(r.started)
	r.started = time.Time{}
	summary, err := r.summarise(ctx, r.updates < r.total)
	if err != nil {
		return nil, err
	}
	if err := r.insist(ctx, summaryFile, func() error { return r.writeSummary(summary) }); err != nil {
		return nil, r.whole(err)
	}
	return summary, r.finishMirror()
}

// update does one update of every member, and what is due after it.
func (r *Run) update(ctx context.Context) error {
	if err := r.iterate(ctx); err != nil {
		return fmt.Errorf("train: update %d: %w", r.updates+1, err)
	}
	r.updates++
	for m := range r.stats {
		r.metrics.buf = appendMetrics(r.metrics.buf, r.updates, r.envSteps(), m, &r.stats[m], r.evolved, &r.hyper[m])
	}
	r.boards.show()
	if err := r.measureOutcomes(); err != nil {
		return fmt.Errorf("train: update %d: %w", r.updates, err)
	}
	// What is copied at the very end would never be trained.
	if r.intervalDue(r.updates) && r.updates < r.total {
		if err := r.endInterval(); err != nil {
			return fmt.Errorf("train: update %d: %w", r.updates, err)
		}
	}
	if err := r.applySchedule(); err != nil {
		return err
	}
	if err := errors.Join(r.metrics.endUpdate(), r.decisions.endUpdate()); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if r.opts.Progress != nil {
		r.opts.Progress(&Progress{Update: r.updates, Updates: r.total, EnvSteps: r.envSteps(),
			TotalSteps: r.cfg.EnvSteps(r.total), Exploits: r.exploits,
			StepsThisProcess:   r.envSteps() - r.cfg.EnvSteps(r.startedAt),
			SecondsThisProcess: time.Since(r.started).Seconds(), run: r})
	}
	return nil
}

// iterate does one iteration. An engine that can is given the next one before
// this one's figures are read, so that its device does not wait for the host,
// unless something is due in between that reads or changes the members.
func (r *Run) iterate(ctx context.Context) error {
	engine, ok := r.engine.(kernels.Pipelined)
	if !ok {
		return r.engine.Iterate(r.stats)
	}
	next := r.updates + 1
	ahead := next < r.total && !r.intervalDue(next) && !r.checkpointDue(next) && !r.outcomeDue(next) && !r.scheduled(next) &&
		!r.requested() && ctx.Err() == nil
	for r.begun < next || ahead && r.begun == next {
		if err := engine.Begin(); err != nil {
			return err
		}
		r.begun++
	}
	return engine.Wait(r.stats)
}

// intervalDue says whether an interval ends after an update. Where PBT is off they end all
// the same: the members' scores are of an interval.
func (r *Run) intervalDue(update int64) bool {
	return r.cfg.PBT.Due(update) || !r.cfg.PBT.Enabled && update%r.cfg.PBT.PerturbationInterval == 0
}

// checkpointDue says whether a checkpoint is due after an update.
func (r *Run) checkpointDue(update int64) bool {
	every := r.cfg.Checkpoint.Every
	return every > 0 && update%every == 0
}

// howToGoOn adds to an error that ended the run what is left of it.
func (r *Run) howToGoOn(err error) error {
	if r.saved < 0 || r.opts.InMemory {
		return err
	}
	return fmt.Errorf("%w; the checkpoint of update %d is whole: `brood resume %s` goes on from there, on the processor with `--set run.device=cpu`",
		err, r.saved, r.opts.Dir)
}

// envSteps is the number of environment steps of the whole population so far.
func (r *Run) envSteps() int64 { return r.cfg.EnvSteps(r.updates) }

// secondsSoFar is the training time over all processes of the run, the present
// moment included.
func (r *Run) secondsSoFar() float64 {
	trained := r.trained
	if !r.started.IsZero() {
		trained += time.Since(r.started)
	}
	return trained.Seconds()
}

// Close releases the engine and the files; it may be called twice.
func (r *Run) Close() error {
	err := errors.Join(r.finishSaving(), r.engine.Close())
	r.boards.close()
	r.boards = nil
	if r.mirror != nil {
		r.mirror.close()
	}
	for _, log := range []**appendLog{&r.metrics, &r.decisions} {
		if *log != nil {
			err = errors.Join(err, (*log).close())
			*log = nil
		}
	}
	return errors.Join(err, r.unlock())
}

// scheduled says whether run.schedule changes anything after an update.
func (r *Run) scheduled(update int64) bool {
	_, changes := r.cfg.Run.Scheduled(r.engine.Config().Env.Spec(), kernels.Hyperparameters{}, update)
	return changes
}

// applySchedule sets what run.schedule says from the present update on.
func (r *Run) applySchedule() error {
	if !r.scheduled(r.updates) {
		return nil
	}
	for m := range r.hyper {
		r.hyper[m], _ = r.cfg.Run.Scheduled(r.engine.Config().Env.Spec(), r.hyper[m], r.updates)
		if err := r.engine.SetHyperparameters(m, r.hyper[m]); err != nil {
			return fmt.Errorf("train: run.schedule at update %d: member %d: %w", r.updates, m, err)
		}
	}
	return nil
}
