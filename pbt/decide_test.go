package pbt

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/rng"
)

func TestDecideProperties(t *testing.T) {
	property(t, "never copies itself", func(t *rapid.T, s scenario) {
		for _, d := range s.decide() {
			require.NotEqual(t, d.Member, d.Source)
		}
	})
	property(t, "never copies from a member without a score", func(t *rapid.T, s scenario) {
		for _, d := range s.decide() {
			require.True(t, finite(s.population[d.Source].Performance), "member %d copies %d, whose score is %v",
				d.Member, d.Source, s.population[d.Source].Performance)
		}
	})
	property(t, "never copies from a worse member", func(t *rapid.T, s scenario) {
		for _, d := range s.decide() {
			require.LessOrEqual(t, s.config.compare(d.SourceScore, d.MemberScore), 0)
		}
	})
	property(t, "each member at most once, in order", func(t *rapid.T, s scenario) {
		d := s.decide()
		for i := 1; i < len(d); i++ {
			require.Less(t, d[i-1].Member, d[i].Member)
		}
	})
	property(t, "equal arguments give equal decisions", func(t *rapid.T, s scenario) {
		requireSameDecisions(t, s.decide(), s.decide())
	})
	property(t, "the order of the population does not matter", func(t *rapid.T, s scenario) {
		want := s.decide()
		s.population = rapid.Permutation(s.population).Draw(t, "order")
		requireSameDecisions(t, want, s.decide())
	})
	property(t, "the population is left as it was", func(t *rapid.T, s scenario) {
		before := cloneMembers(s.population)
		for _, d := range s.decide() {
			for name := range d.After { // nor do the decisions share its maps
				d.Before[name], d.SourceValues[name], d.After[name] = -1e9, -1e9, -1e9
			}
		}
		requireSameMembers(t, before, s.population)
	})
	property(t, "min mirrors max with negated scores", func(t *rapid.T, s scenario) {
		s.config.MetricMode = Max
		want := s.decide()
		s.config.MetricMode = Min
		for i := range s.population {
			m := &s.population[i]
			m.Performance *= -1
			for k := range m.Returns {
				m.Returns[k] *= -1
			}
		}
		got := s.decide()
		for i := range got {
			got[i].MemberScore *= -1
			got[i].SourceScore *= -1
		}
		requireSameDecisions(t, want, got)
	})
	property(t, "records what it was decided from", func(t *rapid.T, s scenario) {
		for _, d := range s.decide() {
			m, src := s.population[d.Member], s.population[d.Source]
			require.Equal(t, m.Hyperparameters, d.Before)
			require.Equal(t, src.Hyperparameters, d.SourceValues)
			require.True(t, sameScore(m.Performance, d.MemberScore))
			require.Equal(t, src.Performance, d.SourceScore)
			require.Equal(t, m.Step, d.Step)
			require.Equal(t, s.interval, d.Interval)
			require.Equal(t, s.config.OptimizerExploitStrategy, d.Configured)
			require.Equal(t, s.config.OptimizerLRScaling, d.ScaleMomentum)
			require.False(t, d.Quarantined)
		}
	})
	property(t, "burn-in holds members back and no one else", func(t *rapid.T, s scenario) {
		all := s.decide()
		s.config.BurnIn = rapid.Int64Range(0, 1000).Draw(t, "burn_in")
		want := slices.DeleteFunc(all, func(d Decision) bool { return d.Step < s.config.BurnIn })
		requireSameDecisions(t, want, s.decide())
	})
	property(t, "disabled decides nothing", func(t *rapid.T, s scenario) {
		s.config.Enabled = false
		require.Empty(t, s.decide())
	})
	property(t, "the optimizer strategy changes nothing else", func(t *rapid.T, s scenario) {
		s.config.OptimizerExploitStrategy = ResetOptimizer
		reset := s.decide()
		s.config.OptimizerExploitStrategy = CopyOptimizer
		for i, d := range s.decide() {
			require.Equal(t, CopyOptimizer, d.Strategy)
			d.Strategy, d.Configured = ResetOptimizer, ResetOptimizer
			requireSameDecisions(t, reset[i:i+1], []Decision{d})
		}
	})
	property(t, "survives JSON", func(t *rapid.T, s scenario) {
		for _, d := range s.decide() {
			text, err := json.Marshal(d)
			require.NoError(t, err)
			var back Decision
			require.NoError(t, json.Unmarshal(text, &back))
			requireSameDecisions(t, []Decision{d}, []Decision{back})
		}
	})
}

