package train

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"brood/ckpt"
)

// The files of a run folder; docs/reference.md says what is in each.
const (
	configFile     = "config.yaml"
	metricsFile    = "metrics.jsonl"
	decisionsFile  = "decisions.jsonl"
	summaryFile    = "summary.json"
	bestFile       = "best.ckpt"
	checkpointsDir = "checkpoints"
)

func (r *Run) path(name string) string { return filepath.Join(r.opts.Dir, name) }

// createFolder makes the folder of a new run, or takes one that is empty.
func (r *Run) createFolder() error {
	if r.opts.InMemory {
		return r.openLogs(0, 0)
	}
	dir := r.opts.Dir
	if dir == "" {
		return fmt.Errorf("train: no run folder given")
	}
	if err := r.takeNewFolder(dir); err != nil {
		return err
	}
	// Before anything is in the folder: where the other place cannot be had, the same
	// command may be tried again.
	if err := r.openMirror(false); err != nil {
		return err
	}
	return r.fillFolder()
}

// fillFolder writes what a run folder has at the start of a run.
func (r *Run) fillFolder() error {
	if err := ckpt.WriteFile(r.opts.FS, r.path(configFile), r.yaml); err != nil {
		return fmt.Errorf("train: write the configuration: %w", err)
	}
	if err := ckpt.MakeDir(r.opts.FS, r.path(checkpointsDir)); err != nil {
		return fmt.Errorf("train: make the run folder: %w", err)
	}
	return r.openLogs(0, 0)
}

// takeNewFolder makes and locks the folder of a new run. It looks at the content
// twice: a folder with something in it is not touched, and one that another process
// has taken in between is not overwritten.
func (r *Run) takeNewFolder(dir string) error {
	if err := checkNewFolder(r.opts.FS, dir); err != nil {
		return r.orHeld(dir, err)
	}
	if err := ckpt.MakeDir(r.opts.FS, dir); err != nil {
		return fmt.Errorf("train: make the run folder: %w", err)
	}
	if err := r.lock(dir); err != nil {
		return err
	}
	return checkNewFolder(r.opts.FS, dir)
}

// orHeld is what is wrong with a folder that cannot be taken: somebody trains in it,
// or else err.
func (r *Run) orHeld(dir string, err error) error {
	if names, e := r.opts.FS.ReadDir(dir); e != nil || !slices.Contains(names, ckpt.LockFile) {
		return err
	}
	if held := r.lock(dir); errors.Is(held, ckpt.ErrLocked) {
		return held
	}
	return errors.Join(err, r.unlock())
}

// lock makes the run the one writer of a folder, until it is closed.
func (r *Run) lock(dir string) (err error) {
	r.releaseFolder, err = r.opts.FS.Lock(dir)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

func (r *Run) unlock() error {
	if r.releaseFolder == nil {
		return nil
	}
	release := r.releaseFolder
	r.releaseFolder = nil
	return release()
}

// CheckNewFolder returns [ErrRunExists] where the folder holds anything: a run
// never overwrites another.
func CheckNewFolder(dir string) error { return checkNewFolder(ckpt.OS, dir) }

func checkNewFolder(files ckpt.FS, dir string) error {
	names, err := files.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("train: the run folder: %w", err)
	}
	if slices.Contains(names, configFile) {
		return fmt.Errorf("%w: %s holds a run; choose another --out, or continue it with `brood resume %s`", ErrRunExists, dir, dir)
	}
	for _, name := range names {
		// A process that was killed before it had written the configuration leaves no
		// more than these.
		if name != ckpt.LockFile && !ckpt.IsTemporary(name) {
			return fmt.Errorf("%w: %s holds %s and is no run; choose another --out", ErrRunExists, dir, name)
		}
	}
	return nil
}

// openLogs opens metrics.jsonl and decisions.jsonl at the sizes that a
// checkpoint recorded.
func (r *Run) openLogs(metrics, decisions int64) error {
	if r.opts.InMemory {
		r.metrics, r.decisions = &appendLog{written: metrics}, &appendLog{written: decisions}
		return nil
	}
	for _, l := range []struct {
		name string
		size int64
		log  **appendLog
	}{{metricsFile, metrics, &r.metrics}, {decisionsFile, decisions, &r.decisions}} {
		log, missing, err := openLog(r.opts.FS, r.path(l.name), l.size)
		if err != nil {
			return fmt.Errorf("train: open %s: %w", l.name, err)
		}
		*l.log = log
		if missing > 0 {
			r.opts.Warn(fmt.Sprintf("%s lacks %d bytes that were there at the checkpoint; it goes on from what is left", r.path(l.name), missing))
		}
	}
	// A checkpoint will name their sizes: they must not be without a name after it.
	if err := r.opts.FS.SyncDir(r.opts.Dir); err != nil {
		return fmt.Errorf("train: make the run folder's names durable: %w", err)
	}
	r.openBoards()
	return nil
}
