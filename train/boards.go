package train

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"brood/ckpt"
	"brood/kernels"
	"brood/pbt"
	"brood/telemetry/tensorboard"
)

const (
	boardsDir = "tensorboard"
	// maxBoards bounds the members with a run of their own there: each is an open file,
	// and more lines than that are no picture.
	maxBoards = 256
	// denseUpdates are shown one by one; after that every second, fourth, ... update is,
	// so that the points of a series grow with the logarithm of the updates.
	denseUpdates = 1000
	// boardPause is from one writing to the next, sessionPause from one writing of the
	// hyperparameters to the next.
	boardPause   = 5 * time.Second
	sessionPause = 30 * time.Second
	// maxBoardBytes is what waits in memory for a disk that refuses it; then it is
	// forgotten.
	maxBoardBytes = 32 << 20
	// sessionFile sorts before every other, so that a reader meets it first.
	sessionFile = "events.out.tfevents.0000000000.brood.hparams"
)

// boardGroups are what the figures of a member are shown under.
var boardGroups = map[string]string{"train_return": "return", "episode_return_mean": "return", "episode_return_min": "return",
	"episode_return_max": "return", "episodes": "episode", "episode_length_mean": "episode", "policy_loss": "loss", "value_loss": "loss",
	"entropy": "loss", "learning_rate": "hyperparameter"}

func boardTag(name string) tensorboard.Tag {
	group, ok := boardGroups[name]
	if !ok {
		group = "update"
	}
	return tensorboard.NewTag(group + "/" + name)
}

var (
	trainReturnTag = boardTag("train_return")
	bestReturnTag  = tensorboard.NewTag("return/best_so_far")
	metricTags     = func() (tags []tensorboard.Tag) {
		for _, m := range metricsOf {
			tags = append(tags, boardTag(m.name))
		}
		return tags
	}()
	populationTags = struct{ best, median, exploits, speed tensorboard.Tag }{tensorboard.NewTag("population/best_return"),
		tensorboard.NewTag("population/median_return"), tensorboard.NewTag("population/exploits"), tensorboard.NewTag("population/env_steps_per_second")}
)

// boards are the event files that TensorBoard shows: a run per member and one of the
// population. They serve whoever looks on: whatever goes wrong with them is told once
// and never ends the training.
type boards struct {
	run     *Run
	dir     string
	members []*boardFile
	all     *boardFile
	files   []*boardFile      // both
	evolved []tensorboard.Tag // of r.evolved
	started float64
	summary []byte // reused
	known   []float64
	best    []float64 // [members], the best train_return so far; NaN: none
	// shown is the last update that has its points.
	shown int64
	// flushed and sessions are when these were last written; the first update is at once.
	flushed, sessions     time.Time
	lastSteps             int64
	lastTime              time.Time
	failing, forgot, done bool
}

// boardFile is an event file that grows. What the disk refuses waits in buf, and is
// written again at the same offset.
type boardFile struct {
	path    string
	file    ckpt.LogFile // nil until the first writing
	buf     []byte
	written int64
}

