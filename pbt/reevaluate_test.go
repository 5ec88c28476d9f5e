package pbt

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/rng"
)

func TestReevaluate(t *testing.T) {
	tests := []struct {
		name           string
		mode           MetricMode
		member, source float64 // fresh
		quarantined    bool
		stands         bool
	}{
		{"still better", Max, 1, 2, false, true},
		{"worse", Max, 2, 1, false, false},
		{"equal", Max, 2, 2, false, false},
		{"min: still better", Min, 2, 1, false, true},
		{"min: worse", Min, 1, 2, false, false},
		{"the source has none", Max, 1, nan(), false, false},
		{"the source is infinite", Max, 1, math.Inf(1), false, false},
		{"the member has none", Max, nan(), 1, false, true},
		{"quarantine", Max, 2, 1, true, true},
		{"quarantine, the source has none", Max, 2, nan(), true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := configX(2)
			c.ExploitReevaluate, c.MetricMode = true, test.mode
			s := newScheduler(t, c, 1)
			if test.mode == Max {
				report(t, s, 1, 3, 4)
			} else {
				report(t, s, 1, 4, 3)
			}
			if test.quarantined {
				require.NoError(t, s.Quarantine(0))
			}
			s.SetReevaluate(func(members []int) ([]float64, error) {
				require.Equal(t, []int{0, 1}, members)
				members[0], members[1] = 7, 8 // its own copy
				return []float64{test.member, test.source}, nil
			})
			before := s.Population()
			decisions, err := s.ExploitAndExplore()
			require.NoError(t, err)
			require.Equal(t, 1, s.Interval())
			if !test.stands {
				require.Empty(t, decisions)
				require.Equal(t, 1, s.Rejected())
				require.Equal(t, 1, s.State().Rejected)
				before[0].Mark, before[1].Mark = 1, 1
				requireSameMembers(t, before, s.Population())
				return
			}
			require.Len(t, decisions, 1)
			require.Zero(t, s.Rejected())
			require.Equal(t, nullable(test.member), decisions[0].MemberReevaluated)
			require.Equal(t, nullable(test.source), decisions[0].SourceReevaluated)
			require.True(t, decisions[0].Quarantined || decisions[0].MemberScore == before[0].Performance, "the old scores stay")
		})
	}
}

func TestReevaluateProperties(t *testing.T) {
	property(t, "exactly the decisions whose source is better stand, otherwise as they were", func(t *rapid.T, s scenario) {
		s.config.ExploreMethod = rapid.SampledFrom([]ExploreMethod{Perturb, Resample, Both}).Draw(t, "without memory")
		s.config.ReadyPercentage = 1
		fresh := make([]float64, len(s.population))
		for i := range fresh {
			fresh[i] = drawScore(t)
		}
		all := Decide(s.config, s.population, 0, rng.NewKey(4))
		concerned := map[int]bool{}
		var want []Decision
		for _, d := range all {
			concerned[d.Member], concerned[d.Source] = true, true
			if s.config.compare(fresh[d.Source], fresh[d.Member]) < 0 {
				d.MemberReevaluated, d.SourceReevaluated = nullable(fresh[d.Member]), nullable(fresh[d.Source])
				want = append(want, d)
			}
		}
		s.config.ExploitReevaluate = true
		scheduler := newScheduler(t, s.config, 4)
		require.NoError(t, scheduler.Restore(State{Seed: 4, Members: s.population}))
		calls := 0
		scheduler.SetReevaluate(func(members []int) ([]float64, error) {
			calls++
			require.Len(t, members, len(concerned))
			require.True(t, slices.IsSorted(members))
			scores := make([]float64, len(members))
			for i, id := range members {
				require.True(t, concerned[id])
				scores[i] = fresh[id]
			}
			return scores, nil
		})
		got, err := scheduler.ExploitAndExplore()
		require.NoError(t, err)
		requireSameDecisions(t, want, got)
		require.Equal(t, len(all)-len(want), scheduler.Rejected())
		require.Equal(t, min(len(all), 1), calls)
	})
}

func TestReevaluateErrorsChangeNothing(t *testing.T) {
	broken := errors.New("the engine is gone")
	tests := []struct {
		name string
		f    func([]int) ([]float64, error)
		says string
	}{
		{"no function", nil, "exploit_reevaluate is true"},
		{"it fails", func([]int) ([]float64, error) { return nil, broken }, "the engine is gone"},
		{"too few", func([]int) ([]float64, error) { return []float64{1}, nil }, "1 scores for 2 members"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := configX(2)
			c.ExploitReevaluate = true
			s := newScheduler(t, c, 1)
			s.SetReevaluate(test.f)
			report(t, s, 1, 1, 2)
			before := s.State()
			decisions, err := s.ExploitAndExplore()
			require.ErrorIs(t, err, ErrReevaluate)
			require.ErrorContains(t, err, test.says)
			require.Empty(t, decisions)
			requireSameStates(t, before, s.State())
		})
	}
	c := configX(2)
	s := newScheduler(t, c, 1)
	s.SetReevaluate(func([]int) ([]float64, error) { return nil, broken })
	report(t, s, 1, 1, 2)
	decisions, err := s.ExploitAndExplore()
	require.NoError(t, err, "the config does not ask for fresh scores")
	text, err := json.Marshal(decisions[0])
	require.NoError(t, err)
	require.NotContains(t, string(text), "reevaluated")
}
