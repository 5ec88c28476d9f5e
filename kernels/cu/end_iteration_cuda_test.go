//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
)

// iteration is what the statistics of one member are made of.
type iteration struct {
	raw, discounted, advantages, returns []float32
	flags                                []uint8
	finishedReturn, finishedLength       []float32
}

// iterations are random ones of all members, of whose rows a share of ends end
// episodes, on the device too. Rows without an end hold NaN where an episode's
// return would be.
func (f *fixture) iterations(random *rand.Rand, ends float64) (list []iteration) {
	p, b, d := &f.params, int(f.params.Rows), int(f.params.ObsDim)
	for m := range int(p.Members) {
		x := iteration{raw: randoms(random, b*d, 3), discounted: randoms(random, b, -2), advantages: randoms(random, b, 0.1),
			returns: randoms(random, b, 7), flags: make([]uint8, b), finishedReturn: make([]float32, b), finishedLength: make([]float32, b)}
		for i := range x.flags {
			x.finishedReturn[i], x.finishedLength[i] = float32(math.NaN()), float32(math.NaN())
			if random.Float64() < ends {
				x.flags[i] = uint8(1 + random.IntN(2))
				x.finishedReturn[i], x.finishedLength[i] = float32(50*random.NormFloat64()), float32(1+random.IntN(500))
			}
		}
		if p.RawObs != 0 {
			upload(f, at(p.RawObs, m, b*d), x.raw)
		}
		if p.Discounted != 0 {
			upload(f, at(p.Discounted, m, b), x.discounted)
		}
		upload(f, at(p.Advantages, m, b), x.advantages)
		upload(f, at(p.Returns, m, b), x.returns)
		upload(f, p.Flags+Ptr(m*b), x.flags)
		upload(f, at(p.FinishedReturn, m, b), x.finishedReturn)
		upload(f, at(p.FinishedLength, m, b), x.finishedLength)
		list = append(list, x)
	}
	return list
}

// finish is what the host does at the end of an iteration.
func (x *iteration) finish(c *kernels.Config, s *host.State) (f host.Finished, r Report) {
	r.LearningRate = s.LearningRate(c)
	if c.NormalizeObservations {
		s.MergeObs(x.raw, c.Rows(), len(s.ObsMean))
	}
	if c.NormalizeRewards {
		s.MergeRewards(x.discounted)
	}
	for i, flags := range x.flags {
		if flags != 0 {
			s.RecordEpisode(&f, x.finishedReturn[i], x.finishedLength[i])
		}
	}
	s.EndIteration(c.Rows())
	score, episodes := s.Score()
	r.Sum, r.LengthSum, r.Min, r.Max, r.Episodes = f.Sum, f.LengthSum, f.Min, f.Max, int64(f.Count)
	r.Score, r.ScoreEpisodes = score, int64(episodes)
	r.KLBeta, r.ExplainedVariance = *s.KLBeta, host.ExplainedVariance(x.advantages, x.returns)
	return f, r
}

// checkReport compares all but the explained variance exactly: episodes are
// entered in the host's order.
func checkReport(t *testing.T, want, got Report) {
	t.Helper()
	checkFloats(t, "explained variance", []float32{want.ExplainedVariance}, []float32{got.ExplainedVariance})
	want.ExplainedVariance, got.ExplainedVariance = 0, 0
	if math.IsNaN(want.Score) && math.IsNaN(got.Score) {
		want.Score, got.Score = 0, 0
	}
	if want != got {
		t.Fatalf("the report is\n%+v, want\n%+v", got, want)
	}
}

var endings = map[string]struct {
	change func(*kernels.Config)
	ends   float64
}{
	"odd":       {nil, 0.2},
	"none":      {nil, 0},
	"every row": {nil, 1},
	"one row": {func(c *kernels.Config) {
		c.Population, c.Environments, c.Steps, c.Minibatches, c.NormalizeAdvantage = 1, 1, 1, 1, false
	}, 1},
	"many chunks":        {func(c *kernels.Config) { c.Environments, c.Steps = 25, 100 }, 0.15}, // several tiles of episodes
	"one chunk":          {func(c *kernels.Config) { c.Environments, c.Steps, c.Minibatches = 32, 32, 1 }, 0.02},
	"40 chunks":          {func(c *kernels.Config) { c.Population, c.Environments, c.Steps, c.Minibatches = 1, 401, 100, 1 }, 0.001},
	"wide":               {func(c *kernels.Config) { c.Env, c.Environments, c.Steps = env.Vectorize(still{131}), 25, 45 }, 0.1},
	"nothing normalised": {func(c *kernels.Config) { c.NormalizeObservations, c.NormalizeRewards = false, false }, 0.2},
	"only rewards":       {func(c *kernels.Config) { c.NormalizeObservations = false }, 0.2},
}

