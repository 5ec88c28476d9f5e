package ckpt_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"brood/ckpt"
	"brood/internal/crashfs"
	"brood/tensor"

	"github.com/stretchr/testify/require"
)

var (
	crashSeed  = flag.Uint64("crash.seed", 0, "seed of the random part of the tests of crashes; 0: a new one")
	crashSeeds = flag.Int("crash.seeds", 10, "how many random disks are tried after each crash")
)

const setsDir = "/run/checkpoints"

func crashRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-crash.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 3))
}

// choices are what may be on a disk after a crash, the extreme cases and random ones.
func choices(r *rand.Rand) []crashfs.Choice {
	list := []crashfs.Choice{crashfs.Nothing, crashfs.Everything}
	for range *crashSeeds {
		list = append(list, crashfs.Random(r.Uint64()))
	}
	if testing.Short() {
		list = list[:min(len(list), 4)]
	}
	return list
}

// setOf is a set of three members, two of which are written at a time.
func setOf(t testing.TB, update int64) *ckpt.Set {
	t.Helper()
	layout, err := tensor.NewLayout(tensor.Section{Name: "policy", Exploit: tensor.Copy,
		Tensors: []tensor.Spec{{Name: "actor.0.weight", Shape: []int{20, 20}}}})
	require.NoError(t, err)
	s := &ckpt.Set{Update: update, Run: ckpt.RunState{EnvSteps: update, Config: "run: {seed: 1}\n", Scheduler: []byte("{}")}}
	var members []tensor.Member
	for m := range 3 {
		state := tensor.NewMember(layout)
		for i := range state.Float32("policy", "actor.0.weight") {
			state.Float32("policy", "actor.0.weight")[i] = float32(update*1000) + float32(m*400+i)
		}
		data, err := ckpt.Encode(state, ckpt.Meta{Step: update, Env: ckpt.EnvInfo{ID: "x", ObsDim: 1, Action: ckpt.ActionInfo{Type: "discrete", N: 2}}}, true)
		require.NoError(t, err)
		s.Members, members = append(s.Members, data), append(members, state)
	}
	s.Run.Digest = tensor.Digest(members...)
	return s
}

// cycle writes the sets 1 to 5 and prunes all but two after each, as a run does that
// keeps two. done is the newest set that counted as written; 0: none.
func cycle(t testing.TB, disk ckpt.FS, sets []*ckpt.Set) (done int64, err error) {
	for _, s := range sets {
		draft := s.Draft()
		draft.Parallel = 2
		if _, err := ckpt.WriteSet(disk, setsDir, draft); err != nil {
			return done, err
		}
		done = s.Update
		if err := ckpt.Prune(disk, setsDir, ckpt.Retention{Last: 2}); err != nil {
			return done, err
		}
	}
	return done, nil
}

func fiveSets(t testing.TB) (sets []*ckpt.Set) {
	for update := range int64(5) {
		sets = append(sets, setOf(t, update+1))
	}
	return sets
}

// requireSound wants every set that is seen to be one that was written, whole, and the
// newest to be at least that of an update. It returns the update of the newest.
func requireSound(t testing.TB, disk *crashfs.Disk, sets []*ckpt.Set, atLeast int64, about string) (newest int64) {
	t.Helper()
	there, err := ckpt.List(disk, setsDir)
	require.NoError(t, err, about)
	for _, newest = range there {
		s, err := ckpt.ReadSet(disk, filepath.Join(setsDir, ckpt.SetName(newest)))
		require.NoError(t, err, about)
		require.Equal(t, sets[newest-1], s, about)
	}
	require.GreaterOrEqual(t, newest, atLeast, about)
	return newest
}

// newDisk has the folder of the run, and its name is durable.
func newDisk(t testing.TB) *crashfs.Disk {
	disk := crashfs.New()
	require.NoError(t, ckpt.MakeDir(disk, filepath.Dir(setsDir)))
	return disk
}

