package env

import (
	"math"

	"brood/rng"
)

// Acrobot is Gymnasium's Acrobot-v1: a double pendulum with a motor between its
// two links of 1 m and 1 kg, swung up by torques of -1, 0 or 1 Nm (actions 0, 1,
// 2) until its tip is above the line one link over the pivot (Sutton 1996, with
// the equations of Sutton and Barto's book). State [4]: theta1 (0: hanging down),
// theta2 (0: straight), both in [-pi, pi] rad, and their velocities in rad/s.
// Observation [6]: cos and sin of theta1, of theta2, and the velocities. The
// reward is -1 for every step but the last.
type Acrobot struct{}

func init() { RegisterVector("Acrobot-v1", func() Vector { return Acrobot{} }) }

var acrobotSpec = Spec{
	ID:              "Acrobot-v1",
	ObsDim:          6,
	Action:          ActionSpace{Discrete: true, N: 3},
	StateSize:       4,
	MaxEpisodeSteps: 500,
	RewardThreshold: -100,
}

const (
	acrobotDT      = 0.2 // s per step
	acrobotMaxVel1 = 4 * math.Pi
	acrobotMaxVel2 = 9 * math.Pi
	acrobotGravity = 9.8
	// Masses m, lengths l and moments of inertia of both links are 1; their
	// centres of mass lie at lc = 0.5. The constants below are the products of
	// these that the equations of motion contain.
	acrobotM2LC2L1 = 0.5  // m2 lc2 l1
	acrobotM2LC2SQ = 0.25 // m2 lc2^2
	acrobotInertia = 1.0  // of one link
)

// Spec describes the environment.
func (Acrobot) Spec() Spec { return acrobotSpec }

// Reset draws each component from [-0.1, 0.1).
func (Acrobot) Reset(b *Batch, i int, r *rng.Stream) {
	for c := range 4 {
		b.State[c*b.Stride+i] = r.Between(-0.1, 0.1)
	}
}

// Observe writes cos and sin of both angles, and both velocities.
func (Acrobot) Observe(b *Batch, obs []float32, ld int) {
	theta1, theta2 := component(b, 0), component(b, 1)
	dtheta1, dtheta2 := component(b, 2), component(b, 3)
	for i := range b.N {
		row := obs[i*ld:][:6]
		sin1, cos1 := math.Sincos(float64(theta1[i]))
		sin2, cos2 := math.Sincos(float64(theta2[i]))
		row[0], row[1] = float32(cos1), float32(sin1)
		row[2], row[3] = float32(cos2), float32(sin2)
		row[4], row[5] = dtheta1[i], dtheta2[i]
	}
}

// Step integrates 0.2 s by one step of the classical Runge-Kutta method.
func (Acrobot) Step(b *Batch) {
	theta1, theta2 := component(b, 0), component(b, 1)
	dtheta1, dtheta2 := component(b, 2), component(b, 3)
	for i := range b.N {
		torque := float64(b.Action[i]) - 1
		s := acrobotState{float64(theta1[i]), float64(theta2[i]), float64(dtheta1[i]), float64(dtheta2[i])}
		s = acrobotRungeKutta(s, torque)
		s[0] = wrapAngle(s[0])
		s[1] = wrapAngle(s[1])
		s[2] = min(max(s[2], -acrobotMaxVel1), acrobotMaxVel1)
		s[3] = min(max(s[3], -acrobotMaxVel2), acrobotMaxVel2)
		theta1[i], theta2[i] = float32(s[0]), float32(s[1])
		dtheta1[i], dtheta2[i] = float32(s[2]), float32(s[3])
		up := -math.Cos(s[0])-math.Cos(s[1]+s[0]) > 1
		b.Terminated[i] = flag(up)
		b.Reward[i] = b.Terminated[i] - 1
	}
}

// acrobotState is theta1, theta2 and their velocities, or the derivatives of
// these.
type acrobotState [4]float64

// add returns s + h*d.
func (s acrobotState) add(h float64, d acrobotState) acrobotState {
	for i := range s {
		s[i] += h * d[i]
	}
	return s
}

func acrobotRungeKutta(s acrobotState, torque float64) acrobotState {
	k1 := acrobotDerivative(s, torque)
	k2 := acrobotDerivative(s.add(acrobotDT/2, k1), torque)
	k3 := acrobotDerivative(s.add(acrobotDT/2, k2), torque)
	k4 := acrobotDerivative(s.add(acrobotDT, k3), torque)
	for i := range s {
		s[i] += acrobotDT / 6 * (k1[i] + 2*k2[i] + 2*k3[i] + k4[i])
	}
	return s
}

// acrobotDerivative is the equations of motion of Sutton and Barto's book, with
// cos(x - pi/2) written as sin(x).
func acrobotDerivative(s acrobotState, torque float64) acrobotState {
	w1, w2 := s[2], s[3]
	sin2, cos2 := math.Sincos(s[1])
	d1 := acrobotM2LC2SQ + (1 + acrobotM2LC2SQ + 2*acrobotM2LC2L1*cos2) + 2*acrobotInertia
	d2 := acrobotM2LC2SQ + acrobotM2LC2L1*cos2 + acrobotInertia
	phi2 := 0.5 * acrobotGravity * math.Sin(s[0]+s[1])
	phi1 := -acrobotM2LC2L1*w2*w2*sin2 - 2*acrobotM2LC2L1*w2*w1*sin2 +
		1.5*acrobotGravity*math.Sin(s[0]) + phi2
	acc2 := (torque + d2/d1*phi1 - acrobotM2LC2L1*w1*w1*sin2 - phi2) /
		(acrobotM2LC2SQ + acrobotInertia - d2*d2/d1)
	acc1 := -(d2*acc2 + phi1) / d1
	return acrobotState{w1, w2, acc1, acc2}
}

// wrapAngle brings an angle into [-pi, pi] by whole turns.
func wrapAngle(x float64) float64 {
	if math.Abs(x) <= math.Pi {
		return x
	}
	return math.Remainder(x, 2*math.Pi)
}
