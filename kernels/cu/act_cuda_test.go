//go:build cuda

package cu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/kernels"
)

// The draws of every step are those of the plain engine's rollout: same addresses,
// same inversion, whatever the member, the environment and the number of updates.
func TestActSampleAgainstPlain(t *testing.T) {
	for name, action := range map[string]env.ActionSpace{
		"two choices": choices(2), "three choices": choices(3), "one number": numbers(1), "five numbers": numbers(5),
		"two components": env.MultiDiscrete(3, 2), "ten components": env.MultiDiscrete(2, 5, 1, 3, 2, 4, 2, 2, 1, 6), "one component": env.MultiDiscrete(3),
	} {
		t.Run(name, func(t *testing.T) {
			c := tiledConfig(3, tiledEnv(3, action), 67, 2, 5)
			if action.Discrete {
				c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 5, Kappa: 1}
			}
			f := newTiled(t, c)
			f.scramble(rand.New(rand.NewPCG(5, 5)), 0.5)
			for m, s := range f.states() {
				s.Int64(kernels.SectionCounters, "updates")[0] = int64(7 + m)
				f.setState(m, s)
				require.NoError(t, f.engine.Restore(m, s))
			}
			require.NoError(t, f.engine.Collect())
			p, b := &f.params, c.Rows()
			rollouts := make([]kernels.Rollout, 3)
			for m := range rollouts {
				require.NoError(t, f.engine.ReadRollout(m, &rollouts[m]))
				upload(f.fixture, p.Obs+Ptr(4*m*b*3), rollouts[m].Obs)
			}
			for step := range c.Steps {
				f.forward(&Rows{Input: p.Obs + Ptr(4*step*67*3), Stride: int64(b * 3), Count: 67, First: ActorNet, Last: CriticNet, Members: 3})
				f.run(func() error { return f.k.ActSample(f.stream, p, step) })
				f.compareStage(rollouts, step)
			}
			for m := range rollouts {
				w, r := action.Width(), &rollouts[m]
				nearAll(t, "actions", r.Actions, download[float32](f.fixture, p.Actions+Ptr(4*m*b*w), b*w))
				nearAll(t, "log probabilities", r.LogProbs, download[float32](f.fixture, p.LogProbs+Ptr(4*m*b), b))
				nearAll(t, "values", r.Values, download[float32](f.fixture, p.Values+Ptr(4*m*b), b))
			}
		})
	}
}

// compareStage compares the actions for the host of a step.
func (f *tiled) compareStage(rollouts []kernels.Rollout, step int) {
	f.t.Helper()
	n := int(f.params.Environments * f.params.ActionWidth)
	for m := range rollouts {
		nearAll(f.t, "staged actions", rollouts[m].Actions[step*n:(step+1)*n], download[float32](f.fixture, f.params.StageAction+Ptr(4*m*n), n))
	}
}

func nearAll(t *testing.T, what string, want, got []float32) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.InDelta(t, want[i], got[i], 5e-6*(1+math.Abs(float64(want[i]))), "%s: %d", what, i)
	}
}

func TestActBest(t *testing.T) {
	f := newTiled(t, tiledConfig(2, tiledEnv(1, choices(3)), 4, 1, 5))
	actor := &f.params.Net[ActorNet]
	inf := float32(math.Inf(1))
	upload(f.fixture, actor.Activation[1], []float32{
		1, 2, 3 /**/, 2, 2, 1 /**/, -3, -2, -2 /**/, 0, 0, 9, // the last row is not asked for
		5, -inf, inf /**/, 0, 0, 0 /**/, 1, 9, 3 /**/, 0, 0, 0,
	})
	f.actBest([]float32{2, 0, 1, -1, 2, 0, 1, -1}, 3, 4)

	f = newTiled(t, tiledConfig(2, tiledEnv(1, env.MultiDiscrete(2, 3, 1)), 2, 1, 5))
	upload(f.fixture, f.params.Net[ActorNet].Activation[1], []float32{
		0, 1, -1, 2, 2, 9 /**/, 0, 0, 9, 9, 9, 0, // the last row is not asked for
		5, 5, 0, -1, inf, -inf /**/, 0, 0, 0, 0, 0, 0,
	})
	f.actBest([]float32{1, 1, 0, -1, -1, -1, 0, 2, 0, -1, -1, -1}, 1, 6)

	f = newTiled(t, tiledConfig(2, tiledEnv(1, numbers(2)), 2, 1, 5))
	means := []float32{1, -2, 3, 4, 5, 6, 7, 8} // unclipped
	upload(f.fixture, f.params.Net[ActorNet].Activation[1], means)
	f.actBest(means, 2, 4)
}

// actBest compares the best actions, over -1, with want.
func (f *tiled) actBest(want []float32, rows int32, stride int64) {
	f.t.Helper()
	none := make([]float32, len(want))
	for i := range none {
		none[i] = -1
	}
	upload(f.fixture, f.params.StageAction, none)
	r := Rows{Count: rows, Members: f.params.Members}
	f.run(func() error { return f.k.ActBest(f.stream, &f.params, &r, f.params.StageAction, stride) })
	require.Equal(f.t, want, download[float32](f.fixture, f.params.StageAction, len(want)))
}

func TestValue(t *testing.T) {
	c := tiledConfig(2, tiledEnv(1, choices(2)), 3, 1, 5)
	c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 4, Kappa: 1}
	f := newTiled(t, c)
	nan := float32(math.NaN())
	upload(f.fixture, f.params.Net[CriticNet].Activation[1], []float32{
		1, 2, 3, 6 /**/, -1, 1, -1, 0 /**/, 9, 9, 9, 9,
		0, 0, 0, 1 /**/, nan, 1, 1, 1 /**/, 9, 9, 9, 9,
	})
	r := Rows{Count: 2, First: CriticNet, Last: CriticNet, Members: 2}
	f.run(func() error { return f.k.Value(f.stream, &f.params, &r, f.params.LastValues, 3) })
	got := download[float32](f.fixture, f.params.LastValues, 6)
	require.Equal(t, []float32{3, -0.25, 0, 0.25}, got[:4])
	require.True(t, math.IsNaN(float64(got[4])))
	require.Zero(t, got[5])
}
