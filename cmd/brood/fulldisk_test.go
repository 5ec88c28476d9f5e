//go:build linux

package main

import (
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var fullBy = flag.String("full.by", "", "how the disk gets full: tmpfs, or limit (RLIMIT_FSIZE); empty: tmpfs where it can be mounted")

// smallDisk is a folder on a disk that can be made full for a process.
type smallDisk interface {
	path() string
	// refuses is what a write says then.
	refuses() syscall.Errno
	// fill takes what room there is; again, what has become free since.
	fill(t *testing.T, pid int)
	empty(t *testing.T, pid int)
}

// newSmallDisk is a real file system of a few MB where this process may mount one, and
// otherwise a folder in which files may not grow.
func newSmallDisk(t *testing.T) smallDisk {
	t.Helper()
	dir := t.TempDir()
	require.Contains(t, []string{"", "tmpfs", "limit"}, *fullBy)
	if *fullBy != "limit" {
		err := unix.Mount("brood-test", dir, "tmpfs", 0, "size=6m")
		if err == nil {
			t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
			t.Log("the disk is a tmpfs of 6 MB")
			return tmpfs(dir)
		}
		require.Empty(t, *fullBy, "a tmpfs was asked for: %v", err)
		require.ErrorIs(t, err, unix.EPERM)
	}
	t.Log("the disk is a limit on the size of files")
	return limited(dir)
}

type tmpfs string

func (d tmpfs) path() string           { return string(d) }
func (d tmpfs) refuses() syscall.Errno { return syscall.ENOSPC }
func (d tmpfs) filler() string         { return filepath.Join(string(d), "filler") }

func (d tmpfs) fill(t *testing.T, _ int) {
	f, err := os.OpenFile(d.filler(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	require.NoError(t, err)
	defer f.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
}

func (d tmpfs) empty(t *testing.T, _ int) { require.NoError(t, os.Remove(d.filler())) }

// limited is RLIMIT_FSIZE, changed while the process runs: every write fails that would
// make a file longer.
type limited string

func (d limited) path() string           { return string(d) }
func (d limited) refuses() syscall.Errno { return syscall.EFBIG }

func (d limited) set(t *testing.T, pid int, size uint64) {
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: math.MaxUint64}, nil))
}

func (d limited) fill(t *testing.T, pid int)  { d.set(t, pid, 16) }
func (d limited) empty(t *testing.T, pid int) { d.set(t, pid, math.MaxUint64) }

// onDisk is a run in its own process.
type onDisk struct {
	cmd   *exec.Cmd
	ended chan struct{}
	mu    sync.Mutex
	said  strings.Builder
}

func (p *onDisk) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

// heard is what it has said so far on stderr.
func (p *onDisk) heard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

func start(t *testing.T, dir string, args ...string) *onDisk {
	t.Helper()
	p := &onDisk{cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr, p.cmd.Stdout = dir, p, io.Discard
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // its state says how it ended
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // where the test has failed before its end
		<-p.ended
	})
	return p
}

// until waits for a condition, which must come true while the process runs.
func (p *onDisk) until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for !condition() {
		select {
		case <-p.ended:
			require.True(t, condition(), "the process ended (%v) before: %s\n%s", p.cmd.ProcessState, what, p.heard())
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func longRun(out string, more ...string) []string {
	return append([]string{"train", "small.yaml", "--quiet", "--set", "run.total_steps=128000", "--out", out}, more...)
}

// The disk fills up while the run goes on, and gets room again.
func TestDiskFillsUpDuringARun(t *testing.T) {
	dir := workplace(t)
	disk := newSmallDisk(t)
	whole, folder := filepath.Join(dir, "whole"), filepath.Join(disk.path(), "a")
	_, errs, code := brood(t, dir, longRun(whole)...)
	require.Zero(t, code, errs)

	p := start(t, dir, longRun(folder)...)
	pid := p.cmd.Process.Pid
	p.until(t, "two checkpoints", func() bool { return newestUpdate(t, folder) >= 10 })
	p.until(t, "three warnings", func() bool {
		disk.fill(t, pid)
		return strings.Count(p.heard(), "warning: no checkpoint of update ") >= 3
	})
	assert.Contains(t, p.heard(), disk.refuses().Error()+"; training goes on and tries again at update ")
	last := newestUpdate(t, folder)
	_, err := train.Digest(folder)
	require.NoError(t, err, "what was written still loads")
	disk.empty(t, pid)
	p.until(t, "a checkpoint of after that", func() bool { return newestUpdate(t, folder) > last })
	<-p.ended
	require.Zero(t, p.cmd.ProcessState.ExitCode(), p.heard())
	requireSameRun(t, whole, folder)
	t.Logf("%d checkpoints were refused", strings.Count(p.heard(), "warning: no checkpoint of update "))
}

// The disk is still full at the end: the run waits, fails, and goes on once there is
// room.
func TestDiskIsFullAtTheEndOfARun(t *testing.T) {
	dir := workplace(t)
	disk := newSmallDisk(t)
	whole, folder := filepath.Join(dir, "whole"), filepath.Join(disk.path(), "a")
	_, errs, code := brood(t, dir, longRun(whole)...)
	require.Zero(t, code, errs)

	p := start(t, dir, longRun(folder, "--disk-wait", "600ms")...)
	pid := p.cmd.Process.Pid
	p.until(t, "two checkpoints", func() bool { return newestUpdate(t, folder) >= 10 })
	p.until(t, "the end", func() bool {
		select {
		case <-p.ended:
			return true
		default:
		}
		if _, limit := disk.(limited); !limit || !strings.Contains(p.heard(), "warning: ") {
			disk.fill(t, pid)
		}
		return false
	})
	require.Equal(t, exitFailed, p.cmd.ProcessState.ExitCode(), p.heard())
	for _, want := range []string{
		"warning: the checkpoint of update 500, the last of this run, could not be written: ", "trying again for 600ms, make room in " + folder,
		"brood: train: the checkpoint of update 500, the last of this run, could not be written: ", disk.refuses().Error(),
		" is whole: `brood resume " + folder + "` goes on from there once there is room",
	} {
		assert.Contains(t, p.heard(), want)
	}
	last := newestUpdate(t, folder)
	require.Less(t, last, int64(500))
	if _, ok := disk.(tmpfs); ok {
		disk.empty(t, pid)
	}
	_, errs, code = brood(t, dir, "resume", folder, "--quiet")
	require.Zero(t, code, errs)
	requireSameRun(t, whole, folder)
}

// The signal of a file that became too long must not end a run: the error is enough.
func TestFileSizeLimitIsAnErrorAndNoSignal(t *testing.T) {
	dir := workplace(t)
	cmd := exec.Command("sh", "-c", `ulimit -f 0; exec "$0" "$@"`, binary, "train", "small.yaml", "--out", "a", "--quiet")
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%v", err)
	require.Equal(t, exitFailed, exit.ExitCode(), string(text))
	assert.Contains(t, string(text), "lock a: write a/lock: ")
	assert.Contains(t, string(text), syscall.EFBIG.Error())
}
