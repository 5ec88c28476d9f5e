package env

import (
	"math"

	"brood/rng"
)

// CartPole is Gymnasium's CartPole-v1 (Barto, Sutton and Anderson 1983): a pole
// on a cart, pushed left (0) or right (1), the state integrated by Euler's
// method. State and observation [4]: cart position x (m), its velocity (m/s),
// pole angle theta (rad) and its velocity (rad/s). The reward is 1 for every
// step, also the one that ends the episode, which is when |x| > 2.4 or
// |theta| > 12 degrees.
type CartPole struct{}

func init() { RegisterVector("CartPole-v1", func() Vector { return CartPole{} }) }

var cartPoleSpec = Spec{
	ID:              "CartPole-v1",
	ObsDim:          4,
	Action:          ActionSpace{Discrete: true, N: 2},
	StateSize:       4,
	MaxEpisodeSteps: 500,
	RewardThreshold: 475,
}

const (
	cartPoleGravity    = 9.8 // m/s^2
	cartPoleMassPole   = 0.1 // kg
	cartPoleTotalMass  = 1.1 // kg, of cart and pole
	cartPoleHalfLength = 0.5 // m, of the pole
	cartPoleMassLength = cartPoleMassPole * cartPoleHalfLength
	cartPoleForce      = 10.0 // N
	cartPoleTau        = 0.02 // s per step
	cartPoleMaxX       = 2.4  // m
	cartPoleMaxTheta   = 12 * 2 * math.Pi / 360
)

// Spec describes the environment.
func (CartPole) Spec() Spec { return cartPoleSpec }

// Reset draws each component from [-0.05, 0.05).
func (CartPole) Reset(b *Batch, i int, r *rng.Stream) {
	for c := range 4 {
		b.State[c*b.Stride+i] = r.Between(-0.05, 0.05)
	}
}

// Observe copies the state.
func (CartPole) Observe(b *Batch, obs []float32, ld int) { observeState(b, obs, ld, 4) }

// Step integrates 0.02 s.
func (CartPole) Step(b *Batch) {
	x, xDot := component(b, 0), component(b, 1)
	theta, thetaDot := component(b, 2), component(b, 3)
	for i := range b.N {
		force := -cartPoleForce
		if b.Action[i] == 1 {
			force = cartPoleForce
		}
		p, v, a, w := float64(x[i]), float64(xDot[i]), float64(theta[i]), float64(thetaDot[i])
		sin, cos := math.Sincos(a)
		temp := (force + cartPoleMassLength*w*w*sin) / cartPoleTotalMass
		angular := (cartPoleGravity*sin - cos*temp) /
			(cartPoleHalfLength * (4.0/3.0 - cartPoleMassPole*cos*cos/cartPoleTotalMass))
		linear := temp - cartPoleMassLength*angular*cos/cartPoleTotalMass

		p += cartPoleTau * v
		v += cartPoleTau * linear
		a += cartPoleTau * w
		w += cartPoleTau * angular
		x[i], xDot[i], theta[i], thetaDot[i] = float32(p), float32(v), float32(a), float32(w)
		b.Reward[i] = 1
		b.Terminated[i] = flag(math.Abs(p) > cartPoleMaxX || math.Abs(a) > cartPoleMaxTheta)
	}
}
