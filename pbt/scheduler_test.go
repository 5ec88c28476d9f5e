package pbt

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"brood/rng"
)

// newScheduler makes a scheduler whose fresh scores, should they be asked for, are
// a function of the member and the interval.
func newScheduler(t require.TestingT, c Config, seed uint64) *Scheduler {
	s, err := NewScheduler(c, seed)
	require.NoError(t, err)
	s.SetReevaluate(func(members []int) ([]float64, error) {
		scores := make([]float64, len(members))
		for i, id := range members {
			r := rng.NewKey(43).Stream(uint32(id), rng.Address{Time: uint32(s.Interval()), Purpose: rng.User})
			scores[i] = r.Float64()
		}
		return scores, nil
	})
	return s
}

// report gives every member the score of its index.
func report(t require.TestingT, s *Scheduler, step int64, scores ...float64) {
	for id, score := range scores {
		require.NoError(t, s.UpdatePerformance(id, score, step))
	}
}

func TestInitializePopulation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		seed := rapid.Uint64().Draw(t, "seed")
		s := newScheduler(t, c, seed)
		members := s.InitializePopulation()
		require.Len(t, members, c.PopulationSize)
		for id, m := range members {
			require.Equal(t, id, m.ID)
			require.True(t, math.IsNaN(m.Performance))
			require.False(t, m.Scored)
			require.Zero(t, m.Step)
			require.Len(t, m.Hyperparameters, len(c.Hyperparameters))
			for i, h := range c.Hyperparameters {
				v := m.Hyperparameters[h.Name]
				if h.Values != nil {
					require.Contains(t, h.Values, v)
				} else {
					require.True(t, *h.Min <= v && v <= *h.Max, "%v outside [%v, %v]", v, *h.Min, *h.Max)
				}
				r := rng.NewKey(seed).Stream(uint32(i), rng.Address{Member: uint32(id), Purpose: rng.Population})
				require.Equal(t, h.sample(&r), v, "drawn from its own address")
			}
		}
		requireSameMembers(t, members, newScheduler(t, c, seed).Population())
	})
}

func TestInitialHyperparametersSpreadLogUniformly(t *testing.T) {
	c := DefaultConfig()
	c.PopulationSize = 10_000
	low := 0
	distinct := map[float64]bool{}
	for _, m := range newScheduler(t, c, 1).Population() {
		lr := m.Hyperparameters["learning_rate"]
		distinct[lr] = true
		if lr < 1e-4 { // a third of the three decades of the default range
			low++
		}
	}
	within(t, c.PopulationSize, low, 1.0/3)
	require.Len(t, distinct, c.PopulationSize)
}

func TestSeedsGiveDifferentPopulations(t *testing.T) {
	c := DefaultConfig()
	require.NotEqual(t, newScheduler(t, c, 1).Population()[0].Hyperparameters, newScheduler(t, c, 2).Population()[0].Hyperparameters)
	require.NotEqual(t, newScheduler(t, c, 1).Population()[0].Hyperparameters, newScheduler(t, c, 1<<32+1).Population()[0].Hyperparameters)
}

func TestUpdatePerformance(t *testing.T) {
	s := newScheduler(t, configX(3), 1)
	require.NoError(t, s.UpdatePerformance(1, 4.5, 10))
	m := s.Population()[1]
	require.Equal(t, []any{4.5, true, int64(10)}, []any{m.Performance, m.Scored, m.Step})
	require.NoError(t, s.UpdatePerformance(1, 3.5, 10), "a second score replaces the first")
	require.Equal(t, 3.5, s.Population()[1].Performance)
	require.False(t, s.Population()[0].Scored)
}

// So that a state written as JSON, which has neither, is the state.
func TestScoresThatAreNotFiniteAreRecordedAsNaN(t *testing.T) {
	s := newScheduler(t, configX(3), 1)
	report(t, s, 1, math.Inf(1), math.Inf(-1), math.NaN())
	for _, m := range s.Population() {
		require.True(t, math.IsNaN(m.Performance), "member %d: %v", m.ID, m.Performance)
		require.True(t, m.Scored)
	}
}

