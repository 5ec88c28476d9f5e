package train

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"brood/ckpt"
	"brood/kernels"
	"brood/tensor"

	"github.com/stretchr/testify/require"
)

var (
	soakTime = flag.Duration("soak", 6*time.Second, "how long TestSoak trains")
	soakOut  = flag.String("soak-out", "", "file that TestSoak writes its samples to, as CSV")
)

// sample is what the process has at a moment.
type sample struct {
	Seconds                float64
	Update, Exploits       int64
	Resident, Heap         int64 // bytes
	Descriptors, Goroutine int
}

func takeSample(t *testing.T, p *Progress) sample {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	statm := strings.Fields(read(t, "/proc/self/statm"))
	pages, err := strconv.ParseInt(statm[1], 10, 64)
	require.NoError(t, err)
	descriptors, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return sample{p.SecondsThisProcess, p.Update, p.Exploits, pages * int64(os.Getpagesize()), int64(m.HeapAlloc), len(descriptors), runtime.NumGoroutine()}
}

// soak trains for long and watches.
type soak struct {
	t       *testing.T
	dir     string
	samples []sample
	next    time.Duration // of the next sample
	// digests of the engine's state at checkpoints, by update.
	digests map[int64][sha256.Size]byte
	checked int
}

const soakEvery = 10 // updates from a checkpoint to the next

func (s *soak) watch(p *Progress) {
	if p.Update%soakEvery == 0 {
		s.digests[p.Update] = tensor.Digest(statesOf(s.t, p.run)...)
		s.checkNewest(p.Update)
	}
	// A sample where nothing is being written, which would come and go.
	seconds := time.Duration(p.SecondsThisProcess * float64(time.Second))
	if p.run.saving != nil && p.Update%soakEvery == soakEvery/2 {
		require.NoError(s.t, p.run.finishSaving())
	}
	if seconds >= s.next && p.run.saving == nil {
		require.NoError(s.t, p.run.mirror.wait())
		s.samples = append(s.samples, takeSample(s.t, p))
		s.next = seconds + *soakTime/100
	}
}

// checkNewest holds the newest checkpoint on disk against what the engine held at
// its update: every tensor as a resume would read it.
func (s *soak) checkNewest(now int64) {
	sets, err := ckpt.List(ckpt.OS, filepath.Join(s.dir, checkpointsDir))
	require.NoError(s.t, err)
	if len(sets) == 0 {
		return
	}
	newest := sets[len(sets)-1]
	want, ok := s.digests[newest]
	if !ok {
		return // checked before
	}
	set, err := ckpt.ReadSet(ckpt.OS, newestPath(s.dir, sets))
	require.NoError(s.t, err)
	cfg, err := loadStored("soak", set.Run.Config)
	require.NoError(s.t, err)
	c, err := cfg.EngineConfig()
	require.NoError(s.t, err)
	layout, err := kernels.NewLayout(c)
	require.NoError(s.t, err)
	restored := make([]tensor.Member, len(set.Members))
	for m, data := range set.Members {
		file, err := ckpt.Decode(data)
		require.NoError(s.t, err)
		restored[m] = tensor.NewMember(layout)
		_, err = file.Restore(restored[m])
		require.NoError(s.t, err)
	}
	require.Equal(s.t, want, tensor.Digest(restored...), "the checkpoint of update %d is not what the engine held", newest)
	s.checked++
	for update := range s.digests {
		if update <= newest || update < now-3*soakEvery {
			delete(s.digests, update)
		}
	}
}

