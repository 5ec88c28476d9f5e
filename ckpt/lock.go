package ckpt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// LockFile is the file by which a run folder has one writer.
const LockFile = "lock"

// Holder is who writes to a folder.
type Holder struct {
	PID  int    `json:"pid"`
	Host string `json:"host"`
	// Since is when it took the lock.
	Since time.Time `json:"since"`
}

// HeldError is an [ErrLocked]: another process writes to the folder.
type HeldError struct {
	Dir    string
	Holder Holder
	// Guess says that the file system has no locks, and that the holder is believed
	// to be alive because of what its lock file says.
	Guess bool
}

// Error names the holder, and says what to do where it cannot be asked.
func (e *HeldError) Error() string {
	who := "another process"
	if e.Holder.PID != 0 {
		who = fmt.Sprintf("process %d on host %s, since %s", e.Holder.PID, e.Holder.Host, e.Holder.Since.Format(time.DateTime))
	}
	text := fmt.Sprintf("%v: %s writes to %s", ErrLocked, who, e.Dir)
	if e.Guess {
		text += fmt.Sprintf("; this file system cannot tell whether it is alive: if it is not, remove %s", filepath.Join(e.Dir, LockFile))
	}
	return text
}

// Is makes every HeldError an [ErrLocked].
func (e *HeldError) Is(target error) bool { return target == ErrLocked }

// errNoLocks: the file system cannot lock files.
var errNoLocks = errors.New("this file system has no locks")

// Lock takes the folder's lock file. The operating system holds the lock for as long
// as the process lives, so one left by a dead process is simply taken.
//
// Where the file system has no such locks (some network mounts), the process that
// the file names counts: it is taken for alive unless it ran on this host and is
// gone.
func (osFS) Lock(dir string) (release func() error, err error) {
	release, err = lock(dir, flock)
	if err != nil && !errors.Is(err, ErrLocked) {
		err = fmt.Errorf("ckpt: lock %s: %w", dir, err)
	}
	return release, err
}

// lock takes the lock by way of take, which reports errNoLocks where there are none.
func lock(dir string, take func(*os.File) (bool, error)) (release func() error, err error) {
	path := filepath.Join(dir, LockFile)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		held, err := take(f)
		switch {
		case errors.Is(err, errNoLocks):
			err = guessHolder(dir, f)
		case err == nil && !held:
			err = &HeldError{Dir: dir, Holder: waitForHolder(f)}
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// Whoever held it before may have removed the name in between, and then this
		// is a lock of nothing.
		same, err := leadsTo(path, f)
		if err == nil && same {
			err = writeHolder(f)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if same {
			return releaseOf(path, f), nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// releaseOf removes the name while the lock is held, so that nobody's lock but this
// one goes with it. It may be called twice.
func releaseOf(path string, f *os.File) func() error {
	released := false
	return func() error {
		if released {
			return nil
		}
		released = true
		same, err := leadsTo(path, f)
		if err == nil && same {
			err = os.Remove(path)
		}
		return errors.Join(err, f.Close())
	}
}

// leadsTo says whether a path is that of the open file.
func leadsTo(path string, f *os.File) (bool, error) {
	at, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	is, err := f.Stat()
	return err == nil && os.SameFile(at, is), err
}

// maxHolder bounds what is read of a lock file.
const maxHolder = 4096

// holderOf reads who holds a lock; nobody, where its file does not say.
func holderOf(f *os.File) (h Holder) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxHolder))
	if err != nil || json.Unmarshal(text, &h) != nil {
		return Holder{}
	}
	return h
}

// WhoWrites returns who holds a folder by what its lock file says, without touching
// the lock: nobody (false) where there is none, or it was left by a process of this
// host that is gone. Whether one of another host lives cannot be told.
func WhoWrites(dir string) (Holder, bool, error) {
	f, err := os.Open(filepath.Join(dir, LockFile))
	if errors.Is(err, os.ErrNotExist) {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, err
	}
	defer f.Close()
	h := holderOf(f)
	if h.PID == 0 || h.Host == self().Host && !alive(h.PID) {
		return Holder{}, false, nil
	}
	return h, true, nil
}

// waitForHolder gives one that has just taken the lock the time to write its name.
func waitForHolder(f *os.File) (h Holder) {
	for range 20 {
		if h = holderOf(f); h.PID != 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return h
}

func writeHolder(f *os.File) error {
	h := self()
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	return err
}

func self() Holder {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return Holder{PID: os.Getpid(), Host: host, Since: time.Now().Truncate(time.Second)}
}

// guessHolder decides by the file's content alone whether it can be taken.
func guessHolder(dir string, f *os.File) error {
	h := holderOf(f)
	if h.PID == 0 || h.Host == self().Host && !alive(h.PID) {
		return nil
	}
	return &HeldError{Dir: dir, Holder: h, Guess: true}
}
