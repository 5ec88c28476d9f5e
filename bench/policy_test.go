package bench

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"brood/ckpt"
	"brood/kernels"
	"brood/kernels/host"
	"brood/ppo"
	"brood/tensor"
)

// policyOf is a fresh agent of a workload, as it comes from a member file.
func policyOf(b *testing.B, c *kernels.Config, config string) *ppo.Policy {
	layout, err := kernels.NewLayout(c)
	require.NoError(b, err)
	m := tensor.NewMember(layout)
	host.Init(c, m, 0)
	data, err := ckpt.Encode(m, ckpt.Meta{Performance: math.NaN(), Env: ckpt.EnvOf(c.Env.Spec()), Config: config}, false)
	require.NoError(b, err)
	checkpoint, err := ckpt.Decode(data)
	require.NoError(b, err)
	p, err := ppo.NewPolicy(checkpoint)
	require.NoError(b, err)
	return p
}

// fastest is the time of a call in ns, in the fastest of 1000 windows of so many.
func fastest(call func(), calls int) float64 {
	best := time.Hour
	for range 1000 {
		start := time.Now()
		for range calls {
			call()
		}
		best = min(best, time.Since(start))
	}
	return float64(best.Nanoseconds()) / float64(calls)
}

// BenchmarkPolicy is one agent outside training, on one core: an action for one
// observation, and per observation of a batch. It reports ns/observation, and the
// same in the fastest of short windows: what it takes when nobody else has the core.
func BenchmarkPolicy(b *testing.B) {
	wide := Wide(1)
	for _, w := range []struct {
		name string
		p    *ppo.Policy
	}{
		{"cartpole 2x64", policyOf(b, CartPole(1), "")},
		{"cartpole 2x64 normalised", policyOf(b, CartPole(1), "ppo: {normalize_observations: true}")},
		{"wide 2x256", policyOf(b, wide, "critic: {type: quantile}")},
	} {
		p := w.p
		const n = 1024
		observations := make([]float32, n*p.ObservationSize())
		for i := range observations {
			observations[i] = float32(math.Sin(float64(i)))
		}
		one, actions := observations[:p.ObservationSize()], make([]float32, n*p.ActionSize())
		action := actions[:p.ActionSize()]
		for name, call := range map[string]struct {
			rows int
			do   func()
		}{
			"act":       {1, func() { p.Act(one, action) }},
			"value":     {1, func() { p.Value(one) }},
			"act batch": {n, func() { p.ActBatch(observations, actions) }},
		} {
			b.Run(w.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					call.do()
				}
				b.StopTimer()
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*call.rows), "ns/observation")
				b.ReportMetric(fastest(call.do, max(1, 100/call.rows))/float64(call.rows), "fastest-ns/observation")
			})
		}
	}
}
