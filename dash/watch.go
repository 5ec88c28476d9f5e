package dash

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"brood/ckpt"
	"brood/internal/stats"
	"brood/kernels"
	"brood/lineage"
	"brood/pbt"
	"brood/train"
)

// The states of a run.
const (
	stateRunning     = "running"
	statePausing     = "pausing"
	statePaused      = "paused"
	stateFinished    = "finished"
	stateInterrupted = "interrupted"
	// stateGone is a run that nobody trains and that has no end: it was killed.
	stateGone = "gone"
)

// watched is a run folder that is looked at again and again. Its run may be in this
// process, in another, or at its end.
type watched struct {
	dir  string
	live *Live // nil: the run is not in this process

	mu     sync.RWMutex
	config train.Config
	index  *index
	tree   *lineage.Tree
	// treeVersion counts how often tree was read; treeStamp is what the file looked
	// like then, and treeCost how long it took.
	treeVersion int
	treeStamp   string
	treeRead    time.Time
	treeCost    time.Duration
	status      status
	speed       speedometer
	problem     string
	bell        *bell
}

// bell tells everybody who waits that something has changed. Whoever waits for it
// holds nobody up.
type bell struct {
	mu sync.Mutex
	// next is closed when it rings.
	next chan struct{}
}

func newBell() *bell { return &bell{next: make(chan struct{})} }

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.next)
	b.next = make(chan struct{})
}

// rings returns a channel that is closed when the bell rings next.
func (b *bell) rings() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next
}

// status is how a run stands.
type status struct {
	Run         int      `json:"run"`
	Name        string   `json:"name"`
	Dir         string   `json:"dir"`
	Env         string   `json:"env"`
	State       string   `json:"state"`
	Problem     string   `json:"problem,omitempty"`
	Population  int      `json:"population"`
	Update      int64    `json:"update"`
	Updates     int64    `json:"updates"`
	StepsUpdate int64    `json:"steps_per_update"`
	Exploits    int      `json:"exploits"`
	Best        *float64 `json:"best"`
	BestMember  *int     `json:"best_member"`
	Median      *float64 `json:"median"`
	Generation  int      `json:"generation"`
	Family      int      `json:"family"`
	// StepsPerSecond of late, or over all of a run that has ended.
	StepsPerSecond *float64    `json:"steps_per_second"`
	Checkpoint     *checkpoint `json:"checkpoint"`
	// Writer is the process that trains; empty: none does.
	Writer string `json:"writer,omitempty"`
	// Here is what only a run of this process has.
	Here *here `json:"here"`
}

// checkpoint is the newest of a run.
type checkpoint struct {
	Update int64 `json:"update"`
	// Written is when, in milliseconds since 1970.
	Written int64 `json:"written"`
}

func watch(number int, name, dir string, live *Live, bell *bell) (*watched, error) {
	// What is shown does not depend on the device, which this build may lack.
	cfg, err := train.LoadRun(dir, train.Setting{Origin: "dashboard", Key: "run.device", Value: train.DeviceCPU},
		train.Setting{Origin: "dashboard", Key: "run.precision", Value: string(kernels.Float32)})
	if err != nil {
		return nil, err
	}
	w := &watched{dir: dir, live: live, config: cfg, bell: bell,
		index: newIndex(filepath.Join(dir, "metrics.jsonl"), cfg.PBT.PopulationSize, cfg.PBT.MetricMode == pbt.Min)}
	// Another process that serves the same run has other generations: a page that
	// comes back to it after this one must not take its points for these.
	w.index.generation = int(time.Now().UnixMilli())
	w.status = status{Run: number, Name: name, Dir: dir, Env: cfg.Env.ID, Population: cfg.PBT.PopulationSize, StepsUpdate: cfg.StepsPerUpdate()}
	return w, nil
}

// look reads what is new in the folder and tells those who wait for it.
func (w *watched) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.status.comparable()
	grown, err := w.index.refresh()
	err = errors.Join(err, w.readConfig(), w.readTree(), w.readStatus(grown))
	w.status.Problem = ""
	if err != nil && err.Error() == w.problem {
		w.status.Problem = w.problem // once may be a line in the middle of being written
	}
	w.problem = ""
	if err != nil {
		w.problem = err.Error()
	}
	if grown || w.status.comparable() != before {
		w.bell.ring()
	}
}

