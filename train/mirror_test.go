package train

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"brood/ckpt"
	"brood/store"
	"brood/store/storetest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// places are the kinds of checkpoint.url that the tests below go over. A place is new
// at every call.
func places(t *testing.T) map[string]func() string {
	return map[string]func() string{
		"folder": func() string { return filepath.Join(t.TempDir(), "mirror") },
		"bucket": func() string { return storetest.URL(storetest.Address(t)) },
	}
}

func open(t *testing.T, url string) storeFS {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	require.NoError(t, err)
	return storeFS{context.Background(), s}
}

func mirroredSets(t *testing.T, url string) []int64 {
	t.Helper()
	sets, err := ckpt.List(open(t, url), checkpointsDir)
	require.NoError(t, err)
	return sets
}

// What is copied is what is in the run folder, by the same rules of what stays.
func TestMirror(t *testing.T) {
	for name, place := range places(t) {
		t.Run(name, func(t *testing.T) {
			url, dir := place(), filepath.Join(t.TempDir(), "a")
			trainNew(t, smallConfig(t, "checkpoint.url="+url, "checkpoint.every=2", "checkpoint.keep_every=2"), Options{Dir: dir})
			files := open(t, url)
			sets := mirroredSets(t, url)
			require.Contains(t, sets, int64(12), "the last is always there")
			for _, update := range sets {
				assert.Empty(t, ckpt.CheckSet(files, filepath.Join(checkpointsDir, ckpt.SetName(update))).Problems)
			}
			for _, name := range []string{"config.yaml", "best.ckpt", "summary.json"} {
				data, err := files.ReadFile(name)
				require.NoError(t, err)
				assert.Equal(t, read(t, dir, name), string(data))
			}
			here, err := ckpt.OS.ReadFile(filepath.Join(dir, "checkpoints/00000012/run.ckpt"))
			require.NoError(t, err)
			there, err := files.ReadFile("checkpoints/00000012/run.ckpt")
			require.NoError(t, err)
			assert.Equal(t, here, there)
			tails, err := files.ReadDir("logs/tails")
			require.NoError(t, err)
			for _, tail := range tails {
				assert.Contains(t, fmt.Sprintf("%08d", sets), tail, "a checkpoint's tail goes with it")
			}
		})
	}
}

// Resumed on another machine, from the store alone, a run is the same to the bit.
func TestResumeFromTheMirror(t *testing.T) {
	for name, place := range places(t) {
		t.Run(name, func(t *testing.T) {
			url, whole := place(), filepath.Join(t.TempDir(), "whole")
			trainNew(t, smallConfig(t), Options{Dir: whole})
			cfg := smallConfig(t, "checkpoint.url="+url, "checkpoint.every=1")
			first := filepath.Join(t.TempDir(), "first")
			trainUntil(t, func(o Options) (*Run, error) { o.Dir = first; return New(cfg, o) }, 5)
			require.NoError(t, os.RemoveAll(first), "the machine is gone")

			for i, until := range []int64{8, -1} {
				dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
				require.NoError(t, Fetch(t.Context(), url, dir, func(w string) { t.Error(w) }))
				s := trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, nil, o) }, until)
				if until > 0 {
					require.NoError(t, os.RemoveAll(dir))
					continue
				}
				assert.Equal(t, digest(t, whole), digest(t, dir))
				for _, name := range []string{"metrics.jsonl", "decisions.jsonl"} {
					assert.Equal(t, read(t, whole, name), read(t, dir, name), name)
				}
				assert.Nil(t, s.Stopped)
			}

			// Damage to the newest there costs the time since the one before.
			_, err := os.Stat(url)
			if err != nil {
				return // a bucket, whose files are out of reach
			}
			flip(t, filepath.Join(url, "checkpoints/00000012/member-001.ckpt"))
			var warnings []string
			dir := filepath.Join(t.TempDir(), "again")
			require.NoError(t, Fetch(t.Context(), url, dir, func(w string) { warnings = append(warnings, w) }))
			require.Len(t, warnings, 1)
			assert.Contains(t, warnings[0], "00000012: member-001.ckpt: damaged checkpoint")
			trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, nil, o) }, -1)
			assert.Equal(t, digest(t, whole), digest(t, dir))
		})
	}
}

