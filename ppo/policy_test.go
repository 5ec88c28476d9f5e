package ppo

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"brood/ckpt"
	"brood/env"
	"brood/kernels"
	"brood/rng"
	"brood/tensor"
)

// file is a member file of random weights for an environment that is not registered.
type file struct {
	spec   env.Spec
	hidden []int
	critic kernels.Critic
	config string
	change func(m tensor.Member)
	edit   func(c *ckpt.Checkpoint)
}

var arm = env.Spec{ID: "Arm-v7", ObsDim: 5, StateSize: 1,
	Action: env.ActionSpace{N: 3, Low: []float32{-0.1, -2, float32(math.Inf(-1))}, High: []float32{0.1, 0.3, 0.2}}}

var buttons = env.Spec{ID: "Buttons-v0", ObsDim: 5, StateSize: 1, Action: env.ActionSpace{Discrete: true, N: 4}}

var panel = env.Spec{ID: "Panel-v0", ObsDim: 5, StateSize: 1, Action: env.MultiDiscrete(3, 1, 4)}

// checkpoint encodes the file and reads it again.
func (f file) checkpoint(t testing.TB) (*ckpt.Checkpoint, tensor.Member) {
	t.Helper()
	c := &kernels.Config{Env: described{spec: f.spec}, Hidden: f.hidden, Critic: f.critic, Environments: 1, Population: 1}
	layout, err := kernels.NewLayout(c)
	require.NoError(t, err)
	m := tensor.NewMember(layout)
	stream := rng.NewKey(7).Stream(0, rng.Address{Purpose: rng.User})
	for _, spec := range kernels.PolicyTensors(c) {
		for i := range m.Float32(kernels.SectionPolicy, spec.Name) {
			m.Float32(kernels.SectionPolicy, spec.Name)[i] = 0.5 * stream.Normal()
		}
	}
	for i := range f.spec.ObsDim {
		m.Float32(kernels.SectionObservationNorm, "mean")[i] = stream.Normal()
		m.Float32(kernels.SectionObservationNorm, "var")[i] = 0.1 + stream.Uniform()
	}
	m.Float64(kernels.SectionObservationNorm, "count")[0] = 1000
	if f.change != nil {
		f.change(m)
	}
	data, err := ckpt.Encode(m, ckpt.Meta{Step: 3, Performance: math.NaN(), Env: ckpt.EnvOf(f.spec), Config: f.config}, true)
	require.NoError(t, err)
	decoded, err := ckpt.Decode(data)
	require.NoError(t, err)
	if f.edit != nil {
		f.edit(decoded)
	}
	return decoded, m
}

func (f file) policy(t testing.TB) (*Policy, tensor.Member) {
	t.Helper()
	c, m := f.checkpoint(t)
	p, err := NewPolicy(c)
	require.NoError(t, err)
	return p, m
}

// reference is the forward pass in float64, by the tensors' names.
func (f file) reference(m tensor.Member, network string, x []float32) []float64 {
	h := make([]float64, len(x))
	for i, v := range x {
		h[i] = float64(v)
	}
	for l := 0; l <= len(f.hidden); l++ {
		prefix := network + "." + string(rune('0'+2*l)) + "."
		weight, bias := m.Float32(kernels.SectionPolicy, prefix+"weight"), m.Float32(kernels.SectionPolicy, prefix+"bias")
		next := make([]float64, len(bias))
		for o := range next {
			next[o] = float64(bias[o])
			for i, v := range h {
				next[o] += float64(weight[o*len(h)+i]) * v
			}
			if l < len(f.hidden) {
				next[o] = math.Tanh(next[o])
			}
		}
		h = next
	}
	return h
}

const normalised = "ppo: {normalize_observations: true}\n"

