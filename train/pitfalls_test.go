package train

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/ckpt"
	"brood/kernels"
	"brood/pbt"
	"brood/tensor"
)

// What other implementations of population based training are known to get wrong,
// as far as a whole run is needed to see it; see ppo/pitfalls_test.go for the rest.

// lifetime trains a run and calls back before every exploit and after every update.
func lifetime(t *testing.T, cfg Config, before func(*Moment) error, after func(r *Run)) *Summary {
	t.Helper()
	run, err := New(cfg, Options{InMemory: true, BeforeExploit: before, Progress: func(p *Progress) {
		if after != nil {
			after(p.run)
		}
	}})
	require.NoError(t, err)
	defer run.Close()
	s, err := run.Train(t.Context())
	require.NoError(t, err)
	return s
}

func stateOf(t *testing.T, r *Run, member int) tensor.Member {
	t.Helper()
	m := tensor.NewMember(r.engine.Layout())
	require.NoError(t, r.engine.Snapshot(member, m))
	return m
}

func statesOf(t *testing.T, r *Run) []tensor.Member {
	states := make([]tensor.Member, len(r.scores))
	for m := range states {
		states[m] = stateOf(t, r, m)
	}
	return states
}

// Where exploits go through files, a source that was never saved is copied from an
// old file, or not at all.
func TestExploitFromAMemberWithoutACheckpoint(t *testing.T) {
	cfg := smallConfig(t, "checkpoint.every=0", "pbt.optimizer_exploit_strategy=copy")
	var moment *Moment
	sources := map[int]tensor.Member{}
	seen := 0
	lifetime(t, cfg, func(m *Moment) error {
		moment = m
		for _, d := range m.Decisions {
			sources[d.Member] = tensor.NewMember(m.Layout())
			require.NoError(t, m.State(d.Source, sources[d.Member]))
		}
		return nil
	}, func(r *Run) {
		if moment == nil {
			return
		}
		for _, d := range moment.Decisions {
			got, want := stateOf(t, r, d.Member), sources[d.Member]
			for _, section := range []string{kernels.SectionPolicy, kernels.SectionOptimizer, kernels.SectionVGS} {
				b := want.Layout().Section(section)
				require.Equal(t, want.Bytes()[b.Offset:b.Offset+b.Size], got.Bytes()[b.Offset:b.Offset+b.Size], section)
			}
			seen++
		}
		moment = nil
	})
	require.Positive(t, seen)
}

func TestMomentumIsScaledWithTheLearningRate(t *testing.T) {
	cfg := smallConfig(t, "pbt.optimizer_lr_scaling=true", "pbt.optimizer_exploit_strategy=copy")
	var moment *Moment
	var source tensor.Member
	seen := 0
	lifetime(t, cfg, func(m *Moment) error {
		moment, source = m, tensor.NewMember(m.Layout())
		return m.State(m.Decisions[0].Source, source)
	}, func(r *Run) {
		if moment == nil {
			return
		}
		d := moment.Decisions[0]
		moment = nil
		scale := float32(float64(float32(d.SourceValues["learning_rate"])) / float64(float32(d.After["learning_rate"])))
		require.NotEqual(t, float32(1), scale)
		got := stateOf(t, r, d.Member).Float32(kernels.SectionOptimizer, "exp_avg/actor.0.weight")
		for i, x := range source.Float32(kernels.SectionOptimizer, "exp_avg/actor.0.weight") {
			require.Equal(t, x*scale, got[i])
		}
		seen++
	})
	require.Positive(t, seen)
}

// A member whose weights have become NaN may still have the best score: that of
// the episodes from before.
func TestMemberWithNaNWeightsIsQuarantinedAndReplaced(t *testing.T) {
	// Actions that are not finite leave the pendulum's state so, for good.
	for name, set := range map[string][]string{
		"truncation":        {"pbt.exploit_method=truncation"},
		"binary_tournament": {"pbt.exploit_method=binary_tournament"},
		"t_test":            {"pbt.exploit_method=t_test"},
		"pendulum":          {"env.id=Pendulum-v1", "ppo.steps=64", "run.total_steps=12288"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := smallConfig(t, append(set, "pbt.burn_in=2")...)
			var warnings []string
			best, poisoned := -1, false
			replaced := int64(0)
			run, err := New(cfg, Options{InMemory: true, Warn: func(w string) { warnings = append(warnings, w) },
				BeforeExploit: func(m *Moment) error {
					for _, d := range m.Decisions {
						if poisoned && replaced == 0 {
							require.NotEqual(t, best, d.Source, "a member without finite weights was copied")
						}
						if d.Member == best && poisoned && replaced == 0 {
							require.True(t, d.Quarantined)
							replaced = m.Update
						}
					}
					return nil
				},
				Progress: func(p *Progress) {
					r := p.run
					if p.Update == 4 { // in mid-interval
						for m := range r.stats {
							if best < 0 || r.stats[m].Score > r.stats[best].Score {
								best = m
							}
						}
						sick := stateOf(t, r, best)
						sick.Float32(kernels.SectionPolicy, "actor.0.weight")[3] = float32(math.NaN())
						require.NoError(t, r.engine.Restore(best, sick))
						poisoned = true
					}
				}})
			require.NoError(t, err)
			defer run.Close()
			_, err = run.Train(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 6, replaced, "it was not replaced at the next interval")
			require.Len(t, warnings, 1)
			require.Contains(t, warnings[0], "quarantined at update 6")
			healed := stateOf(t, run, best)
			for _, section := range []string{kernels.SectionPolicy, kernels.SectionEnvironment, kernels.SectionOptimizer} {
				for _, k := range healed.Layout().Section(section).Tensors {
					if k.DType == tensor.Float32 {
						for _, x := range healed.Float32(section, k.Name) {
							require.False(t, math.IsNaN(float64(x)), "%s/%s", section, k.Name)
						}
					}
				}
			}
		})
	}
}

