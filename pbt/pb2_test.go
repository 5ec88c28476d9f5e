package pbt

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/pbt/bandit"
	"brood/rng"
)

func configPB2(population int) Config {
	c := configX(population)
	c.ExploreMethod = PB2
	return c
}

func TestScaledIsTheInverseOfAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHyperparameter(t, "h")
		if h.Values != nil {
			return
		}
		u := rapid.Float64Range(0, 1).Draw(t, "u")
		require.InDelta(t, u, h.scaled(h.at(u)), 1e-9)
		require.Equal(t, 0.0, h.scaled(*h.Min))
		require.Equal(t, 1.0, h.scaled(*h.Max))
		require.Equal(t, 0.0, h.scaled(*h.Min-1), "outside")
		require.Equal(t, 1.0, h.scaled(*h.Max+1), "outside")
	})
	wide := Range("h", -math.MaxFloat64, math.MaxFloat64)
	require.Equal(t, 0.5, wide.scaled(0))
	narrow := LogRange("h", 1e300, math.Nextafter(1e300, math.Inf(1)))
	require.Equal(t, 0.0, narrow.scaled(1e300), "neighbours with one logarithm")
	log := LogRange("h", 1e-5, 1e-1)
	require.InDelta(t, 0.25, log.scaled(1e-4), 1e-12)
	require.InDelta(t, 1e-3, log.at(0.5), 1e-15)
}

// What is observed: the change of a score over an interval in which the member
// kept its weights and had scores at both ends.
func TestObservations(t *testing.T) {
	for _, mode := range []MetricMode{Max, Min} {
		t.Run(string(mode), func(t *testing.T) {
			sign := 1.0
			if mode == Min {
				sign = -1
			}
			c := configPB2(4)
			c.MetricMode, c.ReadyPercentage = mode, 0.25
			s := newScheduler(t, c, 1)
			interval := func(step int64, scores ...float64) []Decision {
				for id, score := range scores {
					if score != 0 { // 0: reports nothing
						require.NoError(t, s.UpdatePerformance(id, sign*score, step))
					}
				}
				decisions, err := s.ExploitAndExplore()
				require.NoError(t, err)
				return decisions
			}
			x := func(id int) map[string]float64 { return s.Population()[id].Hyperparameters }
			decisions := interval(1, 10, 20, 30, 40)
			require.Empty(t, s.State().Observations, "no member had a score before")
			require.Equal(t, 0, decisions[0].Member)
			require.Equal(t, OpResample, decisions[0].Operations["x"], "nothing to suggest from yet")

			x1, x3 := x(1), x(3)
			require.Equal(t, 2, interval(2, 15, 25, nan(), 47)[0].Member)
			want := []Observation{{2, x1, 5}, {2, x3, 7}} // 0 copied, 2 has no score now
			require.Equal(t, want, s.State().Observations)
			// 2 ranked last and copied. 0 ends its first interval of its own with a score
			// at both ends, 1 falls, 3 is away.
			x0, x1 := x(0), x(1)
			interval(3, 16, 21, 35, 0)
			want = append(want, Observation{3, x0, 1}, Observation{3, x1, -4})
			require.Equal(t, want, s.State().Observations)
			// 3 reports again: the change since its last interval.
			x3 = x(3)
			interval(4, 0, 0, 0, 50)
			require.Equal(t, append(want, Observation{4, x3, 3}), s.State().Observations)

			s.State().Observations[0].Hyperparameters["x"] = -1
			require.Positive(t, s.State().Observations[0].Hyperparameters["x"], "its own copy")
			*s.Population()[1].Baseline = -1
			require.Equal(t, sign*21, *s.Population()[1].Baseline, "its own copy")
			s.InitializePopulation()
			require.Empty(t, s.State().Observations)
		})
	}
}

// Of infinite changes nothing can be learnt, and State could not be written.
func TestChangesBeyondFloat64AreNotObserved(t *testing.T) {
	s := newScheduler(t, configPB2(2), 1)
	report(t, s, 1, 1, math.MaxFloat64)
	_, err := s.ExploitAndExplore()
	require.NoError(t, err)
	report(t, s, 2, 1, -math.MaxFloat64)
	_, err = s.ExploitAndExplore()
	require.NoError(t, err)
	require.Empty(t, s.State().Observations)
}

func TestOnlyPB2Observes(t *testing.T) {
	s := newScheduler(t, configX(4), 1)
	simulate(t, s, 0, 4)
	require.Empty(t, s.State().Observations)
}

