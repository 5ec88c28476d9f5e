package pbt

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/rng"
)

// drawResize draws a scheduler of any config, a state of another population, the
// present scores and the number of updates.
func drawResize(t *rapid.T, s scenario) (sched *Scheduler, state State, scores []float64, update int64) {
	seed := rapid.Uint64().Draw(t, "scheduler's seed")
	state = State{Seed: seed, Interval: rapid.IntRange(0, 50).Draw(t, "intervals"), Members: s.population}
	for i := range state.Members {
		m := &state.Members[i]
		m.Mark = m.Step
		if m.Quarantined = rapid.IntRange(0, 4).Draw(t, "quarantine") == 0; m.Quarantined {
			m.Performance = nan()
		}
		if !finite(m.Performance) {
			m.Performance = nan()
		}
		if rapid.IntRange(0, 3).Draw(t, "reported nothing") == 0 {
			m.Performance, m.Scored, m.Step, m.Mark = nan(), false, 0, 0
		}
		scores = append(scores, drawScore(t))
	}
	last := slices.MaxFunc(state.Members, func(a, b Member) int { return cmp.Compare(a.Step, b.Step) }).Step
	for i := range state.Members { // who reported nothing may have copied another in an interval of the others
		if m := &state.Members[i]; m.Step == 0 {
			m.Mark = rapid.Int64Range(0, last).Draw(t, "mark")
		}
	}
	s.config.PopulationSize = rapid.IntRange(1, 24).Draw(t, "new population_size")
	sched, err := NewScheduler(s.config, seed)
	require.NoError(t, err)
	return sched, state, scores, rapid.Int64Range(1000, 1<<31).Draw(t, "update")
}

// healthy reports whether a state has a member that may be copied.
func healthy(state State) bool {
	return slices.ContainsFunc(state.Members, func(m Member) bool { return !m.Quarantined })
}

func TestResizeProperties(t *testing.T) {
	property(t, "the best stay, with their records, where they can under their numbers", func(t *rapid.T, s scenario) {
		sched, state, scores, update := drawResize(t, s)
		p := sched.config.PopulationSize
		if p > len(state.Members) {
			t.Skip("larger")
		}
		r, err := sched.Resize(state, scores, update)
		require.NoError(t, err)
		require.Empty(t, r.Fills)
		require.Len(t, r.Origins, p)
		// By another rule than ranking: nobody who went is better than one who stays.
		worth := func(m int) (class int, score float64) {
			switch {
			case state.Members[m].Quarantined:
				return 0, 0
			case !finite(scores[m]):
				return 1, 0
			case sched.config.MetricMode == Min:
				return 2, -scores[m]
			}
			return 2, scores[m]
		}
		for gone := range state.Members {
			if slices.Contains(r.Origins, gone) {
				continue
			}
			for _, stays := range r.Origins {
				a, x := worth(stays)
				b, y := worth(gone)
				require.True(t, a > b || a == b && (x > y || x == y && stays < gone), "%d stays and %d does not", stays, gone)
			}
		}
		var movers []int
		for now, before := range r.Origins {
			if before < p {
				require.Equal(t, now, before, "it keeps its number")
			} else {
				movers = append(movers, before)
			}
			want := state.Members[before].clone()
			want.ID = now
			if got := sched.members[now]; got.Step != want.Step { // where nobody is left who did as much
				require.Equal(t, want.Mark, got.Step)
				want.Step = got.Step
			}
			requireSameMembers(t, []Member{want}, []Member{sched.members[now]})
		}
		other, err := NewScheduler(sched.config, state.Seed)
		require.NoError(t, err)
		require.NoError(t, other.Restore(sched.State()))
		require.True(t, slices.IsSorted(movers))
		require.Equal(t, state.Interval, sched.Interval())
	})
}

func TestResizeFillProperties(t *testing.T) {
	property(t, "new members copy the best that have a score", func(t *rapid.T, s scenario) {
		sched, state, scores, update := drawResize(t, s)
		c, before := sched.config, len(state.Members)
		r, err := sched.Resize(state, scores, update)
		if c.PopulationSize > before && !healthy(state) {
			require.ErrorIs(t, err, ErrNoSource)
			return
		}
		require.NoError(t, err)
		require.Len(t, r.Fills, max(0, c.PopulationSize-before))
		var ranked []float64
		for m, x := range scores {
			if finite(x) && !state.Members[m].Quarantined {
				ranked = append(ranked, x)
			}
		}
		slices.Sort(ranked)
		if c.MetricMode == Max {
			slices.Reverse(ranked)
		}
		for i, d := range r.Fills {
			require.Equal(t, before+i, d.Member)
			require.Less(t, d.Source, before)
			require.False(t, state.Members[d.Source].Quarantined)
			require.Equal(t, state.Members[d.Source].Hyperparameters, d.SourceValues)
			require.NotContains(t, []Strategy{StaleOptimizer, AdaptiveOptimizer, ""}, d.Strategy)
			if len(ranked) > 0 {
				require.Contains(t, ranked[:max(1, c.Truncated(len(ranked)))], scores[d.Source])
				require.Equal(t, scores[d.Source], d.SourceScore)
			}
			for j := range c.Hyperparameters {
				h := &c.Hyperparameters[j]
				v := d.After[h.Name]
				if h.Values != nil {
					require.Contains(t, h.Values, v)
				} else {
					require.True(t, *h.Min <= v && v <= *h.Max)
				}
				require.NotEqual(t, OpKeep, d.Operations[h.Name])
			}
			m := sched.members[d.Member]
			require.Equal(t, d.After, m.Hyperparameters)
			require.False(t, m.Scored || m.Quarantined || finite(m.Performance))
			require.Equal(t, update, m.Mark)
		}
		if len(r.Fills) > 0 {
			require.Equal(t, len(ranked) == 0, r.Best == 0)
		}
		// The scheduler's own state is one that can be restored.
		other, err := NewScheduler(c, state.Seed)
		require.NoError(t, err)
		require.NoError(t, other.Restore(sched.State()))
	})
	property(t, "equal arguments give equal populations", func(t *rapid.T, s scenario) {
		sched, state, scores, update := drawResize(t, s)
		again, err := NewScheduler(sched.config, state.Seed)
		require.NoError(t, err)
		a, errA := sched.Resize(state, scores, update)
		b, errB := again.Resize(state, scores, update)
		require.Equal(t, errA, errB)
		require.Equal(t, a.Origins, b.Origins)
		requireSameDecisions(t, a.Fills, b.Fills)
		requireSameStates(t, sched.State(), again.State())
	})
}

