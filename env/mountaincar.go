package env

import (
	"math"

	"brood/rng"
)

// MountainCar is Gymnasium's MountainCar-v0 (Moore 1990): an underpowered car in
// a valley, pushed left (0), not at all (1) or right (2). State and observation
// [2]: position in [-1.2, 0.6] and velocity in [-0.07, 0.07]. The reward is -1
// for every step; the episode ends at position 0.5.
//
// Its hyperparameter energy_weight w shapes the reward by w*1000*(E(s')-E(s)), E
// being the mechanical energy, see [carEnergy]: a difference of potentials (Ng,
// Harada and Russell 1999, with a discount of 1), so that going round in circles
// earns nothing. At the largest w a push at full speed earns 0.7, less than the
// step costs.
type MountainCar struct{}

// MountainCarContinuous is Gymnasium's MountainCarContinuous-v0: the same valley
// with a force in [-1, 1] as its action. The reward is -0.1 action^2, and 100 more
// on reaching the goal, here at position 0.45. As in Gymnasium an action outside
// the bounds pushes no harder, but costs what it says.
type MountainCarContinuous struct{}

func init() {
	RegisterVector("MountainCar-v0", func() Vector { return MountainCar{} })
	RegisterVector("MountainCarContinuous-v0", func() Vector { return MountainCarContinuous{} })
}

var mountainCarSpec = Spec{
	ID:              "MountainCar-v0",
	ObsDim:          2,
	Action:          ActionSpace{Discrete: true, N: 3},
	StateSize:       2,
	MaxEpisodeSteps: 200,
	Hyperparameters: []Hyperparameter{{Name: "energy_weight", Min: 0, Max: 10,
		Doc: "weighs 1000 times what a step adds to the car's mechanical energy"}},
	RewardThreshold: -110,
}

var mountainCarContinuousSpec = Spec{
	ID:              "MountainCarContinuous-v0",
	ObsDim:          2,
	Action:          ActionSpace{N: 1, Low: []float32{-1}, High: []float32{1}},
	StateSize:       2,
	MaxEpisodeSteps: 999,
	RewardThreshold: 90,
}

const (
	mountainCarMin      = -1.2
	mountainCarMax      = 0.6
	mountainCarMaxSpeed = 0.07
	mountainCarGravity  = 0.0025

	mountainCarForce = 0.001
	mountainCarGoal  = 0.5
	// mountainCarEnergyScale brings the energy, at most 0.0033, to the size of the
	// rewards.
	mountainCarEnergyScale = 1000

	mountainCarContinuousPower = 0.0015
	mountainCarContinuousGoal  = 0.45
)

// Spec describes the environment.
func (MountainCar) Spec() Spec { return mountainCarSpec }

// Reset draws the position from [-0.6, -0.4); the velocity is 0.
func (MountainCar) Reset(b *Batch, i int, r *rng.Stream) { resetMountainCar(b, i, r) }

// Observe copies the state.
func (MountainCar) Observe(b *Batch, obs []float32, ld int) { observeState(b, obs, ld, 2) }

// Step moves the car by one step of the task's own time.
func (MountainCar) Step(b *Batch) {
	position, velocity := component(b, 0), component(b, 1)
	for i := range b.N {
		push := (float64(b.Action[i]) - 1) * mountainCarForce
		before := [2]float32{position[i], velocity[i]}
		x, v := moveCar(float64(position[i]), float64(velocity[i]), push)
		position[i], velocity[i] = float32(x), float32(v)
		b.Reward[i] = -1
		b.Terminated[i] = flag(x >= mountainCarGoal && v >= 0)
		if b.Hyperparameters != nil {
			// Of the states as they are kept, so that an episode's sum is exactly the
			// difference between its end and its start.
			gained := carEnergy(position[i], velocity[i]) - carEnergy(before[0], before[1])
			b.Shaping[i] = float32(float64(b.Hyperparameters[0]) * mountainCarEnergyScale * gained)
		}
	}
}

// carEnergy is the mechanical energy of the car, per unit of its mass, on the
// hill whose slope pulls it with 0.0025 cos(3x): v^2/2 + 0.0025/3 sin(3x).
func carEnergy(x, v float32) float64 {
	return 0.5*float64(v)*float64(v) + mountainCarGravity/3*math.Sin(3*float64(x))
}

// Spec describes the environment.
func (MountainCarContinuous) Spec() Spec { return mountainCarContinuousSpec }

// Reset draws the position from [-0.6, -0.4); the velocity is 0.
func (MountainCarContinuous) Reset(b *Batch, i int, r *rng.Stream) { resetMountainCar(b, i, r) }

// Observe copies the state.
func (MountainCarContinuous) Observe(b *Batch, obs []float32, ld int) { observeState(b, obs, ld, 2) }

// Step moves the car by one step of the task's own time.
func (MountainCarContinuous) Step(b *Batch) {
	position, velocity := component(b, 0), component(b, 1)
	for i := range b.N {
		action := float64(b.Action[i])
		force := min(max(action, -1), 1)
		x, v := moveCar(float64(position[i]), float64(velocity[i]), force*mountainCarContinuousPower)
		position[i], velocity[i] = float32(x), float32(v)
		b.Terminated[i] = flag(x >= mountainCarContinuousGoal && v >= 0)
		b.Reward[i] = 100*b.Terminated[i] - float32(0.1*action*action)
	}
}

func resetMountainCar(b *Batch, i int, r *rng.Stream) {
	b.State[i] = r.Between(-0.6, -0.4)
	b.State[b.Stride+i] = 0
}

// moveCar returns the position and velocity after a push. The wall on the left
// stops the car; the one on the right only holds it.
func moveCar(x, v, push float64) (float64, float64) {
	v += push - mountainCarGravity*math.Cos(3*x)
	v = min(max(v, -mountainCarMaxSpeed), mountainCarMaxSpeed)
	x = min(max(x+v, mountainCarMin), mountainCarMax)
	if x == mountainCarMin && v < 0 {
		v = 0
	}
	return x, v
}
