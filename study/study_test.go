package study

import (
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"brood/kernels"
	"brood/kernels/host"
	"brood/pbt"
	"brood/tensor"
	"brood/train"

	"github.com/stretchr/testify/require"
)

// small is a run of 4 members and 12 updates that exploits at every third.
const small = `
env: {id: CartPole-v1, count: 4}
policy: {hidden: [8]}
critic: {type: scalar}
ppo: {steps: 16, epochs: 2, minibatches: 2, learning_rate_schedule: linear, normalize_observations: true, normalize_rewards: true}
pbt:
  population_size: 4
  perturbation_interval: 3
  ready_percentage: 0.5
  hyperparameters:
    - {name: learning_rate, min: 1e-4, max: 1e-2, log_scale: true}
    - {name: clip_range, min: 0.05, max: 0.4}
checkpoint: {every: 5, keep: 2}
run: {total_steps: 3000, seed: 7, selection_episodes: 0, device: cpu}
`

func config(t *testing.T, set ...string) train.Config {
	t.Helper()
	settings, err := train.ParseSettings(set)
	require.NoError(t, err)
	cfg, err := train.Load("small.yaml", []byte(small), settings)
	require.NoError(t, err)
	return cfg
}

// folder trains a run on disk.
func folder(t *testing.T, set ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	live(t, config(t, set...), train.Options{Dir: dir})
	return dir
}

func live(t *testing.T, cfg train.Config, opts train.Options) {
	t.Helper()
	run, err := train.New(cfg, opts)
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(t.Context())
	require.NoError(t, err)
}

// captured returns every exploit of a run in memory.
func captured(t *testing.T, cfg train.Config) (cases []*Case) {
	t.Helper()
	live(t, cfg, train.Options{InMemory: true, BeforeExploit: func(m *train.Moment) error {
		for i := range m.Decisions {
			c, err := Capture(m, cfg, i)
			require.NoError(t, err)
			cases = append(cases, c)
		}
		return nil
	}})
	require.NotEmpty(t, cases)
	return cases
}

func arms(t *testing.T, names ...string) []Arm {
	t.Helper()
	list, err := ParseArms(names)
	require.NoError(t, err)
	return list
}

// statesAfter are the arms' states so many updates after the exploit.
func statesAfter(t *testing.T, c *Case, list []Arm, updates int) (states []tensor.Member) {
	t.Helper()
	engine, err := c.newEngine(len(list), 0)
	require.NoError(t, err)
	defer engine.Close()
	l := &Lives{Case: c, Arms: list, After: []int64{}}
	for _, a := range list {
		l.Strategies = append(l.Strategies, a.resolve(&c.Decision, c.Config.PBT.OptimizerAdaptiveFactor))
	}
	begin, err := l.begin(engine.Config())
	require.NoError(t, err)
	require.NoError(t, restore(engine, begin))
	require.NoError(t, l.live(t.Context(), engine, Options{Updates: int64(updates), Episodes: 1}))
	for i := range list {
		s := tensor.NewMember(engine.Layout())
		require.NoError(t, engine.Snapshot(i, s))
		states = append(states, s)
	}
	return states
}

