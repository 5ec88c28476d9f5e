package train

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"brood/ckpt"
	"brood/kernels"
	"brood/kernels/host"
	"brood/pbt"
	"brood/tensor"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stoppedRun is the folder of a small run that was stopped after an update.
func stoppedRun(t *testing.T, update int64, set ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	cfg := smallConfig(t, set...)
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(cfg, o) }, update)
	return dir
}

// resumeWith resumes with settings and returns what was noted and warned of.
func resumeWith(t *testing.T, dir string, set ...string) (run *Run, notes, warnings []string) {
	t.Helper()
	settings, err := ParseSettings(set)
	require.NoError(t, err)
	run, err = Resume(dir, settings, Options{Note: func(n string) { notes = append(notes, n) },
		Warn: func(w string) { warnings = append(warnings, w) }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, run.Close()) })
	return run, notes, warnings
}

// checkpointOf reads the members of a checkpoint and their scores.
func checkpointOf(t *testing.T, r *Run, dir string, update int64, p int) (states []tensor.Member, scores []float64) {
	t.Helper()
	for m := range p {
		c, err := ckpt.ReadFile(ckpt.OS, filepath.Join(dir, checkpointsDir, ckpt.SetName(update), ckpt.MemberFile(m)))
		require.NoError(t, err)
		state := tensor.NewMember(r.engine.Layout())
		_, err = c.Restore(state)
		require.NoError(t, err)
		states, scores = append(states, state), append(scores, c.Performance)
	}
	return states, scores
}

// changeLines are the lines of decisions.jsonl that a change of the number of members
// wrote.
func changeLines(t *testing.T, dir string) []DecisionLine {
	t.Helper()
	lines, err := ReadDecisions(dir)
	require.NoError(t, err)
	return slices.DeleteFunc(lines, func(l DecisionLine) bool { return l.Operation == "" })
}

func sectionBytes(m tensor.Member, section string) []byte {
	b := m.Layout().Section(section)
	return m.Bytes()[b.Offset : b.Offset+b.Size]
}

// A new member is what an exploit of the engine makes of a fresh one, under every
// strategy; those of before go on untouched.
func TestLargerPopulation(t *testing.T) {
	for _, test := range []struct {
		strategy string
		set      []string
		done     []pbt.Strategy
	}{
		{"reset", nil, []pbt.Strategy{pbt.ResetOptimizer}},
		{"copy", []string{"pbt.metric_mode=min"}, []pbt.Strategy{pbt.CopyOptimizer}},
		{"copy", []string{"pbt.optimizer_lr_scaling=true", "pbt.metric_name=eval_return"}, []pbt.Strategy{pbt.CopyOptimizer}},
		{"momentum", nil, []pbt.Strategy{pbt.MomentumOptimizer}},
		{"velocity", nil, []pbt.Strategy{pbt.VelocityOptimizer}},
		{"adaptive", []string{"pbt.explore_method=both"}, []pbt.Strategy{pbt.CopyOptimizer, pbt.ResetOptimizer}},
		{"adaptive", []string{"pbt.explore_method=pb2"}, []pbt.Strategy{pbt.CopyOptimizer, pbt.ResetOptimizer}},
		{"stale", []string{"pbt.allow_stale_optimizer=true"}, []pbt.Strategy{pbt.ResetOptimizer}},
	} {
		t.Run(test.strategy+strings.Join(test.set, " "), func(t *testing.T) {
			set := append([]string{"pbt.truncation_ratio=0.5", "pbt.burn_in=6", "pbt.optimizer_exploit_strategy=" + test.strategy}, test.set...)
			dir := stoppedRun(t, 8, set...)
			r, notes, warnings := resumeWith(t, dir, "pbt.population_size=10")
			require.Empty(t, warnings)
			require.Len(t, notes, 1)
			assert.Contains(t, notes[0], "the checkpoint of update 8 has 4 members, the run now 10: members 4 to 9 are copies of member")
			assert.Contains(t, notes[0], "(the best 50 %), optimizer state by the strategy ")
			assert.Contains(t, notes[0], ", hyperparameters explored")
			assert.Equal(t, test.strategy == "stale", strings.Contains(notes[0], "stale is for members"))

			old, scores := checkpointOf(t, r, dir, 8, 4)
			for m := range old {
				require.Equal(t, old[m].Bytes(), stateOf(t, r, m).Bytes(), "member %d", m)
			}
			if r.cfg.PBT.MetricMode == pbt.Min {
				for m := range scores {
					scores[m] = -scores[m]
				}
			}
			scored := slices.DeleteFunc(slices.Clone(scores), math.IsNaN)
			slices.Sort(scored)
			slices.Reverse(scored)
			require.NotEmpty(t, scored)
			least := scored[max(1, len(scored)/2)-1]

			lines := changeLines(t, dir)
			require.Len(t, lines, 6)
			reference := exploited(t, r, old, lines)
			for i, line := range lines {
				require.Equal(t, 4+i, line.Member)
				assert.GreaterOrEqual(t, scores[line.Source], least, "a source among the best half of those with a score")
				assert.Contains(t, test.done, line.OptimizerStrategy)
				assert.EqualValues(t, test.strategy, line.ConfiguredStrategy)
				checkFilled(t, r, line, old[line.Source], reference[line.Member])
			}
			require.NotEqual(t, host.NewState(stateOf(t, r, 4)).EnvState, host.NewState(stateOf(t, r, 5)).EnvState)
			s, err := r.Train(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 10, s.Population)
		})
	}
}

