package conformance

import (
	"errors"
	"math"
	"strings"
	"testing"

	"brood/env"
	"brood/kernels"
	"brood/tensor"
)

// errorsNamed: what is wrong is refused with an error that names it, and leaves
// every member as it was.
func errorsNamed(t *testing.T, newEngine Factory) {
	t.Run("config", func(t *testing.T) { configErrors(t, newEngine) })
	t.Run("calls", func(t *testing.T) { callErrors(t, newEngine) })
}

func configErrors(t *testing.T, newEngine Factory) {
	for want, change := range map[string]func(*kernels.Config){
		"Population":         func(c *kernels.Config) { c.Population = 0 },
		"Environments":       func(c *kernels.Config) { c.Environments = -1 },
		"Steps":              func(c *kernels.Config) { c.Steps = 0 },
		"Hidden[1]":          func(c *kernels.Config) { c.Hidden = []int{3, 0} },
		"Activation":         func(c *kernels.Config) { c.Activation = "gelu" },
		"Epochs":             func(c *kernels.Config) { c.Epochs = 0 },
		"Minibatches":        func(c *kernels.Config) { c.Minibatches = 7 },
		"NormalizeAdvantage": func(c *kernels.Config) { c.Minibatches = c.Rows() },
		"Critic.Type":        func(c *kernels.Config) { c.Critic.Type = "" },
		"Kappa": func(c *kernels.Config) {
			c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 3}
		},
		"value_clip": func(c *kernels.Config) {
			c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 3, Kappa: 1}
			c.Hyperparameters[kernels.ValueClip] = 0.2
		},
		"LearningRateSchedule": func(c *kernels.Config) { c.LearningRateSchedule = "cosine" },
		"TotalUpdates":         func(c *kernels.Config) { c.LearningRateSchedule = kernels.Linear },
		"TargetKL":             func(c *kernels.Config) { c.TargetKL = -1 },
		"VGS.Beta":             func(c *kernels.Config) { c.VGS.Beta = 1 },
		"KLPenalty":            func(c *kernels.Config) { c.KLPenalty.Min = 200 },
		"Threads":              func(c *kernels.Config) { c.Threads = -1 },
		"Env":                  func(c *kernels.Config) { c.Env = nil },
		"FirstMember":          func(c *kernels.Config) { c.FirstMember = -1 },
		"MinibatchLimit":       func(c *kernels.Config) { c.MinibatchLimit = -1 },
		"hyperparameter 0 of the environment": func(c *kernels.Config) {
			c.Hyperparameters[kernels.NumHyperparameters] = 0.5
		},
		"hyperparameter weight_1": func(c *kernels.Config) {
			c.Env = shaped(chaseEnv(byChoice), 2, slope)
			c.Hyperparameters[kernels.NumHyperparameters+1] = 1.5
		},
		"the algorithm has a hyperparameter of that name": func(c *kernels.Config) {
			toy := &shapedToy{toy: *chaseEnv(byChoice), shaping: slope}
			toy.spec.Hyperparameters = []env.Hyperparameter{{Name: "gamma", Max: 1}}
			c.Env = env.Vectorize(toy)
		},
		"gamma":         func(c *kernels.Config) { c.Hyperparameters[kernels.Gamma] = float32(math.NaN()) },
		"learning_rate": func(c *kernels.Config) { c.Hyperparameters[kernels.LearningRate] = float32(math.Inf(1)) },
		"policy": func(c *kernels.Config) {
			c.Sections = []tensor.Section{{Name: kernels.SectionPolicy}}
		},
	} {
		c := config()
		change(c)
		e, err := newEngine(c)
		if err == nil {
			_ = e.Close()
			t.Errorf("a config with a wrong %s is accepted", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("the error for a wrong %s does not name it: %v", want, err)
		}
	}
}