// Under every strategy the arm of that name is the run itself: with an interval of
// one update, the next interval shows the member an update later.
func TestArmOfTheRunsStrategyIsTheRun(t *testing.T) {
	for _, test := range []struct {
		arm string
		set []string
	}{
		{"reset", nil}, {"copy", nil}, {"momentum", nil}, {"velocity", nil}, {"adaptive", []string{"pbt.explore_method=both"}},
		{"stale", []string{"pbt.allow_stale_optimizer=true"}}, {"copy+lr", nil}, {"momentum+lr", nil},
		{"copy", []string{"run.schedule=[{update: 4, name: gamma, value: 0.9}, {update: 5, name: gamma, value: 0.8}]"}},
	} {
		t.Run(test.arm, func(t *testing.T) {
			arm := arms(t, test.arm)[0]
			set := append([]string{"pbt.perturbation_interval=1", "pbt.optimizer_exploit_strategy=" + string(arm.Strategy)}, test.set...)
			if arm.ScaleMomentum {
				set = append(set, "pbt.optimizer_lr_scaling=true")
			}
			cfg := config(t, set...)
			var cases []*Case
			compared := 0
			live(t, cfg, train.Options{InMemory: true, BeforeExploit: func(m *train.Moment) error {
				for _, c := range cases {
					if c.Update != m.Update-1 {
						continue
					}
					require.Equal(t, c.Decision.Strategy, arm.resolve(&c.Decision, cfg.PBT.OptimizerAdaptiveFactor))
					got := tensor.NewMember(m.Layout())
					require.NoError(t, m.State(c.Decision.Member, got))
					want := statesAfter(t, c, arms(t, "velocity+lr", test.arm), 1)[1]
					if gamma, ok := map[int64]float32{4: 0.9, 5: 0.8}[m.Update]; ok && len(cfg.Run.Schedule) > 0 {
						// The arm has what the schedule says of this update, the run not yet.
						h := host.NewState(got).Hyperparameters()
						h[kernels.Gamma] = gamma
						host.NewState(got).SetHyperparameters(h)
					}
					require.Equal(t, tensor.Digest(want), tensor.Digest(got), "member %d at update %d", c.Decision.Member, c.Update)
					compared++
				}
				for i := range m.Decisions {
					c, err := Capture(m, cfg, i)
					require.NoError(t, err)
					cases = append(cases, c)
				}
				return nil
			}})
			require.Greater(t, compared, 4)
		})
	}
}

// Two arms that do the same do not differ by a bit, wherever they stand.
func TestEqualArmsAreEqual(t *testing.T) {
	for _, c := range captured(t, config(t)) {
		list := arms(t, "copy", "reset", "stale", "reset+lr", "adaptive")
		states := statesAfter(t, c, list, 3)
		digest := func(i int) [32]byte { return tensor.Digest(states[i]) }
		require.Equal(t, digest(1), digest(3), "there is no mean to scale")
		require.Equal(t, digest(0), digest(4), "factors of 1.2 are copied")
		require.NotEqual(t, digest(0), digest(1))
		require.NotEqual(t, digest(2), digest(1))

		lives, err := c.Live(t.Context(), Options{Arms: list, Updates: 4, Episodes: 5})
		require.NoError(t, err)
		require.Equal(t, []int64{0, 1, 2, 4}, lives.After)
		require.Equal(t, lives.Returns[1], lives.Returns[3])
		require.Equal(t, lives.Returns[0], lives.Returns[4])
		for i := range list {
			require.Equal(t, lives.SourceReturns, lives.Returns[i][0], "at the moment of copying every arm plays as the source")
		}
		for _, d := range lives.Summary(nil).Differences {
			if d.A == "reset" && d.B == "reset+lr" || d.After == 0 {
				require.Equal(t, [3]float64{}, [3]float64{*d.Mean, *d.Low, *d.High})
			}
		}
	}
}

func TestWhatTheArmsBeginWith(t *testing.T) {
	c := captured(t, config(t))[1]
	list := arms(t, "reset", "copy", "momentum", "velocity", "stale", "copy+lr")
	l := &Lives{Case: c, Arms: list}
	for _, a := range list {
		l.Strategies = append(l.Strategies, a.Strategy)
	}
	engine, err := c.Config.EngineConfig()
	require.NoError(t, err)
	states, err := l.begin(engine)
	require.NoError(t, err)
	member, source := host.NewState(c.Member), host.NewState(c.Source)
	require.NotEqual(t, member.ExpAvg, source.ExpAvg)
	begin := make([]*host.State, len(states))
	for i := range states {
		begin[i] = host.NewState(states[i])
		require.Equal(t, source.Policy, begin[i].Policy, list[i].Name)
		require.Equal(t, c.Hyperparameters, begin[i].Hyperparameters(), list[i].Name)
		require.Equal(t, member.EnvState, begin[i].EnvState, list[i].Name)
	}
	zero := make([]float32, len(member.ExpAvg))
	require.Equal(t, [][]float32{zero, zero}, [][]float32{begin[0].ExpAvg, begin[0].ExpAvgSq}, "reset")
	require.Equal(t, [][]float32{source.ExpAvg, source.ExpAvgSq}, [][]float32{begin[1].ExpAvg, begin[1].ExpAvgSq}, "copy")
	require.Equal(t, source.ExpAvg, begin[2].ExpAvg, "momentum")
	require.NotEqual(t, source.ExpAvgSq, begin[2].ExpAvgSq, "momentum")
	require.Equal(t, [][]float32{zero, source.ExpAvgSq}, [][]float32{begin[3].ExpAvg, begin[3].ExpAvgSq}, "velocity")
	require.Equal(t, [][]float32{member.ExpAvg, member.ExpAvgSq}, [][]float32{begin[4].ExpAvg, begin[4].ExpAvgSq}, "stale")
	require.Equal(t, *member.Step, *begin[4].Step, "stale")
	require.NotEqual(t, source.ExpAvg, begin[5].ExpAvg, "copy+lr")
}