func TestTruncationProperties(t *testing.T) {
	truncation := func(name string, f func(t *rapid.T, s scenario)) {
		property(t, name, func(t *rapid.T, s scenario) {
			s.config.ExploitMethod = Truncation
			f(t, s)
		})
	}
	truncation("exactly the worst copy, from as many best", func(t *rapid.T, s scenario) {
		p := len(s.population)
		n := s.config.Truncated(p)
		ids := make([]int, p)
		for i := range ids {
			ids[i] = i
		}
		// The ranking again, written differently: by score with the sign of the
		// mode, what is not finite below everything, then by ID.
		worth := func(i int) float64 {
			v := s.population[i].Performance
			if !finite(v) {
				return math.Inf(-1)
			}
			if s.config.MetricMode == Min {
				return -v
			}
			return v
		}
		slices.SortFunc(ids, func(i, j int) int {
			switch {
			case worth(i) > worth(j):
				return -1
			case worth(i) < worth(j):
				return 1
			}
			return i - j
		})
		worst := slices.Sorted(slices.Values(ids[p-n:]))
		if n > 0 && !finite(s.population[ids[0]].Performance) {
			worst = nil // nobody to copy
		}
		var members []int
		for _, d := range s.decide() {
			members = append(members, d.Member)
			require.Contains(t, ids[:n], d.Source)
			require.NotContains(t, worst, d.Source)
		}
		require.Equal(t, len(worst), len(members))
		if len(worst) > 0 {
			require.Equal(t, worst, members)
		}
	})
	truncation("only the ranks of the scores matter", func(t *rapid.T, s scenario) {
		for i := range s.population {
			if p := &s.population[i].Performance; math.Abs(*p) < 1e-300 {
				*p = 0 // a quarter of the least numbers there are is not exact
			}
		}
		want := s.decide()
		for i := range s.population {
			// Exact in binary, and so keeps ties and their absence.
			s.population[i].Performance *= 0.25
		}
		got := s.decide()
		for i := range got {
			got[i].MemberScore *= 4
			got[i].SourceScore *= 4
		}
		requireSameDecisions(t, want, got)
	})
	truncation("a better score never makes a member the one to go", func(t *rapid.T, s scenario) {
		if len(s.population) < 2 {
			return
		}
		id := rapid.IntRange(0, len(s.population)-1).Draw(t, "member")
		s.population[id].Performance = 2e6 // above all scores drawn
		if s.config.MetricMode == Min {
			s.population[id].Performance = -2e6
		}
		for _, d := range s.decide() {
			require.NotEqual(t, id, d.Member)
		}
	})
}

func TestTruncation(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		name   string
		ratio  float64
		mode   MetricMode
		scores []float64
		// copies: whom each copying member may copy.
		copies map[int][]int
	}{
		{"two members", 0.2, Max, []float64{1, 2}, map[int][]int{0: {1}}},
		{"two members, min", 0.2, Min, []float64{1, 2}, map[int][]int{1: {0}}},
		{"one member", 0.5, Max, []float64{1}, nil},
		{"at least one", 0.01, Max, []float64{3, 1, 2}, map[int][]int{1: {0}}},
		{"a quarter of eight", 0.25, Max, []float64{8, 1, 7, 2, 6, 3, 5, 4}, map[int][]int{1: {0, 2}, 3: {0, 2}}},
		{"half of five leaves the middle", 0.5, Max, []float64{1, 2, 3, 4, 5}, map[int][]int{0: {3, 4}, 1: {3, 4}}},
		{"ties go by index", 0.25, Max, []float64{5, 5, 5, 5}, map[int][]int{3: {0}}},
		{"ties go by index, min", 0.5, Min, []float64{5, 5, 5, 5}, map[int][]int{2: {0, 1}, 3: {0, 1}}},
		{"never scored ranks last", 0.2, Max, []float64{-1e9, nan, 5}, map[int][]int{1: {2}}},
		{"never scored ranks last, min", 0.2, Min, []float64{1e9, nan, 5}, map[int][]int{1: {2}}},
		{"no score is ever copied", 0.5, Max, []float64{nan, nan, 1, nan}, map[int][]int{1: {2}, 3: {2}}},
		{"nobody scored", 0.5, Max, []float64{nan, nan, nan}, nil},
		{"infinity is no score", 0.34, Max, []float64{inf, 1, 2}, map[int][]int{0: {2}}},
		{"minus infinity is no score", 0.34, Min, []float64{-inf, 1, 2}, map[int][]int{0: {1}}},
		{"infinite and NaN rank alike", 0.34, Max, []float64{1, inf, nan}, map[int][]int{2: {0}}},
		{"minus zero equals zero", 0.5, Max, []float64{math.Copysign(0, -1), 0}, map[int][]int{1: {0}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := configX(len(test.scores))
			c.TruncationRatio, c.MetricMode = test.ratio, test.mode
			drawn := map[int]map[int]bool{}
			for interval := range 64 {
				decisions := Decide(c, scored(test.scores...), interval, rng.NewKey(7))
				require.Len(t, decisions, len(test.copies))
				for _, d := range decisions {
					if drawn[d.Member] == nil {
						drawn[d.Member] = map[int]bool{}
					}
					drawn[d.Member][d.Source] = true
				}
			}
			got := map[int][]int{}
			for m, sources := range drawn {
				got[m] = slices.Sorted(maps.Keys(sources))
			}
			if test.copies == nil {
				test.copies = map[int][]int{}
			}
			require.Equal(t, test.copies, got, "over 64 intervals")
		})
	}
}