// A store holds one run, which one process writes.
func TestMirrorOfAnotherRun(t *testing.T) {
	for name, place := range places(t) {
		t.Run(name, func(t *testing.T) {
			url := place()
			cfg := smallConfig(t, "checkpoint.url="+url, "checkpoint.every=1")
			first := filepath.Join(t.TempDir(), "first")
			trainUntil(t, func(o Options) (*Run, error) { o.Dir = first; return New(cfg, o) }, 2)
			_, err := New(cfg, Options{Dir: filepath.Join(t.TempDir(), "other")})
			require.ErrorIs(t, err, ErrRunExists)
			assert.Contains(t, err.Error(), "another run, which process")
			assert.Contains(t, err.Error(), "--out NEW`")

			// The same run, fetched elsewhere, takes over, and the first one notices.
			run, err := Resume(first, nil, Options{Warn: func(string) {}})
			require.NoError(t, err)
			defer run.Close()
			second := filepath.Join(t.TempDir(), "second")
			require.NoError(t, Fetch(t.Context(), url, second, func(w string) { t.Error(w) }))
			trainUntil(t, func(o Options) (*Run, error) { return Resume(second, nil, o) }, 4)
			_, err = run.Train(t.Context())
			require.ErrorIs(t, err, errTakenOver)
			assert.Contains(t, err.Error(), "the run is whole in "+first)
			require.NoError(t, run.Close())
			assert.Equal(t, wholeDigest(t), digest(t, first), "its own folder is whole")
			assert.Equal(t, int64(4), mirroredSets(t, url)[len(mirroredSets(t, url))-1], "and the other's checkpoints are left alone")
		})
	}

	// Something that is no run is not touched.
	notes := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(notes, "notes.txt"), []byte("x"), 0o644))
	_, err := New(smallConfig(t, "checkpoint.url="+notes), Options{Dir: filepath.Join(t.TempDir(), "a")})
	require.ErrorIs(t, err, ErrRunExists)
	assert.Contains(t, err.Error(), "holds something else")

	// Where the place cannot be had, the run folder is free for another try.
	again := filepath.Join(t.TempDir(), "again")
	_, err = New(smallConfig(t, "checkpoint.url="+filepath.Join(notes, "notes.txt")), Options{Dir: again})
	require.ErrorContains(t, err, "checkpoint.url")
	trainNew(t, smallConfig(t), Options{Dir: again})
}

// A run whose store comes late, or was out of reach, brings its newest checkpoint there.
func TestMirrorCatchesUp(t *testing.T) {
	url, dir := filepath.Join(t.TempDir(), "mirror"), filepath.Join(t.TempDir(), "a")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t), o) }, 7)
	settings, err := ParseSettings([]string{"checkpoint.url=" + url})
	require.NoError(t, err)

	// Nothing can be stored: the run says so, goes on, and fails in the end.
	require.NoError(t, os.WriteFile(url, nil, 0o644))
	_, err = Resume(dir, settings, Options{})
	require.ErrorContains(t, err, "checkpoint.url")
	require.NoError(t, os.Remove(url))
	var warnings []string
	run, err := Resume(dir, settings, Options{Warn: func(w string) { warnings = append(warnings, w) }, Progress: func(p *Progress) {
		if p.Update == 9 {
			require.NoError(t, p.run.mirror.wait())
			require.NoError(t, os.RemoveAll(url))
			require.NoError(t, os.WriteFile(url, nil, 0o644))
		}
	}})
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(t.Context())
	require.ErrorContains(t, err, "its end is not in checkpoint.url")
	require.NoError(t, run.Close())
	require.NotEmpty(t, warnings)
	assert.Contains(t, warnings[0], "the checkpoint of update 10 is not in "+url)
	assert.Equal(t, wholeDigest(t), digest(t, dir), "the run folder has it all")

	require.NoError(t, os.Remove(url))
	run, err = Resume(dir, nil, Options{Warn: func(w string) { t.Error(w) }})
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []int64{12}, mirroredSets(t, url))
	again := filepath.Join(t.TempDir(), "again")
	require.NoError(t, Fetch(t.Context(), url, again, func(w string) { t.Error(w) }))
	assert.Equal(t, read(t, dir, "metrics.jsonl"), read(t, again, "metrics.jsonl"), "the lines from before the store was known, too")
}

