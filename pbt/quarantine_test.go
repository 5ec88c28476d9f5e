package pbt

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/rng"
)

func TestQuarantine(t *testing.T) {
	s := newScheduler(t, configX(3), 1)
	report(t, s, 1, 9, 2, 3)
	require.NoError(t, s.Quarantine(0))
	require.True(t, math.IsNaN(s.Population()[0].Performance), "from now on")
	require.NoError(t, s.UpdatePerformance(0, 10, 2), "episodes from before may still end well")
	m := s.Population()[0]
	require.True(t, m.Quarantined)
	require.True(t, math.IsNaN(m.Performance), "%v", m.Performance)
	require.Equal(t, int64(2), m.Step)

	decisions, err := s.ExploitAndExplore()
	require.NoError(t, err)
	require.Len(t, decisions, 1)
	d := decisions[0]
	require.Equal(t, []int{0, 2}, []int{d.Member, d.Source})
	require.True(t, d.Quarantined)
	require.True(t, math.IsNaN(d.MemberScore))
	text, err := json.Marshal(d)
	require.NoError(t, err)
	require.Contains(t, string(text), `"quarantined":true`)

	m = s.Population()[0]
	require.False(t, m.Quarantined, "it has other weights now")
	require.False(t, m.Scored)
	report(t, s, 3, 10, 2, 3)
	require.Equal(t, 10.0, s.Population()[0].Performance)
	for _, id := range []int{-1, 3} {
		require.ErrorIs(t, s.Quarantine(id), ErrMember)
	}
}

// With every method, a sick member is replaced before its burn-in, before its
// interval ends, beyond truncation's number and without a test.
func TestQuarantineBreaksTheRules(t *testing.T) {
	for _, method := range []ExploitMethod{Truncation, BinaryTournament, TTest} {
		t.Run(string(method), func(t *testing.T) {
			c := configX(6)
			c.ExploitMethod, c.BurnIn, c.PerturbationInterval, c.ReadyPercentage = method, 1000, 1000, 0.5
			s := newScheduler(t, c, 1)
			report(t, s, 1, 5, 4, 3, 2, 1, 0)
			require.False(t, s.Ready())
			for _, id := range []int{0, 2, 4} {
				require.NoError(t, s.Quarantine(id))
			}
			require.True(t, s.Ready(), "they count as due")
			decisions, err := s.ExploitAndExplore()
			require.NoError(t, err)
			var members []int
			for _, d := range decisions {
				members = append(members, d.Member)
				require.Contains(t, []int{1, 3, 5}, d.Source)
				if method == Truncation {
					require.Equal(t, 1, d.Source, "the best of those with a score")
				}
			}
			require.Equal(t, []int{0, 2, 4}, members)
		})
	}
}

func TestNobodyHealthyNobodyCopies(t *testing.T) {
	for _, method := range []ExploitMethod{Truncation, BinaryTournament, TTest} {
		c := configX(3)
		c.ExploitMethod = method
		s := newScheduler(t, c, 1)
		for id := range 3 {
			require.NoError(t, s.Quarantine(id))
		}
		require.True(t, s.Ready())
		decisions, err := s.ExploitAndExplore()
		require.NoError(t, err)
		require.Empty(t, decisions)
		require.True(t, s.Population()[0].Quarantined, "it stays")

		// A score that is not finite heals nobody.
		require.NoError(t, s.UpdatePerformance(0, nan(), 1))
		decisions, err = s.ExploitAndExplore()
		require.NoError(t, err)
		require.Empty(t, decisions)
	}
}

// The tournaments' sick members copy whom they drew, or the best where that one is
// no better than they.
func TestQuarantineInATournament(t *testing.T) {
	c := configX(5)
	c.ExploitMethod = BinaryTournament
	seen := map[int]int{}
	for interval := range 200 {
		p := scored(nan(), nan(), 1, 2, 3)
		p[0].Quarantined = true
		p[1].Scored = false
		for _, d := range Decide(c, p, interval, rng.NewKey(9)) {
			if d.Member != 0 {
				continue
			}
			seen[d.Source]++
			r := rng.NewKey(9).Stream(0, rng.Address{Time: uint32(interval), Purpose: rng.Exploit})
			if drawn := 1 + r.IntN(4); drawn != 1 {
				require.Equal(t, drawn, d.Source)
			} else {
				require.Equal(t, 4, d.Source)
			}
		}
	}
	require.Len(t, seen, 3)
	total := 0
	for _, n := range seen {
		total += n
	}
	require.Equal(t, 200, total, "it copies at every interval")
}

func TestQuarantineProperties(t *testing.T) {
	sicken := func(t *rapid.T, s *scenario) {
		for i := range s.population {
			m := &s.population[i]
			if rapid.IntRange(0, 2).Draw(t, "sick") == 0 {
				// A record from elsewhere may have kept the score: it counts for nothing.
				m.Quarantined, m.Step, m.Scored = true, 0, rapid.Bool().Draw(t, "scored")
			}
		}
	}
	property(t, "who is sick copies where anyone has a score, and is never copied", func(t *rapid.T, s scenario) {
		sicken(t, &s)
		s.config.BurnIn = rapid.Int64Range(0, 1000).Draw(t, "burn_in")
		healthy := slices.ContainsFunc(s.population, func(m Member) bool { return !m.Quarantined && finite(m.Performance) })
		copied := map[int]bool{}
		for _, d := range s.decide() {
			copied[d.Member] = true
			require.False(t, s.population[d.Source].Quarantined)
			require.True(t, finite(s.population[d.Source].Performance))
			require.Equal(t, s.population[d.Member].Quarantined, d.Quarantined)
		}
		for _, m := range s.population {
			if m.Quarantined {
				require.Equal(t, healthy, copied[m.ID], "member %d", m.ID)
			}
		}
	})
	property(t, "the sick are replaced under truncation by one of the best", func(t *rapid.T, s scenario) {
		sicken(t, &s)
		s.config.ExploitMethod = Truncation
		for _, d := range s.decide() {
			better := 0
			for i := range s.population {
				if s.config.compare(s.population[i].score(), d.SourceScore) < 0 {
					better++
				}
			}
			require.Less(t, better, s.config.Truncated(len(s.population)))
		}
	})
	property(t, "no sick member's optimizer state stays", func(t *rapid.T, s scenario) {
		sicken(t, &s)
		s.config.OptimizerExploitStrategy, s.config.AllowStaleOptimizer = StaleOptimizer, true
		for _, d := range s.decide() {
			want := StaleOptimizer
			if d.Quarantined {
				want = ResetOptimizer
			}
			require.Equal(t, want, d.Strategy)
			require.Equal(t, StaleOptimizer, d.Configured)
		}
	})
}
