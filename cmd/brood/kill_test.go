//go:build unix

package main

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"brood/ckpt"
	"brood/train"

	"github.com/stretchr/testify/require"
)

var (
	kills    = flag.Int("kills", 50, "how many processes TestKilledAtAnyMoment kills")
	killSeed = flag.Uint64("kill.seed", 0, "seed of the moments; 0: a new one")
)

// killer kills runs and counts.
type killer struct {
	t    *testing.T
	dir  string // where the run folders are
	rand *rand.Rand
	// longest is the longest life of a process. It grows while processes die before
	// they have written a checkpoint, so that every run comes to its end.
	longest time.Duration
	// kills, of which with half a checkpoint, half another file, or nothing yet to
	// resume; resumes that followed.
	kills, inCheckpoint, inFile, early, resumes int
}

// A real process is killed again and again, at random moments and while a checkpoint is
// being written, and the run ends as one that was left alone.
func TestKilledAtAnyMoment(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	k := &killer{t: t, dir: workplace(t), rand: rand.New(rand.NewPCG(seed, 2)), longest: 100 * time.Millisecond}
	want := *kills
	if testing.Short() {
		want = min(want, 10)
	}
	args := []string{"train", "small.yaml", "--quiet", "--set", "checkpoint.every=1", "--set", "run.total_steps=10000"}
	_, errs, code := brood(t, k.dir, append(args, "--out", "whole")...)
	require.Zero(t, code, errs)
	runs := 0
	for ; k.kills < want; runs++ {
		k.run(args, want)
		requireSameRun(t, filepath.Join(k.dir, "whole"), filepath.Join(k.dir, "a"))
		require.NoError(t, os.RemoveAll(filepath.Join(k.dir, "a")))
	}
	t.Logf("-kill.seed=%d: %d kills, %d of them in the middle of a checkpoint, %d of another file, %d before there was a run; %d resumes; %d whole runs",
		seed, k.kills, k.inCheckpoint, k.inFile, k.early, k.resumes, runs)
	require.Positive(t, k.inCheckpoint)
	require.Positive(t, k.resumes)
}

// run lets one run come to its end over as many processes as it takes.
func (k *killer) run(args []string, want int) {
	folder := filepath.Join(k.dir, "a")
	for {
		start := append(args, "--out", "a")
		if _, err := os.Stat(filepath.Join(folder, "config.yaml")); err == nil {
			start = []string{"resume", "a", "--quiet"}
			k.resumes++
		}
		before := newestUpdate(k.t, folder)
		if k.life(start, folder, k.kills < want) {
			return
		}
		k.count(folder)
		if after := newestUpdate(k.t, folder); after > before {
			k.longest = max(k.longest*9/10, 20*time.Millisecond)
		} else {
			k.longest = k.longest * 5 / 4
		}
	}
}

// life starts a process and kills it, where that is wanted; it returns true if the
// process came to its end by itself.
func (k *killer) life(args []string, folder string, kill bool) (ended bool) {
	cmd := exec.Command(binary, args...)
	cmd.Dir = k.dir
	var said bytes.Buffer
	cmd.Stderr = &said
	require.NoError(k.t, cmd.Start())
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its state says how it ended
		close(done)
	}()
	if kill {
		k.await(folder, done)
		_ = cmd.Process.Kill() // unless it has just ended
	}
	<-done
	for line := range strings.Lines(said.String()) {
		require.Contains(k.t, line, "has no checkpoint yet: the run begins anew", "%v", args)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		require.Equal(k.t, syscall.SIGKILL, status.Signal())
		return false
	}
	require.Zero(k.t, cmd.ProcessState.ExitCode(), "%v: %s", args, said.String())
	return true
}

// await returns at a random moment: some time after the start, or, in every other
// life, a while after a checkpoint was begun then. In every other life of a process
// that makes the run folder it returns soon after the folder is there.
func (k *killer) await(folder string, done <-chan struct{}) {
	if _, err := os.Stat(folder); os.IsNotExist(err) && k.rand.IntN(2) == 0 {
		poll(done, func() bool { _, err := os.Stat(folder); return err == nil })
		pause(done, time.Duration(k.rand.Int64N(int64(2*time.Millisecond))))
		return
	}
	pause(done, time.Duration(k.rand.Int64N(int64(k.longest))))
	if k.rand.IntN(2) == 0 {
		return
	}
	poll(done, func() bool { return k.leftover(filepath.Join(folder, "checkpoints")) != "" })
	pause(done, time.Duration(k.rand.Int64N(int64(5*time.Millisecond))))
}

// pause lets time pass, poll waits for a condition; both end with the process.
func pause(done <-chan struct{}, length time.Duration) {
	select {
	case <-done:
	case <-time.After(length):
	}
}

func poll(done <-chan struct{}, condition func() bool) {
	for !condition() {
		select {
		case <-done:
			return
		case <-time.After(50 * time.Microsecond):
		}
	}
}

// leftover is the first name of something not complete in a folder; empty: none.
func (k *killer) leftover(dir string) string {
	names, err := ckpt.OS.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		require.NoError(k.t, err)
	}
	for _, name := range names {
		if ckpt.IsTemporary(name) {
			return name
		}
	}
	return ""
}

func (k *killer) count(folder string) {
	k.kills++
	if k.leftover(filepath.Join(folder, "checkpoints")) != "" {
		k.inCheckpoint++
	}
	if k.leftover(folder) != "" {
		k.inFile++
	}
	if _, err := os.Stat(filepath.Join(folder, "config.yaml")); os.IsNotExist(err) {
		k.early++
	}
}

// newestUpdate is that of the newest checkpoint of a run folder, and -1 without one.
// Every checkpoint that is there must be sound; one that goes meanwhile, because the run
// trains on and prunes, was there no more.
func newestUpdate(t *testing.T, folder string) int64 {
	t.Helper()
	dir := filepath.Join(folder, "checkpoints")
	sets, err := ckpt.List(ckpt.OS, dir)
	require.NoError(t, err)
	newest := int64(-1)
	for _, newest = range sets {
		_, err := ckpt.ReadSet(ckpt.OS, filepath.Join(dir, ckpt.SetName(newest)))
		if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ckpt.ErrDamaged) {
			require.NoError(t, err)
		}
	}
	return newest
}

// requireSameRun wants two run folders to hold the same run, to the byte.
func requireSameRun(t *testing.T, want, got string) {
	t.Helper()
	a, err := train.Digest(want)
	require.NoError(t, err)
	b, err := train.Digest(got)
	require.NoError(t, err)
	require.Equal(t, a, b)
	for _, file := range []string{"metrics.jsonl", "decisions.jsonl", "best.ckpt", "config.yaml"} {
		x, err := os.ReadFile(filepath.Join(want, file))
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(got, file))
		require.NoError(t, err)
		require.True(t, bytes.Equal(x, y), "%s differs", file)
	}
	x, err := ckpt.List(ckpt.OS, filepath.Join(want, "checkpoints"))
	require.NoError(t, err)
	y, err := ckpt.List(ckpt.OS, filepath.Join(got, "checkpoints"))
	require.NoError(t, err)
	require.Equal(t, x, y)
}
