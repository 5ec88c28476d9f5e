package train

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"brood/ckpt"
	"brood/env"
	"brood/kernels"
	"brood/tensor"
)

// Resume continues the run in a folder from its newest sound checkpoint, as if it
// had never stopped. One that was stopped before its first checkpoint begins anew
// from the seed, which is the same. Newer checkpoints that are damaged are set
// aside, and opts.Warn is told. settings change its configuration from here on, and
// config.yaml with it; what the state on disk was made for (environment, networks,
// the seed) cannot change. The number of members can: the best stay or are copied, by
// [pbt.Scheduler.Resize], and opts.Note is told. Close the run.
func Resume(dir string, settings []Setting, opts Options) (*Run, error) {
	opts.Dir = dir
	opts.setDefaults()
	names, err := opts.FS.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("train: no run folder: %w", err)
	}
	if !slices.Contains(names, configFile) {
		return nil, fmt.Errorf("%w in %s, which is no run folder: it has no %s", ErrNoCheckpoint, dir, configFile)
	}
	release, err := opts.FS.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	r, err := resume(dir, settings, opts)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	r.releaseFolder = release
	return r, nil
}

// resume is Resume of a folder that is locked.
func resume(dir string, settings []Setting, opts Options) (*Run, error) {
	set, path, err := newestSet(&opts, dir)
	if err != nil && !errors.Is(err, ErrNoCheckpoint) {
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
	if err := cfg.refuseEarlier(); err != nil {
		return nil, err
	}
	if set == nil {
		return restart(cfg, opts, fmt.Sprintf("%s has no checkpoint yet", opts.Dir))
	}
	old, err := loadStored(path, set.Run.Config)
	if err != nil {
		return nil, fmt.Errorf("train: the configuration in the checkpoint %s: %w", path, err)
	}
	if err := cfg.compatible(old); err != nil {
		return nil, err
	}
	if p, was := cfg.PBT.PopulationSize, old.PBT.PopulationSize; set.Update == 0 && p != was {
		return restart(cfg, opts, fmt.Sprintf("the checkpoint in %s is of before the first update and has %s, the run now %d", opts.Dir, counted(was, "member"), p))
	}
	// The checkpoint knows what was before it, whatever was to come after it.
	cfg.Run.Earlier = old.earlierParts(set.Update, cfg.PBT.PopulationSize)
	if err := cfg.checkRoom(set, old); err != nil {
		return nil, err
	}
	r, err := prepare(cfg, opts)
	if err != nil {
		return nil, err
	}
	if err := r.restore(set, old); err != nil {
		return nil, errors.Join(fmt.Errorf("train: resume from %s: %w", path, err), r.Close())
	}
	if err := r.openMirror(true); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := ckpt.WriteFile(opts.FS, configPath, r.yaml); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	// Whoever reads the folder meanwhile finds the members that config.yaml speaks of.
	if err := r.decisions.flush(); err != nil {
		opts.Warn(fmt.Sprintf("%s: %v; the lines wait in memory", r.path(decisionsFile), err))
	}
	return r, nil
}

// restart begins a run anew that was stopped before its first checkpoint, or has one
// of before its first update that is of no use.
func restart(cfg Config, opts Options, why string) (*Run, error) {
	opts.Warn(why + ": the run begins anew from its seed")
	r, err := begin(cfg, opts)
	if err != nil {
		return nil, err
	}
	if err := r.openMirror(true); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.fillFolder(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// newestSet reads the newest sound checkpoint of a run folder that is locked, and
// sets damaged ones that are newer aside: as it is, nobody would look at them again
// before the run comes to the same update.
func newestSet(opts *Options, dir string) (*ckpt.Set, string, error) {
	var damaged []string
	set, path, err := ckpt.Newest(opts.FS, filepath.Join(dir, checkpointsDir), func(path string, err error) {
		damaged = append(damaged, path)
		opts.Warn(err.Error())
	})
	if errors.Is(err, ckpt.ErrNoCheckpoint) {
		return nil, "", fmt.Errorf("%w in %s", ErrNoCheckpoint, dir)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w; `brood inspect --verify %s` lists them, and to train anew: `brood train %s --out NEW`",
			err, dir, filepath.Join(dir, configFile))
	}
	for _, d := range damaged {
		aside, err := ckpt.SetAside(opts.FS, d)
		if err != nil {
			return nil, "", err
		}
		opts.Warn(fmt.Sprintf("the run goes on from the checkpoint of update %d; the damaged one is set aside as %s", set.Update, aside))
	}
	return set, path, nil
}

// restore takes over the state of a checkpoint. old is the configuration it was
// made with.
func (r *Run) restore(set *ckpt.Set, old Config) error {
	state, err := decodeState(&set.Run)
	if err != nil {
		return err
	}
	if p := old.PBT.PopulationSize; len(set.Members) != p || len(state.Scores) != p {
		return fmt.Errorf("%w: it has %d members with %d scores, its configuration %d", ckpt.ErrIncompatible, len(set.Members), len(state.Scores), p)
	}
	members, err := r.decodeMembers(set)
	if err != nil {
		return err
	}
	placed, err := r.placeMembers(state, members, set.Update)
	if err != nil {
		return err
	}
	if err := r.restoreMembers(placed, state, members, changedHyperparameters(old, r.cfg)); err != nil {
		return err
	}
	r.id = state.Run
	if r.id == "" {
		r.id = randomID()
	}
	if state.Outcomes != nil {
		r.outcomes = *state.Outcomes
	}
	r.updates, r.saved, r.exploits = set.Update, set.Update, set.Run.Exploits
	if _, external := r.engine.Config().Env.(env.External); external {
		r.opts.Warn(fmt.Sprintf("the episodes under way at update %d begin anew: a checkpoint does not hold the state of %s", set.Update, r.cfg.Env.ID))
	}
	r.savedAt = time.Now()
	r.trained = time.Duration(set.Run.Seconds * float64(time.Second))
	if !r.opts.InMemory && r.cfg.Checkpoint.KeepBest {
		if err := r.findBestSet(); err != nil {
			return err
		}
	}
	if err := r.settleSets(); err != nil {
		return err
	}
	r.tellEngine(state.Engine)
	if err := r.openLogs(state.MetricsBytes, state.DecisionsBytes); err != nil {
		return err
	}
	r.restored = &mirrored{update: set.Update, population: len(members), logs: r.logSizes()}
	if len(members) == len(r.scores) {
		return nil
	}
	return r.resized(placed, state, members)
}

// settleSets does what a process that was killed did not come to: the checkpoint that
// the run goes on from, which may be its last, becomes durable, and what nothing keeps
// goes.
func (r *Run) settleSets() error {
	if r.opts.InMemory {
		return nil
	}
	dir := r.path(checkpointsDir)
	if err := ckpt.Settle(r.opts.FS, dir); err != nil {
		return err
	}
	if err := ckpt.Prune(r.opts.FS, dir, r.retention(r.updates, math.NaN())); err != nil {
		r.opts.Warn(fmt.Sprintf("old checkpoints stay: %v", err))
	}
	return nil
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
