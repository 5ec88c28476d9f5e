package train

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"brood/ckpt"
	"brood/store"
)

// What a mirror holds beside config.yaml, checkpoints/NNNNNNNN, and at the end
// best.ckpt and summary.json.
const (
	// ownerFile says whose run it is and which process writes.
	ownerFile = "run.json"
	// logsDir has the logs; see pieces.go.
	logsDir = "logs"
)

// owner is the content of ownerFile.
type owner struct {
	// Run is drawn when a run begins and stays the same for all its processes.
	Run string `json:"run"`
	// Token is the process's own, so that one which was taken over notices.
	Token string `json:"token"`
	PID   int    `json:"pid"`
	Host  string `json:"host"`
	Since string `json:"since"`
}

func newOwner(run string) owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return owner{Run: run, Token: randomID(), PID: os.Getpid(), Host: host, Since: time.Now().UTC().Format(time.RFC3339)}
}

func randomID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// mirror copies the checkpoints of a run to checkpoint.url while training goes on:
// one at a time, and of those that wait the newest.
type mirror struct {
	store  store.Store
	fs     ckpt.FS
	dir    string // run folder
	owner  owner
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	idle *sync.Cond
	// busy is the one being copied, next the one that waits; nil: none.
	busy, next *mirrored
	// messages are for the run to tell.
	messages []string
	// failed is why the newest one that was tried is not there.
	failed error
	// logged is how much of each log is there in pieces, without a gap. Only the
	// goroutine that copies uses it.
	logged map[string]int64
}

// mirrored is a complete checkpoint that is to be copied.
type mirrored struct {
	update     int64
	population int
	// logs are their sizes at the checkpoint, by the file's name.
	logs map[string]logSize
	keep ckpt.Retention
}

// errTakenOver ends the copying: another process goes on with the run.
var errTakenOver = errors.New("another process has taken over the run there")

// openMirror begins to copy checkpoints to checkpoint.url, where one is given.
func (r *Run) openMirror(resumed bool) (err error) {
	if r.cfg.Checkpoint.URL == "" || r.opts.InMemory {
		return nil
	}
	if r.mirror, err = newMirror(r, resumed); err != nil {
		return err
	}
	if x := r.restored; x != nil {
		x.keep = r.retention(x.update, r.bestScore)
		r.mirror.offer(x) // the process before may not have come to it
	}
	return nil
}

// finishMirror waits until the last checkpoint is copied.
func (r *Run) finishMirror() error {
	if r.mirror == nil {
		return nil
	}
	err := r.mirror.finish()
	r.tellOfMirror()
	if err != nil {
		return fmt.Errorf("train: the run is whole in %s, and its end is not in checkpoint.url: %w; `brood resume %s` tries again", r.opts.Dir, err, r.opts.Dir)
	}
	return nil
}

// newMirror opens the store and makes this process its writer. A new run refuses
// one that holds anything; a resumed one wants its own run there, or none.
func newMirror(r *Run, resumed bool) (*mirror, error) {
	url := r.cfg.Checkpoint.URL
	ctx, cancel := context.WithCancel(context.Background())
	m := &mirror{fs: r.opts.FS, dir: r.opts.Dir, owner: newOwner(r.id), ctx: ctx, cancel: cancel, logged: map[string]int64{}}
	m.idle = sync.NewCond(&m.mu)
	err := func() (err error) {
		if m.store, err = store.Open(ctx, url); err != nil {
			return err
		}
		if err := m.claim(resumed); err != nil {
			return err
		}
		if err := m.putOwner(); err != nil {
			return err
		}
		logs := map[string]logSize{metricsFile: {}, decisionsFile: {}}
		if r.restored != nil {
			logs = r.restored.logs // before what a change of the population has added
		}
		for name, size := range logs {
			if err := m.trim(name, size.settled); err != nil {
				return err
			}
		}
		return m.put(configFile, r.yaml)
	}()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("train: checkpoint.url: %w", err)
	}
	return m, nil
}

// claim says whether the store is this run's to write to.
func (m *mirror) claim(resumed bool) error {
	there, err := m.readOwner()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && resumed && there.Run == m.owner.Run {
		return nil
	}
	entries, listErr := m.store.List(m.ctx, "")
	if listErr != nil {
		return listErr
	}
	// A run that was stopped before its first checkpoint begins anew.
	begun := slices.ContainsFunc(entries, func(e store.Entry) bool { return strings.HasPrefix(e.Name, checkpointsDir+"/") })
	if len(entries) == 0 || resumed && err == nil && !begun {
		return nil
	}
	whose := "something else"
	if err == nil {
		whose = fmt.Sprintf("another run, which process %d on host %s wrote", there.PID, there.Host)
	}
	return fmt.Errorf("%w: %s holds %s; choose another checkpoint.url, or continue a run from there with `brood resume %s --out NEW`",
		ErrRunExists, m.store, whose, m.store)
}

func (m *mirror) readOwner() (o owner, err error) {
	text, err := readStored(m.ctx, m.store, ownerFile)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return o, fmt.Errorf("%s in %s: %w", ownerFile, m.store, err)
	}
	return o, nil
}

