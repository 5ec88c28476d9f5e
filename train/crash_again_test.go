package train

import (
	"math/rand/v2"
	"testing"

	"brood/internal/crashfs"

	"github.com/stretchr/testify/require"
)

// interrupted is a disk on which a run was cut off after half of its operations, the
// update whose checkpoint is there for certain, and how many operations there were.
func interrupted(t *testing.T, cfg Config) (disk *crashfs.Disk, saved int64) {
	t.Helper()
	_, whole := undisturbed(t, cfg)
	n, _ := whole.Operations()
	disk = crashfs.New()
	disk.Break(crashfs.Plan{At: n / 2, Stop: true})
	a := goOn(cfg, disk)
	require.True(t, disk.Stopped())
	require.Positive(t, a.saved)
	return disk, a.saved
}

// The machine stops in any operation of a run that goes on from a checkpoint.
func TestCrashAtAnyOperationOfAResumedRun(t *testing.T) {
	cfg := tinyConfig(t)
	want, _ := undisturbed(t, cfg)
	before, saved := interrupted(t, cfg)
	for name, start := range map[string]func() *crashfs.Disk{
		"after a power failure": func() *crashfs.Disk { return before.Crash(crashfs.Nothing) },
		"of a killed process":   before.Kill,
	} {
		stops, disks := crashEverywhere(t, cfg, want, start, saved, seedsPerCrash() > 1)
		t.Logf("%s: %d crashes, %d disks after the restart", name, stops, disks)
	}
}

// afterCrash is the disk after a power failure or a killed process, and what happened.
func afterCrash(r *rand.Rand, disk *crashfs.Disk) (after *crashfs.Disk, what string) {
	what = disk.Failed()[0] + ": "
	if r.IntN(3) == 0 {
		return disk.Kill(), what + "killed"
	}
	list := choices(r, 4)
	c := list[r.IntN(len(list))]
	return disk.Crash(c), what + c.String()
}

// Crash after crash, power failures and killed processes, each at a random operation.
func TestManyCrashes(t *testing.T) {
	cfg := tinyConfig(t)
	want, whole := undisturbed(t, cfg)
	n, _ := whole.Operations()
	r := crashRand(t)
	runs, crashes := 20+50*seedsPerCrash(), 0
	for run := range runs {
		disk, saved := crashfs.New(), int64(-1)
		var story []string
		for len(story) < 6 {
			disk.Break(crashfs.Plan{At: 1 + r.IntN(n/2), Stop: true})
			a := goOn(cfg, disk)
			if !disk.Stopped() {
				require.NoError(t, a.err, "run %d: %q", run, story)
				break
			}
			crashes++
			saved = max(saved, a.saved)
			var what string
			disk, what = afterCrash(r, disk)
			story = append(story, what)
			newest := int64(-1)
			if _, set := soundSets(t, disk); set != nil {
				newest = set.Update
			}
			require.GreaterOrEqual(t, newest, saved, "run %d: %q", run, story)
		}
		disk.Break(crashfs.Plan{})
		requireRecovery(t, cfg, want, disk, saved, "run %d: %q", run, story)
	}
	t.Logf("%d runs, %d crashes", runs, crashes)
}