// The draws of a change are those of no interval, nor of a change at another time.
func TestResizeDrawsItsOwnNumbers(t *testing.T) {
	c := configX(400)
	c.TruncationRatio, c.ExploreMethod = 0.5, Resample
	s := newScheduler(t, c, 7)
	state := State{Seed: 7, Members: scored(make([]float64, 200)...)}
	first, err := s.Resize(state, make([]float64, 200), 60)
	require.NoError(t, err)
	values := func(fills []Decision) map[float64]bool {
		set := map[float64]bool{}
		for _, d := range fills {
			set[d.After["x"]] = true
		}
		return set
	}
	require.Len(t, values(first.Fills), 200)
	later, err := s.Resize(state, make([]float64, 200), 61)
	require.NoError(t, err)
	others := values(later.Fills)
	for interval := range 70 {
		maps.Copy(others, values(Decide(c, scored(make([]float64, 400)...), interval, rng.NewKey(7))))
	}
	for id := range s.InitializePopulation() {
		others[s.members[id].Hyperparameters["x"]] = true
	}
	for x := range values(first.Fills) {
		require.NotContains(t, others, x)
	}
	sources := map[int]bool{}
	for _, d := range first.Fills {
		sources[d.Source] = true
	}
	require.Greater(t, len(sources), 50, "drawn, not taken in turn")
	require.Less(t, len(sources), 100)
}

func TestResizeUsesPB2AndTheUsersRule(t *testing.T) {
	c := configX(6)
	c.ExploreMethod = PB2
	s := newScheduler(t, c, 1)
	state := State{Seed: 1, Interval: 9, Members: scored(1, 2, 3, 4)}
	r, err := s.Resize(state, []float64{1, 2, 3, 4}, 9)
	require.NoError(t, err)
	require.Equal(t, OpResample, r.Fills[0].Operations["x"], "too few observations")
	for i := range 40 {
		state.Observations = append(state.Observations, Observation{Step: int64(i/4 + 1), Hyperparameters: map[string]float64{"x": 0.01 * float64(i+1)}, Change: float64(i % 7)})
	}
	r, err = s.Resize(state, []float64{1, 2, 3, 4}, 9)
	require.NoError(t, err)
	require.Equal(t, OpPB2, r.Fills[0].Operations["x"])
	require.NotEqual(t, r.Fills[0].After, r.Fills[1].After, "the second knows of the first")
	require.Len(t, s.State().Observations, 40)

	before := s.State()
	s.SetExplore(func(Decision) (map[string]float64, error) { return nil, errors.New("no") })
	_, err = s.Resize(state, []float64{1, 2, 3, 4}, 9)
	require.ErrorIs(t, err, ErrExplore)
	requireSameStates(t, before, s.State())
	s.SetExplore(func(d Decision) (map[string]float64, error) { d.After["x"] = 7; return d.After, nil })
	r, err = s.Resize(state, []float64{1, 2, 3, 4}, 9)
	require.NoError(t, err)
	require.Equal(t, OpCustom, r.Fills[1].Operations["x"])
	require.Equal(t, 7.0, s.members[5].Hyperparameters["x"])
}

func TestResizeRefusesWhatDoesNotFit(t *testing.T) {
	s := newScheduler(t, configX(6), 1)
	_, err := s.Resize(State{Seed: 1, Members: scored(1, 2)}, []float64{1}, 5)
	require.ErrorIs(t, err, ErrState)
	require.ErrorContains(t, err, "1 scores for 2 members")
	_, err = s.Resize(State{Seed: 2, Members: scored(1, 2)}, []float64{1, 2}, 5)
	require.ErrorContains(t, err, "seed 2; this scheduler's is 1")
	sick := scored(nan(), nan())
	sick[0].Quarantined, sick[1].Quarantined = true, true
	_, err = s.Resize(State{Seed: 1, Members: sick}, []float64{1, 2}, 5)
	require.ErrorIs(t, err, ErrNoSource)
	require.ErrorContains(t, err, "all 2 are in quarantine")
	require.True(t, math.IsNaN(s.members[5].Performance))
}