// The first step and its gradient, against Adam as it is written in the paper
// (Kingma and Ba 2015, algorithm 1), from what each arm begins with.
func TestFirstStepIsAdams(t *testing.T) {
	c := captured(t, config(t))[2]
	list := arms(t, "reset", "copy", "momentum", "velocity", "stale", "copy+lr")
	lives, err := c.Live(t.Context(), Options{Arms: list, Updates: 1, Episodes: 1})
	require.NoError(t, err)
	engine, err := c.newEngine(len(list), 1)
	require.NoError(t, err)
	defer engine.Close()
	begin, err := lives.begin(engine.Config())
	require.NoError(t, err)
	require.NoError(t, restore(engine, begin))
	require.NoError(t, engine.Iterate(make([]kernels.Stats, len(list))))
	var first []float32
	for i := range list {
		s := host.NewState(begin[i])
		g := make([]float32, len(s.Policy))
		require.NoError(t, engine.Gradient(i, g))
		if i == 0 {
			first = g
		}
		require.Equal(t, first, g, "the gradient does not depend on the optimizer")
		norm := 0.0
		for _, x := range g {
			norm += float64(x) * float64(x)
		}
		clip := min(1, float64(s.Hyper(kernels.MaxGradNorm))/(math.Sqrt(norm)+1e-6))
		b1, b2, eps := float64(s.Hyper(kernels.AdamBeta1)), float64(s.Hyper(kernels.AdamBeta2)), float64(s.Hyper(kernels.AdamEps))
		n := float64(*s.Step + 1)
		lr := float64(s.Hyper(kernels.LearningRate)) * (1 - float64(*s.Updates)/float64(c.Config.TotalUpdates()))
		want, mg, mm := 0.0, 0.0, 0.0
		for k, x := range g {
			gk := float64(x) * clip
			mk, vk := float64(s.ExpAvg[k]), float64(s.ExpAvgSq[k])
			mg, mm = mg+mk*float64(x), mm+mk*mk
			m, v := b1*mk+(1-b1)*gk, b2*vk+(1-b2)*gk*gk
			step := lr * (m / (1 - math.Pow(b1, n))) / (math.Sqrt(v/(1-math.Pow(b2, n))) + eps)
			want += step * step
		}
		require.InEpsilon(t, math.Sqrt(want), lives.FirstStep[i], 1e-3, list[i].Name)
		if mm == 0 {
			require.True(t, math.IsNaN(lives.Cosine[i]), list[i].Name)
		} else {
			require.InDelta(t, mg/math.Sqrt(mm*norm), lives.Cosine[i], 1e-6, list[i].Name)
		}
	}
}