func TestUpdatePerformanceRefuses(t *testing.T) {
	s := newScheduler(t, configX(3), 1)
	require.NoError(t, s.UpdatePerformance(1, 1, 10))
	before := s.State()
	for _, id := range []int{-1, 3, math.MaxInt} {
		require.ErrorIs(t, s.UpdatePerformance(id, 1, 10), ErrMember)
	}
	require.ErrorIs(t, s.UpdatePerformance(1, 2, 9), ErrStep)
	require.ErrorIs(t, s.UpdatePerformance(0, 2, -1), ErrStep)
	requireSameMembers(t, before.Members, s.Population())
	require.ErrorContains(t, s.UpdatePerformance(3, 1, 10), "3; valid: 0 to 2")
}

func TestReady(t *testing.T) {
	nan := math.NaN()
	tests := []struct {
		name   string
		share  float64
		burnIn int64
		scores []float64 // of the first members, at step 100
		want   bool
	}{
		{"nobody", 0.8, 0, nil, false},
		{"three of five at 0.8", 0.8, 0, []float64{1, 2, 3}, false},
		{"four of five at 0.8", 0.8, 0, []float64{1, 2, 3, 4}, true},
		{"four of five at 1", 1, 0, []float64{1, 2, 3, 4}, false},
		{"five of five at 1", 1, 0, []float64{1, 2, 3, 4, 5}, true},
		{"one of five at 0.01", 0.01, 0, []float64{1}, true},
		{"a diverged member counts", 0.8, 0, []float64{1, nan, math.Inf(1), 4}, true},
		{"before burn-in", 0.8, 101, []float64{1, 2, 3, 4, 5}, false},
		{"at burn-in", 0.8, 100, []float64{1, 2, 3, 4, 5}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := configX(5)
			c.ReadyPercentage, c.BurnIn = test.share, test.burnIn
			s := newScheduler(t, c, 1)
			report(t, s, 100, test.scores...)
			require.Equal(t, test.want, s.Ready())
			decisions, err := s.ExploitAndExplore()
			if test.want {
				require.NoError(t, err)
				require.Equal(t, 1, s.Interval())
			} else {
				require.ErrorIs(t, err, ErrNotReady)
				require.Empty(t, decisions)
				require.Zero(t, s.Interval())
			}
		})
	}
}

func TestNotReadyErrorSaysWhatIsMissing(t *testing.T) {
	s := newScheduler(t, configX(5), 1)
	report(t, s, 1, 1, 2, 3)
	_, err := s.ExploitAndExplore()
	require.ErrorContains(t, err, "3 of 5 members have a score")
	require.ErrorContains(t, err, "ready_percentage 0.8 needs 4")
}

func TestDisabledSchedulerIsNeverReady(t *testing.T) {
	c := configX(3)
	c.Enabled = false
	s := newScheduler(t, c, 1)
	report(t, s, 1, 1, 2, 3)
	require.False(t, s.Ready())
	_, err := s.ExploitAndExplore()
	require.ErrorIs(t, err, ErrNotReady)
	require.ErrorContains(t, err, "enabled is false")
}

func TestPopulationOfOneCopiesNobody(t *testing.T) {
	for _, method := range []ExploitMethod{Truncation, BinaryTournament} {
		c := configX(1)
		c.ExploitMethod = method
		s := newScheduler(t, c, 1)
		report(t, s, 1, 5)
		require.True(t, s.Ready())
		decisions, err := s.ExploitAndExplore()
		require.NoError(t, err)
		require.Empty(t, decisions)
		require.Equal(t, 5.0, s.Population()[0].Performance, "it keeps its score")
	}
}

func TestNobodyScoredFinitely(t *testing.T) {
	s := newScheduler(t, configX(4), 1)
	nan := math.NaN()
	report(t, s, 1, nan, nan, nan, nan)
	decisions, err := s.ExploitAndExplore()
	require.NoError(t, err)
	require.Empty(t, decisions)
	require.Equal(t, 1, s.Interval())
}

func TestExploitAndExploreAppliesDecisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		seed := rapid.Uint64().Draw(t, "seed")
		s := newScheduler(t, c, seed)
		for id := range c.PopulationSize {
			require.NoError(t, s.UpdatePerformance(id, drawScore(t), 10))
		}
		before := s.Population()
		decisions, err := s.ExploitAndExplore()
		require.NoError(t, err)
		requireSameDecisions(t, Decide(c, before, 0, rng.NewKey(seed)), decisions)
		require.Equal(t, 1, s.Interval())

		want := before
		for i := range want {
			want[i].Mark = 10
			if c.ExploreMethod == PB2 {
				want[i].Baseline = nullable(want[i].Performance)
			}
		}
		for _, d := range decisions {
			m := &want[d.Member]
			m.Hyperparameters, m.Performance, m.Scored, m.Baseline = d.After, math.NaN(), false, nil
		}
		requireSameMembers(t, want, s.Population())
	})
}

// A member that copied another is judged by its own episodes: its old score must
// neither make it copy again nor be copied.
func TestExploitEmptiesTheScore(t *testing.T) {
	s := newScheduler(t, configX(2), 1)
	report(t, s, 1, 1, 2)
	decisions, err := s.ExploitAndExplore()
	require.NoError(t, err)
	require.Len(t, decisions, 1)
	require.False(t, s.Ready(), "one of two has a score")
	report(t, s, 2, 9, 2)
	decisions, err = s.ExploitAndExplore()
	require.NoError(t, err)
	require.Equal(t, []int{1, 0}, []int{decisions[0].Member, decisions[0].Source})
	require.Equal(t, 1, decisions[0].Interval)
}

func TestOrderOfReportsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		population := drawPopulation(t, &c)
		order := rapid.Permutation(population).Draw(t, "order")
		run := func(members []Member) []Decision {
			s := newScheduler(t, c, 3)
			for _, m := range members {
				require.NoError(t, s.UpdatePerformance(m.ID, m.Performance, m.Step, m.Returns...))
			}
			decisions, err := s.ExploitAndExplore()
			require.NoError(t, err)
			return decisions
		}
		requireSameDecisions(t, run(population), run(order))
	})
}

// simulate runs intervals of a scheduler with made-up scores, those of interval
// first and on, and returns all decisions. Now and then a member diverges.
func simulate(t require.TestingT, s *Scheduler, first, last int) []Decision {
	var all []Decision
	for interval := first; interval < last; interval++ {
		for id := range s.Config().PopulationSize {
			r := rng.NewKey(42).Stream(uint32(id), rng.Address{Time: uint32(interval), Purpose: rng.User})
			score := math.Floor(10 * r.Float64()) // with ties
			if score == 0 {
				score = math.Inf(1)
			}
			returns := []float64{score, score + r.Float64(), score - r.Float64()}
			require.NoError(t, s.UpdatePerformance(id, score, int64(10*(interval+1)), returns...))
			if r.IntN(16) == 0 {
				require.NoError(t, s.Quarantine(id))
			}
		}
		decisions, err := s.ExploitAndExplore()
		require.NoError(t, err)
		all = append(all, decisions...)
	}
	return all
}

func TestReplayIsEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		seed := rapid.Uint64().Draw(t, "seed")
		a, b := newScheduler(t, c, seed), newScheduler(t, c, seed)
		requireSameDecisions(t, simulate(t, a, 0, 12), simulate(t, b, 0, 12))
		requireSameMembers(t, a.Population(), b.Population())
		a.InitializePopulation()
		require.Zero(t, a.Interval())
		requireSameMembers(t, newScheduler(t, c, seed).Population(), a.Population())
	})
}

