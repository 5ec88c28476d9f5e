package pbt

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/internal/stats"
	"brood/rng"
)

// The p values are SciPy 1.17.1's, of ttest_ind with equal_var=False.
func TestTTestCopiesTheSignificantlyBetter(t *testing.T) {
	tests := []struct {
		name           string
		member, source []float64
		mode           MetricMode
		copies         bool
	}{
		{"p is 0.0422", []float64{1, 3, 2}, []float64{5, 9, 6}, Max, true},
		{"p is 0.1271", []float64{200, 187, 154, 200, 200, 121, 93, 200}, []float64{200, 200, 200, 198, 200, 176}, Max, false},
		{"worse, p is 0.0422", []float64{5, 9, 6}, []float64{1, 3, 2}, Max, false},
		{"min: p is 0.0422", []float64{5, 9, 6}, []float64{1, 3, 2}, Min, true},
		{"min: worse", []float64{1, 3, 2}, []float64{5, 9, 6}, Min, false},
		{"one return of the member", []float64{1}, []float64{5, 9, 6}, Max, false},
		{"one return of the source", []float64{1, 3, 2}, []float64{9}, Max, false},
		{"no returns", nil, nil, Max, false},
		{"constant and better", []float64{0.1, 0.1, 0.1}, []float64{0.2, 0.2}, Max, true},
		{"constant and better, min", []float64{0.2, 0.2}, []float64{0.1, 0.1, 0.1}, Min, true},
		{"constant and equal", []float64{0.1, 0.1, 0.1}, []float64{0.1, 0.1}, Max, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := configX(2)
			c.ExploitMethod, c.MetricMode = TTest, test.mode
			p := scored(1, 2)
			if test.mode == Min {
				p = scored(2, 1)
			}
			p[0].Returns, p[1].Returns = test.member, test.source
			decisions := Decide(c, p, 0, rng.NewKey(1))
			if !test.copies {
				require.Empty(t, decisions)
				return
			}
			require.Len(t, decisions, 1)
			require.Equal(t, 0, decisions[0].Member)
		})
	}
}

// The score decides who is better, and the returns must agree: a member does not
// copy one with a lower score because of a few returns.
func TestTTestNeedsTheBetterScoreToo(t *testing.T) {
	c := configX(2)
	c.ExploitMethod = TTest
	p := scored(3, 2)
	p[0].Returns, p[1].Returns = []float64{1, 2, 3}, []float64{101, 102, 103}
	require.Empty(t, Decide(c, p, 0, rng.NewKey(1)))
}

func TestTTestProperties(t *testing.T) {
	property(t, "a part of binary tournament's decisions: those that pass the test", func(t *rapid.T, s scenario) {
		for i := range s.population {
			s.population[i].Returns = drawReturns(t, s.population[i].Performance)
		}
		s.config.ExploitMethod = BinaryTournament
		all := s.decide()
		s.config.ExploitMethod = TTest
		want := slices.DeleteFunc(all, func(d Decision) bool {
			a, b := s.population[d.Source].Returns, s.population[d.Member].Returns
			_, _, p := stats.Welch(a, b)
			better := stats.Mean(a) > stats.Mean(b)
			if s.config.MetricMode == Min {
				better = stats.Mean(a) < stats.Mean(b)
			}
			return !(better && p < 0.05)
		})
		requireSameDecisions(t, want, s.decide())
	})
	property(t, "the order of returns does not matter where they are whole numbers", func(t *rapid.T, s scenario) {
		s.config.ExploitMethod = TTest
		for i := range s.population {
			m := &s.population[i]
			if finite(m.Performance) {
				m.Performance = float64(int(m.Performance) % 8)
			}
			m.Returns = drawReturns(t, m.Performance)
		}
		want := s.decide()
		for i := range s.population {
			slices.Reverse(s.population[i].Returns)
		}
		requireSameDecisions(t, want, s.decide())
	})
}

func TestReturnsAreRecordedForTTest(t *testing.T) {
	c := configX(2)
	c.ExploitMethod = TTest
	s := newScheduler(t, c, 1)
	returns := []float64{1, 2, 3}
	require.NoError(t, s.UpdatePerformance(0, 2, 1, returns...))
	returns[0] = 9
	require.Equal(t, []float64{1, 2, 3}, s.Population()[0].Returns, "its own copy")
	s.Population()[0].Returns[0] = 9
	require.Equal(t, []float64{1, 2, 3}, s.Population()[0].Returns)
	require.NoError(t, s.UpdatePerformance(0, 2, 2, 5, nan()))
	require.Empty(t, s.Population()[0].Returns, "not all are finite")
	require.NoError(t, s.UpdatePerformance(0, 2, 3, 5, 6))
	require.NoError(t, s.UpdatePerformance(0, 2, 4))
	require.Empty(t, s.Population()[0].Returns, "the returns are those of the last score")

	// A member that copied is judged by its own episodes alone.
	require.NoError(t, s.UpdatePerformance(0, 2, 5, 1, 3, 2))
	require.NoError(t, s.UpdatePerformance(1, 7, 5, 5, 9, 6))
	decisions, err := s.ExploitAndExplore()
	require.NoError(t, err)
	require.Len(t, decisions, 1)
	require.Empty(t, s.Population()[0].Returns)
	require.Equal(t, []float64{5, 9, 6}, s.Population()[1].Returns)

	s = newScheduler(t, configX(2), 1)
	require.NoError(t, s.UpdatePerformance(0, 2, 1, 1, 2, 3))
	require.Empty(t, s.Population()[0].Returns, "truncation needs none")
}
