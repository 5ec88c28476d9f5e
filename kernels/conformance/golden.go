package conformance

import (
	"path/filepath"
	"strings"
	"testing"

	"brood/env"
	"brood/internal/golden"
	"brood/kernels"
	"brood/tensor"
)

// Golden compares an iteration's values, advantages, minibatch figures and
// resulting state with each reference result, within its own tolerance.
func Golden(t *testing.T, newEngine Factory) {
	for _, path := range golden.Files(t, "ppo") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".msgpack"), func(t *testing.T) {
			compareGolden(t, newEngine, golden.Load(t, path))
		})
	}
}

func compareGolden(t *testing.T, newEngine Factory, g map[string]any) {
	c := goldenConfig(t, g)
	e := engine(t, newEngine, c)
	m := snapshot(t, e, 0)
	for name, value := range golden.At[map[string]any](t, g, "init") {
		copy(m.Float32(kernels.SectionPolicy, name), value.(golden.Array).Float32s())
	}
	check(t, e.Restore(0, m))
	check(t, e.WriteRollout(0, goldenRollout(t, g)))
	check(t, e.Advantages())
	check(t, e.SetPermutations(goldenPermutations(t, g)))
	check(t, e.Update())

	var r kernels.Rollout
	check(t, e.ReadRollout(0, &r))
	after := snapshot(t, e, 0)
	steps := e.MinibatchStats(0)
	for key := range golden.At[map[string]any](t, g, "expected") {
		switch key {
		case "values":
			goldenArray(t, g, key, widen(r.Values))
		case "advantages":
			goldenArray(t, g, key, widen(r.Advantages))
		case "returns":
			goldenArray(t, g, key, widen(r.Returns))
		case "minibatches":
			goldenMinibatches(t, g, steps)
		case "policy":
			goldenTensors(t, g, key, after, kernels.SectionPolicy, "")
		case "exp_avg", "exp_avg_sq":
			goldenTensors(t, g, key, after, kernels.SectionOptimizer, key+"/")
		case "vgs_mean_abs", "vgs_var":
			goldenAverages(t, g, key, c, after)
		case "vgs_step":
			goldenScalar(t, g, key, float64(after.Int64(kernels.SectionVGS, "step")[0]))
		case "step":
			goldenScalar(t, g, key, float64(after.Int64(kernels.SectionOptimizer, "step")[0]))
		case "kl_beta":
			goldenScalar(t, g, key, float64(after.Float32(kernels.SectionKLPenalty, "beta")[0]))
		case "stopped":
			stopped := len(steps) > 0 && !steps[len(steps)-1].Applied
			if want := golden.At[bool](t, g, "expected", key); stopped != want {
				t.Errorf("stopped is %v, want %v", stopped, want)
			}
		default:
			t.Errorf("the golden expects %q, which this test does not know", key)
		}
	}
}

// number returns a value that may be stored as a whole number or a 0-d array.
func number(t *testing.T, g map[string]any, keys ...string) float64 {
	t.Helper()
	switch v := golden.At[any](t, g, keys...).(type) {
	case int:
		return float64(v)
	case float64:
		return v
	case golden.Array:
		return v.Float64s()[0]
	default:
		t.Fatalf("golden: %q is a %T, want a number", keys, v)
		return 0
	}
}

func integer(t *testing.T, g map[string]any, keys ...string) int { return int(number(t, g, keys...)) }

func single(t *testing.T, g map[string]any, keys ...string) float32 {
	return float32(number(t, g, keys...))
}

func goldenConfig(t *testing.T, g map[string]any) *kernels.Config {
	c := golden.At[map[string]any](t, g, "config")
	n := integer(t, c, "action", "n")
	action := continuous(n, 1)
	switch golden.At[string](t, c, "action", "type") {
	case "discrete":
		action = discrete(n)
	case "multi_discrete":
		var nvec []int
		for _, n := range golden.At[[]any](t, c, "action", "nvec") {
			nvec = append(nvec, n.(int))
		}
		action = env.MultiDiscrete(nvec...)
	}
	k := &kernels.Config{
		Population: 1, Env: blank(integer(t, c, "obs_dim"), action),
		Environments: integer(t, c, "envs"), Steps: integer(t, c, "steps"),
		Activation: kernels.Activation(golden.At[string](t, c, "activation")),
		Critic: kernels.Critic{Type: kernels.CriticType(golden.At[string](t, c, "critic", "type")),
			Quantiles: integer(t, c, "critic", "quantiles"), Kappa: single(t, c, "critic", "kappa")},
		Epochs: integer(t, c, "epochs"), Minibatches: integer(t, c, "minibatches"),
		NormalizeAdvantage:   golden.At[bool](t, c, "normalize_advantage"),
		LearningRateSchedule: kernels.Constant,
		TargetKL:             single(t, c, "target_kl"),
		KLPenalty: kernels.KLPenalty{Enabled: golden.At[bool](t, c, "kl_penalty", "enabled"),
			Beta: single(t, c, "kl_penalty", "beta"),
			Min:  single(t, c, "kl_penalty", "min"), Max: single(t, c, "kl_penalty", "max")},
		VGS: kernels.VGS{Enabled: golden.At[bool](t, c, "vgs", "enabled"),
			Beta: single(t, c, "vgs", "beta"), Warmup: integer(t, c, "vgs", "warmup"),
			Eps: single(t, c, "vgs", "eps"), Percentile: single(t, c, "vgs", "percentile")},
	}
	for _, h := range golden.At[[]any](t, c, "hidden") {
		k.Hidden = append(k.Hidden, h.(int))
	}
	for name := range golden.At[map[string]any](t, g, "hyperparameters") {
		h, ok := kernels.HyperparameterByName(name)
		if !ok {
			t.Fatalf("golden: unknown hyperparameter %q", name)
		}
		k.Hyperparameters[h] = single(t, g, "hyperparameters", name)
	}
	k.Hyperparameters[kernels.VGSAlpha] = single(t, c, "vgs", "alpha")
	k.Hyperparameters[kernels.KLTarget] = single(t, c, "kl_penalty", "target")
	return k
}

