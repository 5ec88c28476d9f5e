// Package env declares what an environment is, holds the native environments
// and the registry of users' own.
//
// An environment here has no hidden state: it is a set of pure functions over a
// few float32 numbers per environment, which the engine keeps in the member's
// state. That is what makes a resumed run equal an uninterrupted one to the bit.
package env

import "brood/rng"

// Spec describes an environment.
type Spec struct {
	// ID is the registered name, Gymnasium's where the environment is the same.
	ID string
	// ObsDim is D, the number of features of an observation.
	ObsDim int
	Action ActionSpace
	// StateSize is S, the number of float32 values of one environment's state.
	StateSize int
	// MaxEpisodeSteps truncates an episode; 0: no limit.
	MaxEpisodeSteps int
	// Hyperparameters are weights of shaping rewards, which members may evolve: at
	// most [MaxHyperparameters]. With all of them 0 there is no shaping.
	Hyperparameters []Hyperparameter
	// RewardThreshold is the score at which the task counts as solved, for
	// people to read; 0 where none is published.
	RewardThreshold float64
}

// MaxHyperparameters is the largest number of hyperparameters of an environment.
const MaxHyperparameters = 4

// Hyperparameter is the weight of a shaping reward: a reward that helps to learn
// and is no part of the true return. It starts at 0, which is off, unless a config
// says otherwise.
type Hyperparameter struct {
	// Name as in configs and logs; not that of one of the algorithm's.
	Name string
	// Min and Max bound it; 0 lies between them.
	Min, Max float64
	// Doc says in a sentence what it weighs.
	Doc string
}

// ActionSpace is discrete (one of N, or one choice for each of several components) or
// continuous (N numbers).
type ActionSpace struct {
	Discrete bool
	// N is A, the number of the actor's outputs: the number of choices (over all
	// components), or the dimension of a continuous action.
	N int
	// NVec has the number of choices of each component of an action that is several
	// choices at once, whose sum is N: Gymnasium's MultiDiscrete, or with every number
	// 2 its MultiBinary. Empty where an action is one choice, or continuous.
	NVec []int
	// Low and High bound each dimension of a continuous action; the policy's
	// action is clipped to them before the environment sees it.
	Low, High []float32
}

// MultiDiscrete is the space of actions that are a choice for each of several
// components, which have the given numbers of choices.
func MultiDiscrete(nvec ...int) ActionSpace {
	a := ActionSpace{Discrete: true, NVec: nvec}
	for _, n := range nvec {
		a.N += n
	}
	return a
}

// Width is W, the number of float32 values that hold one action: the index of the
// choice of each component where discrete, which is 1 number unless there is NVec, else
// A numbers.
func (a ActionSpace) Width() int {
	switch {
	case !a.Discrete:
		return a.N
	case len(a.NVec) > 0:
		return len(a.NVec)
	default:
		return 1
	}
}

// Choices has the number of choices of each component [W] of a discrete action; nil
// where continuous. The logits of the components lie one after the other.
func (a ActionSpace) Choices() []int {
	switch {
	case !a.Discrete:
		return nil
	case len(a.NVec) > 0:
		return a.NVec
	default:
		return []int{a.N}
	}
}

// Env is an environment a user writes: three functions over the state of one
// environment. They must depend on their arguments alone and not allocate, and
// are called from several goroutines at once. Register it with [Register].
type Env interface {
	Spec() Spec
	// Reset writes the first state of an episode into state [S], drawing from r.
	Reset(state []float32, r *rng.Stream)
	// Observe writes the observation of state [S] into obs [D].
	Observe(state, obs []float32)
	// Step advances state [S] by action [Action.Width()], already clipped, and
	// returns the true reward and whether the episode ended by the task's own
	// rule. Time limits are not its business: Spec.MaxEpisodeSteps is.
	Step(state, action []float32) (reward float32, terminated bool)
}

// Shaped is an [Env] with hyperparameters of its own.
type Shaped interface {
	Env
	// StepShaped is Step and the shaping reward under the values of
	// Spec.Hyperparameters. State and true reward must not depend on these.
	StepShaped(state, action, hyperparameters []float32) (reward, shaping float32, terminated bool)
}

// Batch is a range of N environments of one member. State and action are
// component-major: component c of environment i lies at [c*Stride+i], so that a
// step is a loop over contiguous numbers.
type Batch struct {
	// N environments, Stride apart from one component to the next (Stride >= N).
	N, Stride int
	// State [S][Stride] is read and overwritten.
	State []float32
	// Action [Action.Width()][Stride]: the index of each choice, or the clipped
	// numbers.
	Action []float32
	// Reward [N], the true rewards, and Terminated [N] (0 or 1) are overwritten by
	// Step.
	Reward, Terminated []float32
	// Hyperparameters are the member's values of Spec.Hyperparameters, in that order;
	// nil where there are none or all are 0.
	Hyperparameters []float32
	// Shaping [N] is overwritten by Step where Hyperparameters is not nil: what the
	// algorithm's rewards have on top of the true ones.
	Shaping []float32
}

// Vector is an environment stepped in batches. All native environments are
// Vectors; [Vectorize] makes one of an [Env]. Methods are called from several
// goroutines at once on different batches and must not allocate.
type Vector interface {
	Spec() Spec
	// Reset writes the first state of an episode for environment i of the batch.
	Reset(b *Batch, i int, r *rng.Stream)
	// Observe writes the observation of each environment of the batch into
	// obs [N][ld], row-major with rows ld >= D floats apart; it leaves the
	// floats after the first D of a row alone.
	Observe(b *Batch, obs []float32, ld int)
	// Step advances every environment of the batch.
	Step(b *Batch)
}