// The machine stops in any operation of writing and pruning sets, and again in any
// operation of what is done after the restart.
func TestCrashAtAnyOperationOfACycle(t *testing.T) {
	sets, r := fiveSets(t), crashRand(t)
	crashes, disks := 0, 0
	for k := 1; ; k++ {
		disk := newDisk(t)
		disk.Break(crashfs.Plan{At: k, Stop: true})
		done, err := cycle(t, disk, sets)
		if !disk.Stopped() {
			require.NoError(t, err)
			require.Greater(t, k, 50)
			break
		}
		require.ErrorIs(t, err, crashfs.ErrStopped)
		crashes++
		about := fmt.Sprintf("operation %d, %s", k, disk.Failed()[0])
		afters := []*crashfs.Disk{disk.Kill()}
		for _, c := range choices(r) {
			afters = append(afters, disk.Crash(c))
		}
		for i, after := range afters {
			disks++
			newest := requireSound(t, after, sets, done, about)
			if newest > 0 {
				require.NoError(t, ckpt.Settle(after, setsDir), about)
			}
			// The second crash of this disk: anywhere.
			after.Break(crashfs.Plan{At: 1 + r.IntN(60), Stop: true})
			again, err := cycle(t, after, sets[newest:])
			if after.Stopped() {
				again = max(again, newest)
				after = after.Crash(choices(r)[i%3])
				newest = requireSound(t, after, sets, again, about+" and "+fmt.Sprint(err))
			} else {
				require.NoError(t, err, about)
				newest = 5
			}
			_, err = cycle(t, after, sets[newest:])
			require.NoError(t, err, about)
			requireSound(t, after.Crash(crashfs.Nothing), sets, 5, about)
		}
	}
	t.Logf("%d crashes, %d disks after the restart, each with a second crash", crashes, disks)
}

// Any operation fails, and the set is tried again: what then counts as written is
// durable, as at the first attempt.
func TestAnyOperationOfACycleFails(t *testing.T) {
	sets, faults := fiveSets(t), 0
	for _, failures := range []int{1, 3, 20} {
		for k := 1; ; k++ {
			disk := newDisk(t)
			disk.Break(crashfs.Plan{At: k, For: failures, Err: syscall.EIO})
			at, errs := int64(0), 0
			for attempts := 0; at < 5 && attempts < 60; attempts++ {
				done, err := cycle(t, disk, sets[at:])
				at = max(at, done)
				if err != nil {
					errs++
					require.ErrorIs(t, err, syscall.EIO)
				}
			}
			require.EqualValues(t, 5, at)
			failed := disk.Failed()
			requireSound(t, disk.Crash(crashfs.Nothing), sets, at, fmt.Sprintf("%q", failed))
			faults += len(failed)
			if len(failed) == 0 {
				require.Greater(t, k, 50)
				break
			}
			require.Positive(t, errs, "%q failed unnoticed", failed)
		}
	}
	t.Logf("%d faults", faults)
}

// A file is the old one or the new one after every crash, and after a crash in the
// middle of what is done after a crash.
func TestCrashTwiceWhileAFileIsReplaced(t *testing.T) {
	r := crashRand(t)
	versions := []string{"the first version", "the second one, which is longer", "3"}
	read := func(disk *crashfs.Disk, about string, allowed ...string) string {
		data, err := disk.ReadFile("/run/x")
		require.NoError(t, err, about)
		require.True(t, slices.Contains(allowed, string(data)), "%q after %s", data, about)
		return string(data)
	}
	seconds := 0
	for k := 1; ; k++ {
		disk := newDisk(t)
		require.NoError(t, ckpt.WriteFile(disk, "/run/x", []byte(versions[0])))
		disk.Break(crashfs.Plan{At: k, Stop: true})
		if err := ckpt.WriteFile(disk, "/run/x", []byte(versions[1])); err == nil {
			break
		}
		for range 10 {
			for _, c := range choices(r) {
				after := disk.Crash(c)
				about := fmt.Sprintf("operation %d, %s, %v", k, disk.Failed()[0], c)
				was := read(after, about, versions[:2]...)
				after.Break(crashfs.Plan{At: 1 + r.IntN(7), Stop: true})
				err := ckpt.WriteFile(after, "/run/x", []byte(versions[2]))
				if !after.Stopped() {
					require.NoError(t, err)
					continue
				}
				seconds++
				for _, c := range choices(r) {
					read(after.Crash(c), about+" and "+after.Failed()[0], was, versions[2])
				}
			}
		}
	}
	t.Logf("%d second crashes", seconds)
	require.Positive(t, seconds)
}
