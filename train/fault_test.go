package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"brood/ckpt"
	"brood/internal/crashfs"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// untilDone starts processes on a disk until one comes to the end, at most as many as
// given, and returns what they all said.
func untilDone(t *testing.T, cfg Config, disk *crashfs.Disk, processes int, about string) (said []string) {
	t.Helper()
	for range processes {
		a := goOn(cfg, disk)
		said = append(said, a.warnings...)
		if a.err == nil {
			return said
		}
		said = append(said, a.err.Error())
	}
	require.Fail(t, "the run does not come to its end", "%s: %q", about, said)
	return said
}

// mayGoUnsaid are operations whose failure does no harm, or is made up for before
// anybody could have noticed.
func mayGoUnsaid(operation string) bool {
	return strings.HasPrefix(operation, "remove ") && strings.Contains(operation, ".tmp-")
}

// Any operation of a run fails once: the run says so, goes on, and comes to the same
// end, which is on the disk even if the power fails then.
func TestAnyOperationFailsOnce(t *testing.T) {
	cfg := tinyConfig(t)
	want, _ := undisturbed(t, cfg)
	before, _ := interrupted(t, cfg)
	for name, start := range map[string]func() *crashfs.Disk{
		"of a new run":     crashfs.New,
		"of a resumed run": func() *crashfs.Disk { return before.Crash(crashfs.Everything) },
	} {
		t.Run(name, func(t *testing.T) {
			faults := 0
			for _, reads := range []bool{false, true} {
				for k := 1; failOnce(t, cfg, want, start(), crashfs.Plan{At: k, Reads: reads, Err: []error{syscall.ENOSPC, syscall.EIO}[k%2]}); k++ {
					faults++
				}
			}
			t.Logf("%d faults", faults)
			require.Greater(t, faults, 100)
		})
	}
}

// failOnce runs to the end on a disk of which an operation fails; it returns false if
// there were not so many operations.
func failOnce(t *testing.T, cfg Config, want outcome, disk *crashfs.Disk, plan crashfs.Plan) bool {
	disk.Break(plan)
	a := goOn(cfg, disk)
	if len(disk.Failed()) == 0 {
		require.NoError(t, a.err)
		return false
	}
	about := fmt.Sprintf("operation %d, %s", plan.At, disk.Failed()[0])
	said := a.warnings
	if a.err != nil {
		// Only a start is given up for one failure, and the end of a process.
		require.True(t, a.saved < 0 || a.saved == 6, "%s: %v", about, a.err)
		said = append(said, a.err.Error())
		said = append(said, untilDone(t, cfg, disk, 1, about)...)
	}
	if !mayGoUnsaid(disk.Failed()[0]) {
		require.NotEmpty(t, said, about)
	}
	requireSame(t, want, disk.Crash(crashfs.Nothing), about)
	return true
}

// requireSame is outcomes being equal but for checkpoints before the last: where one
// could not be written or removed, another is there.
func requireSame(t *testing.T, want outcome, disk *crashfs.Disk, about string) {
	t.Helper()
	got := outcomeOf(t, disk)
	require.NotEmpty(t, got.sets, about)
	require.Equal(t, want.sets[len(want.sets)-1], got.sets[len(got.sets)-1], about)
	got.sets = want.sets
	require.Equal(t, want, got, about)
}

// The disk is full from some operation on and for some time, or to the end of the
// process, and has room again when the next one starts.
func TestDiskIsFullForSomeTime(t *testing.T) {
	cfg := tinyConfig(t)
	want, whole := undisturbed(t, cfg)
	n, _ := whole.Operations()
	step := 3
	if testing.Short() {
		step = 11
	}
	faults := 0
	for _, length := range []int{10, 40, crashfs.Forever} {
		for k := 1; k <= n; k += step {
			disk := crashfs.New()
			disk.Break(crashfs.Plan{At: k, For: length, Err: syscall.ENOSPC})
			a := goOn(cfg, disk)
			faults += len(disk.Failed())
			about := fmt.Sprintf("full from operation %d for %d", k, length)
			said := append(a.warnings, fmt.Sprint(a.err))
			require.Contains(t, strings.Join(said, "\n"), syscall.ENOSPC.Error(), about)
			if length == crashfs.Forever {
				require.ErrorIs(t, a.err, syscall.ENOSPC, about)
			}
			after := disk.Crash(crashfs.Nothing)
			if k%2 == 0 {
				after = disk.Kill()
			}
			_, newest := soundSets(t, after)
			if a.saved >= 0 {
				require.NotNil(t, newest, about)
				require.GreaterOrEqual(t, newest.Update, a.saved, about)
			}
			untilDone(t, cfg, after, 1, about)
			requireSame(t, want, after.Crash(crashfs.Nothing), about)
		}
	}
	t.Logf("%d faults", faults)
}

// A disk that is full at the very end is waited for, until it has room or whoever
// started the run has enough of it.
func TestEndOfARunWaitsForTheDisk(t *testing.T) {
	cfg := tinyConfig(t)
	want, _ := undisturbed(t, cfg)
	for _, missing := range []string{".tmp-00000006", ".tmp-best.ckpt", ".tmp-summary.json"} {
		t.Run(missing, func(t *testing.T) {
			disk := crashfs.New()
			refuse := &refusing{FS: disk, part: missing, full: true}
			var warnings []string
			run, err := New(cfg, Options{Dir: tinyDir, FS: refuse, DiskWait: time.Hour, Warn: func(m string) {
				warnings = append(warnings, m)
				refuse.full = false // somebody reads it and makes room
			}})
			require.NoError(t, err)
			defer run.Close()
			s, err := run.Train(t.Context())
			require.NoError(t, err)
			assert.Nil(t, s.Stopped)
			require.Len(t, warnings, 1)
			assert.Contains(t, warnings[0], "could not be written: ")
			assert.Contains(t, warnings[0], "no space left on device; trying again for 1h0m0s, make room in /runs/a")
			require.NoError(t, run.Close())
			requireSame(t, want, disk.Crash(crashfs.Nothing), missing)

			disk = crashfs.New()
			ctx, cancel := context.WithCancel(t.Context())
			run, err = New(cfg, Options{Dir: tinyDir, FS: &refusing{FS: disk, part: missing, full: true}, DiskWait: time.Hour,
				Warn: func(string) { cancel() }})
			require.NoError(t, err)
			defer run.Close()
			_, err = run.Train(ctx)
			require.ErrorIs(t, err, syscall.ENOSPC, "it does not wait for an hour")
			assert.Contains(t, err.Error(), "is whole: `brood resume /runs/a` goes on from there once there is room")
			require.NoError(t, run.Close())
			untilDone(t, cfg, disk, 1, missing)
			requireSame(t, want, disk.Crash(crashfs.Nothing), missing)
		})
	}
}

// refusing is a disk without room for files whose path has a part.
type refusing struct {
	ckpt.FS
	part string
	full bool
}

func (r *refusing) Create(path string) (ckpt.File, error) {
	if r.full && strings.Contains(path, r.part) {
		return nil, &fs.PathError{Op: "create", Path: path, Err: syscall.ENOSPC}
	}
	return r.FS.Create(path)
}

// What is no fault of the disk is not tried again.
func TestOnlyTheDiskIsWaitedFor(t *testing.T) {
	run := &Run{opts: Options{DiskWait: time.Hour, Warn: func(string) { assert.Fail(t, "it waits") }}}
	n := 0
	require.Error(t, run.insist(t.Context(), "x", func() error { n++; return errors.New("the device is gone") }))
	require.Equal(t, 1, n)
}