func (m *mirror) putOwner() error {
	text, err := json.Marshal(m.owner)
	if err != nil {
		return err
	}
	return m.put(ownerFile, append(text, '\n'))
}

func (m *mirror) put(name string, data []byte) error {
	return m.store.Put(m.ctx, name, bytes.NewReader(data), int64(len(data)))
}

// offer gives a complete checkpoint to be copied. One that waited is left out.
func (m *mirror) offer(x *mirrored) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = x
	if m.busy == nil {
		m.busy, m.next = m.next, nil
		go m.work()
	}
}

func (m *mirror) work() {
	for {
		m.mu.Lock()
		x := m.busy
		m.mu.Unlock()
		err := m.copy(x)
		m.mu.Lock()
		if m.failed = err; err != nil {
			m.messages = append(m.messages, fmt.Sprintf("the checkpoint of update %d is not in %s: %v", x.update, m.store, err))
		}
		m.busy, m.next = m.next, nil
		if m.busy == nil {
			m.idle.Broadcast()
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
	}
}

// needs are the checkpoints that must stay in the run folder until they are copied.
func (m *mirror) needs() (updates []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range []*mirrored{m.busy, m.next} {
		if x != nil {
			updates = append(updates, x.update)
		}
	}
	return updates
}

// tell returns what the run is to be told of.
func (m *mirror) tell() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	messages := m.messages
	m.messages = nil
	return messages
}

// wait waits until everything is copied; the error is that of the last one.
func (m *mirror) wait() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.busy != nil {
		m.idle.Wait()
	}
	return m.failed
}

// close ends the copying, whatever waits.
func (m *mirror) close() {
	m.cancel()
	m.mu.Lock()
	m.next = nil
	m.mu.Unlock()
	_ = m.wait() // it has been told, or was ended by this
}

// parallelPuts is how many files travel at a time.
const parallelPuts = 8

// copy puts a checkpoint in the store, run.ckpt last, which makes it complete there,
// and then removes those that nothing keeps.
func (m *mirror) copy(x *mirrored) error {
	there, err := m.readOwner()
	if err != nil {
		return err
	}
	if there.Token != m.owner.Token {
		return fmt.Errorf("%w: process %d on host %s, since %s", errTakenOver, there.PID, there.Host, there.Since)
	}
	for name, size := range x.logs {
		if err := m.putLog(name, x.update, size); err != nil {
			return err
		}
	}
	set := ckpt.SetName(x.update)
	if there, err := m.has(set); there || err != nil {
		return err
	}
	files := make([]store.File, x.population)
	for i := range files {
		files[i] = store.File{Name: path.Join(checkpointsDir, set, ckpt.MemberFile(i)), Path: filepath.Join(m.dir, checkpointsDir, set, ckpt.MemberFile(i))}
	}
	if err := store.PutAll(m.ctx, m.store, files, parallelPuts); err != nil {
		return err
	}
	last := []store.File{{Name: path.Join(checkpointsDir, set, ckpt.RunFile), Path: filepath.Join(m.dir, checkpointsDir, set, ckpt.RunFile)}}
	if err := store.PutAll(m.ctx, m.store, last, 1); err != nil {
		return err
	}
	return m.prune(x.keep)
}

// has says whether a checkpoint is complete in the store.
func (m *mirror) has(set string) (bool, error) {
	there, err := readStored(m.ctx, m.store, path.Join(checkpointsDir, set, ckpt.RunFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	here, err := m.fs.ReadFile(filepath.Join(m.dir, checkpointsDir, set, ckpt.RunFile))
	return bytes.Equal(here, there), err
}

// prune removes the checkpoints in the store that nothing keeps. run.ckpt goes
// first, so that none is ever half there.
func (m *mirror) prune(keep ckpt.Retention) error {
	files := storeFS{m.ctx, m.store}
	sets, err := ckpt.List(files, checkpointsDir)
	if err != nil {
		return err
	}
	stays := keep.Keeps(sets)
	for _, update := range sets {
		if stays(update) {
			continue
		}
		dir := path.Join(checkpointsDir, ckpt.SetName(update))
		entries, err := m.store.List(m.ctx, dir+"/")
		if err != nil {
			return err
		}
		tails, err := m.store.List(m.ctx, tailPrefix(update))
		if err != nil {
			return err
		}
		var names []string
		for _, e := range append(entries, tails...) {
			names = append(names, e.Name)
		}
		if err := m.store.Remove(m.ctx, path.Join(dir, ckpt.RunFile)); err != nil {
			return err
		}
		if err := m.store.Remove(m.ctx, names...); err != nil {
			return err
		}
	}
	return nil
}

// finish puts what a run leaves at its end, after the last checkpoint.
func (m *mirror) finish() error {
	if err := m.wait(); err != nil {
		return err
	}
	var files []store.File
	for _, name := range []string{bestFile, summaryFile} {
		file := filepath.Join(m.dir, name)
		if _, err := os.Stat(file); err == nil {
			files = append(files, store.File{Name: name, Path: file})
		}
	}
	return store.PutAll(m.ctx, m.store, files, parallelPuts)
}
