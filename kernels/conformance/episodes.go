package conformance

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"brood/env"
	"brood/kernels"
)

func clockConfig(e env.Vector) *kernels.Config {
	c := config()
	c.Env, c.Population, c.Environments, c.Steps = e, 2, 3, 10
	c.Minibatches, c.Epochs = 2, 1
	c.NormalizeObservations, c.NormalizeRewards = false, false
	return c
}

// bookkeeper follows the episodes of one member from its rollouts alone.
type bookkeeper struct {
	ret, length        []float64 // of the unfinished episodes
	finished, interval []float64 // returns in order
	lengths            []float64
}

func (b *bookkeeper) add(r *kernels.Rollout, n int) {
	for i, reward := range r.Rewards {
		b.ret[i%n] += float64(reward)
		b.length[i%n]++
		if r.Terminated[i] != 0 || r.Truncated[i] != 0 {
			b.finished = append(b.finished, b.ret[i%n])
			b.interval = append(b.interval, b.ret[i%n])
			b.lengths = append(b.lengths, b.length[i%n])
			b.ret[i%n], b.length[i%n] = 0, 0
		}
	}
}

func (b *bookkeeper) score() (float64, int) {
	window := b.finished[max(0, len(b.finished)-kernels.EpisodeWindow):]
	if len(b.interval) >= len(window) {
		window = b.interval
	}
	if len(window) == 0 {
		return math.NaN(), 0
	}
	sum := 0.0
	for _, r := range window {
		sum += r
	}
	return sum / float64(len(window)), len(window)
}

// episodes checks ends of episodes, their figures and the score's window.
func episodes(t *testing.T, newEngine Factory) {
	t.Run("terminated", func(t *testing.T) { playClock(t, newEngine, 4, 0, 4) })
	t.Run("truncated", func(t *testing.T) { playClock(t, newEngine, 0, 7, 7) })
	t.Run("terminated at the limit", func(t *testing.T) { playClock(t, newEngine, 4, 4, 4) })
	t.Run("none", func(t *testing.T) {
		e := engine(t, newEngine, clockConfig(clock(0, 0)))
		stats := iterate(t, e, 2)
		if score, n := e.Score(0); !math.IsNaN(score) || n != 0 {
			t.Errorf("the score without an episode is %v over %d, want NaN over 0", score, n)
		}
		if stats[0].Episodes != 0 || !math.IsNaN(stats[0].ReturnMean) || !math.IsNaN(stats[0].LengthMean) {
			t.Errorf("the statistics without an episode are %+v", stats[0])
		}
	})
}

func playClock(t *testing.T, newEngine Factory, length, limit, ends int) {
	c := clockConfig(clock(length, limit))
	e := engine(t, newEngine, c)
	n := c.Environments
	book := &bookkeeper{ret: slices.Repeat([]float64{0}, n), length: slices.Repeat([]float64{0}, n)}
	for iteration := range 40 {
		known := len(book.finished)
		stats := iterate(t, e, 1)[1]
		var r kernels.Rollout
		check(t, e.ReadRollout(1, &r))
		checkEnds(t, &r, iteration*c.Steps, n, ends, length == 0)
		book.add(&r, n)
		now := book.finished[known:]
		if stats.Episodes != len(now) {
			t.Fatalf("iteration %d: %d episodes finished, want %d", iteration, stats.Episodes, len(now))
		}
		if len(now) > 0 {
			near(t, "episode figures", []float64{stats.ReturnMin, stats.ReturnMax, stats.LengthMean},
				[]float64{slices.Min(now), slices.Max(now), float64(ends)}, 1e-9, 0)
		}
		got, count := e.Score(1)
		want, wantCount := book.score()
		near(t, fmt.Sprintf("score after iteration %d", iteration), []float64{got}, []float64{want}, 1e-9, 1e-9)
		if count != wantCount {
			t.Errorf("iteration %d: the score is over %d episodes, want %d", iteration, count, wantCount)
		}
		if iteration%8 == 5 {
			e.ClearIntervals()
			book.interval = nil
		}
	}
	m := snapshot(t, e, 1)
	near(t, "counters", []float64{float64(m.Int64(kernels.SectionCounters, "env_steps")[0]),
		float64(m.Int64(kernels.SectionCounters, "updates")[0]), float64(m.Int64(kernels.SectionCounters, "episodes")[0])},
		[]float64{float64(40 * c.Rows()), 40, float64(len(book.finished))}, 0, 0)
	near(t, "unfinished returns", widen(m.Float32(kernels.SectionEnvironment, "episode_return")), book.ret, 1e-6, 0)
	near(t, "unfinished lengths", widen(m.Float32(kernels.SectionEnvironment, "episode_length")), book.length, 0, 0)
}

