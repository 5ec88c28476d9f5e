package conformance

import (
	"fmt"
	"testing"

	"brood/env"
	"brood/kernels"
)

// slope is the shaping reward of [shaped] environments in the tests: of the state
// before the step, the action and two weights.
func slope(state, action, h []float32) float32 { return h[0]*(1+state[0]) - h[1]*action[0] }

// shaping checks what the environment's hyperparameters change, and what not.
func shaping(t *testing.T, newEngine Factory) {
	t.Run("rewards", func(t *testing.T) { shapedRewards(t, newEngine) })
	t.Run("score", func(t *testing.T) { shapedScore(t, newEngine) })
	t.Run("off", func(t *testing.T) { shapingOff(t, newEngine) })
	t.Run("normalised", func(t *testing.T) {
		c := clockConfig(shaped(clockEnv(4, 0), 2, slope))
		c.Hyperparameters[kernels.NumHyperparameters] = 0.5
		normalizationOf(t, newEngine, c)
	})
}

// shapedRewards: the algorithm's rewards are the true ones and the shaping
// rewards, of the member whose weights are not 0 alone, from the next rollout on.
func shapedRewards(t *testing.T, newEngine Factory) {
	c := config()
	c.Env, c.NormalizeObservations, c.NormalizeRewards = shaped(chaseEnv(byChoice), 2, slope), false, false
	e, bare := engine(t, newEngine, c), engine(t, newEngine, c)
	h := c.Hyperparameters
	h[kernels.NumHyperparameters], h[kernels.NumHyperparameters+1] = 0.5, -0.25
	check(t, e.SetHyperparameters(1, h))
	check(t, e.Collect())
	check(t, bare.Collect()) // the same weights and draws, so the same steps
	for i := range c.Population {
		var got, without kernels.Rollout
		check(t, e.ReadRollout(i, &got))
		check(t, bare.ReadRollout(i, &without))
		near(t, "actions", widen(got.Actions), widen(without.Actions), 0, 0)
		near(t, "observations", widen(got.Obs), widen(without.Obs), 0, 0)
		want := widen(without.Rewards)
		if i == 1 {
			for row := range want {
				// Of the first feature, which is the state's first component.
				want[row] += 0.5*(1+float64(got.Obs[3*row])) + 0.25*float64(got.Actions[row])
			}
		}
		near(t, fmt.Sprintf("rewards of member %d", i), widen(got.Rewards), want, 1e-6, 0)
		near(t, "unfinished returns", widen(snapshot(t, e, i).Float32(kernels.SectionEnvironment, "episode_return")),
			widen(snapshot(t, bare, i).Float32(kernels.SectionEnvironment, "episode_return")), 0, 0)
	}
}

// shapedScore: returns, scores and evaluations are of the true rewards.
func shapedScore(t *testing.T, newEngine Factory) {
	c := clockConfig(shaped(clockEnv(4, 0), 2, slope)) // whose true rewards no action changes
	e, bare := engine(t, newEngine, c), engine(t, newEngine, c)
	h := c.Hyperparameters
	h[kernels.NumHyperparameters] = 1
	for i := range c.Population {
		check(t, e.SetHyperparameters(i, h))
	}
	got, want := iterate(t, e, 4), iterate(t, bare, 4)
	for i := range c.Population {
		if got[i].Episodes == 0 || got[i].Score != want[i].Score || got[i].ReturnMean != want[i].ReturnMean {
			t.Errorf("member %d: %d episodes, score %v, mean return %v; without shaping %d, %v, %v", i,
				got[i].Episodes, got[i].Score, got[i].ReturnMean, want[i].Episodes, want[i].Score, want[i].ReturnMean)
		}
		near(t, "returns", e.Returns(i, nil), bare.Returns(i, nil), 0, 0)
		if got[i].ValueLoss == want[i].ValueLoss {
			t.Errorf("member %d: shaping made no difference to its training", i)
		}
	}
	a, _ := evaluated(t, e, 5, 1)
	b, _ := evaluated(t, bare, 5, 1)
	for i := range a {
		near(t, "evaluation", a[i], b[i], 0, 0)
	}
}

// shapingOff: with weights of 0 an environment with hyperparameters is, to the
// bit, the one without; and so it is again where they are set back to 0.
func shapingOff(t *testing.T, newEngine Factory) {
	without, with := config(), config()
	with.Env = shaped(chaseEnv(byChoice), 2, func(_, _, h []float32) float32 {
		panic(fmt.Sprintf("StepShaped with the weights %v", h))
	})
	e, want := engine(t, newEngine, with), engine(t, newEngine, without)
	h := with.Hyperparameters
	h[kernels.NumHyperparameters] = 0.5
	check(t, e.SetHyperparameters(1, h))
	h[kernels.NumHyperparameters] = 0
	check(t, e.SetHyperparameters(1, h))
	iterate(t, e, 2)
	iterate(t, want, 2)
	for i := range with.Population {
		got, reference := snapshot(t, e, i), snapshot(t, want, i)
		for _, s := range reference.Layout().Sections() {
			for j := range s.Tensors {
				name := s.Tensors[j].Name
				if string(got.Raw(s.Name, name)) != string(reference.Raw(s.Name, name)) {
					t.Errorf("member %d: %s/%s has other bits than without hyperparameters", i, s.Name, name)
				}
			}
		}
	}
}

// shapedCases are configurations for [againstPlain], with weights of 0 in member 0
// alone; see againstPlain's own changes of hyperparameters.
func shapedCases(cases map[string]*kernels.Config) {
	toy := config()
	toy.Env = shaped(chaseEnv(byNumbers), 2, slope)
	native := config()
	native.Env, native.Environments, native.Steps = env.MountainCar{}, 17, 24
	for name, c := range map[string]*kernels.Config{"shaped": toy, "MountainCar-v0 shaped": native} {
		c.Hyperparameters[kernels.NumHyperparameters] = 1
		cases[name] = c
	}
}