// median of the samples' figure.
func median(samples []sample, of func(*sample) int64) int64 {
	values := make([]int64, len(samples))
	for i := range samples {
		values[i] = of(&samples[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// flat requires that the last quarter of the samples has no more than the second one
// and the slack.
func (s *soak) flat(what string, slack int64, of func(*sample) int64) {
	n := len(s.samples)
	early, late := median(s.samples[n/4:n/2], of), median(s.samples[3*n/4:], of)
	s.t.Logf("%-12s %12d in the second quarter, %12d in the last", what, early, late)
	require.LessOrEqual(s.t, late, early+slack, "%s grows", what)
}

// A long run with 64 members, half of which copies another at every second update:
// memory, open files and goroutines stay what they were, every checkpoint is what the
// engine held, and after all that time a resumed run is still the same to the bit.
// `go test ./train -run TestSoak -soak 30m -timeout 40m -v` is the long one.
func TestSoak(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	cfg := soakConfig(t, filepath.Join(t.TempDir(), "mirror"))
	s := &soak{t: t, dir: dir, digests: map[int64][sha256.Size]byte{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := time.Now()
	run, err := New(cfg, Options{Dir: dir, Warn: func(w string) { t.Errorf("warning: %s", w) }, Progress: func(p *Progress) {
		s.watch(p)
		if time.Since(begun) > *soakTime && p.Update%soakEvery == soakEvery/2 {
			cancel()
		}
	}})
	require.NoError(t, err)
	defer run.Close()
	summary, err := run.Train(ctx)
	require.NoError(t, err)
	require.NoError(t, run.Close())
	t.Logf("%.0f s, %d updates, %d exploits, %d checkpoints, of which %d were read back", summary.Seconds, summary.Updates, summary.Exploits,
		summary.Checkpoints.Written, s.checked)
	s.write()
	require.GreaterOrEqual(t, len(s.samples), 8, "too short to tell")
	const room = 8 << 20 // the runtime keeps some of what it had
	s.flat("resident", room, func(x *sample) int64 { return x.Resident })
	s.flat("heap", room, func(x *sample) int64 { return x.Heap })
	s.flat("descriptors", 0, func(x *sample) int64 { return int64(x.Descriptors) })
	s.flat("goroutines", 0, func(x *sample) int64 { return int64(x.Goroutine) })
	require.Positive(t, s.checked)
	require.GreaterOrEqual(t, summary.Exploits, 10*summary.Updates)

	// From the oldest checkpoint there is, the newest is reached again.
	sets, err := ckpt.List(ckpt.OS, filepath.Join(dir, checkpointsDir))
	require.NoError(t, err)
	want, err := ckpt.ReadRun(ckpt.OS, newestPath(dir, sets))
	require.NoError(t, err)
	again, err := Rewind(dir, sets[len(sets)-1], Options{})
	require.NoError(t, err)
	defer again.Close()
	require.Less(t, again.updates, summary.Updates)
	for again.updates < summary.Updates {
		require.NoError(t, again.update(t.Context()))
	}
	require.Equal(t, fmt.Sprintf("%x", want.Digest), fmt.Sprintf("%x", tensor.Digest(statesOf(t, again)...)))
}

func soakConfig(t *testing.T, mirror string) Config {
	cfg, err := load(t, `
env: {id: CartPole-v1, count: 8}
policy: {hidden: [32, 32]}
ppo: {steps: 64, epochs: 2, minibatches: 2, normalize_observations: true, normalize_rewards: true}
pbt: {population_size: 64, perturbation_interval: 2, truncation_ratio: 0.5, telemetry_episodes: 1, optimizer_exploit_strategy: adaptive, explore_method: both}
checkpoint: {every: 10, keep: 3, keep_best: true}
run: {total_steps: 1e12, selection_episodes: 0, device: cpu}
`, "checkpoint.url="+mirror)
	require.NoError(t, err)
	return cfg
}

// write keeps the samples.
func (s *soak) write() {
	if *soakOut == "" {
		return
	}
	var text strings.Builder
	text.WriteString("seconds,update,exploits,resident_bytes,heap_bytes,descriptors,goroutines\n")
	for _, x := range s.samples {
		fmt.Fprintf(&text, "%.1f,%d,%d,%d,%d,%d,%d\n", x.Seconds, x.Update, x.Exploits, x.Resident, x.Heap, x.Descriptors, x.Goroutine)
	}
	require.NoError(s.t, os.WriteFile(*soakOut, []byte(text.String()), 0o644))
}