// checkFilled holds a new member against its line, its source and what an exploit in
// another engine made of a fresh member.
func checkFilled(t *testing.T, r *Run, line DecisionLine, source, reference tensor.Member) {
	t.Helper()
	assert.Equal(t, OperationFill, line.Operation)
	assert.EqualValues(t, 8, line.Update)
	assert.EqualValues(t, 8*256, line.EnvSteps)
	got := stateOf(t, r, line.Member)
	for _, section := range []string{kernels.SectionPolicy, kernels.SectionOptimizer, kernels.SectionVGS, kernels.SectionHyperparameters} {
		require.Equal(t, sectionBytes(reference, section), sectionBytes(got, section), section)
	}
	require.Equal(t, sectionBytes(source, kernels.SectionPolicy), sectionBytes(got, kernels.SectionPolicy))
	switch line.OptimizerStrategy {
	case pbt.ResetOptimizer:
		require.Equal(t, make([]byte, len(sectionBytes(got, kernels.SectionOptimizer))), sectionBytes(got, kernels.SectionOptimizer))
	case pbt.CopyOptimizer:
		same := string(sectionBytes(source, kernels.SectionOptimizer)) == string(sectionBytes(got, kernels.SectionOptimizer))
		require.Equal(t, !line.ScaleMomentum, same)
	}
	require.Equal(t, sectionBytes(source, kernels.SectionCounters), sectionBytes(got, kernels.SectionCounters))
	s := host.NewState(got)
	assert.Equal(t, make([]float32, 4), s.EpisodeLength, "fresh environments")
	assert.NotEqual(t, host.NewState(source).EnvState, s.EnvState)
	assert.Equal(t, float32(line.Hyperparameters["clip_range"].After), s.Hyper(kernels.ClipRange))
	assert.Equal(t, s.Hyperparameters(), r.hyper[line.Member])
	assert.True(t, math.IsNaN(line.Hyperparameters["clip_range"].Before), "there was no such member")
	assert.True(t, math.IsNaN(r.scores[line.Member]))
}

// exploited are the members that a new engine has after the exploits of lines.
func exploited(t *testing.T, r *Run, old []tensor.Member, lines []DecisionLine) []tensor.Member {
	t.Helper()
	config, err := r.cfg.EngineConfig()
	require.NoError(t, err)
	engine, err := NewEngine(DeviceCPU, config)
	require.NoError(t, err)
	defer engine.Close()
	for m := range old {
		require.NoError(t, engine.Restore(m, old[m]))
	}
	var exploits []kernels.Exploit
	for _, l := range lines {
		h := host.NewState(old[l.Source]).Hyperparameters()
		h[kernels.LearningRate], h[kernels.ClipRange] = float32(l.Hyperparameters["learning_rate"].After), float32(l.Hyperparameters["clip_range"].After)
		exploits = append(exploits, kernels.Exploit{Member: l.Member, Source: l.Source, Strategy: kernels.Strategy(l.OptimizerStrategy),
			ScaleMomentum: l.ScaleMomentum, Hyperparameters: h})
	}
	require.NoError(t, engine.Exploit(exploits))
	states := make([]tensor.Member, config.Population)
	for m := range states {
		states[m] = tensor.NewMember(engine.Layout())
		require.NoError(t, engine.Snapshot(m, states[m]))
	}
	return states
}

