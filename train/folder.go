package train

import (
	"fmt"
	"os"
	"path/filepath"

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
	if err := CheckNewFolder(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(r.path(checkpointsDir), 0o755); err != nil {
		return fmt.Errorf("train: make the run folder: %w", err)
	}
	if err := ckpt.WriteFile(r.opts.FS, r.path(configFile), r.yaml); err != nil {
		return fmt.Errorf("train: write the configuration: %w", err)
	}
	return r.openLogs(0, 0)
}

// CheckNewFolder returns [ErrRunExists] where the folder holds anything: a run
// never overwrites another.
func CheckNewFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("train: the run folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, configFile)); err == nil {
		return fmt.Errorf("%w: %s holds a run; choose another --out, or continue it with `brood resume %s`", ErrRunExists, dir, dir)
	}
	return fmt.Errorf("%w: %s holds %s and is no run; choose another --out", ErrRunExists, dir, entries[0].Name())
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
		log, missing, err := openLog(r.path(l.name), l.size)
		if err != nil {
			return fmt.Errorf("train: open %s: %w", l.name, err)
		}
		if missing > 0 {
			r.opts.Warn(fmt.Sprintf("%s lacks %d bytes that were there at the checkpoint; it goes on from what is left", r.path(l.name), missing))
		}
		*l.log = log
	}
	return nil
}