func TestRunWithoutAnyFiniteMemberEnds(t *testing.T) {
	run, err := New(smallConfig(t), Options{InMemory: true, Progress: func(p *Progress) {
		if p.Update == 1 {
			for m := range p.run.stats {
				sick := stateOf(t, p.run, m)
				// Not an infinite one: a tanh may take that to 1, and training goes on.
				sick.Float32(kernels.SectionPolicy, "critic.0.bias")[0] = float32(math.NaN())
				require.NoError(t, p.run.engine.Restore(m, sick))
			}
		}
	}})
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(t.Context())
	require.ErrorIs(t, err, ErrDiverged)
	require.ErrorContains(t, err, "learning_rate")
}

// A short evaluation is noisy, and the largest of several noisy scores is lucky:
// with exploit_reevaluate a decision has to hold with fresh episodes.
func TestEvaluationNoiseDoesNotChooseALuckyMember(t *testing.T) {
	noisy := []string{"pbt.metric_name=eval_return", "pbt.eval_episodes=1", "pbt.exploit_method=binary_tournament"}
	plain := lifetime(t, smallConfig(t, noisy...), nil, nil)
	checked := 0
	again := lifetime(t, smallConfig(t, append(noisy, "pbt.exploit_reevaluate=true")...), func(m *Moment) error {
		for _, d := range m.Decisions {
			require.NotNil(t, d.MemberReevaluated)
			require.NotNil(t, d.SourceReevaluated)
			require.Greater(t, *d.SourceReevaluated, *d.MemberReevaluated)
			fresh, err := m.run.reevaluate([]int{d.Member, d.Source})
			require.NoError(t, err)
			require.Equal(t, []float64{*d.MemberReevaluated, *d.SourceReevaluated}, fresh)
			checked++
		}
		return nil
	}, nil)
	require.Less(t, again.Exploits, plain.Exploits, "nothing was held back")
	require.Positive(t, checked)
}

// Every exploit has its line at once, and its outcome when it is known.
func TestOutcomesOfExploits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	cfg, err := load(t, small, "pbt.telemetry_episodes=3", "pbt.perturbation_interval=4", "run.total_steps=5000")
	require.NoError(t, err)
	run, err := New(cfg, Options{Dir: dir})
	require.NoError(t, err)
	defer run.Close()
	s, err := run.Train(t.Context())
	require.NoError(t, err)
	require.NoError(t, run.Close())
	lines, err := ReadDecisions(dir)
	require.NoError(t, err)
	require.Len(t, lines, int(s.Exploits))
	judged, successes, exploits := int64(0), int64(0), int64(0)
	for i, l := range lines {
		require.NotNil(t, l.Outcome)
		require.Len(t, l.Outcome.After, 3)
		gone := s.Updates
		for _, later := range lines[i+1:] {
			if later.Member == l.Member {
				gone = min(gone, later.Update)
			}
		}
		for _, a := range l.Outcome.After {
			require.Equal(t, l.Update+a.Updates <= gone, a.Mean != nil, "exploit at %d, after %d, overwritten at %d", l.Update, a.Updates, gone)
		}
		if l.Outcome.Success != nil {
			judged++
			if *l.Outcome.Success {
				successes++
			}
		}
	}
	require.Len(t, s.Strategies, 1)
	for _, c := range s.Changes {
		exploits += c.Exploits
	}
	require.Equal(t, pbt.ResetOptimizer, s.Strategies[0].Strategy)
	require.Equal(t, s.Exploits, s.Strategies[0].Exploits)
	require.Equal(t, judged, s.Strategies[0].Judged)
	require.Equal(t, successes, s.Strategies[0].Successes)
	require.Equal(t, 2*s.Exploits, exploits, "two hyperparameters are explored at each")
}

// A rewound run is the same run, from a checkpoint as from the seed.
func TestRewind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	cfg := smallConfig(t, "pbt.optimizer_exploit_strategy=copy")
	trainNew(t, cfg, Options{Dir: dir})
	lines, err := ReadDecisions(dir)
	require.NoError(t, err)
	at := lines[len(lines)-1].Update
	states := func(before int64) (from int64, got []tensor.Member) {
		run, err := Rewind(dir, before, Options{BeforeExploit: func(m *Moment) error {
			if m.Update < at {
				return nil
			}
			for member := range 4 {
				s := tensor.NewMember(m.Layout())
				require.NoError(t, m.State(member, s))
				got = append(got, s)
			}
			return ErrStop
		}})
		require.NoError(t, err)
		defer run.Close()
		from, _ = run.Updates()
		_, err = run.Train(t.Context())
		require.ErrorIs(t, err, ErrStop)
		return from, got
	}
	sets, err := ckpt.List(ckpt.OS, filepath.Join(dir, "checkpoints"))
	require.NoError(t, err)
	require.NotEmpty(t, sets)
	at = max(at, 1)
	fromSeed, a := states(1)
	require.Zero(t, fromSeed)
	fromCheckpoint, b := states(at + 1)
	if sets[0] < at {
		require.Positive(t, fromCheckpoint)
	}
	require.Equal(t, tensor.Digest(a...), tensor.Digest(b...))
	require.Equal(t, lines, func() []DecisionLine { l, err := ReadDecisions(dir); require.NoError(t, err); return l }(), "the folder has changed")
}
