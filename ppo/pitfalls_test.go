package ppo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"brood/kernels"
	"brood/tensor"
)

// What other implementations of population based training are known to get wrong,
// each as a test named after what it guards. The stale optimizer has a file of its
// own, optimizer_state_test.go; those that need a whole run are in package train,
// those that are decisions alone in package pbt.

// reopened is a new population of the same config with the members' states, as a
// run has it that was restored.
func reopened(t *testing.T, newPopulation maker, p *Population) *Population {
	t.Helper()
	q := newPopulation(t, p.Engine().Config())
	restore(t, q, snapshots(t, p))
	return q
}

func played(t *testing.T, p *Population, members ...int) [][]float64 {
	t.Helper()
	const episodes = 6
	returns, lengths := make([][]float64, len(members)), make([][]int, len(members))
	for i := range members {
		returns[i], lengths[i] = make([]float64, episodes), make([]int, episodes)
	}
	require.NoError(t, p.Engine().Evaluate(kernels.Evaluation{Members: members, Episodes: episodes, Seed: 4}, returns, lengths))
	return returns
}

func TestPerturbedLearningRateClipAndLambdaHoldAfterRestore(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 1, 3, func(s *sections) {
			s.PPO.LearningRate, s.PPO.Epochs, s.PPO.ClipRange = 1e-2, 4, .05 // ratios that do reach the clip range
		}))
		iterate(t, p, 1)
		next := func(change func(q *Population)) string {
			q := reopened(t, newPopulation, p)
			change(q)
			q = reopened(t, newPopulation, q)
			iterate(t, q, 1)
			return fingerprint(snapshot(t, q, 0), kernels.SectionPolicy)
		}
		unperturbed := next(func(*Population) {})
		for name, value := range map[string]float64{"learning_rate": 8e-3, "clip_range": .03, "gae_lambda": .8} {
			require.NotEqual(t, unperturbed, next(func(q *Population) { require.NoError(t, q.SetHyperparameter(0, name, value)) }),
				"%s was set, and forgotten by a restore", name)
		}
	})
}

func TestReturnDoesNotDropAfterRestore(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 2, 5, func(s *sections) { s.PPO.NormalizeObservations, s.PPO.NormalizeRewards = true, true }))
		iterate(t, p, 6)
		q := reopened(t, newPopulation, p)
		require.Equal(t, played(t, p, 0, 1), played(t, q, 0, 1))
		iterate(t, p, 2)
		iterate(t, q, 2)
		require.Equal(t, played(t, p, 0, 1), played(t, q, 0, 1), "it plays the same, but trains otherwise")
		require.Equal(t, digest(t, p), digest(t, q))
	})
}

func TestObservationStatisticsComeWithTheWeights(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 2, 5, func(s *sections) { s.PPO.NormalizeObservations = true }))
		iterate(t, p, 4)
		own := snapshot(t, p, 0)
		h, err := p.Hyperparameters(1)
		require.NoError(t, err)
		require.NoError(t, p.Exploit([]kernels.Exploit{{Member: 0, Source: 1, Strategy: kernels.StrategyReset, Hyperparameters: h}}))
		after, source := snapshot(t, p, 0), snapshot(t, p, 1)
		require.NotEqual(t, fingerprint(own, kernels.SectionObservationNorm), fingerprint(source, kernels.SectionObservationNorm))
		require.Equal(t, fingerprint(source, kernels.SectionObservationNorm), fingerprint(after, kernels.SectionObservationNorm))
		values := func(m tensor.Member) []float32 {
			require.NoError(t, p.Engine().Restore(0, m))
			require.NoError(t, p.Engine().Collect())
			var r kernels.Rollout
			require.NoError(t, p.Engine().ReadRollout(0, &r))
			return r.Values
		}
		right := values(after)
		overwriteSection(after, own, kernels.SectionObservationNorm)
		require.NotEqual(t, right, values(after), "the setup shows no difference")
	})
}

