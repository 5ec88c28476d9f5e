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
// configuration it had at that checkpoint. Nothing in the folder changes.
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
		r, err := rewindTo(filepath.Join(dir, checkpointsDir, ckpt.SetName(update)), opts)
		if errors.Is(err, ckpt.ErrDamaged) {
			opts.Warn(fmt.Sprintf("%v; an earlier moment serves as well", err))
			continue
		}
		return r, err
	}
	return New(cfg, opts)
}

// rewindTo makes the run of a checkpoint in memory.
func rewindTo(path string, opts Options) (*Run, error) {
	set, err := ckpt.ReadSet(opts.FS, path)
	if err != nil {
		return nil, err
	}
	cfg, err := Load(path, []byte(set.Run.Config), opts.Settings)
	if err != nil {
		return nil, fmt.Errorf("train: the configuration in the checkpoint %s: %w", path, err)
	}
	r, err := prepare(cfg, opts)
	if err != nil {
		return nil, err
	}
	if err := r.restore(set, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("train: rewind to %s: %w", path, err), r.Close())
	}
	return r, nil
}
