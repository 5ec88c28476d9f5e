package bench

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// common is the common workload as the command's settings.
var common = []string{"--set", "env.count=64", "--set", "ppo.steps=128", "--set", "ppo.epochs=4", "--set", "ppo.minibatches=4",
	"--set", "run.selection_episodes=0", "--quiet"}

// process runs the built command on the common workload in a fresh folder and
// returns its wall time and peak resident memory in bytes.
func process(b *testing.B, brood string, population, updates int) (time.Duration, int64) {
	args := append([]string{"train", "--out", filepath.Join(b.TempDir(), "run"),
		"--set", fmt.Sprintf("pbt.population_size=%d", population),
		"--set", fmt.Sprintf("run.total_steps=%d", population*64*128*updates)}, common...)
	c := exec.Command(brood, args...)
	start := time.Now()
	out, err := c.CombinedOutput()
	elapsed := time.Since(start)
	require.NoError(b, err, string(out))
	return elapsed, c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024
}

func build(b *testing.B) string {
	brood := filepath.Join(b.TempDir(), "brood")
	out, err := exec.Command("go", "build", "-o", brood, "../cmd/brood").CombinedOutput()
	require.NoError(b, err, string(out))
	return brood
}

// BenchmarkStartup is a whole process that does one update of a population of 8,
// its checkpoint included: an upper bound of the time to the first update.
func BenchmarkStartup(b *testing.B) {
	brood := build(b)
	var total time.Duration
	for b.Loop() {
		elapsed, _ := process(b, brood, 8, 1)
		total += elapsed
	}
	b.ReportMetric(total.Seconds()/float64(b.N), "s/process")
}

// BenchmarkMemory is the peak resident memory of a process that trains a
// population of 64 and writes a checkpoint.
func BenchmarkMemory(b *testing.B) {
	brood := build(b)
	var peak int64
	for b.Loop() {
		_, rss := process(b, brood, 64, 3)
		peak = max(peak, rss)
	}
	b.ReportMetric(float64(peak)/1e6, "MB")
}