// comparable is the status as text: equal for what looks the same.
func (s *status) comparable() string {
	text, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// readConfig takes over what a resumed run has changed.
func (w *watched) readConfig() error {
	cfg, err := train.LoadRun(w.dir, train.Setting{Origin: "dashboard", Key: "run.device", Value: train.DeviceCPU},
		train.Setting{Origin: "dashboard", Key: "run.precision", Value: string(kernels.Float32)})
	if err != nil {
		return err
	}
	if cfg.PBT.PopulationSize != w.index.population || cfg.StepsPerUpdate() != w.config.StepsPerUpdate() {
		return fmt.Errorf("dash: %s: the folder holds another run than the one this page was opened for: start `brood dashboard` anew", w.dir)
	}
	w.config = cfg
	w.status.Updates = cfg.TotalUpdates()
	return nil
}

// readTree reads the family where there was an exploit or an outcome. A large one is
// not read more often than costs a tenth of the time.
func (w *watched) readTree() error {
	info, err := os.Stat(filepath.Join(w.dir, "decisions.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("dash: the run's exploits: %w", err)
	}
	stamp := fmt.Sprint(info.Size(), info.ModTime().UnixNano())
	if stamp == w.treeStamp || time.Since(w.treeRead) < 10*w.treeCost {
		return nil
	}
	w.treeRead = time.Now()
	tree, err := lineage.Read(w.dir)
	w.treeCost = time.Since(w.treeRead)
	if err != nil {
		return err
	}
	w.tree, w.treeStamp = tree, stamp
	w.treeVersion++
	return nil
}

func (w *watched) readStatus(grown bool) error {
	s := &w.status
	s.Update, s.Generation, s.Family = w.index.updates(), w.index.generation, w.treeVersion
	if w.tree != nil {
		s.Exploits = len(w.tree.Lives) - w.tree.Population
	}
	s.Best, s.Median, s.BestMember = nil, nil, nil
	if s.Update > 0 {
		s.Best, s.Median = finite(w.index.best[s.Update-1]), finite(w.index.median[s.Update-1])
		if m, ok := w.index.bestMember(s.Update); ok {
			s.BestMember = &m
		}
	}
	s.StepsPerSecond = w.speed.note(time.Now(), s.Update, grown, float64(s.StepsUpdate))
	err := w.readCheckpoint()
	if w.live != nil {
		s.Here = w.live.here()
		s.StepsPerSecond = s.Here.stepsPerSecond()
	}
	return errors.Join(err, w.readState())
}

func (w *watched) readCheckpoint() error {
	dir := filepath.Join(w.dir, "checkpoints")
	sets, err := ckpt.List(ckpt.OS, dir)
	if err != nil || len(sets) == 0 {
		w.status.Checkpoint = nil
		return err
	}
	newest := sets[len(sets)-1]
	info, err := os.Stat(filepath.Join(dir, ckpt.SetName(newest), ckpt.RunFile))
	if err != nil {
		return nil // it was removed since, as there is a newer one: that is seen next time
	}
	w.status.Checkpoint = &checkpoint{Update: newest, Written: info.ModTime().UnixMilli()}
	return nil
}

// readState finds out whether the run goes on, and how it ended.
func (w *watched) readState() error {
	s := &w.status
	if w.live != nil {
		if state, known := w.live.state(); known {
			s.State = state
			return nil
		}
	}
	holder, held, err := ckpt.WhoWrites(w.dir)
	if err != nil {
		return fmt.Errorf("dash: %s: %w", w.dir, err)
	}
	s.Writer = ""
	// The run of this process holds its folder until it is closed.
	if held && (w.live == nil || holder.PID != os.Getpid()) {
		s.State, s.Writer = stateRunning, fmt.Sprintf("process %d on %s", holder.PID, holder.Host)
		return nil
	}
	s.State = stateGone
	text, err := os.ReadFile(filepath.Join(w.dir, "summary.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var summary train.Summary
	if err == nil {
		err = json.Unmarshal(text, &summary)
	}
	if err != nil {
		return fmt.Errorf("dash: %s: summary.json: %w", w.dir, err)
	}
	// One of before a resumed run that was killed says nothing of it.
	if summary.Updates == s.Update {
		s.State = stateFinished
		if summary.Stopped != nil {
			s.State = stateInterrupted
		}
		s.StepsPerSecond = stats.OrNil(summary.EnvStepsPerSecond)
		if summary.Best != nil {
			s.BestMember = &summary.Best.Member
		}
	}
	return nil
}

func finite(x float32) *float64 { return stats.OrNil(float64(x)) }

// speedometer tells the speed of a run from how its metrics grow.
type speedometer struct {
	at     []time.Time
	update []int64
}

// speedWindow is what the speed is taken over.
const speedWindow = 10 * time.Second

// note takes down how far the run is and returns steps per second; nil: not known yet.
func (s *speedometer) note(now time.Time, update int64, grown bool, steps float64) *float64 {
	if n := len(s.update); n > 0 && update < s.update[n-1] {
		s.at, s.update = nil, nil // the run went back to a checkpoint
	}
	if grown || len(s.at) == 0 {
		s.at, s.update = append(s.at, now), append(s.update, update)
	}
	for len(s.at) > 2 && now.Sub(s.at[1]) > speedWindow {
		s.at, s.update = s.at[1:], s.update[1:]
	}
	last := len(s.at) - 1
	// What was there at the first look says nothing, and a run that has not grown for
	// long is not as fast as it was.
	if last < 2 || now.Sub(s.at[last]) > 2*speedWindow {
		return nil
	}
	rate := float64(s.update[last]-s.update[1]) * steps / math.Max(s.at[last].Sub(s.at[1]).Seconds(), 1e-9)
	return &rate
}