func TestRestoredSchedulerGoesOnExactly(t *testing.T) {
	formats := map[string]func(t require.TestingT, s State) State{
		"in memory": func(_ require.TestingT, s State) State { return s },
		"JSON": func(t require.TestingT, s State) (back State) {
			data, err := json.Marshal(s)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(data, &back))
			return back
		},
		"msgpack": func(t require.TestingT, s State) (back State) {
			data, err := msgpack.Marshal(s)
			require.NoError(t, err)
			require.NoError(t, msgpack.Unmarshal(data, &back))
			return back
		},
	}
	for name, through := range formats {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				c := drawConfig(t)
				c.ExploitReevaluate = rapid.Bool().Draw(t, "exploit_reevaluate")
				seed := rapid.Uint64().Draw(t, "seed")
				stop := rapid.IntRange(0, 10).Draw(t, "stop")
				whole := newScheduler(t, c, seed)
				want := simulate(t, whole, 0, 10)

				first := newScheduler(t, c, seed)
				got := simulate(t, first, 0, stop)
				state := through(t, first.State())
				requireSameMembers(t, first.Population(), state.Members)
				second := newScheduler(t, c, seed)
				require.NoError(t, second.Restore(state))
				require.Equal(t, stop, second.Interval())
				require.Equal(t, first.Rejected(), second.Rejected())
				requireSameStates(t, first.State(), second.State())
				got = append(got, simulate(t, second, stop, 10)...)
				requireSameDecisions(t, want, got)
				requireSameMembers(t, whole.Population(), second.Population())
			})
		})
	}
}

func TestRestoreRefusesWhatDoesNotFit(t *testing.T) {
	c := configX(3)
	tests := []struct {
		name   string
		change func(*State)
		says   string
	}{
		{"another seed", func(s *State) { s.Seed = 2 }, "seed 2"},
		{"negative interval", func(s *State) { s.Interval = -1 }, "interval -1"},
		{"fewer members", func(s *State) { s.Members = s.Members[:2] }, "2 members; population_size is 3"},
		{"members out of order", func(s *State) { slices.Reverse(s.Members) }, "member 2 at place 0"},
		{"a member twice", func(s *State) { s.Members[1].ID = 0 }, "two members have the ID 0"},
		{"negative step", func(s *State) { s.Members[1].Step = -5 }, "step -5"},
		{"a mark after every step", func(s *State) { s.Members[1].Mark = s.Members[1].Step + 1 }, "mark 21; valid: 0 to the last step of any member, 20"},
		{"a negative mark", func(s *State) { s.Members[1].Mark = -1 }, "mark -1"},
		{"a score in quarantine", func(s *State) { s.Members[1].Quarantined, s.Members[1].Performance = true, 3 }, "in quarantine and has the performance 3"},
		{"a return NaN", func(s *State) { s.Members[1].Returns = []float64{1, math.NaN()} }, "member 1: return 1 is NaN"},
		{"a baseline NaN", func(s *State) { b := math.NaN(); s.Members[1].Baseline = &b }, "baseline NaN"},
		{"negative count of rejections", func(s *State) { s.Rejected = -2 }, "-2 decisions rejected"},
		{"an observation without its hyperparameter", func(s *State) { s.Observations = []Observation{{}} }, `observation 0 lacks the hyperparameter "x"`},
		{"an observation's change is NaN", func(s *State) {
			s.Observations = []Observation{{Hyperparameters: map[string]float64{"x": 1}, Change: math.NaN()}}
		}, "observation 0: the change is NaN"},
		{"an observation's step is negative", func(s *State) {
			s.Observations = []Observation{{Hyperparameters: map[string]float64{"x": 1}, Step: -1}}
		}, "observation 0 has step -1"},
		{"a hyperparameter missing", func(s *State) { delete(s.Members[1].Hyperparameters, "x") }, `member 1 lacks the hyperparameter "x"`},
		{"a hyperparameter too many", func(s *State) { s.Members[1].Hyperparameters["y"] = 1 }, `hyperparameter "y", which the config lacks`},
		{"a hyperparameter NaN", func(s *State) { s.Members[1].Hyperparameters["x"] = math.NaN() }, `"x" is NaN`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newScheduler(t, c, 1)
			simulate(t, s, 0, 2)
			before := s.State()
			state := s.State()
			test.change(&state)
			err := s.Restore(state)
			require.ErrorIs(t, err, ErrState)
			require.ErrorContains(t, err, test.says)
			requireSameStates(t, before, s.State())
		})
	}
}