func callErrors(t *testing.T, newEngine Factory) {
	c := config()
	e := engine(t, newEngine, c)
	iterate(t, e, 1)
	before := population(t, e)
	for _, i := range []int{-1, c.Population} {
		for name, err := range memberCalls(e, i) {
			if !errors.Is(err, kernels.ErrMember) {
				t.Errorf("%s of member %d: %v, want ErrMember", name, i, err)
			}
		}
	}
	h, bad := c.Hyperparameters, c.Hyperparameters
	bad[kernels.LearningRate] = float32(math.NaN())
	x := func(member, source int, s kernels.Strategy, h kernels.Hyperparameters) kernels.Exploit {
		return kernels.Exploit{Member: member, Source: source, Strategy: s, Hyperparameters: h}
	}
	good := x(0, 1, kernels.StrategyReset, h)
	for name, list := range map[string][]kernels.Exploit{
		"unknown strategy":    {good, x(1, 2, "stale-ish", h)},
		"itself":              {good, x(1, 1, kernels.StrategyReset, h)},
		"overwritten twice":   {good, x(0, 2, kernels.StrategyReset, h)},
		"no such source":      {good, x(1, c.Population, kernels.StrategyReset, h)},
		"NaN hyperparameters": {good, x(1, 2, kernels.StrategyReset, bad)},
	} {
		if err := e.Exploit(list); err == nil {
			t.Errorf("an exploit with %s is accepted", name)
		}
	}
	var r kernels.Rollout
	check(t, e.ReadRollout(0, &r))
	short := r
	short.Rewards = r.Rewards[1:]
	other := config()
	other.Hidden = []int{8}
	layout, err := kernels.NewLayout(other)
	check(t, err)
	twice := identity(c.Rows())
	twice[0] = 1
	for name, err := range map[string]error{
		"SetHyperparameters of NaN":          e.SetHyperparameters(0, bad),
		"Iterate with too little room":       e.Iterate(nil),
		"WriteRollout of too few rewards":    e.WriteRollout(0, &short),
		"Gradient with too little room":      e.Gradient(0, nil),
		"SetPermutations of one epoch":       e.SetPermutations([][]int32{identity(c.Rows())}),
		"SetPermutations with a row twice":   e.SetPermutations([][]int32{identity(c.Rows()), twice}),
		"SetPermutations of too few rows":    e.SetPermutations([][]int32{identity(3), identity(3)}),
		"Snapshot into another layout":       e.Snapshot(0, tensor.NewMember(layout)),
		"Restore of another layout":          e.Restore(0, tensor.NewMember(layout)),
		"Evaluate of no episodes":            e.Evaluate(kernels.Evaluation{Members: []int{0}}, [][]float64{{}}, [][]int{{}}),
		"Evaluate with too little room":      e.Evaluate(kernels.Evaluation{Members: []int{0}, Episodes: 2}, [][]float64{{0}}, [][]int{{0}}),
		"Evaluate with no room for a member": e.Evaluate(kernels.Evaluation{Members: []int{0}, Episodes: 2}, nil, nil),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for i, m := range population(t, e) {
		sameBits(t, "a member after refused calls", m, before[i])
	}
}

// memberCalls makes every call that names a member.
func memberCalls(e kernels.Engine, i int) map[string]error {
	m := tensor.NewMember(e.Layout())
	var r kernels.Rollout
	return map[string]error{
		"SetHyperparameters": e.SetHyperparameters(i, hyperparameters()),
		"Snapshot":           e.Snapshot(i, m),
		"Restore":            e.Restore(i, m),
		"ReadRollout":        e.ReadRollout(i, &r),
		"WriteRollout":       e.WriteRollout(i, &r),
		"Gradient":           e.Gradient(i, m.Floats(kernels.SectionPolicy)),
		"Evaluate":           e.Evaluate(kernels.Evaluation{Members: []int{i}, Episodes: 1}, [][]float64{{0}}, [][]int{{0}}),
	}
}

func closed(t *testing.T, newEngine Factory) {
	e := engine(t, newEngine, config())
	iterate(t, e, 1)
	if p := e.Profile(); p[kernels.PhaseGradient] <= 0 || p[kernels.PhaseForward] <= 0 || p[kernels.PhaseStep] <= 0 {
		t.Errorf("the profile of an iteration is %v", p)
	}
	check(t, e.Close())
	check(t, e.Close())
	room := []kernels.Stats{{}, {}, {}}
	calls := memberCalls(e, 0)
	calls["Iterate"] = e.Iterate(room)
	calls["Collect"] = e.Collect()
	calls["Advantages"] = e.Advantages()
	calls["Update"] = e.Update()
	calls["Exploit"] = e.Exploit(nil)
	calls["SetPermutations"] = e.SetPermutations(nil)
	_, calls["BeginSnapshot"] = e.BeginSnapshot()
	for name, err := range calls {
		if !errors.Is(err, kernels.ErrClosed) {
			t.Errorf("%s of a closed engine: %v, want ErrClosed", name, err)
		}
	}
	if score, n := e.Score(0); !math.IsNaN(score) || n != 0 {
		t.Errorf("the score of a closed engine is %v over %d, want NaN over 0", score, n)
	}
	e.ClearIntervals()
}
