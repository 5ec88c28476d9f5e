package conformance

import (
	"fmt"

	"brood/env"
	"brood/rng"
)

// toy is an environment made of functions.
type toy struct {
	spec    env.Spec
	reset   func(state []float32, r *rng.Stream)
	observe func(state, obs []float32)
	step    func(state, action []float32) (float32, bool)
}

func (e *toy) Spec() env.Spec                                        { return e.spec }
func (e *toy) Reset(state []float32, r *rng.Stream)                  { e.reset(state, r) }
func (e *toy) Observe(state, obs []float32)                          { e.observe(state, obs) }
func (e *toy) Step(state, action []float32) (reward float32, t bool) { return e.step(state, action) }

// shapedToy is a toy with hyperparameters of its own.
type shapedToy struct {
	toy
	shaping func(state, action, h []float32) float32
}

func (e *shapedToy) StepShaped(state, action, h []float32) (reward, shaping float32, terminated bool) {
	shaping = e.shaping(state, action, h)
	reward, terminated = e.step(state, action)
	return reward, shaping, terminated
}

// shaped gives a toy weights in [-1, 1] of a shaping reward, which is computed
// from the state before the step.
func shaped(e *toy, weights int, shaping func(state, action, h []float32) float32) env.Vector {
	s := &shapedToy{toy: *e, shaping: shaping}
	for i := range weights {
		s.spec.Hyperparameters = append(s.spec.Hyperparameters, env.Hyperparameter{Name: fmt.Sprintf("weight_%d", i), Min: -1, Max: 1})
	}
	return env.Vectorize(s)
}

func discrete(n int) env.ActionSpace { return env.ActionSpace{Discrete: true, N: n} }

func continuous(n int, bound float32) env.ActionSpace {
	a := env.ActionSpace{N: n}
	for range n {
		a.Low, a.High = append(a.Low, -bound), append(a.High, bound)
	}
	return a
}

// actionName says which space it is, in the name of a test.
func actionName(a env.ActionSpace) string {
	switch {
	case !a.Discrete:
		return fmt.Sprintf("continuous=%d", a.N)
	case len(a.NVec) > 0:
		return fmt.Sprintf("multi_discrete=%v", a.NVec)
	default:
		return fmt.Sprintf("discrete=%d", a.N)
	}
}

// blank has the shapes of a problem whose rollouts are written, not collected.
func blank(obsDim int, a env.ActionSpace) env.Vector {
	return env.Vectorize(&toy{
		spec:    env.Spec{ID: "blank", ObsDim: obsDim, Action: a, StateSize: 1},
		reset:   func([]float32, *rng.Stream) {},
		observe: func(_, obs []float32) { clear(obs) },
		step:    func(_, _ []float32) (float32, bool) { return 0, false },
	})
}

// chase is a point in the plane that the action pushes and a wind turns: smooth,
// with terminations, truncations and every observation different.
func chase(action env.ActionSpace) env.Vector { return env.Vectorize(chaseEnv(action)) }

// What pushes chase: sideways by a choice; or by numbers, or several choices, sideways
// and up, of which the latter have two components that do nothing.
var (
	byChoice  = discrete(3)
	byNumbers = continuous(2, 0.8)
	byChoices = env.MultiDiscrete(3, 1, 2, 5, 3)
)

func chaseEnv(action env.ActionSpace) *toy {
	return &toy{
		spec: env.Spec{ID: "chase", ObsDim: 3, Action: action, StateSize: 3, MaxEpisodeSteps: 9},
		reset: func(s []float32, r *rng.Stream) {
			s[0], s[1] = r.Between(-1, 1), r.Between(-1, 1)
		},
		observe: func(s, obs []float32) { obs[0], obs[1], obs[2] = s[0], s[1], 3+2*s[2] },
		step: func(s, a []float32) (float32, bool) {
			push, lift := a[0]-1, float32(0)
			switch {
			case !action.Discrete:
				push, lift = a[0], a[1]
			case len(action.NVec) > 0:
				lift = a[2] + 0.25*a[4] - 0.75
			}
			s[0], s[1] = s[0]+0.1*s[1]+0.2*push, s[1]-0.1*s[0]+0.1*lift
			s[2] = s[0] * s[1]
			return 1 - s[0]*s[0] - 0.5*s[1], s[0] > 1.2
		},
	}
}

// clock ignores its actions: the state is how long the episode has run and a
// number drawn at its start, which is the reward of every step. An episode ends
// by the task's rule after length steps (0: never), or at the time limit.
func clock(length, limit int) env.Vector { return env.Vectorize(clockEnv(length, limit)) }

func clockEnv(length, limit int) *toy {
	return &toy{
		spec:    env.Spec{ID: "clock", ObsDim: 2, Action: discrete(2), StateSize: 2, MaxEpisodeSteps: limit},
		reset:   func(s []float32, r *rng.Stream) { s[0], s[1] = 0, float32(1+r.IntN(1000))/8 },
		observe: func(s, obs []float32) { obs[0], obs[1] = s[0], s[1] },
		step: func(s, _ []float32) (float32, bool) {
			s[0]++
			return s[1], length > 0 && s[0] >= float32(length)
		},
	}
}

// echo rewards each step with the (sum of the) action itself and never ends by
// its own rule.
func echo(a env.ActionSpace, limit int) env.Vector {
	return env.Vectorize(&toy{
		spec:    env.Spec{ID: "echo", ObsDim: 1, Action: a, StateSize: 1, MaxEpisodeSteps: limit},
		reset:   func(s []float32, r *rng.Stream) { s[0] = r.Uniform() },
		observe: func(s, obs []float32) { obs[0] = s[0] },
		step: func(_, a []float32) (float32, bool) {
			var sum float32
			for _, x := range a {
				sum += x
			}
			return sum, false
		},
	})
}
