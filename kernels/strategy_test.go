package kernels_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/env"
	"brood/kernels"
	"brood/tensor"
)

// table is what each strategy does to the optimizer's tensors, by their group and
// without and with scaling, written down a second time: a cell of the engines'
// table that changes must be changed here, too.
var table = map[kernels.Strategy]map[string][2]tensor.Effect{
	"reset": {
		"exp_avg": {tensor.Zero, tensor.Zero}, "exp_avg_sq": {tensor.Zero, tensor.Zero}, "step": {tensor.Zero, tensor.Zero}},
	"copy": {
		"exp_avg": {tensor.FromSource, tensor.Scaled}, "exp_avg_sq": {tensor.FromSource, tensor.FromSource}, "step": {tensor.FromSource, tensor.FromSource}},
	"momentum": {
		"exp_avg": {tensor.FromSource, tensor.Scaled}, "exp_avg_sq": {tensor.Squared, tensor.Squared}, "step": {tensor.FromSource, tensor.FromSource}},
	"velocity": {
		"exp_avg": {tensor.Zero, tensor.Zero}, "exp_avg_sq": {tensor.FromSource, tensor.FromSource}, "step": {tensor.FromSource, tensor.FromSource}},
	"stale": {
		"exp_avg": {tensor.Own, tensor.Own}, "exp_avg_sq": {tensor.Own, tensor.Own}, "step": {tensor.Own, tensor.Own}},
}

// layout is that of a member with every kind of policy tensor.
func layout(t *testing.T) *tensor.Layout {
	l, err := kernels.NewLayout(&kernels.Config{Population: 2, Env: env.Pendulum{}, Environments: 3, Steps: 4, Hidden: []int{5, 6},
		Activation: kernels.Tanh, Critic: kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 7, Kappa: 1}})
	require.NoError(t, err)
	return l
}

func TestStrategiesByTensor(t *testing.T) {
	l := layout(t)
	tensors := l.Section(kernels.SectionOptimizer).Tensors
	policy := l.Section(kernels.SectionPolicy).Tensors
	require.Len(t, tensors, 2*len(policy)+1)
	require.Equal(t, []kernels.Strategy{"copy", "momentum", "reset", "stale", "velocity"}, kernels.Strategies())
	require.Len(t, table, len(kernels.Strategies()))
	for strategy, want := range table {
		for scaled, scale := range []bool{false, true} {
			effects, ok := strategy.Effects(scale)
			require.True(t, ok, strategy)
			require.Len(t, effects, 3, "%s: groups", strategy)
			for i := range tensors {
				name := tensors[i].Name
				group, _, _ := strings.Cut(name, "/")
				require.Equal(t, group, tensors[i].Group())
				require.NotZero(t, want[group][scaled], "%s, %s: not in the test's table", strategy, name)
				require.Equal(t, want[group][scaled], effects[tensors[i].Group()], "%s, %s, scaling %v", strategy, name, scale)
			}
			require.NoError(t, l.CheckEffects(effects, kernels.GroupExpAvg))
		}
	}
	_, ok := kernels.Strategy("adaptive").Effects(false)
	require.False(t, ok)
}

// Asking for the effects with scaling must not change those without.
func TestEffectsAreNotShared(t *testing.T) {
	with, _ := kernels.StrategyCopy.Effects(true)
	without, _ := kernels.StrategyCopy.Effects(false)
	require.Equal(t, tensor.Scaled, with[kernels.GroupExpAvg])
	require.Equal(t, tensor.FromSource, without[kernels.GroupExpAvg])
}

// An optimizer's state without an effect is an error of every exploit, not left to
// chance: leaving out any group is refused.
func TestEveryGroupNeedsAnEffect(t *testing.T) {
	l := layout(t)
	for _, strategy := range kernels.Strategies() {
		for _, group := range []string{"exp_avg", "exp_avg_sq", "step"} {
			effects, _ := strategy.Effects(false)
			less := tensor.Effects{}
			for g, e := range effects {
				if g != group {
					less[g] = e
				}
			}
			require.ErrorContains(t, l.CheckEffects(less, kernels.GroupExpAvg), "what becomes of optimizer/"+group)
		}
	}
}

// v = (m/(1-b1^t))^2 (1-b2^t), and the corrected mean over the root of the
// corrected second moment is 1 in size.
func TestSquaresOfMean(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h kernels.Hyperparameters
		h[kernels.AdamBeta1] = rapid.Float32Range(0, 0.999).Draw(rt, "beta1")
		h[kernels.AdamBeta2] = rapid.Float32Range(0, 0.9999).Draw(rt, "beta2")
		step := rapid.Int64Range(1, 100_000).Draw(rt, "step")
		s := kernels.SquaresOfMean(step, &h)
		require.Equal(rt, "exp_avg", s.Group)
		correction1 := 1 - math.Pow(float64(h[kernels.AdamBeta1]), float64(step))
		correction2 := 1 - math.Pow(float64(h[kernels.AdamBeta2]), float64(step))
		require.InEpsilon(rt, 1/correction1, s.Root, 1e-6)
		require.InEpsilon(rt, correction2, s.Gain, 1e-6)
		m := rapid.Float64Range(1e-3, 1).Draw(rt, "m")
		v := math.Pow(m*float64(s.Root), 2) * float64(s.Gain)
		require.InEpsilon(rt, 1, (m/correction1)/math.Sqrt(v/correction2), 1e-6)
	})
	require.Equal(t, tensor.Squares{Group: "exp_avg"}, kernels.SquaresOfMean(0, &kernels.Hyperparameters{}), "no step done: zeros")
}

func TestMomentumScale(t *testing.T) {
	source, member := kernels.Hyperparameters{kernels.LearningRate: 3e-4}, kernels.Hyperparameters{kernels.LearningRate: 1.2e-3}
	require.Equal(t, float32(0.25), kernels.MomentumScale(&source, &member))
}

func TestHyperparameterNames(t *testing.T) {
	spec := env.MountainCar{}.Spec()
	names := kernels.HyperparameterNames(spec)
	require.Len(t, names, int(kernels.NumHyperparameters)+1)
	for i, name := range names {
		h, ok := kernels.HyperparameterOf(spec, name)
		require.True(t, ok)
		require.Equal(t, kernels.Hyperparameter(i), h)
	}
	require.Equal(t, "learning_rate", names[kernels.LearningRate])
	require.Equal(t, "kl_target", names[kernels.KLTarget])
	_, ok := kernels.HyperparameterOf(env.CartPole{}.Spec(), "energy_weight")
	require.False(t, ok)
	_, ok = kernels.HyperparameterByName("energy_weight")
	require.False(t, ok)
}

func TestRandomMember(t *testing.T) {
	for member := range 3 {
		require.Equal(t, member, (&kernels.Config{}).RandomMember(member))
		require.Equal(t, 5+member, (&kernels.Config{FirstMember: 5}).RandomMember(member))
		require.Equal(t, 5, (&kernels.Config{FirstMember: 5, Clones: true}).RandomMember(member))
	}
}