func TestBinaryTournament(t *testing.T) {
	property(t, "copies only what is better", func(t *rapid.T, s scenario) {
		s.config.ExploitMethod = BinaryTournament
		for _, d := range s.decide() {
			require.Negative(t, s.config.compare(d.SourceScore, d.MemberScore))
		}
	})
	property(t, "the draw of a member does not depend on scores", func(t *rapid.T, s scenario) {
		if len(s.population) < 2 {
			return
		}
		// Whoever is drawn is copied exactly if better: draw with everyone else
		// better, then compare with the scores as they are.
		s.config.ExploitMethod = BinaryTournament
		id := rapid.IntRange(0, len(s.population)-1).Draw(t, "member")
		actual := s.decide()
		original := s.population
		s.population = cloneMembers(original)
		for i := range s.population {
			s.population[i].Performance = 0
		}
		s.population[id].Performance = math.NaN()
		drawn := s.decide()
		require.Len(t, drawn, 1)
		opponent := drawn[0].Source
		at := slices.IndexFunc(actual, func(d Decision) bool { return d.Member == id })
		better := s.config.compare(original[opponent].Performance, original[id].Performance) < 0
		require.Equal(t, better, at >= 0)
		if better {
			require.Equal(t, opponent, actual[at].Source)
		}
	})
	c := configX(6)
	c.ExploitMethod = BinaryTournament
	t.Run("equal scores copy nobody", func(t *testing.T) {
		for interval := range 64 {
			require.Empty(t, Decide(c, scored(3, 3, 3, 3, 3, 3), interval, rng.NewKey(1)))
		}
	})
	t.Run("the best never copies", func(t *testing.T) {
		for interval := range 64 {
			for _, d := range Decide(c, scored(1, 2, 9, 3, 4, 5), interval, rng.NewKey(1)) {
				require.NotEqual(t, 2, d.Member)
			}
		}
	})
	t.Run("opponents are drawn uniformly from all others", func(t *testing.T) {
		const n = 6000
		counts := map[int]int{}
		for interval := range n {
			for _, d := range Decide(c, scored(1, 1, math.NaN(), 1, 1, 1), interval, rng.NewKey(3)) {
				require.Equal(t, 2, d.Member)
				counts[d.Source]++
			}
		}
		require.Len(t, counts, 5)
		for id, k := range counts {
			require.InDelta(t, n/5, k, 5*math.Sqrt(n*0.2*0.8), "member %d", id)
		}
	})
}

func TestTruncationDrawsSourcesUniformly(t *testing.T) {
	const n = 6000
	c := configX(6)
	c.TruncationRatio = 0.5
	counts := map[[2]int]int{}
	for interval := range n {
		for _, d := range Decide(c, scored(1, 2, 3, 4, 5, 6), interval, rng.NewKey(5)) {
			counts[[2]int{d.Member, d.Source}]++
		}
	}
	require.Len(t, counts, 9)
	for pair, k := range counts {
		require.InDelta(t, n/3, k, 5*math.Sqrt(n*2.0/9), "%v", pair)
	}
}

