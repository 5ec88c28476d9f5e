package train

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"brood/ckpt"
	"brood/internal/crashfs"

	"github.com/stretchr/testify/require"
)

var (
	crashSeed  = flag.Uint64("crash.seed", 0, "seed of the random part of the tests of crashes; 0: a new one")
	crashSeeds = flag.Int("crash.seeds", 1, "how many random disks are tried after each crash")
)

// tiny is a run of 2 members and 6 updates that exploits at every second, writes a
// checkpoint at every update, and takes milliseconds.
const tiny = `
env: {id: CartPole-v1, count: 2}
policy: {hidden: [4]}
critic: {type: scalar}
ppo: {steps: 8, epochs: 1, minibatches: 1}
pbt:
  population_size: 2
  perturbation_interval: 2
  ready_percentage: 0.5
  telemetry_episodes: 1
  hyperparameters: [{name: learning_rate, min: 1e-4, max: 1e-2, log_scale: true}]
checkpoint: {every: 1, keep: 2, keep_best: true}
run: {total_steps: 192, seed: 7, selection_episodes: 1, device: cpu, threads: 1}
`

const tinyDir = "/runs/a"

func tinyConfig(t testing.TB) Config {
	t.Helper()
	cfg, err := Load("tiny", []byte(tiny), nil)
	require.NoError(t, err)
	require.EqualValues(t, 6, cfg.TotalUpdates())
	return cfg
}

// crashRand is the source of what is random in a test, which says its seed.
func crashRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-crash.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// attempt is one process that works on a run.
type attempt struct {
	// saved is the update of the newest checkpoint it counted as written; -1: none.
	saved    int64
	warnings []string
	err      error
}

// goOn starts a process on a disk: it resumes the run or, where that says there is
// none yet, begins it; and trains to the end, or until the machine stops.
func goOn(cfg Config, disk *crashfs.Disk) (a attempt) {
	a.saved = -1
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opts := Options{Dir: tinyDir, FS: disk, Warn: func(m string) { a.warnings = append(a.warnings, m) },
		Progress: func(*Progress) {
			if disk.Stopped() {
				cancel()
			}
		}}
	run, err := Resume(tinyDir, nil, opts)
	if errors.Is(err, ErrNoCheckpoint) || errors.Is(err, fs.ErrNotExist) {
		run, err = New(cfg, opts)
	}
	if err != nil {
		a.err = err
		return a
	}
	_, err = run.Train(ctx)
	a.err = errors.Join(err, run.Close())
	a.saved = run.saved
	return a
}

// outcome is all of a run folder that an interruption must not change.
type outcome struct {
	digest string
	files  map[string]string // the size and the start of the SHA-256
	sets   []int64
}

func outcomeOf(t testing.TB, disk *crashfs.Disk) outcome {
	t.Helper()
	sets, newest := soundSets(t, disk)
	o := outcome{sets: sets, files: map[string]string{}, digest: fmt.Sprintf("%x", newest.Run.Digest)}
	names, err := disk.ReadDir(tinyDir)
	require.NoError(t, err)
	for _, name := range names {
		if name == checkpointsDir || name == boardsDir || name == ckpt.LockFile || ckpt.IsTemporary(name) {
			continue // what may be left over without harm, the checkpoints, and a log that holds times
		}
		data, err := disk.ReadFile(filepath.Join(tinyDir, name))
		require.NoError(t, err)
		o.files[name] = fmt.Sprintf("%d bytes, %.6x", len(data), sha256.Sum256(data))
	}
	require.Contains(t, o.files, summaryFile)
	o.files[summaryFile] = "" // it holds times
	return o
}

// soundSets reads every checkpoint that is there, which must be whole, and returns the
// newest; nil: there is none.
func soundSets(t testing.TB, disk *crashfs.Disk) ([]int64, *ckpt.Set) {
	t.Helper()
	dir := filepath.Join(tinyDir, checkpointsDir)
	names, err := disk.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	require.NoError(t, err)
	sets, err := ckpt.List(disk, dir)
	require.NoError(t, err)
	names = slices.DeleteFunc(names, func(n string) bool { return ckpt.IsTemporary(n) || strings.HasSuffix(n, ".damaged") })
	require.Len(t, names, len(sets), "%v are the checkpoints of %v", sets, names)
	var newest *ckpt.Set
	for _, update := range sets {
		newest, err = ckpt.ReadSet(disk, filepath.Join(dir, ckpt.SetName(update)))
		require.NoError(t, err)
	}
	return sets, newest
}

