package pbt

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/rng"
)

func TestMembersAreDueByTheirOwnSteps(t *testing.T) {
	tests := []struct {
		name string
		m    Member
		want bool
	}{
		{"an interval since the start", Member{Scored: true, Step: 10}, true},
		{"less", Member{Scored: true, Step: 9}, false},
		{"an interval since the last one", Member{Scored: true, Step: 37, Mark: 27}, true},
		{"less since the last one", Member{Scored: true, Step: 36, Mark: 27}, false},
		{"no score", Member{Step: 10}, false},
		{"a score that is not finite", Member{Scored: true, Performance: nan(), Step: 10}, true},
		{"in quarantine", Member{Quarantined: true, Performance: nan()}, true},
	}
	c := configX(1)
	c.PerturbationInterval = 10
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, c.due(&test.m)) })
	}
	c.BurnIn = 12
	require.False(t, c.due(&Member{Scored: true, Step: 11}), "before burn-in")
	require.True(t, c.due(&Member{Scored: true, Step: 12}))
}

// Members report at updates of their own: who is not due neither copies nor holds
// the others up, and may be copied.
func TestMembersAtDifferentUpdates(t *testing.T) {
	c := configX(4)
	c.PerturbationInterval, c.ReadyPercentage, c.TruncationRatio = 10, 0.5, 0.5
	s := newScheduler(t, c, 1)
	require.NoError(t, s.UpdatePerformance(0, 1, 10)) // worst, due
	require.NoError(t, s.UpdatePerformance(1, 2, 4))  // bad, not due
	require.NoError(t, s.UpdatePerformance(3, 9, 3))  // best, not due
	require.False(t, s.Ready(), "one of four is due, two are needed")
	_, err := s.ExploitAndExplore()
	require.ErrorIs(t, err, ErrNotReady)
	require.ErrorContains(t, err, "3 of 4 members have a score, 1 after 0 updates or more and 10 since their last interval")

	require.NoError(t, s.UpdatePerformance(2, 8, 12)) // good, due
	require.True(t, s.Ready())
	decisions, err := s.ExploitAndExplore()
	require.NoError(t, err)
	require.Len(t, decisions, 1)
	require.Equal(t, 0, decisions[0].Member)
	require.Contains(t, []int{2, 3}, decisions[0].Source)
	marks := func() (marks []int64) {
		for _, m := range s.Population() {
			marks = append(marks, m.Mark)
		}
		return marks
	}
	require.Equal(t, []int64{10, 0, 12, 0}, marks())
	require.False(t, s.Ready())

	// The two that were not due go on with their interval.
	require.NoError(t, s.UpdatePerformance(1, 2, 10))
	require.NoError(t, s.UpdatePerformance(3, 9, 11))
	decisions, err = s.ExploitAndExplore()
	require.NoError(t, err)
	require.Equal(t, []int64{10, 10, 12, 11}, marks())
	require.Len(t, decisions, 1)
	require.Equal(t, 1, decisions[0].Member)
	require.Equal(t, 3, decisions[0].Source, "of three with a score, one is best")

	// A member is due an interval after it copied, counted from its own step.
	require.NoError(t, s.UpdatePerformance(0, 5, 19))
	require.NoError(t, s.UpdatePerformance(1, 5, 20))
	require.False(t, s.Ready())
	require.NoError(t, s.UpdatePerformance(0, 5, 20))
	require.True(t, s.Ready())
}

// A member that copied and could not report since must not shield the worst of
// those that have: where members train at their own pace, at any time some have no
// score. One that reports nothing over a whole interval is the worst itself.
func TestMemberWithoutAScoreRanksLastOnceItHadItsTime(t *testing.T) {
	p := scored(nan(), 1, 2, 3, 4)
	p[0].Scored, p[0].Mark = false, p[1].Step-1
	c := configX(5)
	c.PerturbationInterval = 2
	for i := range p[1:] {
		p[1+i].Step++
	}
	pair := func() []int {
		decisions := Decide(c, p, 0, rng.NewKey(1))
		require.Len(t, decisions, 1)
		return []int{decisions[0].Member, decisions[0].Source}
	}
	require.Equal(t, []int{0, 4}, pair())
	p[0].Mark++
	require.Equal(t, []int{1, 4}, pair())
	p[3].Step-- // one that is behind says nothing while it is not due itself
	p[0].Mark--
	require.Equal(t, []int{0, 4}, pair())
	c.BurnIn = p[1].Step + 1
	require.Empty(t, Decide(c, p, 0, rng.NewKey(1)))
}