func TestCloneDoesNotRepeatItsSource(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 2, 5, nil))
		iterate(t, p, 2)
		h, err := p.Hyperparameters(1)
		require.NoError(t, err)
		require.NoError(t, p.Exploit([]kernels.Exploit{{Member: 0, Source: 1, Strategy: kernels.StrategyCopy, Hyperparameters: h}}))
		clone, source := snapshot(t, p, 0), snapshot(t, p, 1)
		require.NotEqual(t, fingerprint(source, kernels.SectionEnvironment), fingerprint(clone, kernels.SectionEnvironment),
			"the clone plays in its source's environments")
		// Even in the same environments it must draw actions of its own.
		overwriteSection(clone, source, kernels.SectionEnvironment)
		require.NoError(t, p.Engine().Restore(0, clone))
		require.NoError(t, p.Engine().Collect())
		var a, b kernels.Rollout
		require.NoError(t, p.Engine().ReadRollout(0, &a))
		require.NoError(t, p.Engine().ReadRollout(1, &b))
		require.Equal(t, a.Obs[:8*4], b.Obs[:8*4], "the first step is not from the same states")
		require.NotEqual(t, a.Actions, b.Actions, "the clone draws its source's random numbers")
	})
}

// The position in a linear schedule is the member's own count of updates: neither
// the source's nor begun anew.
func TestLearningRateScheduleGoesOnAfterExploit(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		p := newPopulation(t, smallConfig(t, 2, 5, func(s *sections) { s.PPO.LearningRateSchedule = kernels.Linear }))
		iterate(t, p, 5)
		source := snapshot(t, p, 1)
		source.Int64(kernels.SectionCounters, "updates")[0] = 2 // as in a population whose members do not keep step
		require.NoError(t, p.Engine().Restore(1, source))
		h, err := p.Hyperparameters(1)
		require.NoError(t, err)
		require.NoError(t, p.Exploit([]kernels.Exploit{{Member: 0, Source: 1, Strategy: kernels.StrategyReset, Hyperparameters: h}}))
		stats := make([]kernels.Stats, 2)
		require.NoError(t, p.Iterate(stats))
		require.InEpsilon(t, float64(h[kernels.LearningRate])*(1-5./1000), float64(stats[0].LearningRate), 1e-6)
		require.InEpsilon(t, float64(h[kernels.LearningRate])*(1-2./1000), float64(stats[1].LearningRate), 1e-6)
	})
}

func TestPendingEarlyStopIsNotCarriedOver(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		c := smallConfig(t, 2, 5, func(s *sections) { s.PPO.LearningRate, s.PPO.TargetKL, s.PPO.Minibatches = 1e-2, 1e-4, 4 })
		p := newPopulation(t, c)
		iterate(t, p, 1)
		calm := snapshots(t, p)
		stats := make([]kernels.Stats, 2)
		require.NoError(t, p.Iterate(stats))
		require.True(t, stats[0].Stopped, "the setup does not stop early")
		stopped := snapshot(t, p, 0)
		h, err := p.Hyperparameters(1)
		require.NoError(t, err)
		exploit := []kernels.Exploit{{Member: 0, Source: 1, Strategy: kernels.StrategyReset, Hyperparameters: h}}

		require.NoError(t, p.Engine().Restore(1, calm[1]))
		require.NoError(t, p.Exploit(exploit))
		require.NoError(t, p.Iterate(stats))
		require.Positive(t, stats[0].Minibatches, "no minibatch was applied after the exploit")
		got := snapshot(t, p, 0)

		fresh := newPopulation(t, c) // whose member 0 has never been stopped
		require.NoError(t, fresh.Engine().Restore(0, stopped))
		require.NoError(t, fresh.Engine().Restore(1, calm[1]))
		require.NoError(t, fresh.Exploit(exploit))
		iterate(t, fresh, 1)
		requireSameState(t, snapshot(t, fresh, 0), got)
	})
}

func TestTwoMembersThatExploitEachOtherInOneInterval(t *testing.T) {
	forEngines(t, func(t *testing.T, newPopulation maker) {
		for _, strategy := range kernels.Strategies() {
			p := newPopulation(t, smallConfig(t, 2, 5, nil))
			iterate(t, p, 2)
			before := snapshots(t, p)
			h, err := p.Hyperparameters(0)
			require.NoError(t, err)
			require.NoError(t, p.Exploit([]kernels.Exploit{
				{Member: 0, Source: 1, Strategy: strategy, Hyperparameters: h},
				{Member: 1, Source: 0, Strategy: strategy, Hyperparameters: h}}))
			for m := range 2 {
				require.Equal(t, fingerprint(before[1-m], kernels.SectionPolicy), fingerprint(snapshot(t, p, m), kernels.SectionPolicy),
					"%s: member %d has not what the other was before", strategy, m)
			}
			if strategy == kernels.StrategyCopy {
				for m := range 2 {
					require.Equal(t, fingerprint(before[1-m], kernels.SectionOptimizer), fingerprint(snapshot(t, p, m), kernels.SectionOptimizer))
				}
			}
		}
	})
}
