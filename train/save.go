package train

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"brood/ckpt"
	"brood/internal/stats"
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
	// Run identifies the run over all its processes; empty in old checkpoints.
	Run string `json:"run,omitempty"`
	// Best is the best performance of the members, by which the best checkpoint is
	// known; nil: none has one.
	Best *float64 `json:"best,omitempty"`
	// Engine is the name of the engine that trained; empty in checkpoints of before
	// it was noted.
	Engine string `json:"engine,omitempty"`
}

// decodeState reads what a checkpoint says about the run.
func decodeState(run *ckpt.RunState) (*runState, error) {
	state := &runState{}
	if err := json.Unmarshal(run.Scheduler, state); err != nil {
		return nil, fmt.Errorf("%w: the run's state: %w", ckpt.ErrDamaged, err)
	}
	return state, nil
}

// readState is decodeState of the checkpoint at path, whose members are not read.
func readState(files ckpt.ReadFS, path string) (*runState, error) {
	run, err := ckpt.ReadRun(files, path)
	if err != nil {
		return nil, err
	}
	return decodeState(run)
}

// saving is a checkpoint on its way to disk.
type saving struct {
	update int64
	draft  ckpt.Draft  // complete but for the members and their digest
	metas  []ckpt.Meta // of the members
	best   float64     // performance of the best member; NaN: none has one
	// states gives the members' states as they were at the update.
	states func() ([]tensor.Member, error)
	// logs are the files whose sizes the checkpoint names.
	logs []*appendLog
	keep ckpt.Retention
	// mirror is where it goes next; nil: nowhere.
	mirror   *mirror
	mirrored mirrored
	done     chan error
	// Set before done: why old checkpoints were not removed, the bytes of all
	// members' files, and the time from the snapshot to the last byte on disk.
	stay  error
	bytes atomic.Int64
	took  time.Duration
	// completed is when the checkpoint was whole on disk, in nanoseconds; 0: not yet.
	completed atomic.Int64
}

// save writes a checkpoint of the present update and then removes those that
// nothing keeps. The last good one stays until this one is complete.
func (r *Run) save() error {
	if r.opts.InMemory {
		return nil
	}
	if r.saving == nil || r.saving.update != r.updates {
		if err := r.beginSaving(); err != nil {
			return err
		}
	}
	return r.awaitSaving() // there is no training that would wait
}

// beginSaving begins a checkpoint of the present update. Training waits for a copy
// of the members' states in memory; the rest is done beside it. Where the checkpoint
// before is still being written, training waits for that first: two never pile up.
func (r *Run) beginSaving() error {
	if r.opts.InMemory {
		return nil
	}
	defer r.waiting(time.Now())
	if x := r.saving; x != nil {
		r.warnOfSave(x.update, r.awaitSaving())
	}
	if r.saved == r.updates {
		return nil // nothing has changed since
	}
	if err := errors.Join(r.metrics.flush(), r.decisions.flush()); err != nil {
		return err
	}
	x, err := r.prepareSaving()
	if err != nil {
		return err
	}
	if x.states, err = r.engine.BeginSnapshot(); err != nil {
		return err
	}
	r.saving = x
	go x.write(r.opts.FS, r.path(checkpointsDir))
	return nil
}

// finishSaving waits for the checkpoint that is being written, where there is one.
func (r *Run) finishSaving() error {
	defer r.waiting(time.Now())
	return r.awaitSaving()
}

// waiting counts the time since began as one in which training stood still.
func (r *Run) waiting(began time.Time) { r.checkpoints.WaitSeconds += time.Since(began).Seconds() }

func (r *Run) awaitSaving() error {
	x := r.saving
	if x == nil {
		return nil
	}
	r.saving = nil
	if err := <-x.done; err != nil {
		r.checkpoints.Failed++
		return err
	}
	r.saved, r.savedAt = x.update, time.Unix(0, x.completed.Load())
	r.checkpoints.Written++
	r.checkpoints.WriteSeconds += x.took.Seconds()
	r.checkpoints.Bytes += x.bytes.Load()
	r.rankSet(x.update, x.best)
	if x.stay != nil {
		r.opts.Warn(fmt.Sprintf("old checkpoints stay: %v", x.stay))
	}
	r.tellOfMirror()
	return nil
}

func (r *Run) tellOfMirror() {
	if r.mirror == nil {
		return
	}
	for _, message := range r.mirror.tell() {
		r.opts.Warn(message)
	}
}

// warnOfSave tells of a checkpoint that could not be written.
func (r *Run) warnOfSave(update int64, err error) {
	if err != nil {
		r.opts.Warn(fmt.Sprintf("no checkpoint of update %d: %v; training goes on and tries again at update %d",
			update, err, min(r.updates+r.cfg.Checkpoint.Every, r.total)))
	}
}

