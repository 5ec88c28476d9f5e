package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"brood/ckpt"
	"brood/internal/stats"
	"brood/kernels"
	"brood/kernels/host"
	"brood/pbt"
	"brood/tensor"
)

// runState is what a resumed run needs beside the members, as JSON in the
// scheduler field of run.ckpt.
type runState struct {
	Scheduler pbt.State `json:"scheduler"`
	// Scores by the run's metric; null: none.
	Scores []*float64 `json:"scores"`
	// MetricsBytes and DecisionsBytes are the sizes of the files at this point.
	MetricsBytes   int64 `json:"metrics_bytes"`
	DecisionsBytes int64 `json:"decisions_bytes"`
	// Quarantined members; nil: none.
	Quarantined []bool `json:"quarantined,omitempty"`
	// Outcomes of exploits; nil in checkpoints of before there were any.
	Outcomes *outcomes `json:"outcomes,omitempty"`
}

// saving is a checkpoint on its way to disk.
type saving struct {
	update int64
	set    *ckpt.Set   // complete but for the members
	metas  []ckpt.Meta // of the members
	// states gives the members' states as they were at the update.
	states func() ([]tensor.Member, error)
	done   chan error
	// stay is why old checkpoints were not removed; set before done.
	stay error
}

// save writes a checkpoint of the present update and then removes the oldest
// beyond checkpoint.keep. The last good one stays until this one is complete.
func (r *Run) save() error {
	if r.opts.InMemory {
		return nil
	}
	if r.saving == nil || r.saving.update != r.updates {
		if err := r.beginSaving(); err != nil {
			return err
		}
	}
	return r.finishSaving()
}

// beginSaving begins a checkpoint of the present update. Where the engine can
// give the members' states while it trains on, the rest is done beside training;
// else the checkpoint is complete when it returns.
func (r *Run) beginSaving() error {
	if r.opts.InMemory {
		return nil
	}
	if x := r.saving; x != nil {
		r.warnOfSave(x.update, r.finishSaving())
	}
	if r.saved == r.updates {
		return nil // nothing has changed since
	}
	// A checkpoint names sizes of these files, so they must be durable before it.
	if err := errors.Join(r.metrics.sync(), r.decisions.sync()); err != nil {
		return err
	}
	x, err := r.prepareSaving()
	if err != nil {
		return err
	}
	r.saving = x
	if engine, ok := r.engine.(kernels.Snapshotter); ok {
		if x.states, err = engine.BeginSnapshot(); err != nil {
			r.saving = nil
			return err
		}
		go x.write(r.opts.FS, r.path(checkpointsDir), r.cfg.Checkpoint.Keep)
		return nil
	}
	x.states = r.snapshot
	x.write(r.opts.FS, r.path(checkpointsDir), r.cfg.Checkpoint.Keep)
	return r.finishSaving()
}

// finishSaving waits for the checkpoint that is being written, where there is one.
func (r *Run) finishSaving() error {
	x := r.saving
	if x == nil {
		return nil
	}
	r.saving = nil
	if err := <-x.done; err != nil {
		return err
	}
	r.saved = x.update
	if x.stay != nil {
		r.opts.Warn(fmt.Sprintf("old checkpoints stay: %v", x.stay))
	}
	return nil
}

// warnOfSave tells of a checkpoint that could not be written.
func (r *Run) warnOfSave(update int64, err error) {
	if err != nil {
		r.opts.Warn(fmt.Sprintf("no checkpoint of update %d: %v; training goes on and tries again at update %d",
			update, err, min(r.updates+r.cfg.Checkpoint.Every, r.total)))
	}
}

// prepareSaving is all of a checkpoint but the members' states.
func (r *Run) prepareSaving() (*saving, error) {
	x := &saving{update: r.updates, set: &ckpt.Set{Update: r.updates}, done: make(chan error, 1)}
	state := runState{Scheduler: r.schedule.State(), MetricsBytes: r.metrics.end(), DecisionsBytes: r.decisions.end(),
		Quarantined: r.quarantined, Outcomes: &r.outcomes}
	for m := range r.scores {
		x.metas = append(x.metas, r.meta(r.performance(m)))
		state.Scores = append(state.Scores, stats.OrNil(r.scores[m]))
	}
	scheduler, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	x.set.Run = ckpt.RunState{EnvSteps: r.envSteps(), Seconds: r.secondsSoFar(), Exploits: r.exploits, Config: string(r.yaml),
		Scheduler: scheduler}
	return x, nil
}

