package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brood/ckpt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// flip changes one bit in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	data := []byte(read(t, path))
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o644))
}

// wholeDigest is that of the small run, never interrupted.
func wholeDigest(t *testing.T) string {
	t.Helper()
	whole := filepath.Join(t.TempDir(), "whole")
	trainNew(t, smallConfig(t), Options{Dir: whole})
	return digest(t, whole)
}

// Damage to the newest checkpoint costs the time since the one before, and is said.
func TestResumeFallsBackToASoundCheckpoint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t, "checkpoint.keep=3"), o) }, 11)
	sets := filepath.Join(dir, "checkpoints")
	flip(t, filepath.Join(sets, "00000011", "member-002.ckpt"))
	require.NoError(t, os.Remove(filepath.Join(sets, "00000010", "member-001.ckpt")))

	_, err := Digest(dir)
	require.ErrorIs(t, err, ckpt.ErrDamaged, "who only reads is told")
	_, err = Find(dir)
	require.ErrorIs(t, err, ckpt.ErrDamaged)

	var warnings []string
	run, err := Resume(dir, nil, Options{Warn: func(w string) { warnings = append(warnings, w) }})
	require.NoError(t, err)
	defer run.Close()
	require.Len(t, warnings, 4)
	assert.Contains(t, warnings[0], "00000011: member-002.ckpt: damaged checkpoint: section ")
	assert.Contains(t, warnings[1], "00000010: member-001.ckpt: damaged checkpoint: the file of a member of 4 is missing")
	assert.Contains(t, warnings[2], "goes on from the checkpoint of update 5; the damaged one is set aside as "+filepath.Join(sets, "00000011.damaged"))
	_, err = run.Train(context.Background())
	require.NoError(t, err)
	require.NoError(t, run.Close())
	assert.Equal(t, wholeDigest(t), digest(t, dir))
	assert.DirExists(t, filepath.Join(sets, "00000011.damaged"), "what may be looked at later is not removed")
}

func TestResumeWithoutAnySoundCheckpoint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t), o) }, 7)
	flip(t, filepath.Join(dir, "checkpoints", "00000005", "run.ckpt"))
	flip(t, filepath.Join(dir, "checkpoints", "00000007", "run.ckpt"))
	_, err := Resume(dir, nil, Options{})
	require.ErrorIs(t, err, ckpt.ErrDamaged)
	assert.Contains(t, err.Error(), "none of the 2 checkpoints")
	assert.Contains(t, err.Error(), "`brood inspect --verify "+dir+"`")
	assert.DirExists(t, filepath.Join(dir, "checkpoints", "00000007"), "nothing is moved where there is nothing to go on from")
}

// A run that was killed before its first checkpoint begins anew, which is the same.
func TestResumeBeforeTheFirstCheckpoint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	run, err := New(smallConfig(t), Options{Dir: dir})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, run.update(t.Context()))
	}
	require.NoError(t, run.Close())
	require.Positive(t, len(read(t, dir, "metrics.jsonl")))

	var warnings []string
	run, err = Resume(dir, nil, Options{Warn: func(w string) { warnings = append(warnings, w) }})
	require.NoError(t, err)
	defer run.Close()
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "has no checkpoint yet: the run begins anew from its seed")
	_, err = run.Train(t.Context())
	require.NoError(t, err)
	require.NoError(t, run.Close())
	assert.Equal(t, wholeDigest(t), digest(t, dir))
	assert.Equal(t, 12*4, strings.Count(read(t, dir, "metrics.jsonl"), "\n"))

	// Killed even before its configuration was written, it is no run yet.
	early := t.TempDir()
	for _, name := range []string{"lock", ".tmp-config.yaml"} {
		require.NoError(t, os.WriteFile(filepath.Join(early, name), nil, 0o644))
	}
	_, err = Resume(early, nil, Options{})
	require.ErrorIs(t, err, ErrNoCheckpoint)
	trainNew(t, smallConfig(t), Options{Dir: early})
}

func TestOneWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	first, err := New(smallConfig(t), Options{Dir: dir})
	require.NoError(t, err)
	defer first.Close()
	host, err := os.Hostname()
	require.NoError(t, err)
	for name, start := range map[string]func() (*Run, error){
		"train":  func() (*Run, error) { return New(smallConfig(t), Options{Dir: dir}) },
		"resume": func() (*Run, error) { return Resume(dir, nil, Options{}) },
	} {
		_, err := start()
		require.ErrorIs(t, err, ckpt.ErrLocked, name)
		require.ErrorContains(t, err, fmt.Sprintf("process %d on host %s", os.Getpid(), host), name)
	}
	_, err = first.Train(t.Context())
	require.NoError(t, err)
	require.NoError(t, first.Close())
	assert.NoFileExists(t, filepath.Join(dir, "lock"))
	assert.Equal(t, wholeDigest(t), digest(t, dir), "the attempts did no harm")

	second, err := Resume(dir, nil, Options{})
	require.NoError(t, err)
	require.NoError(t, errors.Join(second.Close(), second.Close()))
}

// An attempt that fails gives the folder back.
func TestFailedStartLeavesNoLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t), o) }, 4)
	settings, err := ParseSettings([]string{"run.seed=8"})
	require.NoError(t, err)
	_, err = Resume(dir, settings, Options{})
	require.ErrorIs(t, err, ErrConfig)
	require.NoFileExists(t, filepath.Join(dir, "lock"))
	_, err = New(smallConfig(t), Options{Dir: dir})
	require.ErrorIs(t, err, ErrRunExists)
	require.NoFileExists(t, filepath.Join(dir, "lock"))
}

func TestRetention(t *testing.T) {
	for want, set := range map[string][]string{
		"[00000012]":          {"checkpoint.keep=1"},
		"[00000006 00000012]": {"checkpoint.keep=1", "checkpoint.keep_every=3"},
		"[00000004 00000008 00000010 00000011 00000012]":          {"checkpoint.keep=3", "checkpoint.every=1", "checkpoint.keep_every=4"},
		"[00000002 00000004 00000006 00000008 00000010 00000012]": {"checkpoint.keep=9"},
	} {
		dir := filepath.Join(t.TempDir(), "a")
		trainNew(t, smallConfig(t, append([]string{"checkpoint.every=2"}, set...)...), Options{Dir: dir})
		names, err := ckpt.OS.ReadDir(filepath.Join(dir, "checkpoints"))
		require.NoError(t, err)
		assert.Equal(t, want, fmt.Sprint(names), "%v", set)
	}
}

// The best checkpoint stays, also over an interruption, which forgets nothing.
func TestRetentionOfTheBest(t *testing.T) {
	for _, mode := range []string{"max", "min"} {
		dir := filepath.Join(t.TempDir(), mode)
		every := filepath.Join(t.TempDir(), mode)
		set := []string{"pbt.metric_mode=" + mode, "checkpoint.every=1", "checkpoint.keep=1", "pbt.perturbation_interval=50", "ppo.learning_rate=1e-2"}
		trainNew(t, smallConfig(t, append(set, "checkpoint.keep=12")...), Options{Dir: every})
		best, score := "", 0.0
		for update := 1; update <= 12; update++ {
			for m := range 4 {
				c, err := ckpt.ReadFile(ckpt.OS, filepath.Join(every, "checkpoints", ckpt.SetName(int64(update)), ckpt.MemberFile(m)))
				require.NoError(t, err)
				if p := c.Performance; best == "" || mode == "max" && p > score || mode == "min" && p < score {
					best, score = ckpt.SetName(int64(update)), p
				}
			}
		}
		cfg := smallConfig(t, append(set, "checkpoint.keep_best=true")...)
		trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(cfg, o) }, 6)
		trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, nil, o) }, 9)
		trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, nil, o) }, -1)
		names, err := ckpt.OS.ReadDir(filepath.Join(dir, "checkpoints"))
		require.NoError(t, err)
		if best == "00000012" {
			assert.Equal(t, []string{best}, names)
		} else {
			assert.Equal(t, []string{best, "00000012"}, names)
		}
	}
}