func observationsFor(n int) [][]float32 {
	stream := rng.NewKey(1).Stream(0, rng.Address{Purpose: rng.User})
	list := make([][]float32, n)
	for i := range list {
		list[i] = make([]float32, 5)
		for j := range list[i] {
			list[i][j] = 3 * stream.Normal()
		}
		if i%5 == 0 {
			list[i][0] = 1e6 // beyond the clipping of what is normalised
		}
	}
	return list
}

// Several dimensions with bounds of their own, an environment that no code knows, and
// observations normalised by the formula of docs/algorithm.md.
func TestPolicyOfAnUnregisteredEnvironment(t *testing.T) {
	f := file{spec: arm, hidden: []int{9, 20}, critic: kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 3}, config: normalised + "critic: {type: quantile}\n"}
	p, m := f.policy(t)
	require.Equal(t, []int{9, 20}, p.Agent().Hidden)
	require.Equal(t, []int{5, 3, 3}, []int{p.ObservationSize(), p.ActionSize(), p.Quantiles()})
	require.EqualValues(t, 3, p.Agent().Step)
	action, quantiles := make([]float32, 3), make([]float32, 3)
	clipped := [3][2]int{}
	for _, x := range observationsFor(200) {
		seen := make([]float32, 5)
		for i := range seen {
			mean, variance := m.Float32(kernels.SectionObservationNorm, "mean")[i], m.Float32(kernels.SectionObservationNorm, "var")[i]
			seen[i] = float32(max(-10, min(10, (float64(x[i])-float64(mean))/math.Sqrt(float64(variance)+1e-8))))
		}
		p.Act(x, action)
		for c, want := range f.reference(m, "actor", seen) {
			low, high := float64(arm.Action.Low[c]), float64(arm.Action.High[c])
			require.InDelta(t, max(low, min(high, want)), action[c], 1e-4)
			if want < low {
				clipped[c][0]++
			} else if want > high {
				clipped[c][1]++
			}
		}
		p.QuantilesOf(x, quantiles)
		mean := 0.0
		for q, want := range f.reference(m, "critic", seen) {
			require.InDelta(t, want, quantiles[q], 1e-4)
			mean += want / 3
		}
		require.InDelta(t, mean, p.Value(x), 1e-4)
	}
	require.Positive(t, clipped[0][0])
	require.Positive(t, clipped[1][1])
	require.Positive(t, clipped[2][1])
	require.Zero(t, clipped[2][0], "there is no lower bound")
}

// Of choices that are equally probable the first is taken.
func TestPolicyTakesTheFirstOfEquals(t *testing.T) {
	p, _ := file{spec: buttons, hidden: []int{8}, critic: kernels.Critic{Type: kernels.ScalarCritic}, change: func(m tensor.Member) {
		clear(m.Float32(kernels.SectionPolicy, "actor.2.weight"))
		copy(m.Float32(kernels.SectionPolicy, "actor.2.bias"), []float32{1, 2, 2, 0})
	}}.policy(t)
	action := []float32{9}
	p.Act(make([]float32, 5), action)
	require.Equal(t, []float32{1}, action)
}