// snapshot copies the states of all members.
func (r *Run) snapshot() ([]tensor.Member, error) {
	members := make([]tensor.Member, len(r.scores))
	for m := range members {
		members[m] = tensor.NewMember(r.engine.Layout())
		if err := r.engine.Snapshot(m, members[m]); err != nil {
			return nil, fmt.Errorf("read member %d: %w", m, err)
		}
	}
	return members, nil
}

// write completes the checkpoint, writes it and removes the oldest beyond keep.
func (x *saving) write(fs ckpt.FS, dir string, keep int) {
	x.done <- func() error {
		members, err := x.states()
		if err != nil {
			return err
		}
		for m := range members {
			data, err := ckpt.Encode(members[m], x.metas[m], true)
			if err != nil {
				return fmt.Errorf("member %d: %w", m, err)
			}
			x.set.Members = append(x.set.Members, data)
		}
		x.set.Run.Digest = tensor.Digest(members...)
		if _, err := ckpt.WriteSet(fs, dir, *x.set); err != nil {
			return err
		}
		x.stay = ckpt.Prune(fs, dir, keep)
		return nil
	}()
}

// performance is what a checkpoint says of a member: its score by the run's
// metric, as of now where that costs nothing.
func (r *Run) performance(m int) float64 {
	if r.cfg.PBT.MetricName == pbt.TrainReturn {
		score, _ := r.engine.Score(m)
		return score
	}
	return r.scores[m]
}