// maxEncoded bounds the memory of the files that are being written at a time.
const maxEncoded = 64 << 20

// prepareSaving is all of a checkpoint but the members' states.
func (r *Run) prepareSaving() (*saving, error) {
	x := &saving{update: r.updates, done: make(chan error, 1), logs: []*appendLog{r.metrics, r.decisions}, best: math.NaN()}
	state := runState{Scheduler: r.schedule.State(), MetricsBytes: r.metrics.end(), DecisionsBytes: r.decisions.end(),
		Quarantined: r.quarantined, Outcomes: &r.outcomes, Engine: r.engine.Name(), Run: r.id}
	for m := range r.scores {
		performance := r.performance(m)
		x.metas = append(x.metas, r.meta(performance))
		if r.better(performance, x.best) && !r.quarantined[m] {
			x.best = performance
		}
		state.Scores = append(state.Scores, stats.OrNil(r.scores[m]))
	}
	state.Best = stats.OrNil(x.best)
	x.keep = r.retention(x.update, x.best)
	x.mirror = r.mirror
	x.mirrored = mirrored{update: r.updates, population: len(r.scores), logs: r.logSizes(), keep: x.keep}
	scheduler, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	// The files of small members wait for the disk side by side.
	parallel := min(max(maxEncoded/max(r.engine.Layout().Stride(), 1), 1), 16)
	x.draft = ckpt.Draft{Update: r.updates, Population: len(r.scores), Parallel: parallel,
		Run: ckpt.RunState{EnvSteps: r.envSteps(), Seconds: r.secondsSoFar(), Exploits: r.exploits, Config: string(r.yaml),
			Scheduler: scheduler}}
	return x, nil
}

// write completes the checkpoint, writes it and removes those that nothing keeps.
func (x *saving) write(fs ckpt.FS, dir string) {
	began := time.Now()
	x.done <- func() error {
		// A checkpoint names sizes of these files, so they must be durable before it.
		for _, log := range x.logs {
			if err := log.makeDurable(); err != nil {
				return err
			}
		}
		members, err := x.states()
		if err != nil {
			return err
		}
		x.draft.Digest = func() [sha256.Size]byte { return tensor.Digest(members...) }
		x.draft.Member = func(m int) (ckpt.Encoded, error) {
			f, err := ckpt.EncodeFile(members[m], x.metas[m], true)
			x.bytes.Add(int64(len(f.Data)))
			return f, err
		}
		if _, err := ckpt.WriteSet(fs, dir, x.draft); err != nil {
			return err
		}
		x.took = time.Since(began)
		x.completed.Store(time.Now().UnixNano())
		if x.mirror != nil {
			x.mirror.offer(&x.mirrored)
			x.keep.Also = append(slices.Clone(x.keep.Also), x.mirror.needs()...)
		}
		x.stay = ckpt.Prune(fs, dir, x.keep)
		return nil
	}()
}

// retention is what of the checkpoints stays once that of an update is complete.
func (r *Run) retention(update int64, best float64) ckpt.Retention {
	c := r.cfg.Checkpoint
	keep := ckpt.Retention{Last: c.Keep, Multiple: c.KeepEvery * c.Every}
	switch {
	case c.KeepBest && r.better(best, r.bestScore):
		keep.Also = []int64{update}
	case c.KeepBest:
		keep.Also = []int64{r.bestSet}
	}
	return keep
}

// rankSet remembers a complete checkpoint where it is the best so far.
func (r *Run) rankSet(update int64, best float64) {
	if r.better(best, r.bestScore) {
		r.bestSet, r.bestScore = update, best
	}
}

// better says whether a performance is better than another by the run's metric; any
// is better than none.
func (r *Run) better(a, b float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return !math.IsNaN(a)
	}
	if r.cfg.PBT.MetricMode == pbt.Min {
		return a < b
	}
	return a > b
}

// findBestSet looks for the best of the checkpoints that are there.
func (r *Run) findBestSet() error {
	dir := r.path(checkpointsDir)
	sets, err := ckpt.List(r.opts.FS, dir)
	if err != nil {
		return err
	}
	for _, update := range sets {
		state, err := readState(r.opts.FS, filepath.Join(dir, ckpt.SetName(update)))
		if err != nil {
			r.opts.Warn(fmt.Sprintf("the checkpoint of update %d is not considered for checkpoint.keep_best: %v", update, err))
			continue
		}
		if state.Best != nil {
			r.rankSet(update, *state.Best)
		}
	}
	return nil
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