// Each component of an action has the most probable of its own choices, the first of
// equals, in a batch as alone.
func TestPolicyOfSeveralChoices(t *testing.T) {
	f := file{spec: panel, hidden: []int{9}, critic: kernels.Critic{Type: kernels.ScalarCritic}}
	p, m := f.policy(t)
	require.Equal(t, 3, p.ActionSize())
	x := observationsFor(200)
	var many, want []float32
	kinds := map[[3]float32]bool{}
	for _, x := range x {
		many = append(many, x...)
		logits := f.reference(m, "actor", x)
		first, last := logits[:3], logits[4:]
		row := [3]float32{float32(slices.Index(first, slices.Max(first))), 0, float32(slices.Index(last, slices.Max(last)))}
		action := make([]float32, 3)
		p.Act(x, action)
		require.Equal(t, row[:], action)
		want, kinds[row] = append(want, row[:]...), true
	}
	require.Greater(t, len(kinds), 4, "it does nearly the same everywhere: that would prove little")
	actions := make([]float32, len(want))
	p.ActBatch(many, actions)
	require.Equal(t, want, actions)

	p, _ = file{spec: panel, hidden: []int{8}, critic: kernels.Critic{Type: kernels.ScalarCritic}, change: func(m tensor.Member) {
		clear(m.Float32(kernels.SectionPolicy, "actor.2.weight"))
		copy(m.Float32(kernels.SectionPolicy, "actor.2.bias"), []float32{0, 1, 1, 9, 3, 3, 4, 4})
	}}.policy(t)
	action := make([]float32, 3)
	p.Act(make([]float32, 5), action)
	require.Equal(t, []float32{1, 0, 2}, action)

	const n = 20000
	p, _ = file{spec: panel, critic: kernels.Critic{Type: kernels.ScalarCritic}, change: func(m tensor.Member) {
		clear(m.Float32(kernels.SectionPolicy, "actor.0.weight"))
		copy(m.Float32(kernels.SectionPolicy, "actor.0.bias"), []float32{0, float32(math.Log(2)), 0, 5, 0, 0, float32(math.Log(3)), -100})
	}}.policy(t)
	stream := rng.NewKey(3).Stream(0, rng.Address{Purpose: rng.User})
	var one, both float64
	for range n {
		p.Sample(&stream, make([]float32, 5), action)
		require.Zero(t, action[1])
		require.Less(t, action[2], float32(3))
		if action[0] == 1 {
			one++
			if action[2] == 2 {
				both++
			}
		}
	}
	require.InDelta(t, 0.5, one/n, 5*math.Sqrt(0.25/n))
	require.InDelta(t, 0.5*0.6, both/n, 5*math.Sqrt(0.3*0.7/n), "the components are independent")
}

func TestPolicySamplesItsDistribution(t *testing.T) {
	const n = 20000
	stream := rng.NewKey(3).Stream(0, rng.Address{Purpose: rng.User})
	x := observationsFor(2)[1]
	f := file{spec: buttons, hidden: []int{8}, critic: kernels.Critic{Type: kernels.ScalarCritic}}
	p, m := f.policy(t)
	logits := f.reference(m, "actor", x)
	sum := 0.0
	for i := range logits {
		logits[i] = math.Exp(logits[i])
		sum += logits[i]
	}
	var counts [4]float64
	action := make([]float32, 1)
	for range n {
		p.Sample(&stream, x, action)
		counts[int(action[0])]++
	}
	for c, weight := range logits {
		want := weight / sum
		require.InDelta(t, want, counts[c]/n, 5*math.Sqrt(want*(1-want)/n))
	}

	f = file{spec: arm, hidden: []int{8}, critic: kernels.Critic{Type: kernels.ScalarCritic}, change: func(m tensor.Member) {
		copy(m.Float32(kernels.SectionPolicy, "log_std"), []float32{3, -4, -3})
		copy(m.Float32(kernels.SectionPolicy, "actor.2.bias"), []float32{0, 0, -8})
	}}
	p, m = f.policy(t)
	mean := f.reference(m, "actor", x)
	require.Less(t, mean[2], -2.0, "far from its bound")
	action = make([]float32, 3)
	first, second := 0.0, 0.0
	for range n {
		p.Sample(&stream, x, action)
		for c := range action {
			require.True(t, action[c] >= arm.Action.Low[c] && action[c] <= arm.Action.High[c])
		}
		first += float64(action[2]) / n
		second += math.Pow(float64(action[2])-mean[2], 2) / n
	}
	std := math.Exp(-3)
	require.InDelta(t, mean[2], first, 5*std/math.Sqrt(n))
	require.InEpsilon(t, std*std, second, 0.05)
}

