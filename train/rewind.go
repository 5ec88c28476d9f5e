package train

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"brood/ckpt"
	"brood/kernels"
	"brood/pbt"
	"brood/tensor"
)

// ErrStop, returned by Options.BeforeExploit, ends [Run.Train], which returns it.
var ErrStop = errors.New("stopped before an exploit")

// Moment is a run just before the exploits of an interval are carried out.
type Moment struct {
	// Update is the number of updates done.
	Update    int64
	Decisions []pbt.Decision
	// Exploits are the decisions as the engine is given them.
	Exploits []kernels.Exploit

	run *Run
}

// State copies a member's whole state, as it is before any exploit of the
// interval, to dst, which has the layout of [Moment.Layout].
func (m *Moment) State(member int, dst tensor.Member) error {
	return m.run.engine.Snapshot(member, dst)
}

// Layout is that of the members' states.
func (m *Moment) Layout() *tensor.Layout { return m.run.engine.Layout() }

// LoadRun reads the configuration of a run folder.
func LoadRun(dir string, settings ...Setting) (Config, error) {
	return loadRun(DefaultConfig(), dir, settings)
}

func loadRun(defaults Config, dir string, settings []Setting) (Config, error) {
	path := filepath.Join(dir, configFile)
	text, err := ckpt.OS.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("train: no run folder: %w", err)
	}
	return loadOver(defaults, path, text, settings)
}

// ReadRun is LoadRun for who only reads a run: an environment of Gymnasium is not asked
// what it is, and an engine of the configuration would not be the run's.
func ReadRun(dir string, settings ...Setting) (Config, error) {
	return loadRun(undescribed(), dir, settings)
}

// Rewind makes the run of a folder anew in memory, as it was before an update:
// from its newest checkpoint of an earlier one, or from the seed where there is
// none. Trained again on the same engine it is the same run to the bit, under the
// configuration it had at that checkpoint. Nothing in the folder changes. Where the
// number of members was changed in between, the change is made again at the
// checkpoint it was made to; without that one the error is an [ErrNoCheckpoint].
// opts.Settings may change the device and the number of threads. Close the run.
func Rewind(dir string, before int64, opts Options) (*Run, error) {
	cfg, err := LoadRun(dir, opts.Settings...)
	if err != nil {
		return nil, err
	}
	opts.InMemory, opts.Dir = true, ""
	opts.setDefaults()
	updates, err := ckpt.List(opts.FS, filepath.Join(dir, checkpointsDir))
	if err != nil {
		return nil, fmt.Errorf("train: the checkpoints of %s: %w", dir, err)
	}
	for _, update := range slices.Backward(updates) {
		if update >= before {
			continue
		}
		r, err := rewindTo(filepath.Join(dir, checkpointsDir, ckpt.SetName(update)), cfg, update, before, opts)
		if errors.Is(err, ckpt.ErrDamaged) {
			opts.Warn(fmt.Sprintf("%v; an earlier moment serves as well", err))
			continue
		}
		return r, err
	}
	at, err := cfg.until(0, before)
	if err != nil {
		return nil, fmt.Errorf("train: rewind %s: %w", dir, err)
	}
	return New(at, opts)
}

// until is the configuration of a run that goes from an update to just before
// another, if it can. A change of the number of members in between can be made where
// the run begins with it.
func (c Config) until(from, before int64) (Config, error) {
	c.PBT.PopulationSize, c.Run.Earlier = c.populationAt(before), slices.DeleteFunc(slices.Clone(c.Run.Earlier),
		func(part EarlierPart) bool { return part.Updates >= before })
	for _, part := range c.Run.Earlier {
		if part.Updates > from {
			return c, fmt.Errorf("%w to go on from to update %d: at update %d the population of %d members became another one, and no sound checkpoint from there to update %d is left",
				ErrNoCheckpoint, before, part.Updates, part.PopulationSize, before-1)
		}
	}
	return c, nil
}

// rewindTo makes the run of a checkpoint in memory. cfg is the configuration of the
// folder.
func rewindTo(path string, cfg Config, update, before int64, opts Options) (*Run, error) {
	at, err := cfg.until(update, before)
	if err != nil {
		return nil, fmt.Errorf("train: rewind to %s: %w", path, err)
	}
	set, err := ckpt.ReadSet(opts.FS, path)
	if err != nil {
		return nil, err
	}
	old, err := Load(path, []byte(set.Run.Config), opts.Settings)
	if err != nil {
		return nil, fmt.Errorf("train: the configuration in the checkpoint %s: %w", path, err)
	}
	switch was, parts := old.PBT.PopulationSize, at.Run.Earlier; {
	case was == at.PBT.PopulationSize:
		at = old
	case len(parts) == 0 || parts[len(parts)-1] != EarlierPart{Updates: update, PopulationSize: was}:
		return nil, fmt.Errorf("train: rewind to %s: %w: it has %d members, and by %s the population has %d in update %d and was not changed in between",
			path, ckpt.ErrIncompatible, was, configFile, at.PBT.PopulationSize, before)
	}
	r, err := prepare(at, opts)
	if err != nil {
		return nil, err
	}
	if err := r.restore(set, old); err != nil {
		return nil, errors.Join(fmt.Errorf("train: rewind to %s: %w", path, err), r.Close())
	}
	return r, nil
}