// The best stay, with their whole state to the bit; those with a number that is gone
// move to one that became free.
func TestSmallerPopulation(t *testing.T) {
	moved := 0
	for _, set := range [][]string{{"pbt.metric_mode=max"}, {"pbt.metric_mode=min"}, {"pbt.metric_name=eval_return", "run.seed=11"}, {"run.seed=12"}} {
		t.Run(strings.Join(set, " "), func(t *testing.T) {
			dir := stoppedRun(t, 8, append(set, "pbt.burn_in=9")...)
			r, notes, warnings := resumeWith(t, dir, "pbt.population_size=2", "run.total_steps=4000")
			require.Empty(t, warnings)
			require.Len(t, notes, 1)
			assert.Contains(t, notes[0], "the checkpoint of update 8 has 4 members, the run now 2: the best by "+string(r.cfg.PBT.MetricName)+" stay")
			old, scores := checkpointOf(t, r, dir, 8, 4)
			if r.cfg.PBT.MetricMode == pbt.Min {
				for m := range scores {
					scores[m] = -scores[m]
				}
			}
			worst := func(a, b float64) bool { return math.IsNaN(b) || !math.IsNaN(a) && a >= b }
			was := map[int]int{0: 0, 1: 1}
			for _, line := range changeLines(t, dir) {
				was[line.Member] = line.Source
				assert.Equal(t, OperationMove, line.Operation)
				assert.Equal(t, StrategyMoved, line.OptimizerStrategy)
				assert.Contains(t, notes[0], fmt.Sprintf("member %d is now member %d", line.Source, line.Member))
				assert.GreaterOrEqual(t, line.Source, 2, "who can keep its number does")
				h := line.Hyperparameters["learning_rate"]
				assert.Equal(t, h.Source, h.After)
				moved++
			}
			for now, before := range was {
				require.Equal(t, old[before].Bytes(), stateOf(t, r, now).Bytes(), "member %d was %d", now, before)
				require.Equal(t, host.NewState(old[before]).Hyperparameters(), r.hyper[now])
				for m := range 4 {
					if m != was[0] && m != was[1] {
						assert.True(t, worst(scores[before], scores[m]), "member %d stays, with %v, and %d with %v does not", before, scores[before], m, scores[m])
					}
				}
			}
			// Stopped before its first update, the best is named by its file there.
			stopped, cancel := context.WithCancel(t.Context())
			cancel()
			s, err := r.Train(stopped)
			require.NoError(t, err)
			if s.Best != nil && s.Best.Member < 2 && r.cfg.PBT.MetricName == pbt.TrainReturn {
				assert.Equal(t, ckpt.MemberFile(was[s.Best.Member]), filepath.Base(s.Best.Checkpoint))
			}
		})
	}
	assert.Positive(t, moved)
}

// Without a score members are copied in turn, and it is said.
func TestLargerPopulationWithoutScores(t *testing.T) {
	dir := stoppedRun(t, 2, "env.id=Pendulum-v1", "pbt.hyperparameters=[]")
	r, notes, _ := resumeWith(t, dir, "pbt.population_size=9")
	require.Len(t, notes, 1)
	assert.Contains(t, notes[0], "members 4 to 8 are copies of members 0, 1, 2, 3 (in turn, as no member has a score), optimizer state by the strategy reset")
	assert.NotContains(t, notes[0], "explored")
	for i, line := range changeLines(t, dir) {
		assert.Equal(t, i%4, line.Source)
		assert.Nil(t, line.SourceScore)
	}
	assert.Len(t, r.scores, 9)
}