// soundness is what Verify says, by the path within the folder.
func soundness(t *testing.T, path string) map[string]bool {
	t.Helper()
	verdicts, err := Verify(path)
	require.NoError(t, err)
	sound := map[string]bool{}
	for _, v := range verdicts {
		name, err := filepath.Rel(path, v.Path)
		require.NoError(t, err)
		sound[name] = v.Sound()
		require.Equal(t, v.Sound(), len(v.Problems) == 0 || v.SetAside)
	}
	return sound
}

func TestVerify(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainNew(t, smallConfig(t), Options{Dir: dir})
	want := map[string]bool{"config.yaml": true, "checkpoints/00000010": true, "checkpoints/00000012": true,
		"metrics.jsonl": true, "decisions.jsonl": true, "best.ckpt": true}
	require.Equal(t, want, soundness(t, dir))
	require.Equal(t, map[string]bool{".": true}, soundness(t, filepath.Join(dir, "best.ckpt")))
	require.Equal(t, map[string]bool{".": true}, soundness(t, filepath.Join(dir, "checkpoints", "00000010", "run.ckpt")))
	require.Equal(t, map[string]bool{"00000010": true, "00000012": true}, soundness(t, filepath.Join(dir, "checkpoints")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "checkpoints", ".tmp-00000013"), 0o755))
	require.Equal(t, want, soundness(t, dir), "what is being written is not judged")

	member := func(i int) string { return filepath.Join(dir, "checkpoints", "00000010", ckpt.MemberFile(i)) }
	for what, damage := range map[string]struct {
		do   func()
		want string
	}{
		"a flipped bit": {func() { flip(t, member(1)) }, "member-001.ckpt: damaged checkpoint"},
		"swapped members": {func() {
			require.NoError(t, os.Rename(member(2), member(9)))
			require.NoError(t, os.Rename(member(3), member(2)))
			require.NoError(t, os.Rename(member(9), member(3)))
		}, "member-002.ckpt: damaged checkpoint: the file is sound but not the one of this set"},
		"a foreign file": {func() { require.NoError(t, os.Rename(member(0), member(8))) }, "member-008.ckpt: damaged checkpoint: it does not belong to this set"},
		"no run.ckpt": {func() { require.NoError(t, os.Remove(filepath.Join(dir, "checkpoints", "00000010", "run.ckpt"))) },
			"run.ckpt: damaged checkpoint: it is missing, the set is not complete"},
	} {
		saved := t.TempDir()
		require.NoError(t, os.CopyFS(saved, os.DirFS(dir)))
		damage.do()
		want["checkpoints/00000010"] = false
		require.Equal(t, want, soundness(t, dir), what)
		verdicts, err := Verify(filepath.Join(dir, "checkpoints", "00000010"))
		if what == "no run.ckpt" {
			require.ErrorIs(t, err, ErrNoCheckpoint)
			verdicts, err = Verify(filepath.Join(dir, "checkpoints"))
		}
		require.NoError(t, err)
		var texts []string
		for _, problem := range verdicts[0].Problems {
			texts = append(texts, verdicts[0].Problem(problem))
		}
		require.Contains(t, strings.Join(texts, "\n"), damage.want)
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.CopyFS(dir, os.DirFS(saved)))
		want["checkpoints/00000010"] = true
	}

	require.NoError(t, os.Truncate(filepath.Join(dir, "metrics.jsonl"), 100))
	flip(t, filepath.Join(dir, "best.ckpt"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("env: {ID: 3}"), 0o644))
	want["metrics.jsonl"], want["best.ckpt"], want["config.yaml"] = false, false, false
	require.Equal(t, want, soundness(t, dir))
	_, err := Verify(t.TempDir())
	require.ErrorIs(t, err, ErrNoCheckpoint)
	_, err = Verify(filepath.Join(dir, "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