// A member that is copied from and copies another in the same interval gives the
// state it had before.
func TestDecisionsAreTakenFromTheStateBefore(t *testing.T) {
	c := configX(4)
	c.ExploitMethod = BinaryTournament
	chains := 0
	for interval := range 64 {
		population := scored(1, 2, 3, 4)
		decisions := Decide(c, population, interval, rng.NewKey(11))
		copying := map[int]bool{}
		for _, d := range decisions {
			copying[d.Member] = true
		}
		for _, d := range decisions {
			if copying[d.Source] {
				chains++
			}
			require.Equal(t, float64(d.Source+1), d.SourceValues["x"])
			require.Contains(t, []float64{float64(d.Source+1) * 1.2, float64(d.Source+1) / 1.2}, d.After["x"])
		}
	}
	require.Positive(t, chains, "the case did not come up")
}

// The addresses of the random numbers are part of the contract: they let a log
// be replayed by another program.
func TestRandomNumberAddresses(t *testing.T) {
	c := configX(8)
	c.TruncationRatio = 0.25
	c.Hyperparameters = append(c.Hyperparameters, LogRange("y", 0.01, 1000))
	population := scored(1, 2, 3, 4, 5, 6, 7, 8)
	for i := range population {
		population[i].Hyperparameters["y"] = 1
	}
	key := rng.NewKey(0xfeedface12345678)
	best := []int{7, 6}
	for interval := range 16 {
		for _, d := range Decide(c, population, interval, key) {
			at := rng.Address{Time: uint32(interval), Member: uint32(d.Member), Purpose: rng.Exploit}
			r := key.Stream(0, at)
			require.Equal(t, best[r.IntN(2)], d.Source)
			at.Purpose = rng.Explore
			for i, name := range []string{"x", "y"} {
				want := OpPerturbUp
				if key.Block(uint32(i), at)[0]>>31 == 1 {
					want = OpPerturbDown
				}
				require.Equal(t, want, d.Operations[name])
			}
		}
	}
}

func TestSeedAndIntervalMatter(t *testing.T) {
	c := configX(8)
	c.ExploreMethod = Resample
	seen := map[float64]bool{}
	for seed := range uint64(8) {
		for interval := range 8 {
			seen[Decide(c, scored(1, 2, 3, 4, 5, 6, 7, 8), interval, rng.NewKey(seed))[0].After["x"]] = true
		}
	}
	require.Len(t, seen, 64)
}

func TestDecidePanicsOnWhatNoSchedulerPasses(t *testing.T) {
	key := rng.NewKey(1)
	change := func(f func(c *Config, p []Member)) func() {
		c, p := configX(3), scored(1, 2, 3)
		f(&c, p)
		return func() { Decide(c, p, 0, key) }
	}
	require.NotPanics(t, change(func(*Config, []Member) {}))
	require.Panics(t, change(func(c *Config, _ []Member) { c.ExploitMethod = "?" }))
	require.Panics(t, change(func(_ *Config, p []Member) { p[1].ID = 0 }))
	require.Panics(t, change(func(_ *Config, p []Member) { p[1].ID = -1 }))
	require.Panics(t, change(func(_ *Config, p []Member) { p[1].ID = MaxPopulation }))
	require.Panics(t, change(func(_ *Config, p []Member) { delete(p[1].Hyperparameters, "x") }))
	require.Panics(t, change(func(_ *Config, p []Member) { p[1].Hyperparameters["x"] = math.NaN() }))
}

func TestDecisionJSON(t *testing.T) {
	d := Decide(configX(2), scored(math.NaN(), 2), 3, rng.NewKey(1))[0]
	text, err := json.Marshal(d)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(text, &m))
	require.ElementsMatch(t, []string{"interval", "member", "source", "member_score", "source_score", "before",
		"source_values", "after", "operations", "strategy", "configured_strategy", "scale_momentum", "quarantined", "step"}, slices.Collect(maps.Keys(m)))
	require.Nil(t, m["member_score"])
	require.Equal(t, 2.0, m["source_score"])
	require.Equal(t, "reset", m["strategy"])
}