func drawMarks(t *rapid.T, s *scenario) {
	for i := range s.population {
		m := &s.population[i]
		m.Mark = rapid.Int64Range(0, m.Step).Draw(t, "mark")
		if rapid.IntRange(0, 5).Draw(t, "no score") == 0 {
			m.Scored, m.Performance, m.Returns = false, nan(), nil
		}
	}
}

func TestIntervalProperties(t *testing.T) {
	property(t, "marks hold members back and no one else", func(t *rapid.T, s scenario) {
		all := s.decide()
		for i := range s.population {
			s.population[i].Mark = rapid.Int64Range(0, s.population[i].Step).Draw(t, "mark")
		}
		want := slices.DeleteFunc(all, func(d Decision) bool {
			m := s.population[d.Member]
			return m.Step-m.Mark < s.config.PerturbationInterval
		})
		requireSameDecisions(t, want, s.decide())
	})
	property(t, "only who is due copies, only who has a score is copied", func(t *rapid.T, s scenario) {
		drawMarks(t, &s)
		for _, d := range s.decide() {
			m := &s.population[d.Member]
			require.True(t, s.config.due(m) || s.config.overdue(m, s.config.pace(s.population)))
			require.True(t, finite(s.population[d.Source].Performance))
			require.NotEqual(t, d.Member, d.Source)
		}
	})
	property(t, "an interval marks exactly the due", func(t *rapid.T, s scenario) {
		drawMarks(t, &s)
		s.config.ReadyPercentage = 0.01
		scheduler := newScheduler(t, s.config, 5)
		before := s.population
		require.NoError(t, scheduler.Restore(State{Seed: 5, Members: before}))
		due := 0
		for i := range before {
			if s.config.due(&before[i]) {
				due++
			}
		}
		require.Equal(t, due > 0, scheduler.Ready())
		if due == 0 {
			return
		}
		pace := s.config.pace(before)
		decisions, err := scheduler.ExploitAndExplore()
		require.NoError(t, err)
		for i, m := range scheduler.Population() {
			want := before[i].Mark
			switch {
			case s.config.due(&before[i]):
				want = before[i].Step
			case slices.ContainsFunc(decisions, func(d Decision) bool { return d.Member == i }):
				want = max(want, pace) // it reported nothing
			}
			require.Equal(t, want, m.Mark)
			require.False(t, s.config.due(&m), "an interval was just decided")
		}
	})
}

// A population in step is due exactly when Config.Due says so.
func TestInStepTheMembersAreDueWithTheConfig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := configX(4)
		c.PerturbationInterval = rapid.Int64Range(1, 7).Draw(t, "interval")
		c.BurnIn = c.PerturbationInterval * rapid.Int64Range(0, 4).Draw(t, "burn_in in intervals")
		s := newScheduler(t, c, 1)
		for update := int64(1); update <= 40; update++ {
			report(t, s, update, 1, 2, 3, 4)
			require.Equal(t, c.Due(update), s.Ready(), "update %d", update)
			if s.Ready() {
				_, err := s.ExploitAndExplore()
				require.NoError(t, err)
			}
		}
	})
}

// The states that schedulers wrote before there were marks, quarantine and pb2.
const oldState = `{"seed": 1, "interval": 2, "members": [
	{"id": 0, "hyperparameters": {"x": 1.5}, "performance": null, "scored": false, "step": 20},
	{"id": 1, "hyperparameters": {"x": 2.5}, "performance": 7, "scored": true, "step": 20}]}`

func TestOldStateLoads(t *testing.T) {
	var state State
	require.NoError(t, json.Unmarshal([]byte(oldState), &state))
	c := configX(2)
	c.PerturbationInterval = 10
	s := newScheduler(t, c, 1)
	require.NoError(t, s.Restore(state))
	require.Equal(t, 2, s.Interval())
	require.False(t, s.Ready())
	report(t, s, 30, 3, 8)
	require.True(t, s.Ready())
	decisions, err := s.ExploitAndExplore()
	require.NoError(t, err)
	require.Len(t, decisions, 1)
	require.Equal(t, []int{0, 1, 2}, []int{decisions[0].Member, decisions[0].Source, decisions[0].Interval})
	require.Equal(t, int64(30), s.Population()[1].Mark)

	// And what a scheduler without the new features writes is what it always was.
	text, err := json.Marshal(newScheduler(t, c, 1).State())
	require.NoError(t, err)
	for _, word := range []string{"mark", "quarantined", "returns", "baseline", "rejected", "observations"} {
		require.NotContains(t, string(text), word)
	}
}