func TestAtMostAsManyObservationsAsTheBanditUses(t *testing.T) {
	c := configPB2(130)
	c.Hyperparameters = nil // nothing is fitted
	s := newScheduler(t, c, 1)
	for step := range int64(6) {
		for id := range 130 {
			require.NoError(t, s.UpdatePerformance(id, float64(step)*float64(id), step+1))
		}
		_, err := s.ExploitAndExplore()
		require.NoError(t, err)
	}
	observations := s.State().Observations
	require.Len(t, observations, bandit.MaxObservations)
	require.Equal(t, int64(6), observations[len(observations)-1].Step)
	for i := 1; i < len(observations); i++ {
		require.LessOrEqual(t, observations[i-1].Step, observations[i].Step, "the newest are last")
	}
	require.Greater(t, observations[0].Step, int64(3))
}

// history are noisy observations with a peak where the first name is 1, four in an
// interval.
func history(n int, names ...string) []Observation {
	observations := make([]Observation, n)
	for i := range observations {
		r := rng.NewKey(77).Stream(uint32(i), rng.Address{Purpose: rng.User})
		values := map[string]float64{}
		for _, name := range names {
			values[name] = math.Pow(10, -2+5*r.Float64())
		}
		observations[i] = Observation{Step: int64(i / 4), Hyperparameters: values, Change: math.Exp(-square(math.Log10(values[names[0]]))) + 0.3*float64(r.Normal())}
	}
	return observations
}

func square(x float64) float64 { return x * x }