func TestFindFromACheckpointAsFromTheSeed(t *testing.T) {
	dir := folder(t, "pbt.optimizer_exploit_strategy=copy", "run.total_steps=7000", "pbt.perturbation_interval=8", "checkpoint.every=9", "checkpoint.keep=10")
	lines, err := train.ReadDecisions(dir)
	require.NoError(t, err)
	require.Len(t, lines, 3)
	before := contents(t, dir)
	find := func() (cases []*Case) {
		for _, l := range lines {
			c, warnings, err := Find(t.Context(), dir, l.Update, l.Member, train.Options{})
			require.NoError(t, err)
			require.Empty(t, warnings)
			require.Equal(t, [2]int{l.Member, l.Source}, [2]int{c.Decision.Member, c.Decision.Source})
			cases = append(cases, c)
		}
		return cases
	}
	fromCheckpoints := find()
	require.Equal(t, before, contents(t, dir), "the folder has changed")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "checkpoints")))
	for i, b := range find() {
		a := fromCheckpoints[i]
		require.Equal(t, tensor.Digest(a.Member, a.Source), tensor.Digest(b.Member, b.Source))
		require.Equal(t, a.Decision, b.Decision)
		require.Equal(t, a.Hyperparameters, b.Hyperparameters)
	}
	first, _, err := Find(t.Context(), dir, First, FirstMember, train.Options{})
	require.NoError(t, err)
	require.Equal(t, lines[0].Update, first.Update)
	require.Equal(t, lines[0].Member, first.Decision.Member)
}

// contents are the bytes of every file of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	}))
	return files
}

func TestFindSaysWhatThereIs(t *testing.T) {
	dir := folder(t)
	for _, test := range []struct {
		name   string
		update int64
		member int
		want   string
	}{
		{"update", 4, FirstMember, "there is none at update 4 of " + dir + "; the nearest are at 3, 6, 9"},
		{"member", 3, 99, "at update 3 of " + dir + " member 99 copied nobody; those who did: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := Find(t.Context(), dir, test.update, test.member, train.Options{})
			require.ErrorIs(t, err, ErrNoExploit)
			require.ErrorContains(t, err, test.want)
		})
	}
	_, _, err := Find(t.Context(), t.TempDir(), First, FirstMember, train.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	idle := folder(t, "pbt.enabled=false")
	_, _, err = Find(t.Context(), idle, First, FirstMember, train.Options{})
	require.ErrorIs(t, err, ErrNoExploit)
	require.ErrorContains(t, err, "none at all")
}

// A folder whose decisions are not those of the run that is lived again.
func TestFindWarnsOfAnotherRun(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "decisions.jsonl")
	lines, err := train.ReadDecisions(dir)
	require.NoError(t, err)
	for _, test := range []struct {
		change func(l *train.DecisionLine)
		want   string
	}{
		{func(l *train.DecisionLine) {
			h := l.Hyperparameters["clip_range"]
			h.After = math.Nextafter(h.After, 1)
			l.Hyperparameters["clip_range"] = h
		}, "has clip_range"},
		{func(l *train.DecisionLine) {
			for l.Source = 0; l.Source == lines[0].Source || l.Source == l.Member; l.Source++ {
			}
		}, "by the folder's decisions member"},
	} {
		changed := lines[0]
		changed.Hyperparameters = map[string]train.HyperparameterChange{}
		for name, h := range lines[0].Hyperparameters {
			changed.Hyperparameters[name] = h
		}
		test.change(&changed)
		var text []byte
		for _, l := range append([]train.DecisionLine{changed}, lines[1:]...) {
			line, err := json.Marshal(l)
			require.NoError(t, err)
			text = append(append(text, line...), '\n')
		}
		require.NoError(t, os.WriteFile(path, text, 0o644))
		c, warnings, err := Find(t.Context(), dir, First, FirstMember, train.Options{})
		require.NoError(t, err)
		require.NotNil(t, c)
		require.Len(t, warnings, 1)
		require.Contains(t, warnings[0], test.want)
	}
}