func TestQuarantinedMemberIsNoSource(t *testing.T) {
	for p, want := range map[int]string{8: "members 4 to 7 are copies of", 3: "without a place: member"} {
		dir := filepath.Join(t.TempDir(), "run")
		run, err := New(smallConfig(t, "pbt.burn_in=9"), Options{Dir: dir})
		require.NoError(t, err)
		for range 4 {
			require.NoError(t, run.update(t.Context()))
		}
		best := 0
		for m := range 4 {
			if run.performance(m) > run.performance(best) {
				best = m
			}
		}
		run.quarantined[best] = true
		require.NoError(t, run.schedule.Quarantine(best))
		require.NoError(t, run.save())
		require.NoError(t, run.Close())

		r, notes, _ := resumeWith(t, dir, fmt.Sprintf("pbt.population_size=%d", p))
		require.Len(t, notes, 1)
		assert.Contains(t, notes[0], want)
		for _, line := range changeLines(t, dir) {
			assert.NotEqual(t, best, line.Source)
		}
		sick := 0
		for m, q := range r.quarantined {
			assert.Equal(t, q, r.schedule.Population()[m].Quarantined)
			if q {
				assert.Equal(t, best, m)
				sick++
			}
		}
		assert.Equal(t, p == 8, sick == 1, "of a smaller population it is the first to go")
	}
}

// What is waited for of an exploit follows its member, into the line as it was.
func TestOutcomesFollowMembers(t *testing.T) {
	followed := 0
	for seed := range 6 {
		dir := stoppedRun(t, 4, fmt.Sprintf("run.seed=%d", seed), "pbt.exploit_method=binary_tournament")
		before, err := ReadDecisions(dir)
		require.NoError(t, err)
		r, _, _ := resumeWith(t, dir, "pbt.population_size=2", "run.total_steps=4000", "pbt.burn_in=100")
		was := r.origins
		pending := slices.Clone(r.outcomes.Pending)
		for _, p := range pending {
			require.Equal(t, p.Line.Member, was[p.member()])
		}
		_, err = r.Train(t.Context())
		require.NoError(t, err)
		after, err := ReadDecisions(dir)
		require.NoError(t, err)
		for i, line := range before {
			require.Equal(t, line.Member, after[i].Member)
			stays := slices.Index(was, line.Member)
			later := after[i].Outcome.After[1].Mean // 5 updates after the exploit at update 3
			assert.Equal(t, stays >= 0, later != nil, "seed %d, member %d", seed, line.Member)
			if stays >= 0 && stays != line.Member {
				followed++
			}
		}
	}
	assert.Positive(t, followed)
}

// Rewinding works from a checkpoint on the same side of a change, or from the one the
// change was made to, and is refused where neither is left.
func TestRewindOverAChange(t *testing.T) {
	dir := stoppedRun(t, 6, "checkpoint.every=1", "checkpoint.keep=100")
	r, _, _ := resumeWith(t, dir, "pbt.population_size=8", "run.total_steps=6000", "ppo.gamma=0.5")
	_, err := r.Train(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.Close())
	compare := func(before, update int64, p int) {
		t.Helper()
		rewound, err := Rewind(dir, before, Options{})
		require.NoError(t, err)
		defer rewound.Close()
		require.Len(t, rewound.scores, p)
		for rewound.updates < update {
			require.NoError(t, rewound.update(t.Context()))
		}
		states, _ := checkpointOf(t, rewound, dir, update, p)
		for m := range states {
			require.Equal(t, states[m].Bytes(), stateOf(t, rewound, m).Bytes(), "member %d", m)
		}
	}
	compare(6, 5, 4)
	compare(9, 8, 8)
	compare(7, 7, 8)
	remove := func(updates ...int64) {
		for _, u := range updates {
			require.NoError(t, ckpt.OS.RemoveAll(filepath.Join(dir, checkpointsDir, ckpt.SetName(u))))
		}
	}
	remove(7, 8)
	compare(9, 9, 8) // the change is made again at update 6
	remove(6)
	_, err = Rewind(dir, 9, Options{})
	require.ErrorIs(t, err, ErrNoCheckpoint)
	assert.Contains(t, err.Error(), "at update 6 the population of 4 members became another one, and no sound checkpoint from there to update 8 is left")
	remove(1, 2, 3, 4, 5)
	_, err = Rewind(dir, 9, Options{})
	require.ErrorIs(t, err, ErrNoCheckpoint)
	fromSeed, err := Rewind(dir, 6, Options{})
	require.NoError(t, err)
	require.Len(t, fromSeed.scores, 4)
	require.NoError(t, fromSeed.Close())
}