func TestPolicyAllocatesNothing(t *testing.T) {
	for _, f := range []file{
		{spec: buttons, hidden: []int{64, 64}, critic: kernels.Critic{Type: kernels.ScalarCritic}},
		{spec: panel, hidden: []int{64, 64}, critic: kernels.Critic{Type: kernels.ScalarCritic}},
		{spec: arm, hidden: []int{64, 64}, critic: kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 16}, config: normalised + "critic: {type: quantile}\n"},
	} {
		p, _ := f.policy(t)
		x, many := observationsFor(1)[0], make([]float32, 300*5)
		action, actions, values := make([]float32, p.ActionSize()), make([]float32, 300*p.ActionSize()), make([]float32, 300)
		quantiles := make([]float32, p.Quantiles())
		stream := rng.NewKey(3).Stream(0, rng.Address{Purpose: rng.User})
		require.Zero(t, testing.AllocsPerRun(20, func() {
			p.Act(x, action)
			p.ActBatch(many, actions)
			p.Sample(&stream, x, action)
			values[0] = p.Value(x)
			p.ValueBatch(many, values)
			p.QuantilesOf(x, quantiles)
		}))
	}
}

// Clones act at the same time; the race detector watches.
func TestPolicyClones(t *testing.T) {
	f := file{spec: arm, hidden: []int{64, 64}, critic: kernels.Critic{Type: kernels.ScalarCritic}, config: normalised}
	p, _ := f.policy(t)
	observations := observationsFor(100)
	want := make([][]float32, len(observations))
	for i, x := range observations {
		want[i] = append(make([]float32, 0, 4), 0, 0, 0)
		p.Act(x, want[i])
		want[i] = append(want[i], p.Value(x))
	}
	var all sync.WaitGroup
	for range 4 {
		clone := p.Clone()
		all.Go(func() {
			action := make([]float32, 3)
			for range 20 {
				for i, x := range observations {
					clone.Act(x, action)
					assert.Equal(t, want[i], append(action[:3:3], clone.Value(x)))
				}
			}
		})
	}
	all.Wait()
}

func TestPolicyPanicsAtWrongLengths(t *testing.T) {
	f := file{spec: buttons, hidden: []int{8}, critic: kernels.Critic{Type: kernels.ScalarCritic}}
	p, _ := f.policy(t)
	x := func(n int) []float32 { return make([]float32, n) }
	for want, call := range map[string]func(){
		"Policy.Act: observation has 4 elements; must be 5":               func() { p.Act(x(4), x(1)) },
		"Policy.Act: action has 4 elements; must be 1":                    func() { p.Act(x(5), x(4)) },
		"Policy.ActBatch: observations has 7 elements; must be a multipl": func() { p.ActBatch(x(7), x(1)) },
		"Policy.ActBatch: actions has 1 elements; must be 2":              func() { p.ActBatch(x(10), x(1)) },
		"Policy.ValueBatch: values has 3 elements; must be 2":             func() { p.ValueBatch(x(10), x(3)) },
		"Policy.Value: observation has 6":                                 func() { p.Value(x(6)) },
		"Policy.QuantilesOf: quantiles has 2 elements; must be 0":         func() { p.QuantilesOf(x(5), x(2)) },
		"Policy.Sample: action has 0":                                     func() { p.Sample(nil, x(5), nil) },
	} {
		func() {
			defer func() { require.Contains(t, recover(), want) }()
			call()
		}()
	}
}

