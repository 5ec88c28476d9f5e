package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"brood/kernels"
	"brood/kernels/cpu"
	"brood/kernels/cpu/simd"
)

func TestCommonWorkloadFLOP(t *testing.T) {
	// Two networks of 4-64-64-(2|1): 17,792 FLOP forward, 52,352 per row and epoch.
	require.Equal(t, 17792.0+4*52352, FLOP(CartPole(8)))
}

func BenchmarkTrain(b *testing.B) {
	for _, population := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("cartpole/population=%d", population), func(b *testing.B) { train(b, CartPole(population)) })
	}
	b.Run("wide/population=4", func(b *testing.B) { train(b, Wide(4)) })
}

// train reports env-steps/s, the share of the multiply-add peak measured between
// the iterations, and the share of each phase.
func train(b *testing.B, c *kernels.Config) {
	path, err := simd.Select(os.Getenv(cpu.PathVariable))
	require.NoError(b, err)
	e, err := cpu.New(c)
	require.NoError(b, err)
	defer e.Close()
	stats := make([]kernels.Stats, c.Population)
	require.NoError(b, e.Iterate(stats)) // first touch of the buffers

	before := e.Profile()
	b.ReportAllocs()
	var peak float64
	samples, last := 0, time.Time{}
	for b.Loop() {
		// The clock of a shared machine drifts: the yardstick is taken again and
		// again, in the same seconds as the work.
		if time.Since(last) > 250*time.Millisecond {
			b.StopTimer()
			peak += peakFLOPS(path)
			samples++
			b.StartTimer()
			last = time.Now()
		}
		if err := e.Iterate(stats); err != nil {
			b.Fatal(err)
		}
	}
	steps := float64(c.Population*c.Rows()) * float64(b.N)
	rate := steps / b.Elapsed().Seconds()
	peak /= float64(samples)
	b.ReportMetric(rate, "env-steps/s")
	b.ReportMetric(rate*FLOP(c)/1e9, "GFLOPS")
	b.ReportMetric(100*rate*FLOP(c)/peak, "%peak")
	b.Log(phases(before, e.Profile()))
}

// peakFLOPS runs independent multiply-adds on all threads for about 20 ms.
func peakFLOPS(path *simd.Path) float64 {
	path.Peak(100_000) // wakes the vector units
	loops := 2_000_000
	if path.Name == "generic" {
		loops = 10_000_000
	}
	threads := runtime.GOMAXPROCS(0)
	rates := make([]float64, threads)
	var wait sync.WaitGroup
	for i := range threads {
		wait.Add(1)
		go func() {
			defer wait.Done()
			start := time.Now()
			flops := path.Peak(loops)
			rates[i] = flops / time.Since(start).Seconds()
		}()
	}
	wait.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum
}

func phases(before, after kernels.Profile) string {
	var total time.Duration
	for p := range after {
		total += after[p] - before[p]
	}
	var s strings.Builder
	s.WriteString("share of the workers' time by phase:")
	for p := range after {
		fmt.Fprintf(&s, "\n  %-18s %5.2f %%", kernels.Phase(p), 100*float64(after[p]-before[p])/float64(total))
	}
	return s.String()
}

// BenchmarkExploit copies a member's state, 110 kB of weights and moments, to
// every second member of a population of 64.
func BenchmarkExploit(b *testing.B) {
	for _, strategy := range []kernels.Strategy{kernels.StrategyReset, kernels.StrategyCopy} {
		b.Run(string(strategy), func(b *testing.B) {
			c := CartPole(64)
			e, err := cpu.New(c)
			require.NoError(b, err)
			defer e.Close()
			var exploits []kernels.Exploit
			for m := 0; m < c.Population; m += 2 {
				exploits = append(exploits, kernels.Exploit{Member: m, Source: m + 1, Strategy: strategy, Hyperparameters: c.Hyperparameters})
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Exploit(exploits); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(exploits)), "us/member")
		})
	}
}