// Resume continues the run in a folder from its newest checkpoint, as if it had
// never stopped. settings change its configuration from here on, and config.yaml
// with it; what the state on disk was made for (environment, networks, the
// population's size, the seed) cannot change. Close the run.
func Resume(dir string, settings []Setting, opts Options) (*Run, error) {
	opts.Dir = dir
	if opts.FS == nil {
		opts.FS = ckpt.OS
	}
	set, path, err := latestSet(opts.FS, dir)
	if err != nil {
		return nil, err
	}
	configPath := filepath.Join(dir, configFile)
	text, err := opts.FS.ReadFile(configPath)
	if err != nil {
		return nil, fmt.Errorf("train: the run's configuration: %w", err)
	}
	cfg, err := Load(configPath, text, settings)
	if err != nil {
		return nil, err
	}
	old, err := loadStored(path, set.Run.Config)
	if err != nil {
		return nil, fmt.Errorf("train: the configuration in the checkpoint %s: %w", path, err)
	}
	if err := cfg.compatible(old); err != nil {
		return nil, err
	}
	if cfg.TotalUpdates() < set.Update {
		return nil, configError([]error{&FieldError{Place: cfg.places["run.total_steps"].String(), Key: "run.total_steps", Problem: fmt.Sprintf(
			"%d is not valid: the run has done %d steps already", cfg.Run.TotalSteps, set.Run.EnvSteps)}})
	}
	r, err := prepare(cfg, opts)
	if err != nil {
		return nil, err
	}
	if err := r.restore(set, old); err != nil {
		return nil, errors.Join(fmt.Errorf("train: resume from %s: %w", path, err), r.Close())
	}
	if err := ckpt.WriteFile(opts.FS, configPath, r.yaml); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// latestSet reads the newest checkpoint of a run folder.
func latestSet(fs ckpt.FS, dir string) (*ckpt.Set, string, error) {
	if _, err := fs.ReadDir(dir); err != nil {
		return nil, "", fmt.Errorf("train: no run folder: %w", err)
	}
	path, err := ckpt.Latest(fs, filepath.Join(dir, checkpointsDir))
	if errors.Is(err, ckpt.ErrNoCheckpoint) {
		return nil, "", fmt.Errorf("%w in %s; to train anew: `brood train %s --out NEW`", ErrNoCheckpoint, dir, filepath.Join(dir, configFile))
	}
	if err != nil {
		return nil, "", err
	}
	set, err := ckpt.ReadSet(fs, path)
	if errors.Is(err, ckpt.ErrDamaged) {
		return nil, "", fmt.Errorf("%w; move %s away to use the checkpoint before it", err, path)
	}
	return set, path, err
}

// restore takes over the state of a checkpoint. old is the configuration it was
// made with.
func (r *Run) restore(set *ckpt.Set, old Config) error {
	var state runState
	if err := json.Unmarshal(set.Run.Scheduler, &state); err != nil {
		return fmt.Errorf("%w: the run's state: %w", ckpt.ErrDamaged, err)
	}
	if len(set.Members) != len(r.scores) || len(state.Scores) != len(r.scores) {
		return fmt.Errorf("%w: it has %d members, the configuration %d", ckpt.ErrIncompatible, len(set.Members), len(r.scores))
	}
	members, err := r.decodeMembers(set)
	if err != nil {
		return err
	}
	if err := r.schedule.Restore(state.Scheduler); err != nil {
		return err
	}
	changed := changedHyperparameters(old, r.cfg)
	for m, member := range members {
		if err := r.engine.Restore(m, member); err != nil {
			return fmt.Errorf("member %d: %w", m, err)
		}
		r.hyper[m] = host.NewState(member).Hyperparameters()
		for _, h := range changed {
			r.hyper[m][h] = r.engine.Config().Hyperparameters[h]
		}
		if len(changed) > 0 {
			if err := r.engine.SetHyperparameters(m, r.hyper[m]); err != nil {
				return fmt.Errorf("member %d: %w", m, err)
			}
		}
		r.scores[m] = math.NaN()
		if state.Scores[m] != nil {
			r.scores[m] = *state.Scores[m]
		}
	}
	if state.Outcomes != nil {
		r.outcomes = *state.Outcomes
	}
	if len(state.Quarantined) == len(r.quarantined) {
		r.quarantined = state.Quarantined
	}
	r.updates, r.saved, r.exploits = set.Update, set.Update, set.Run.Exploits
	r.trained = time.Duration(set.Run.Seconds * float64(time.Second))
	return r.openLogs(state.MetricsBytes, state.DecisionsBytes)
}

// decodeMembers turns the files of a set into states of the engine's layout.
func (r *Run) decodeMembers(set *ckpt.Set) ([]tensor.Member, error) {
	members := make([]tensor.Member, len(set.Members))
	for m, data := range set.Members {
		c, err := ckpt.Decode(data)
		if err == nil {
			err = c.CheckEnv(ckpt.EnvOf(r.engine.Config().Env.Spec()))
		}
		if err != nil {
			return nil, fmt.Errorf("member %d: %w", m, err)
		}
		members[m] = tensor.NewMember(r.engine.Layout())
		warnings, err := c.Restore(members[m])
		if err != nil {
			return nil, fmt.Errorf("member %d: %w", m, err)
		}
		for _, w := range warnings {
			r.opts.Warn(fmt.Sprintf("member %d: %s", m, w))
		}
	}
	return members, set.CheckDigest(members...)
}

// changedHyperparameters lists those whose value every member starts with
// differs: settings of a resume that apply to all members.
func changedHyperparameters(old, now Config) []kernels.Hyperparameter {
	var changed []kernels.Hyperparameter
	a, b := old.PPO.Hyperparameters(), now.PPO.Hyperparameters()
	for h := range kernels.NumHyperparameters {
		if a[h] != b[h] {
			changed = append(changed, h)
		}
	}
	return changed
}

// compatible reports what of a resumed run's configuration the state on disk
// does not allow to change.
func (c Config) compatible(old Config) error {
	v := &validation{places: c.places, seen: map[string]bool{}}
	fixed := func(key string, now, was any) {
		if fmt.Sprint(now) != fmt.Sprint(was) {
			v.problem(key, fmt.Sprintf("%v cannot be resumed: the run was made with %v", now, was))
		}
	}
	fixed("env.id", c.Env.ID, old.Env.ID)
	fixed("env.count", c.Env.Count, old.Env.Count)
	fixed("policy.hidden", c.Policy.Hidden, old.Policy.Hidden)
	fixed("policy.activation", c.Policy.Activation, old.Policy.Activation)
	fixed("critic.type", c.Critic.Type, old.Critic.Type)
	if c.Critic.Type == kernels.QuantileCritic {
		fixed("critic.quantiles", c.Critic.Quantiles, old.Critic.Quantiles)
	}
	fixed("pbt.population_size", c.PBT.PopulationSize, old.PBT.PopulationSize)
	fixed("ppo.steps", c.PPO.Steps, old.PPO.Steps)
	fixed("run.seed", c.Run.Seed, old.Run.Seed)
	names := func(c Config) (list []string) {
		for _, h := range c.PBT.Hyperparameters {
			list = append(list, h.Name)
		}
		return list
	}
	fixed("pbt.hyperparameters", names(c), names(old))
	for _, h := range changedHyperparameters(old, c) {
		for _, e := range c.PBT.Hyperparameters {
			if e.Name == h.String() {
				v.problem("ppo."+ppoKey(h), fmt.Sprintf("cannot be set on resuming: each member has its own, which pbt evolves (pbt.hyperparameters.%s)", e.Name))
			}
		}
	}
	return configError(v.mistakes)
}

// ppoKey is where a hyperparameter's starting value lies in the section ppo.
func ppoKey(h kernels.Hyperparameter) string {
	switch h {
	case kernels.VGSAlpha:
		return "vgs.alpha"
	case kernels.KLTarget:
		return "kl_penalty.target"
	}
	return h.String()
}
