package bench

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"brood/ckpt"
	"brood/kernels"
	"brood/tensor"
	"brood/train"
)

// checkpointed is the common workload as a run with a checkpoint every 10 updates.
func checkpointed(b *testing.B, population, updates int, set ...string) train.Config {
	settings, err := train.ParseSettings(append([]string{
		fmt.Sprintf("pbt.population_size=%d", population), fmt.Sprintf("run.total_steps=%d", population*64*128*updates),
		"env.count=64", "ppo.steps=128", "ppo.epochs=4", "ppo.minibatches=4", "run.selection_episodes=0", "run.device=cpu",
		"checkpoint.every=10"}, set...))
	require.NoError(b, err)
	cfg, err := train.Load("benchmark", nil, settings)
	require.NoError(b, err)
	return cfg
}

// BenchmarkCheckpointStall trains with two checkpoints and one at the end, and reports the
// share of the time that training stood still for them. The first checkpoint also
// allocates the memory of the snapshots.
func BenchmarkCheckpointStall(b *testing.B) {
	for _, w := range []struct {
		name       string
		population int
		set        []string
	}{
		{"cartpole/population=64", 64, nil},
		// Two networks of two layers of 1,760 units: 25 MB of weights, 75 MB with Adam's
		// moments. Harder than the common workload: a short rollout, one epoch and a
		// checkpoint every 2 updates leave an eightieth of its time between checkpoints.
		{"25MB/population=2", 2, []string{"policy.hidden=[1760, 1760]", "ppo.epochs=1", "ppo.steps=32", "checkpoint.every=2", "run.total_steps=20480"}},
	} {
		b.Run(w.name, func(b *testing.B) {
			var wait, seconds, write, bytes float64
			for b.Loop() {
				run, err := train.New(checkpointed(b, w.population, 21, w.set...), train.Options{Dir: filepath.Join(b.TempDir(), "run")})
				require.NoError(b, err)
				s, err := run.Train(context.Background())
				require.NoError(b, err)
				require.NoError(b, run.Close())
				require.EqualValues(b, 3, s.Checkpoints.Written)
				wait += s.Checkpoints.WaitSeconds
				seconds += s.Seconds
				write += s.Checkpoints.WriteSeconds
				bytes += float64(s.Checkpoints.Bytes)
			}
			b.ReportMetric(100*wait/seconds, "%-waited")
			b.ReportMetric(1000*wait/float64(2*b.N), "ms/snapshot")
			b.ReportMetric(1000*write/float64(3*b.N), "ms/write")
			b.ReportMetric(bytes/float64(3*b.N)/1e6, "MB/checkpoint")
		})
	}
}

// BenchmarkCheckpointWrite writes a checkpoint, every file synced, and in turn
// copies one file of as many bytes and syncs it.
func BenchmarkCheckpointWrite(b *testing.B) {
	for _, w := range []struct {
		name       string
		population int
		hidden     []int
		parallel   int
	}{
		{"cartpole/population=64", 64, []int{64, 64}, 16},
		{"25MB/population=4", 4, []int{1760, 1760}, 1},
	} {
		b.Run(w.name, func(b *testing.B) {
			c := CartPole(w.population)
			c.Hidden = w.hidden
			layout, err := kernels.NewLayout(c)
			require.NoError(b, err)
			members := make([]tensor.Member, w.population)
			for i := range members {
				members[i] = tensor.NewMember(layout)
				for j := range members[i].Bytes() {
					members[i].Bytes()[j] = byte(i ^ j ^ j>>8)
				}
			}
			dir := b.TempDir()
			var bytes int64
			var write, copied time.Duration
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				path := writeCheckpoint(b, dir, int64(i), members, w.parallel)
				write += time.Since(began)
				bytes = size(b, path)
				copied += plainCopy(b, path, filepath.Join(dir, "copy"), bytes)
				require.NoError(b, os.RemoveAll(path))
			}
			mb := float64(bytes) * float64(b.N) / 1e6
			b.ReportMetric(mb/write.Seconds(), "MB/s")
			b.ReportMetric(mb/copied.Seconds(), "MB/s-copied")
			b.ReportMetric(copied.Seconds()/write.Seconds(), "of-copy")
		})
	}
}

func writeCheckpoint(b *testing.B, dir string, update int64, members []tensor.Member, parallel int) string {
	path, err := ckpt.WriteSet(ckpt.OS, dir, ckpt.Draft{Update: update, Population: len(members), Parallel: parallel,
		Member: func(i int) (ckpt.Encoded, error) { return ckpt.EncodeFile(members[i], ckpt.Meta{}, true) },
		Digest: func() [sha256.Size]byte { return tensor.Digest(members...) }})
	require.NoError(b, err)
	return path
}

func size(b *testing.B, dir string) (bytes int64) {
	entries, err := os.ReadDir(dir)
	require.NoError(b, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(b, err)
		bytes += info.Size()
	}
	return bytes
}

// plainCopy is the time to copy so many bytes from the files of a folder, which are
// in memory, to one new file and to sync it.
func plainCopy(b *testing.B, from, to string, bytes int64) time.Duration {
	entries, err := os.ReadDir(from)
	require.NoError(b, err)
	began := time.Now()
	f, err := os.Create(to)
	require.NoError(b, err)
	var done int64
	for _, e := range entries {
		source, err := os.Open(filepath.Join(from, e.Name()))
		require.NoError(b, err)
		n, err := io.Copy(struct{ io.Writer }{f}, source) // not a copy that the file system only notes
		require.NoError(b, err)
		require.NoError(b, source.Close())
		done += n
	}
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
	took := time.Since(began)
	require.Equal(b, bytes, done)
	require.NoError(b, os.Remove(to))
	return took
}