func TestReadAgentRefuses(t *testing.T) {
	scalar := kernels.Critic{Type: kernels.ScalarCritic}
	wrong := buttons
	wrong.Action.N = 1
	for want, f := range map[string]file{
		"v1_policy_only: it holds weights alone":                                        {spec: buttons, critic: scalar, edit: func(c *ckpt.Checkpoint) { c.FormatVersion = ckpt.V1 }},
		"policy.activation is elu; must be tanh or relu":                                {spec: buttons, critic: scalar, config: "policy: {activation: elu}"},
		"policy.activation is empty; must be tanh or relu":                              {spec: buttons, critic: scalar, config: "policy:\n  activation:\n"},
		"ppo.normalize_observations is 1; must be true or false":                        {spec: buttons, critic: scalar, config: "ppo: {normalize_observations: 1}"},
		"critic.type is Quantile; must be scalar or quantile":                           {spec: buttons, critic: scalar, config: "critic: {type: Quantile}"},
		"policy: is 3; must be keys":                                                    {spec: buttons, critic: scalar, config: "policy: 3"},
		"is [1]; must be keys":                                                          {spec: buttons, critic: scalar, config: "[1]"},
		"2 YAML documents":                                                              {spec: buttons, critic: scalar, config: "policy: {}\n---\nppo: {}\n"},
		"not valid YAML":                                                                {spec: buttons, critic: scalar, config: "policy: {"},
		"critic.0.weight: the checkpoint has shape [3 5], wanted is [1 5]":              {spec: buttons, critic: kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 3}},
		"Action.N is 1, want at least 2 choices":                                        {spec: wrong, critic: scalar},
		"actor.0.bias has NaN at element 2: every value must be finite":                 {spec: buttons, critic: scalar, change: poison(kernels.SectionPolicy, "actor.0.bias", float32(math.NaN()))},
		"observation_norm.mean has +Inf at element 2: every value must be finite":       {spec: buttons, critic: scalar, config: normalised, change: poison(kernels.SectionObservationNorm, "mean", float32(math.Inf(1)))},
		"observation_norm.var has -1; a variance is at least 0":                         {spec: buttons, critic: scalar, config: normalised, change: poison(kernels.SectionObservationNorm, "var", -1)},
		"a tensor \"log_std\", which networks of the hidden layers [] have not":         {spec: arm, critic: scalar, edit: func(c *ckpt.Checkpoint) { c.Env.Action = ckpt.ActionInfo{Type: "discrete", N: 3} }},
		"its type of actions is \"mixed\"; must be discrete, multi_discrete or continu": {spec: arm, critic: scalar, edit: func(c *ckpt.Checkpoint) { c.Env.Action.Type = "mixed" }},
	} {
		t.Run(want, func(t *testing.T) {
			c, _ := f.checkpoint(t)
			_, err := ReadAgent(c)
			require.ErrorContains(t, err, want)
		})
	}
}

// poison sets the third element of a tensor.
func poison(section, name string, value float32) func(m tensor.Member) {
	return func(m tensor.Member) { m.Float32(section, name)[2] = value }
}

// Statistics of a normalisation that is off mean nothing, whatever they are.
func TestAgentWithoutNormalizationIgnoresItsStatistics(t *testing.T) {
	c, _ := file{spec: buttons, critic: kernels.Critic{Type: kernels.ScalarCritic}, change: poison(kernels.SectionObservationNorm, "var", -1)}.checkpoint(t)
	a, err := ReadAgent(c)
	require.NoError(t, err)
	require.Nil(t, a.Normalization)
}

func TestLoadPolicyMistakes(t *testing.T) {
	dir := t.TempDir()
	_, err := LoadPolicy(dir)
	require.ErrorContains(t, err, dir+" is a folder; want a member file, such as best.ckpt of a run folder")
	_, err = LoadPolicy(filepath.Join(dir, "none.ckpt"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "want a member file")
	path := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(path, []byte("text"), 0o644))
	_, err = LoadPolicy(path)
	require.ErrorIs(t, err, ckpt.ErrDamaged)
	require.ErrorContains(t, err, path)
	t.Setenv("BROOD_CPU", "abacus")
	c, _ := file{spec: buttons, critic: kernels.Critic{Type: kernels.ScalarCritic}}.checkpoint(t)
	_, err = NewPolicy(c)
	require.ErrorContains(t, err, `BROOD_CPU: unknown CPU path "abacus"`)
}