func TestEndIteration(t *testing.T) {
	for name, k := range endings {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(21, 22))
			c := aroundConfig(k.change)
			f := newFixture(t, c)
			states := f.shakeStates(random)
			var fresh [][]byte
			for _, s := range states {
				fresh = append(fresh, slices.Clone(s.Member.Bytes()))
			}
			list := f.iterations(random, k.ends)
			end := func() {
				f.run(func() error {
					if err := f.k.Moments(f.stream, &f.params); err != nil {
						return err
					}
					return f.k.EndIteration(f.stream, &f.params)
				})
			}
			end()
			reports, after := download[Report](f, f.params.Reports, len(states)), f.states()
			for m, s := range states {
				_, want := list[m].finish(c, s)
				checkReport(t, want, reports[m])
				got := host.NewState(after[m])
				if !slices.Equal(s.Returns, got.Returns) || *s.IntervalSum != *got.IntervalSum {
					t.Fatalf("member %d: the episodes are not the host's bits", m)
				}
				copy(s.Member.Bytes(), fresh[m])
				f.setState(m, s.Member)
			}
			end()
			for m, again := range f.states() {
				if !slices.Equal(after[m].Bytes(), again.Bytes()) {
					t.Errorf("member %d: a second run gives other bits", m)
				}
				list[m].finish(c, states[m])
				checkState(t, states[m].Member, again)
			}
		})
	}
}

// Returns that do not vary have no explained variance, a member that finished no
// episode ever has no score, and a NaN observation stays in its feature.
func TestEndIterationAtTheEdges(t *testing.T) {
	random := rand.New(rand.NewPCG(23, 24))
	c := aroundConfig(nil)
	f := newFixture(t, c)
	states := f.shakeStates(random)
	list := f.iterations(random, 0)
	fill(list[0].returns, func() float32 { return 0.5 })
	upload(f, f.params.Returns, list[0].returns)
	*states[1].ReturnCount, *states[1].IntervalCount = 0, 0
	f.setState(1, states[1].Member)
	list[2].raw[4] = float32(math.NaN())
	upload(f, at(f.params.RawObs, 2, len(list[2].raw)), list[2].raw)
	f.run(func() error {
		if err := f.k.Moments(f.stream, &f.params); err != nil {
			return err
		}
		return f.k.EndIteration(f.stream, &f.params)
	})
	reports, after := download[Report](f, f.params.Reports, 3), f.states()
	for m, s := range states {
		_, want := list[m].finish(c, s)
		checkReport(t, want, reports[m])
		checkState(t, s.Member, after[m])
	}
}

// Scores of members with fewer episodes than the window, and with just as many as
// the interval has.
func TestEndIterationScores(t *testing.T) {
	for _, k := range []struct{ returned, interval int64 }{{0, 0}, {3, 3}, {99, 4}, {100, 100}, {5000, 99}, {5000, 101}} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			random := rand.New(rand.NewPCG(25, 26))
			c := aroundConfig(func(c *kernels.Config) { c.Population = 1 })
			f := newFixture(t, c)
			s := f.shakeStates(random)[0]
			*s.ReturnCount, *s.IntervalCount = k.returned, k.interval
			f.setState(0, s.Member)
			list := f.iterations(random, 0.1)
			f.run(func() error { return f.k.EndIteration(f.stream, &f.params) })
			_, want := list[0].finish(c, s)
			got := download[Report](f, f.params.Reports, 1)[0]
			want.ExplainedVariance, got.ExplainedVariance = 0, 0 // the moments were not computed
			checkReport(t, want, got)
		})
	}
}

func TestMoments(t *testing.T) {
	for _, features := range []int{1, 3, 64, 65, 131} {
		t.Run(fmt.Sprint(features), func(t *testing.T) {
			random := rand.New(rand.NewPCG(27, 28))
			f := newFixture(t, aroundConfig(func(c *kernels.Config) {
				c.Population, c.Env, c.Environments, c.Steps = 2, env.Vectorize(still{features}), 205, 5 // 1025 rows: two chunks
			}))
			list := f.iterations(random, 0)
			f.run(func() error { return f.k.Moments(f.stream, &f.params) })
			got := download[[2]float64](f, f.params.Moments, 2*2*(features+3))
			for m, x := range list {
				for chunk, rows := range []int{1024, 1} {
					for column := range features + 3 {
						data, stride := x.raw[column%features:], features
						if column >= features {
							data, stride = [][]float32{x.discounted, x.advantages, x.returns}[column-features], 1
						}
						mean, m2 := PlainMoments(data[chunk*MomentRows*stride:], rows, stride)
						g := got[(m*2+chunk)*(features+3)+column]
						checkFloats(t, fmt.Sprintf("member %d chunk %d column %d", m, chunk, column), []float64{mean, m2}, g[:])
					}
				}
			}
		})
	}
}

func TestClearIntervals(t *testing.T) {
	f := newFixture(t, aroundConfig(nil))
	states := f.shakeStates(rand.New(rand.NewPCG(29, 30)))
	f.run(func() error { return f.k.ClearIntervals(f.stream, &f.params) })
	for m, got := range f.states() {
		states[m].ClearInterval()
		if !slices.Equal(states[m].Member.Bytes(), got.Bytes()) {
			t.Errorf("member %d has another state than the host's", m)
		}
	}
}