func goldenRollout(t *testing.T, g map[string]any) *kernels.Rollout {
	floats := func(name string) []float32 {
		return golden.At[golden.Array](t, g, "rollout", name).Float32s()
	}
	flags := func(name string) []uint8 {
		return golden.At[golden.Array](t, g, "rollout", name).Data.([]uint8)
	}
	return &kernels.Rollout{
		Obs: floats("obs"), Actions: floats("actions"), LogProbs: floats("log_probs"), Rewards: floats("rewards"),
		Terminated: flags("terminated"), Truncated: flags("truncated"),
		FinalObs: floats("final_obs"), LastObs: floats("last_obs"),
	}
}

func goldenPermutations(t *testing.T, g map[string]any) (p [][]int32) {
	a := golden.At[golden.Array](t, g, "permutations")
	rows := a.Ints()
	for e := range a.Shape[0] {
		var order []int32
		for _, row := range rows[e*a.Shape[1] : (e+1)*a.Shape[1]] {
			order = append(order, int32(row))
		}
		p = append(p, order)
	}
	return p
}

func goldenArray(t *testing.T, g map[string]any, key string, got []float64) {
	t.Helper()
	near(t, key, got, golden.At[golden.Array](t, g, "expected", key).Float64s(), number(t, g, "tolerance", key), 0)
}

func goldenScalar(t *testing.T, g map[string]any, key string, got float64) {
	t.Helper()
	// A float32 holds the expected number only to its own precision.
	near(t, key, []float64{got}, []float64{number(t, g, "expected", key)}, number(t, g, "tolerance", key), 1e-7)
}

// goldenMinibatches compares the applied minibatches; the goldens leave out the
// one that stopped the iteration.
func goldenMinibatches(t *testing.T, g map[string]any, steps []kernels.MinibatchStats) {
	t.Helper()
	var got []float64
	for _, m := range steps {
		if m.Applied {
			got = append(got, widen([]float32{m.PolicyLoss, m.ValueLoss, m.Entropy, m.KL, m.ClipFraction, m.GradNorm, m.VGSScale})...)
		}
	}
	goldenArray(t, g, "minibatches", got)
}

func goldenTensors(t *testing.T, g map[string]any, key string, m tensor.Member, section, prefix string) {
	t.Helper()
	expected := golden.At[map[string]any](t, g, "expected", key)
	if want := len(golden.At[map[string]any](t, g, "init")); len(expected) != want {
		t.Errorf("%s has %d tensors, want %d", key, len(expected), want)
	}
	for name := range expected {
		near(t, key+"/"+name, widen(m.Float32(section, prefix+name)),
			golden.At[golden.Array](t, g, "expected", key, name).Float64s(), number(t, g, "tolerance", key, name), 0)
	}
}

// goldenAverages compares VGS's moving averages, which lie in the order of the
// policy's tensors.
func goldenAverages(t *testing.T, g map[string]any, key string, c *kernels.Config, m tensor.Member) {
	t.Helper()
	got := m.Float32(kernels.SectionVGS, strings.TrimPrefix(key, "vgs_"))
	expected := golden.At[map[string]any](t, g, "expected", key)
	for i, s := range kernels.PolicyTensors(c) {
		if _, ok := expected[s.Name]; !ok && len(expected) == 0 {
			continue // VGS is off
		}
		near(t, key+"/"+s.Name, widen(got[i:i+1]), []float64{number(t, g, "expected", key, s.Name)},
			number(t, g, "tolerance", key, s.Name), 0)
	}
}