func TestFetchErrors(t *testing.T) {
	url := filepath.Join(t.TempDir(), "mirror")
	require.ErrorIs(t, Fetch(t.Context(), url, filepath.Join(t.TempDir(), "a"), nil), ErrNoCheckpoint)
	trainNew(t, smallConfig(t, "checkpoint.url="+url), Options{Dir: filepath.Join(t.TempDir(), "a")})
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "notes.txt"), nil, 0o644))
	require.ErrorIs(t, Fetch(t.Context(), url, full, nil), ErrRunExists)

	pieces, err := filepath.Glob(filepath.Join(url, "logs", "metrics.jsonl", "*"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(pieces[0]))
	dir := filepath.Join(t.TempDir(), "b")
	var warnings []string
	require.NoError(t, Fetch(t.Context(), url, dir, func(w string) { warnings = append(warnings, w) }))
	require.Len(t, warnings, 1, "lines of a log are not worth a run")
	assert.Contains(t, warnings[0], "metrics.jsonl in "+url+" lacks its last ")
	run, err := Resume(dir, nil, Options{Warn: func(w string) { warnings = append(warnings, w) }})
	require.NoError(t, err)
	require.NoError(t, run.Close())
	assert.Contains(t, warnings[1], "metrics.jsonl lacks")
}

// A fetch that fails leaves nothing, so that the same command may be tried again.
func TestFetchThatFails(t *testing.T) {
	url := filepath.Join(t.TempDir(), "mirror")
	trainNew(t, smallConfig(t, "checkpoint.url="+url), Options{Dir: filepath.Join(t.TempDir(), "a")})
	s, err := store.Open(t.Context(), url)
	require.NoError(t, err)
	set, _, err := ckpt.Newest(storeFS{t.Context(), s}, checkpointsDir, nil)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "b")
	ctx, cancel := context.WithCancel(t.Context())
	err = fetchInto(ctx, cutStore{s, cancel}, dir, set, func(string) {})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, CheckNewFolder(dir))
}

// cutStore ends with the first piece of a log that is read.
type cutStore struct {
	store.Store
	cut func()
}

func (c cutStore) Get(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	c.cut()
	return c.Store.Get(ctx, name)
}

// The checkpoint at which the number of members changed is in the store as it was,
// and so is what follows.
func TestMirrorOfAPopulationThatChanges(t *testing.T) {
	url, dir := filepath.Join(t.TempDir(), "mirror"), filepath.Join(t.TempDir(), "a")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t, "checkpoint.keep=9"), o) }, 7)
	settings, err := ParseSettings([]string{"checkpoint.url=" + url, "pbt.population_size=6"})
	require.NoError(t, err)
	want := trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, settings, o) }, -1)

	for _, update := range mirroredSets(t, url) {
		if update > 7 {
			require.NoError(t, os.RemoveAll(filepath.Join(url, "checkpoints", ckpt.SetName(update))))
		}
	}
	require.Equal(t, []int64{7}, mirroredSets(t, url))
	again := filepath.Join(t.TempDir(), "again")
	require.NoError(t, Fetch(t.Context(), url, again, func(w string) { t.Error(w) }))
	got := trainUntil(t, func(o Options) (*Run, error) { return Resume(again, settings, o) }, -1)
	assert.Equal(t, want.Members, got.Members)
	assert.Equal(t, digest(t, dir), digest(t, again))
	assert.Equal(t, read(t, dir, "decisions.jsonl"), read(t, again, "decisions.jsonl"))
}
