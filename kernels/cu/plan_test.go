package cu

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/kernels"
	"brood/tensor"
)

func planConfig(t *testing.T, change func(*kernels.Config)) *kernels.Config {
	t.Helper()
	v, err := env.Make("CartPole-v1")
	require.NoError(t, err)
	c := &kernels.Config{
		Population: 3, Env: v, Environments: 64, Steps: 128, Hidden: []int{64, 64}, Activation: kernels.Tanh,
		Critic: kernels.Critic{Type: kernels.ScalarCritic}, Epochs: 4, Minibatches: 4, LearningRateSchedule: kernels.Constant,
		Hyperparameters: kernels.Hyperparameters{kernels.AdamEps: 1e-5},
	}
	change(c)
	return c
}

func TestPlanRefusesWhatKernelsDoNotHold(t *testing.T) {
	for want, change := range map[string]func(*kernels.Config){
		"8 hidden layers; at most 7":             func(c *kernels.Config) { c.Hidden = []int{4, 4, 4, 4, 4, 4, 4, 4} },
		"layer 1 has 8193 outputs; at most 8192": func(c *kernels.Config) { c.Hidden = []int{4, 8193} },
		"65536 steps; at most 65535":             func(c *kernels.Config) { c.Epochs, c.Minibatches = 1024, 64 },
		"a rollout of 16777216 rows; at most":    func(c *kernels.Config) { c.Environments, c.Steps = 4096, 4096 },
		"networks of 134340640 parameters":       func(c *kernels.Config) { c.Hidden = []int{8192, 8192} },
	} {
		_, err := NewPlan(planConfig(t, change), 0, false)
		assert.ErrorContains(t, err, want)
	}
}

// Every row of a minibatch and every element of a tensor is in just one part.
func TestPlanCutsCompletely(t *testing.T) {
	for _, members := range []int{1, 3, 64, 1000} {
		for _, minibatches := range []int{1, 4, 64, 1024} {
			for _, hidden := range [][]int{{64, 64}, {5, 6}, {256, 256}, {33}} {
				t.Run(fmt.Sprint(members, minibatches, hidden), func(t *testing.T) {
					p, err := NewPlan(planConfig(t, func(c *kernels.Config) {
						c.Population, c.Minibatches, c.Hidden = members, minibatches, hidden
					}), 0, false)
					require.NoError(t, err)
					q := &p.Params
					assert.GreaterOrEqual(t, q.Splits*q.SplitRows, q.MinibatchRows)
					assert.Less(t, (q.Splits-1)*q.SplitRows, q.MinibatchRows, "no part is empty")
					next := map[int32]int32{}
					for _, c := range p.Chunks {
						tensor := q.Tensor[c.Tensor]
						assert.Equal(t, tensor.Offset+next[c.Tensor], c.Offset)
						assert.LessOrEqual(t, c.Len, int32(ChunkLen))
						next[c.Tensor] += c.Len
					}
					for i := range q.Tensors {
						assert.Equal(t, q.Tensor[i].Len, next[i])
					}
				})
			}
		}
	}
}

func TestPlanChoosesKernels(t *testing.T) {
	for name, test := range map[string]struct {
		change         func(*kernels.Config)
		update, stepIn bool
	}{
		"small":   {func(*kernels.Config) {}, true, true},
		"smaller": {func(c *kernels.Config) { c.Hidden = []int{1, 63} }, true, true},
		"wider":   {func(c *kernels.Config) { c.Hidden = []int{64, 65} }, false, false},
		"deeper":  {func(c *kernels.Config) { c.Hidden = []int{8, 8, 8} }, false, false},
		"quantile critic": {func(c *kernels.Config) {
			c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 4, Kappa: 1}
		}, false, false},
		"of the name only": {func(c *kernels.Config) {
			c.Env = renamed{c.Env}
		}, true, false},
		"several choices": {func(c *kernels.Config) {
			c.Env = acting{c.Env, env.MultiDiscrete(2, 2)}
		}, false, false},
		"one of several": {func(c *kernels.Config) {
			c.Env = acting{c.Env, env.MultiDiscrete(4)}
		}, true, false},
	} {
		p, err := NewPlan(planConfig(t, test.change), 0, false)
		require.NoError(t, err, name)
		assert.Equal(t, test.update, p.FusedUpdate, name)
		assert.Equal(t, test.stepIn, p.FusedRollout, name)
	}
	p, err := NewPlan(planConfig(t, func(*kernels.Config) {}), 0, true)
	require.NoError(t, err)
	assert.False(t, p.FusedUpdate || p.FusedRollout)
}

// acting has other actions than its environment.
type acting struct {
	env.Vector
	action env.ActionSpace
}

func (a acting) Spec() env.Spec {
	s := a.Vector.Spec()
	s.Action = a.action
	return s
}

// renamed is a user's environment under a native one's name.
type renamed struct{ env.Vector }

// Members of any part of a plan draw the numbers of their place in the whole
// population; clones all draw those of the first.
func TestPlanAddressesMembers(t *testing.T) {
	for _, clones := range []bool{false, true} {
		c := planConfig(t, func(c *kernels.Config) { c.FirstMember, c.Clones = 5, clones })
		p, err := NewPlan(c, 10, false)
		require.NoError(t, err)
		part := p.Params.Slice(2, 1)
		assert.Equal(t, int32(c.RandomMember(10)), p.Params.FirstMember)
		assert.Equal(t, int32(c.RandomMember(12)), part.FirstMember)
		assert.Equal(t, int32(c.RandomMember(1)-c.RandomMember(0)), part.MemberStep)
	}
}

// Every strategy is a row of segments, with the mean scaled and not; none touches
// what a member keeps.
func TestPlanSegments(t *testing.T) {
	p, err := NewPlan(planConfig(t, func(*kernels.Config) {}), 0, false)
	require.NoError(t, err)
	require.Len(t, p.Treatments, 2*len(kernels.Strategies()))
	kept := p.Layout.Section(kernels.SectionEnvironment)
	optimizer := p.Layout.Section(kernels.SectionOptimizer)
	for i, x := range p.Treatments {
		touched := int64(0)
		for _, s := range p.Segments[i] {
			end := s.Offset + s.Bytes
			assert.True(t, end <= int64(kept.Offset) || s.Offset >= int64(kept.Offset+kept.Size), "%v", x)
			touched += max(0, min(end, int64(optimizer.Offset+optimizer.Size))-max(s.Offset, int64(optimizer.Offset)))
		}
		want := int64(optimizer.Size)
		if x.Strategy == kernels.StrategyStale {
			want = 0
		}
		assert.Equal(t, want, touched, "%v: bytes of the optimizer's state", x)
	}
}

func TestPlanRefusesSquaresOfWhatIsNotStaged(t *testing.T) {
	p, err := NewPlan(planConfig(t, func(*kernels.Config) {}), 0, false)
	require.NoError(t, err)
	effects := tensor.Effects{kernels.GroupExpAvg: tensor.Scaled, kernels.GroupExpAvgSq: tensor.Squared, kernels.GroupStep: tensor.FromSource}
	require.NoError(t, checkEffects(p.Layout, effects))
	effects[kernels.GroupStep] = tensor.Own
	require.ErrorContains(t, checkEffects(p.Layout, effects), "does not take these")
	effects[kernels.GroupStep], effects[kernels.GroupExpAvg] = tensor.FromSource, tensor.Zero
	require.ErrorContains(t, checkEffects(p.Layout, effects), "does not take these")
}
