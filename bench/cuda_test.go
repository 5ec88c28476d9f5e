//go:build cuda

package bench

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/cuda"
	"brood/kernels"
	"brood/kernels/gpu"
)

func gpuEngine(b *testing.B, c *kernels.Config) *gpu.Engine {
	if _, err := cuda.Devices(); err != nil {
		b.Skipf("needs a GPU: %v", err)
	}
	e, err := gpu.New(c)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, e.Close()) })
	return e.(*gpu.Engine)
}

func BenchmarkTrainCUDA(b *testing.B) {
	for _, population := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("cartpole/population=%d", population), func(b *testing.B) { trainCUDA(b, CartPole(population)) })
	}
	b.Run("wide/population=4", func(b *testing.B) { trainCUDA(b, Wide(4)) })
	b.Run("humanoid/population=1", func(b *testing.B) { trainCUDA(b, Humanoid(1)) })
}

// trainCUDA reports env-steps/s with one iteration queued ahead, as in a run.
func trainCUDA(b *testing.B, c *kernels.Config) {
	e := gpuEngine(b, c)
	stats := make([]kernels.Stats, c.Population)
	require.NoError(b, e.Iterate(stats)) // captures the graphs
	before := e.Profile()
	require.NoError(b, e.Begin())
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Begin(); err != nil {
			b.Fatal(err)
		}
		if err := e.Wait(stats); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	require.NoError(b, e.Wait(stats))
	rate := float64(c.Population*c.Rows()) * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "env-steps/s")
	b.ReportMetric(rate*FLOP(c)/1e9, "GFLOPS")
	b.Log(phases(before, e.Profile()))
}

// BenchmarkExploitCUDA copies to every second member of a population of 64, and
// waits for the device.
func BenchmarkExploitCUDA(b *testing.B) {
	for _, strategy := range []kernels.Strategy{kernels.StrategyReset, kernels.StrategyCopy} {
		b.Run(string(strategy), func(b *testing.B) {
			c := CartPole(64)
			e := gpuEngine(b, c)
			var exploits []kernels.Exploit
			for m := 0; m < c.Population; m += 2 {
				exploits = append(exploits, kernels.Exploit{Member: m, Source: m + 1, Strategy: strategy, Hyperparameters: c.Hyperparameters})
			}
			for b.Loop() {
				if err := e.Exploit(exploits); err != nil {
					b.Fatal(err)
				}
				if err := e.Synchronize(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "us/exploit")
		})
	}
}