// openBoards begins the event files of this process. What an earlier one wrote after
// the present update, which will be trained again, is cut off.
func (r *Run) openBoards() {
	if r.opts.InMemory {
		return
	}
	p, now := len(r.hyper), time.Now()
	b := &boards{run: r, dir: r.path(boardsDir), started: wallTime(now), shown: r.updates, lastTime: now, lastSteps: r.envSteps()}
	for _, e := range r.evolved {
		b.evolved = append(b.evolved, tensorboard.NewTag("hyperparameter/"+e.name))
	}
	b.best = make([]float64, min(p, maxBoards))
	for m := range b.best {
		b.best[m] = math.NaN()
	}
	newest := b.cutOff(r.envSteps())
	if !r.cfg.Telemetry.TensorBoard {
		return
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	// Files are read in the order of their names: a clock that went back must not put
	// this process before an earlier one.
	name := fmt.Sprintf("events.out.tfevents.%010d.%s.%d", max(now.Unix(), newest+1), strings.ReplaceAll(host, "/", "_"), os.Getpid())
	open := func(run string) *boardFile {
		f := &boardFile{path: filepath.Join(b.dir, run, name)}
		f.buf = tensorboard.AppendVersion(f.buf, b.started)
		if r.updates > 0 {
			f.buf = tensorboard.AppendStart(f.buf, b.started, r.envSteps()+1)
		}
		return f
	}
	for m := range min(p, maxBoards) {
		b.members = append(b.members, open(boardRun(m)))
	}
	b.all = open("population")
	b.files = append(slices.Clone(b.members), b.all)
	if p > maxBoards {
		r.opts.Note(fmt.Sprintf("%s shows the population and its first %d members of %d", b.dir, maxBoards, p))
	}
	r.boards = b
}

func boardRun(member int) string { return fmt.Sprintf("member-%03d", member) }

func wallTime(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// cutOff ends every event file of earlier processes after the last point up to a step,
// and returns the largest time in their names. The members' best returns are taken
// from what stays.
func (b *boards) cutOff(step int64) (newest int64) {
	runs, err := b.run.opts.FS.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	for _, run := range runs {
		member := -1
		if _, e := fmt.Sscanf(run, "member-%d", &member); e != nil || member >= len(b.best) {
			member = -1
			if e == nil { // the population was made smaller: it is no row any more
				err = errors.Join(err, b.run.opts.FS.RemoveAll(filepath.Join(b.dir, run, sessionFile)))
			}
		}
		names, e := b.run.opts.FS.ReadDir(filepath.Join(b.dir, run))
		err = errors.Join(err, e)
		for _, name := range names {
			var time int64
			if n, _ := fmt.Sscanf(name, "events.out.tfevents.%d.", &time); n != 1 || name == sessionFile {
				continue
			}
			newest = max(newest, time)
			err = errors.Join(err, b.cutFile(filepath.Join(b.dir, run, name), step, member))
		}
	}
	if err != nil {
		b.run.opts.Warn(fmt.Sprintf("TensorBoard may show points twice: what an earlier process wrote after step %d could not be cut off: %v", step, err))
	}
	return newest
}

// cutFile ends a file after its last event up to a step. member is whose it is; -1: no
// member's.
func (b *boards) cutFile(path string, step int64, member int) error {
	f, err := b.run.opts.FS.OpenLog(path)
	if err != nil {
		return err
	}
	size, err := f.Size()
	keep, points := int64(0), false
	if err == nil {
		_, err = tensorboard.Read(io.NewSectionReader(f, 0, size), func(e *tensorboard.Event, end int64) error {
			if e.Scalars == nil {
				return nil
			}
			if e.Step > step {
				return errCut
			}
			if x, ok := e.Scalars[bestReturnTag.Name()]; ok && member >= 0 {
				b.best[member] = float64(x)
			}
			keep, points = end, true
			return nil
		})
		if errors.Is(err, errCut) || errors.Is(err, tensorboard.ErrDamaged) {
			err = nil // what is before the damage stays
		}
	}
	if err == nil && points && keep < size {
		err = f.Truncate(keep)
	}
	if err = errors.Join(err, f.Close()); err == nil && !points {
		err = b.run.opts.FS.RemoveAll(path) // nothing of it stays
	}
	return err
}

var errCut = errors.New("after the cut")

// boardDue says whether an update has points of its own.
func boardDue(update int64) bool {
	every := int64(1)
	for update > denseUpdates*every {
		every *= 2
	}
	return update%every == 0
}

// show adds the present update's points, where it is due, and writes what has gathered
// once it is old.
func (b *boards) show() {
	if b == nil {
		return
	}
	now := time.Now()
	if boardDue(b.run.updates) {
		b.add(now)
	}
	if now.Sub(b.flushed) >= boardPause {
		b.flush(now, now.Sub(b.sessions) >= sessionPause)
	}
}

// add appends the points of the present update to every file.
func (b *boards) add(now time.Time) {
	r := b.run
	if b.shown == r.updates {
		return
	}
	b.shown = r.updates
	wall, step := wallTime(now), r.envSteps()
	for m, f := range b.members {
		s := &r.stats[m]
		if r.better(s.Score, b.best[m]) {
			b.best[m] = s.Score
		}
		v := scalar(b.summary[:0], trainReturnTag, s.Score)
		v = scalar(v, bestReturnTag, b.best[m])
		for i := range metricsOf {
			v = scalar(v, metricTags[i], metricsOf[i].value(s))
		}
		for i, e := range r.evolved {
			if e.Hyperparameter != kernels.LearningRate { // which is a metric
				v = scalar(v, b.evolved[i], float64(r.hyper[m][e.Hyperparameter]))
			}
		}
		f.buf = tensorboard.AppendSummary(f.buf, wall, step, v)
		b.summary = v
	}
	b.addPopulation(wall, step, float64(step-b.lastSteps)/max(now.Sub(b.lastTime).Seconds(), 1e-9))
	b.lastTime, b.lastSteps = now, step
}

// addPopulation appends the figures of all members; speed is in steps a second.
func (b *boards) addPopulation(wall float64, step int64, speed float64) {
	b.known = b.known[:0]
	for m := range b.run.stats {
		b.known = append(b.known, b.run.stats[m].Score)
	}
	v := b.summary[:0]
	best, median := BestAndMedian(b.known, b.run.cfg.PBT.MetricMode == pbt.Min)
	v = scalar(v, populationTags.best, best)
	v = scalar(v, populationTags.median, median)
	v = scalar(v, populationTags.exploits, float64(b.run.exploits))
	v = scalar(v, populationTags.speed, speed)
	b.all.buf = tensorboard.AppendSummary(b.all.buf, wall, step, v)
	b.summary = v
}

// scalar appends a figure that exists.
func scalar(summary []byte, t tensorboard.Tag, x float64) []byte {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return summary
	}
	return tensorboard.AppendScalar(summary, t, float32(x))
}

// flush writes what has gathered, and the members' hyperparameters where they are asked
// for.
func (b *boards) flush(now time.Time, sessions bool) {
	b.flushed = now
	err := error(nil)
	waiting := 0
	for _, f := range b.files {
		if err == nil {
			err = f.flush(b.run.opts.FS)
		}
		waiting += len(f.buf)
	}
	if sessions && err == nil {
		b.sessions = now
		err = b.writeSessions(wallTime(now))
	}
	if err != nil && !b.failing {
		b.run.opts.Warn(fmt.Sprintf("%s lags behind: %v; its points wait in memory", b.dir, err))
	}
	b.failing = err != nil
	if waiting > maxBoardBytes {
		if !b.forgot {
			b.run.opts.Warn(fmt.Sprintf("%s will lack points: more than %d MB of them could not be written", b.dir, maxBoardBytes>>20))
		}
		b.forgot = true
		for _, f := range b.files {
			if f.written > 0 { // what begins a file is needed
				f.buf = f.buf[:0]
			}
		}
	}
}

func (f *boardFile) flush(fs ckpt.FS) (err error) {
	if len(f.buf) == 0 {
		return nil
	}
	if f.file == nil {
		if err := fs.MkdirAll(filepath.Dir(f.path)); err != nil {
			return err
		}
		if f.file, err = fs.OpenLog(f.path); err != nil {
			return err
		}
	}
	if _, err := f.file.WriteAt(f.buf, f.written); err != nil {
		return err
	}
	f.written += int64(len(f.buf))
	f.buf = f.buf[:0]
	return nil
}

// writeSessions replaces the files of the HPARAMS tab by ones with the present
// hyperparameters. They are small and need not survive a crash of the machine.
func (b *boards) writeSessions(now float64) error {
	r := b.run
	var columns []tensorboard.Hyperparameter
	for _, e := range r.evolved {
		h := tensorboard.Hyperparameter{Name: e.name}
		for _, c := range r.cfg.PBT.Hyperparameters {
			if c.Name == e.name && c.Min != nil && c.Max != nil {
				h.Min, h.Max = *c.Min, *c.Max
			}
		}
		columns = append(columns, h)
	}
	summary := tensorboard.AppendExperiment(nil, b.started, "A population of "+r.cfg.Env.ID+", a member per row.", columns, []tensorboard.Metric{
		{Tag: trainReturnTag.Name(), Name: "return", Description: "train_return at the end"},
		{Tag: bestReturnTag.Name(), Name: "best return", Description: "the best train_return so far"}})
	if err := b.writeSession("population", now, summary); err != nil {
		return err
	}
	for m := range b.members {
		values := map[string]float64{}
		for _, e := range r.evolved {
			values[e.name] = float64(r.hyper[m][e.Hyperparameter])
		}
		summary := tensorboard.AppendSession(nil, b.started, values)
		if b.done {
			summary = tensorboard.AppendSessionEnd(summary, now)
		}
		if err := b.writeSession(boardRun(m), now, summary); err != nil {
			return err
		}
	}
	return nil
}

func (b *boards) writeSession(run string, now float64, summary []byte) (err error) {
	fs, path := b.run.opts.FS, filepath.Join(b.dir, run, sessionFile)
	tmp := filepath.Join(b.dir, run, ".tmp-session") // a reader takes no name without tfevents
	f, err := fs.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(tensorboard.AppendSummary(tensorboard.AppendVersion(nil, now), now, 0, summary))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fs.Rename(tmp, path)
}

// finish adds the last update and writes everything. done says that the run has come
// to its end.
func (b *boards) finish(done bool) {
	if b == nil {
		return
	}
	now := time.Now()
	b.done = done
	if b.run.updates > 0 {
		b.add(now)
	}
	b.flush(now, true)
}

func (b *boards) close() {
	if b == nil {
		return
	}
	b.flush(time.Now(), false)
	var err error
	for _, f := range b.files {
		if f.file != nil {
			err = errors.Join(err, f.file.Close())
			f.file = nil
		}
	}
	if err != nil {
		b.run.opts.Warn(fmt.Sprintf("%s may lack its last points: %v", b.dir, err))
	}
}