func TestSummaryIsJSON(t *testing.T) {
	c := captured(t, config(t))[0]
	lives, err := c.Live(t.Context(), Options{Arms: arms(t, "reset", "adaptive", "stale"), Updates: 2, Episodes: 1})
	require.NoError(t, err)
	lives.Returns[2][1][0] = math.NaN() // an arm that diverged
	lives.FirstStep[2] = math.Inf(1)
	text, err := json.Marshal(lives.Summary([]string{"a warning"}))
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(text, &got))
	require.ElementsMatch(t, []string{"update", "member", "source", "source_return", "arms", "differences", "warnings"}, keys(got))
	list := got["arms"].([]any)
	require.Len(t, list, 3)
	reset, adaptive, stale := list[0].(map[string]any), list[1].(map[string]any), list[2].(map[string]any)
	require.ElementsMatch(t, []string{"name", "returns", "momentum_gradient_cosine", "first_step_norm"}, keys(reset))
	require.Nil(t, reset["momentum_gradient_cosine"], "there is no mean")
	require.Positive(t, reset["first_step_norm"])
	require.Equal(t, "copy", adaptive["strategy"])
	require.Nil(t, stale["first_step_norm"])
	returns := stale["returns"].([]any)
	require.Len(t, returns, 3)
	require.Equal(t, map[string]any{"after": 1.0, "mean": nil, "stderr": nil}, returns[1])
	require.Len(t, got["differences"], 3*3, "all pairs at all times")
	require.ElementsMatch(t, []string{"a", "b", "after", "mean", "low", "high"}, keys(got["differences"].([]any)[0].(map[string]any)))
}

func keys(m map[string]any) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}

func TestParseArms(t *testing.T) {
	list, err := ParseArms(DefaultArms())
	require.NoError(t, err)
	require.Len(t, list, 6)
	require.Equal(t, Arm{"copy+lr", pbt.CopyOptimizer, true}, arms(t, "copy+lr")[0])
	for _, test := range []struct {
		names []string
		want  string
	}{
		{nil, "there is none"},
		{[]string{"resett"}, `"resett"; did you mean reset?`},
		{[]string{"reset", ""}, `""; valid: reset, copy, momentum, velocity, adaptive, stale`},
		{[]string{"copy", "copy"}, `"copy" twice`},
		{[]string{"copy+lr+lr"}, `"copy+lr+lr"`},
	} {
		_, err := ParseArms(test.names)
		require.ErrorIs(t, err, ErrArm)
		require.ErrorContains(t, err, test.want)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	c := captured(t, config(t))[0]
	for _, o := range []Options{{}, {Arms: arms(t, "copy"), Episodes: 1}, {Arms: arms(t, "copy"), Updates: 1}, {Arms: arms(t, "copy"), Updates: -1, Episodes: 1}} {
		_, err := c.Live(t.Context(), o)
		require.Error(t, err)
	}
}

func TestChangeFactor(t *testing.T) {
	for _, test := range []struct{ before, after, want float64 }{
		{2, 3, 1.5}, {3, 2, 1.5}, {5, 5, 1}, {0, 0, 1}, {0, 1, math.Inf(1)}, {1, 0, math.Inf(1)}, {-2, -3, 1.5}, {-1, 1, math.Inf(1)},
	} {
		d := pbt.Decision{SourceValues: map[string]float64{"x": test.before, "y": 1}, After: map[string]float64{"x": test.after, "y": 1}}
		require.Equal(t, test.want, ChangeFactor(&d), "%v to %v", test.before, test.after)
	}
}

// The arm adaptive does what the run's own strategy adaptive would do.
func TestAdaptiveAsThePopulationDoes(t *testing.T) {
	seen := map[pbt.Strategy]int{}
	cfg := config(t, "pbt.optimizer_exploit_strategy=adaptive", "pbt.explore_method=both", "pbt.perturbation_interval=1", "pbt.truncation_ratio=0.5",
		"pbt.hyperparameters.0.perturbation_factor=1.5")
	for _, c := range captured(t, cfg) {
		require.Equal(t, c.Decision.Strategy, arms(t, "adaptive")[0].resolve(&c.Decision, cfg.PBT.OptimizerAdaptiveFactor))
		seen[c.Decision.Strategy]++
	}
	require.Len(t, seen, 2)
}

func TestAfter(t *testing.T) {
	require.Equal(t, []int64{0, 1}, After(1))
	require.Equal(t, []int64{0, 1, 2, 5, 7}, After(7))
	require.Equal(t, []int64{0, 1, 2, 5, 10, 20}, After(20))
	require.Equal(t, []int64{0, 1, 2, 5, 10, 20, 30}, After(30))
}
