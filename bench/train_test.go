package bench

import (
	"fmt"
	"os"
	"runtime"
	"slices"
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
		b.Run(fmt.Sprintf("cartpole/population=%d", population), func(b *testing.B) { trainCPU(b, CartPole(population)) })
	}
	b.Run("wide/population=4", func(b *testing.B) { trainCPU(b, Wide(4)) })
}

// trainCPU reports env-steps/s, the share of the multiply-add peak measured in the
// same seconds, and the share of each phase.
func trainCPU(b *testing.B, c *kernels.Config) {
	path, err := simd.Select(os.Getenv(cpu.PathVariable))
	require.NoError(b, err)
	e, err := cpu.New(c)
	require.NoError(b, err)
	defer e.Close()
	stats := make([]kernels.Stats, c.Population)
	require.NoError(b, e.Iterate(stats)) // first touch of the buffers

	before := e.Profile()
	b.ReportAllocs()
	m := meter{path: path, flop: FLOP(c), stepsPerIteration: float64(c.Population * c.Rows())}
	for b.Loop() {
		if m.due() {
			b.StopTimer()
			m.measure()
			b.StartTimer()
		}
		if err := e.Iterate(stats); err != nil {
			b.Fatal(err)
		}
		m.iterations++
	}
	b.StopTimer()
	m.measure()
	rate := m.stepsPerIteration * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "env-steps/s")
	b.ReportMetric(rate*m.flop/1e9, "GFLOPS")
	b.ReportMetric(100*median(m.shares), "%peak")
	b.Log(phases(before, e.Profile()))
}

// meter takes the share of the multiply-add peak in windows of a quarter of a
// second, each against the peak measured right before and after it. The speed of
// a shared machine changes from second to second; the median over the windows
// stays.
type meter struct {
	path                    *simd.Path
	flop, stepsPerIteration float64

	iterations int // of this window
	began      time.Time
	peak       float64 // at its beginning
	shares     []float64
}

func (m *meter) due() bool { return m.peak == 0 || time.Since(m.began) > 250*time.Millisecond }

// measure ends a window, if one was begun, and begins the next.
func (m *meter) measure() {
	elapsed := time.Since(m.began).Seconds()
	peak := peakFLOPS(m.path)
	if m.iterations > 0 {
		flops := m.flop * m.stepsPerIteration * float64(m.iterations) / elapsed
		m.shares = append(m.shares, 2*flops/(m.peak+peak))
	}
	m.peak, m.iterations, m.began = peak, 0, time.Now()
}

func median(x []float64) float64 {
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
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