// The values are exactly the bandit's for the scaled data: Fit at the present time
// in intervals, each member's draws from its own address, and pending what the
// members before it took.
func TestPB2TakesTheSuggestions(t *testing.T) {
	c := configPB2(10)
	c.PerturbationInterval, c.TruncationRatio = 5, 0.3
	c.Hyperparameters = []Hyperparameter{Choice("list", 1, 2, 3), LogRange("x", 0.01, 1000), Range("y", -1, 3)}
	p := scored(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	for i := range p {
		p[i].Step = 35
		p[i].Hyperparameters = map[string]float64{"list": 2, "x": 1, "y": 0}
	}
	observations := history(12, "x", "y")
	var data []bandit.Observation
	for i := range observations {
		o := &observations[i]
		o.Hyperparameters["list"], o.Step = 1, 5*o.Step
		y := min(max(o.Hyperparameters["y"], -1), 3) // from before the range was narrowed
		data = append(data, bandit.Observation{Time: float64(o.Step) / 5, Change: o.Change,
			X: []float64{(math.Log(o.Hyperparameters["x"]) - math.Log(0.01)) / math.Log(1e5), (y + 1) / 4}})
	}
	key := rng.NewKey(3)
	decisions := Decide(c, p, 6, key, observations...)
	require.Len(t, decisions, 3)
	model, err := bandit.Fit(data, 7)
	require.NoError(t, err)
	var pending [][]float64
	for _, d := range decisions {
		at := rng.Address{Time: 6, Member: uint32(d.Member), Purpose: rng.Explore}
		r := key.Stream(math.MaxUint32, at)
		x, err := model.Suggest(pending, r.Float64)
		require.NoError(t, err)
		require.InDelta(t, math.Pow(10, -2+5*x[0]), d.After["x"], 1e-9*d.After["x"])
		require.InDelta(t, -1+4*x[1], d.After["y"], 1e-9)
		require.Equal(t, OpPB2, d.Operations["x"])
		require.Equal(t, OpPB2, d.Operations["y"])
		step := map[string]float64{OpPerturbUp: 3, OpPerturbDown: 1}
		require.Equal(t, step[d.Operations["list"]], d.After["list"])
		pending = append(pending, []float64{(math.Log(d.After["x"]) - math.Log(0.01)) / math.Log(1e5), (d.After["y"] + 1) / 4})
	}
	require.NotEqual(t, decisions[0].After["x"], decisions[1].After["x"])
}

func TestPB2BeforeThereIsEnoughResamples(t *testing.T) {
	c := configPB2(4)
	c.Hyperparameters = append(c.Hyperparameters, Choice("list", 1, 2, 3))
	p := scored(1, 2, 3, 4)
	for i := range p {
		p[i].Hyperparameters["list"] = 2
	}
	observations := history(bandit.MinObservations, "x", "list")
	d := Decide(c, p, 0, rng.NewKey(1), observations[1:]...)[0]
	require.Equal(t, OpResample, d.Operations["x"])
	require.Contains(t, []string{OpPerturbUp, OpPerturbDown}, d.Operations["list"])
	c.ExploreMethod = Resample
	require.Equal(t, Decide(c, p, 0, rng.NewKey(1))[0].After["x"], d.After["x"])
	c.ExploreMethod = PB2
	require.Equal(t, OpPB2, Decide(c, p, 0, rng.NewKey(1), observations...)[0].Operations["x"])
	c.Hyperparameters = c.Hyperparameters[1:]
	require.Contains(t, []string{OpPerturbUp, OpPerturbDown}, Decide(c, p, 0, rng.NewKey(1), observations...)[0].Operations["list"],
		"with lists alone there is nothing to suggest")
}

// What a user's function makes of the first suggestion is what the next one is
// chosen beside.
func TestPB2KnowsWhatTheUserChanged(t *testing.T) {
	c := configPB2(10)
	c.TruncationRatio = 0.2
	var before, after []Decision
	for _, custom := range []bool{false, true} {
		s := newScheduler(t, c, 1)
		state := s.State()
		state.Observations = history(12, "x")
		require.NoError(t, s.Restore(state))
		report(t, s, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
		if custom {
			s.SetExplore(func(d Decision) (map[string]float64, error) {
				if d.Member == 0 {
					d.After["x"] = 0.01 // far from the peak
				}
				return d.After, nil
			})
		}
		decisions, err := s.ExploitAndExplore()
		require.NoError(t, err)
		require.Len(t, decisions, 2)
		before, after = after, decisions
	}
	require.Equal(t, OpPB2, after[1].Operations["x"])
	require.NotEqual(t, before[1].After["x"], after[1].After["x"])
}

func TestPB2Properties(t *testing.T) {
	property(t, "suggestions are finite, in range and the same again", func(t *rapid.T, s scenario) {
		s.config.ExploreMethod = PB2
		var observations []Observation
		n := rapid.IntRange(0, 8).Draw(t, "observations")
		for range n {
			m := rapid.SampledFrom(s.population).Draw(t, "of")
			observations = append(observations, Observation{
				Step:            rapid.Int64Range(0, 2000).Draw(t, "step"), // also after the population's
				Hyperparameters: m.Hyperparameters,
				Change:          rapid.Float64Range(-1e9, 1e9).Draw(t, "change")})
		}
		decisions := Decide(s.config, s.population, s.interval, s.key, observations...)
		for _, d := range decisions {
			for _, h := range s.config.Hyperparameters {
				if h.Values != nil {
					require.Contains(t, h.Values, d.After[h.Name])
					continue
				}
				require.True(t, *h.Min <= d.After[h.Name] && d.After[h.Name] <= *h.Max, "%v", d.After[h.Name])
				require.Equal(t, n >= bandit.MinObservations, d.Operations[h.Name] == OpPB2)
			}
		}
		requireSameDecisions(t, decisions, Decide(s.config, s.population, s.interval, s.key, observations...))
		// Who copies whom is no matter of the explore method.
		s.config.ExploreMethod = Perturb
		for i, d := range s.decide() {
			require.Equal(t, []int{d.Member, d.Source}, []int{decisions[i].Member, decisions[i].Source})
		}
	})
}

func TestDecidePanicsOnBadObservations(t *testing.T) {
	for i, o := range []Observation{
		{Step: -1, Hyperparameters: map[string]float64{"x": 1}},
		{Hyperparameters: map[string]float64{"x": 1}, Change: nan()},
		{Hyperparameters: map[string]float64{"x": nan()}},
		{Hyperparameters: map[string]float64{"y": 1}},
	} {
		require.Panics(t, func() { Decide(configPB2(2), scored(1, 2), 0, rng.NewKey(1), o) }, fmt.Sprint(i))
	}
}

// A run of pb2 finds the hyperparameter under which scores rise fastest.
func TestPB2FindsTheHyperparameter(t *testing.T) {
	c := configPB2(8)
	c.TruncationRatio = 0.25
	s := newScheduler(t, c, 1)
	scores := make([]float64, 8)
	suggested, near := 0, 0
	for step := int64(1); step <= 20; step++ {
		for _, m := range s.Population() {
			distance := math.Log10(m.Hyperparameters["x"]) - 1
			scores[m.ID] += math.Exp(-distance * distance)
		}
		report(t, s, step, scores...)
		decisions, err := s.ExploitAndExplore()
		require.NoError(t, err)
		for _, d := range decisions {
			scores[d.Member] = scores[d.Source] // to first order: several may copy at once
			if d.Operations["x"] == OpPB2 && step > 10 {
				suggested++
				if math.Abs(math.Log10(d.After["x"])-1) < 0.75 { // 30% of the range
					near++
				}
			}
		}
	}
	require.Equal(t, 20, suggested)
	require.GreaterOrEqual(t, near, 14)
}