// checkEnds: every episode ends after ends steps, and the observations around
// its end are those of before and after the reset. done is the number of vector
// steps before this rollout.
func checkEnds(t *testing.T, r *kernels.Rollout, done, n, ends int, truncates bool) {
	t.Helper()
	for i := range r.Rewards {
		step := done + i/n
		over := (step+1)%ends == 0
		if (r.Terminated[i] != 0) != (over && !truncates) || (r.Truncated[i] != 0) != (over && truncates) {
			t.Fatalf("vector step %d: terminated %d, truncated %d, want an end: %v", step, r.Terminated[i], r.Truncated[i], over)
		}
		if got := r.Obs[2*i]; got != float32(step%ends) {
			t.Fatalf("vector step %d: the observation's clock is %v, want %d", step, got, step%ends)
		}
		if r.Truncated[i] != 0 && (r.FinalObs[2*i] != float32(ends) || r.FinalObs[2*i+1] != r.Obs[2*i+1]) {
			t.Fatalf("vector step %d: the final observation is %v, want [%d %v]", step, r.FinalObs[2*i:2*i+2], ends, r.Obs[2*i+1])
		}
	}
	last := (done + len(r.Rewards)/n) % ends
	for i := range n {
		if got := r.LastObs[2*i]; got != float32(last) {
			t.Fatalf("environment %d: the last observation's clock is %v, want %d", i, got, last)
		}
	}
}

// normalization compares normalised observations and rewards, and the statistics,
// with float64 recomputation from the raw ones: those of an engine that does not
// normalise, in an environment that ignores its actions.
func normalization(t *testing.T, newEngine Factory) {
	normalizationOf(t, newEngine, clockConfig(clock(4, 0)))
}

func normalizationOf(t *testing.T, newEngine Factory, c *kernels.Config) {
	raw := engine(t, newEngine, c)
	on := *c
	on.NormalizeObservations, on.NormalizeRewards = true, true
	e := engine(t, newEngine, &on)
	gamma := float64(c.Hyperparameters[kernels.Gamma])
	obs := [2]moments{{variance: 1, count: 1e-4}, {variance: 1, count: 1e-4}}
	rewards := moments{variance: 1, count: 1e-4}
	g := slices.Repeat([]float64{0}, c.Environments)
	for iteration := range 3 {
		iterate(t, raw, 1)
		iterate(t, e, 1)
		var x, y kernels.Rollout
		check(t, raw.ReadRollout(0, &x))
		check(t, e.ReadRollout(0, &y))
		var wantObs, wantRewards, returns []float64
		features := [2][]float64{}
		for i, v := range x.Obs {
			features[i%2] = append(features[i%2], float64(v))
			wantObs = append(wantObs, obs[i%2].normalize(float64(v)-obs[i%2].mean))
		}
		for i, v := range x.Rewards {
			n := i % c.Environments
			g[n] = gamma*g[n] + float64(v)
			returns = append(returns, g[n])
			wantRewards = append(wantRewards, rewards.normalize(float64(v)))
			if x.Terminated[i] != 0 {
				g[n] = 0
			}
		}
		near(t, fmt.Sprintf("iteration %d: observations", iteration), widen(y.Obs), wantObs, 1e-5, 1e-5)
		near(t, fmt.Sprintf("iteration %d: rewards", iteration), widen(y.Rewards), wantRewards, 1e-5, 1e-5)
		obs[0].merge(features[0])
		obs[1].merge(features[1])
		rewards.merge(returns)
		m := snapshot(t, e, 0)
		near(t, "mean", widen(m.Float32(kernels.SectionObservationNorm, "mean")), []float64{obs[0].mean, obs[1].mean}, 0, 1e-5)
		near(t, "var", widen(m.Float32(kernels.SectionObservationNorm, "var")), []float64{obs[0].variance, obs[1].variance}, 0, 1e-5)
		near(t, "reward var", widen(m.Float32(kernels.SectionRewardNorm, "var")), []float64{rewards.variance}, 0, 1e-5)
		near(t, "reward count", m.Float64(kernels.SectionRewardNorm, "count"), []float64{rewards.count}, 0, 1e-9)
		near(t, "discounted returns", widen(m.Float32(kernels.SectionEnvironment, "discounted_return")), g, 1e-4, 1e-5)
	}
}

// moments are the mean and variance of all numbers so far, by their definition
// over weighted sums.
type moments struct{ mean, variance, count float64 }

func (m *moments) normalize(x float64) float64 {
	return math.Max(-10, math.Min(10, x/math.Sqrt(m.variance+1e-8)))
}

func (m *moments) merge(x []float64) {
	sum, squares := m.mean*m.count, (m.variance+m.mean*m.mean)*m.count
	for _, v := range x {
		sum += v
		squares += v * v
	}
	m.count += float64(len(x))
	m.mean = sum / m.count
	m.variance = squares/m.count - m.mean*m.mean
}