// undisturbed runs without a fault and returns what came out, and the disk it is on.
func undisturbed(t testing.TB, cfg Config) (outcome, *crashfs.Disk) {
	t.Helper()
	disk := crashfs.New()
	a := goOn(cfg, disk)
	require.NoError(t, a.err)
	require.Empty(t, a.warnings)
	require.EqualValues(t, 6, a.saved)
	want := outcomeOf(t, disk.Kill())
	require.Equal(t, want, outcomeOf(t, disk.Crash(crashfs.Nothing)), "a run that has ended is durable")
	require.NotContains(t, want.files[decisionsFile], "0 bytes", "it exploits")
	return want, disk
}

// choices are what may be on a disk after a crash, the extreme cases and n others.
func choices(r *rand.Rand, n int) []crashfs.Choice {
	list := []crashfs.Choice{crashfs.Nothing, crashfs.Everything}
	for range n {
		list = append(list, crashfs.Random(r.Uint64()))
	}
	return list
}

func seedsPerCrash() int {
	if testing.Short() {
		return 0
	}
	return *crashSeeds
}

// requireRecovery takes a disk after a restart on which a checkpoint of an update had
// been counted as written (-1: none), and wants the run to go on from it, or from a
// newer one, to the same end.
func requireRecovery(t testing.TB, cfg Config, want outcome, disk *crashfs.Disk, saved int64, about string, args ...any) {
	t.Helper()
	about = fmt.Sprintf(about, args...)
	_, newest := soundSets(t, disk)
	have := int64(-1)
	if newest != nil {
		have = newest.Update
	}
	require.GreaterOrEqual(t, have, saved, "the newest checkpoint after a crash at %s", about)
	a := goOn(cfg, disk)
	require.NoError(t, a.err, about)
	for _, w := range a.warnings {
		require.Contains(t, w, "has no checkpoint yet: the run begins anew", about)
	}
	names, err := disk.ReadDir(filepath.Join(tinyDir, checkpointsDir))
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(names), ".tmp-", "nothing is left over after %s", about)
	require.Equal(t, want, outcomeOf(t, disk.Crash(crashfs.Nothing)), about)
}

// crashEverywhere stops the machine in every operation of a process that starts on a
// disk which start makes, and goes on after every kind of restart. saved is the update
// of the checkpoint that is on that disk for certain. It returns the number of disks.
// Not all: of the kinds of restart each crash gets one, in turn.
func crashEverywhere(t *testing.T, cfg Config, want outcome, start func() *crashfs.Disk, saved int64, all bool) (stops, disks int) {
	r := crashRand(t)
	for k := 1; ; k++ {
		disk := start()
		disk.Break(crashfs.Plan{At: k, Stop: true})
		a := goOn(cfg, disk)
		if !disk.Stopped() {
			require.NoError(t, a.err)
			require.Greater(t, k, 50, "the operations were counted")
			return k - 1, disks
		}
		require.Error(t, a.err)
		log := disk.Log()
		about := fmt.Sprintf("operation %d, %s", k, log[k-1])
		list := choices(r, seedsPerCrash())
		for i, c := range list {
			if all || k%(len(list)+1) == i {
				requireRecovery(t, cfg, want, disk.Crash(c), max(saved, a.saved), "%s; %v", about, c)
				disks++
			}
		}
		if all || k%(len(list)+1) == len(list) {
			requireRecovery(t, cfg, want, disk.Kill(), max(saved, a.saved), "%s; the process was killed", about)
			disks++
		}
	}
}

// The machine stops in any operation of a run, from the first to the last.
func TestCrashAtAnyOperationOfARun(t *testing.T) {
	cfg := tinyConfig(t)
	began := time.Now()
	want, _ := undisturbed(t, cfg)
	t.Logf("one run takes %v", time.Since(began))
	stops, disks := crashEverywhere(t, cfg, want, crashfs.New, -1, !testing.Short())
	t.Logf("%d crashes, %d disks after the restart", stops, disks)
}