func TestRestoreWithANarrowerRange(t *testing.T) {
	s := newScheduler(t, configX(2), 1)
	state := s.State()
	state.Members[1].Hyperparameters["x"] = 900
	c := configX(2)
	c.Hyperparameters = []Hyperparameter{LogRange("x", 1, 10)}
	s = newScheduler(t, c, 1)
	require.NoError(t, s.Restore(state))
	report(t, s, 1, 1, 2)
	decisions, err := s.ExploitAndExplore()
	require.NoError(t, err)
	require.Equal(t, 900.0, decisions[0].SourceValues["x"])
	require.Equal(t, 10.0, decisions[0].After["x"])
}

func TestWhatIsReturnedIsACopy(t *testing.T) {
	c := configX(3)
	s := newScheduler(t, c, 1)
	*c.Hyperparameters[0].Min = -1 // the caller's config is its own
	report(t, s, 1, 1, 2, 3)
	want := s.State()
	s.Population()[0].Hyperparameters["x"] = -1
	s.State().Members[1].Hyperparameters["x"] = -1
	*s.Config().Hyperparameters[0].Max = -1
	s.Config().Hyperparameters[0].Name = "y"
	requireSameMembers(t, want.Members, s.Population())

	state := s.State()
	require.NoError(t, s.Restore(state))
	state.Members[0].Hyperparameters["x"] = -1
	requireSameMembers(t, want.Members, s.Population())

	decisions, err := s.ExploitAndExplore()
	require.NoError(t, err)
	require.Positive(t, decisions[0].After["x"])
	after := s.State()
	decisions[0].After["x"] = -1
	requireSameMembers(t, after.Members, s.Population())
	require.Equal(t, 0.01, *s.Config().Hyperparameters[0].Min)
}

// Every decision names the strategy of the config; that the learner follows it
// is the learner's test.
func TestDecisionsNameTheOptimizerStrategy(t *testing.T) {
	for _, strategy := range []Strategy{ResetOptimizer, CopyOptimizer} {
		c := configX(10)
		c.OptimizerExploitStrategy = strategy
		decisions := simulate(t, newScheduler(t, c, 1), 0, 5)
		require.NotEmpty(t, decisions)
		for _, d := range decisions {
			require.Equal(t, strategy, d.Strategy)
		}
	}
}

// The whole loop finds a good hyperparameter: the score falls with the distance
// of log10 x from 0.5, and nothing else is learnt.
func TestSelectionMovesTheHyperparameter(t *testing.T) {
	for _, method := range []ExploitMethod{Truncation, BinaryTournament} {
		for _, mode := range []MetricMode{Max, Min} {
			c := configX(16)
			c.ExploitMethod, c.MetricMode, c.ExploreMethod = method, mode, Both
			s := newScheduler(t, c, 1)
			distance := func() (mean float64) {
				for _, m := range s.Population() {
					mean += math.Abs(math.Log10(m.Hyperparameters["x"])-0.5) / 16
				}
				return mean
			}
			start := distance()
			for step := range int64(40) {
				for _, m := range s.Population() {
					score := math.Abs(math.Log10(m.Hyperparameters["x"]) - 0.5)
					if mode == Max {
						score = -score
					}
					require.NoError(t, s.UpdatePerformance(m.ID, score, step+1))
				}
				_, err := s.ExploitAndExplore()
				require.NoError(t, err)
			}
			require.Less(t, distance(), start/3, "%s, %s", method, mode)
		}
	}
}

// A member that reported nothing while the others had an interval copies one of them,
// and its next interval counts from theirs: a mark beyond its own step.
func TestRestoreOfAMemberThatReportedNothing(t *testing.T) {
	c := configX(4)
	c.PerturbationInterval, c.ReadyPercentage, c.TruncationRatio = 2, 0.5, 0.5
	s := newScheduler(t, c, 1)
	for step := int64(2); step <= 4; step += 2 {
		for m := range 3 {
			require.NoError(t, s.UpdatePerformance(m, float64(m), step))
		}
		_, err := s.ExploitAndExplore()
		require.NoError(t, err)
	}
	state := s.State()
	require.Greater(t, state.Members[3].Mark, state.Members[3].Step, "the case that this test is for")
	again := newScheduler(t, c, 1)
	require.NoError(t, again.Restore(state))
	requireSameStates(t, s.State(), again.State())
}
