package main

import (
	"math"

	"brood/env"
	"brood/rng"
)

// reacherID names the environment in configurations.
const reacherID = "Reacher1D-v0"

func init() { env.Register(reacherID, func() env.Env { return reacher{} }) }

// reacher is a point of mass 1 on a line, pushed by a force in [-1, 1], that has to
// come to rest at a target. It holds nothing itself: the numbers of one episode are
// the state that the three functions are given, which the runtime keeps, copies and
// checkpoints.
type reacher struct{}

// The components of the state.
const (
	position  = iota // m
	velocity         // m/s
	target           // m
	stateSize        // how many there are
)

const (
	timeStep = 0.1  // s
	arrived  = 0.05 // m from the target, and m/s, at which the task is done
)

// Spec describes the environment.
func (reacher) Spec() env.Spec {
	return env.Spec{
		ID:              reacherID,
		ObsDim:          2,
		Action:          env.ActionSpace{N: 1, Low: []float32{-1}, High: []float32{1}},
		StateSize:       stateSize,
		MaxEpisodeSteps: 100,
	}
}

// Reset starts an episode at rest, the point and its target anywhere in [-1, 1).
// All randomness comes from r: then a run repeats to the bit from its seed.
func (reacher) Reset(state []float32, r *rng.Stream) {
	state[position] = r.Between(-1, 1)
	state[velocity] = 0
	state[target] = r.Between(-1, 1)
}

// Observe shows what matters: how far it is, and how fast the point moves.
func (reacher) Observe(state, obs []float32) {
	obs[0] = state[target] - state[position]
	obs[1] = state[velocity]
}

// Step pushes for a tenth of a second. The reward is minus the distance that is
// left, and minus a little for the effort, so that arriving soon pays; the time
// limit of Spec is kept by the runtime.
func (reacher) Step(state, action []float32) (reward float32, terminated bool) {
	force := action[0]
	state[velocity] += timeStep * force
	state[position] += timeStep * state[velocity]
	distance := abs(state[target] - state[position])
	reward = -distance - 0.05*force*force
	return reward, distance < arrived && abs(state[velocity]) < arrived
}

func abs(x float32) float32 { return float32(math.Abs(float64(x))) }
