package env

import (
	"math"

	"brood/rng"
)

// Pendulum is Gymnasium's Pendulum-v1: swing up and balance a rod of 1 m and 1 kg
// with a torque in [-2, 2] Nm. State [2]: the angle theta in rad (0: upright, not
// wrapped) and its velocity in [-8, 8] rad/s. Observation [3]: cos theta, sin
// theta and the velocity. The reward is -(theta^2 + 0.1 velocity^2 +
// 0.001 torque^2) of the state before the step, with theta in [-pi, pi). An
// episode ends by its time limit alone.
type Pendulum struct{}

func init() { RegisterVector("Pendulum-v1", func() Vector { return Pendulum{} }) }

var pendulumSpec = Spec{
	ID:              "Pendulum-v1",
	ObsDim:          3,
	Action:          ActionSpace{N: 1, Low: []float32{-2}, High: []float32{2}},
	StateSize:       2,
	MaxEpisodeSteps: 200,
}

const (
	pendulumMaxSpeed  = 8.0  // rad/s
	pendulumMaxTorque = 2.0  // Nm
	pendulumDT        = 0.05 // s per step
	pendulumGravity   = 10.0
)

// Spec describes the environment.
func (Pendulum) Spec() Spec { return pendulumSpec }

// Reset draws theta from [-pi, pi) and its velocity from [-1, 1).
func (Pendulum) Reset(b *Batch, i int, r *rng.Stream) {
	b.State[i] = r.Between(-math.Pi, math.Pi)
	b.State[b.Stride+i] = r.Between(-1, 1)
}

// Observe writes cos theta, sin theta and the velocity.
func (Pendulum) Observe(b *Batch, obs []float32, ld int) {
	theta, velocity := component(b, 0), component(b, 1)
	for i := range b.N {
		row := obs[i*ld:][:3]
		sin, cos := math.Sincos(float64(theta[i]))
		row[0], row[1], row[2] = float32(cos), float32(sin), velocity[i]
	}
}

// Step integrates 0.05 s by the semi-implicit Euler method.
func (Pendulum) Step(b *Batch) {
	theta, velocity := component(b, 0), component(b, 1)
	for i := range b.N {
		a, w := float64(theta[i]), float64(velocity[i])
		torque := min(max(float64(b.Action[i]), -pendulumMaxTorque), pendulumMaxTorque)
		fromUpright := math.Remainder(a, 2*math.Pi)
		cost := fromUpright*fromUpright + 0.1*w*w + 0.001*torque*torque

		// 3g/(2l) sin theta + 3/(m l^2) torque with m = l = 1.
		w += (1.5*pendulumGravity*math.Sin(a) + 3*torque) * pendulumDT
		w = min(max(w, -pendulumMaxSpeed), pendulumMaxSpeed)
		a += w * pendulumDT
		theta[i], velocity[i] = float32(a), float32(w)
		b.Reward[i] = float32(-cost)
		b.Terminated[i] = 0
	}
}
