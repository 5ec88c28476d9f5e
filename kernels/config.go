package kernels

import (
	"fmt"
	"slices"

	"brood/env"
	"brood/tensor"
)

// Activation is the function between hidden layers.
type Activation string

// The activations.
const (
	Tanh Activation = "tanh"
	ReLU Activation = "relu"
)

// CriticType selects the critic's head and loss.
type CriticType string

// The critics.
const (
	// ScalarCritic predicts the value; squared error.
	ScalarCritic CriticType = "scalar"
	// QuantileCritic predicts K quantiles of the return; quantile Huber loss
	// (Dabney et al. 2018). The value is their mean.
	QuantileCritic CriticType = "quantile"
)

// Critic configures the value head.
type Critic struct {
	Type CriticType
	// Quantiles is K; used by QuantileCritic.
	Quantiles int
	// Kappa is the Huber threshold of the quantile loss, above 0.
	Kappa float32
}

// Outputs is the number of outputs of the critic's last layer.
func (c Critic) Outputs() int {
	if c.Type == QuantileCritic {
		return c.Quantiles
	}
	return 1
}

// Schedule is how the learning rate changes over a run.
type Schedule string

// The schedules.
const (
	Constant Schedule = "constant"
	// Linear multiplies the learning rate by 1 - updates/TotalUpdates, with the
	// member's own count of updates done.
	Linear Schedule = "linear"
)

// Precision is what the matrix products of the update are computed in. Sums,
// losses, the optimizer and acting are float32 always.
type Precision string

// The precisions.
const (
	Float32 Precision = "float32"
	// TF32 rounds the factors to 10 bits of mantissa, for the tensor cores of GPUs
	// of compute capability 8.0 and above.
	TF32 Precision = "tf32"
)

// KLPenalty configures the adaptive KL penalty of the loss. Its target is the
// hyperparameter kl_target.
type KLPenalty struct {
	Enabled bool
	// Beta is the coefficient a member starts with, kept within [Min, Max].
	Beta, Min, Max float32
}

// VGS configures the variance gradient scaler. Its alpha is the hyperparameter
// vgs_alpha.
type VGS struct {
	Enabled bool
	// Beta is the decay of the moving averages, in [0, 1).
	Beta float32
	// Warmup is the number of optimizer steps before gradients are scaled.
	Warmup int
	// Eps is added to the squared mean.
	Eps float32
	// Percentile over the policy's tensors, in [0, 1].
	Percentile float32
}

// Config is everything an engine needs to know to allocate and run a population.
// It is numeric only: users write the ppo package's Config, which is validated
// and turned into this one.
type Config struct {
	// Population is P.
	Population int
	Seed       uint64
	Env        env.Vector
	// Environments is N, per member; Steps is T, per iteration.
	Environments, Steps int
	// Hidden are the widths of the hidden layers of both networks; may be empty.
	Hidden     []int
	Activation Activation
	// LogStdInit is the initial log standard deviation of continuous actions.
	LogStdInit float32
	Critic     Critic
	// Epochs over the rollout, each cut into Minibatches equal minibatches:
	// Steps*Environments must be divisible by Minibatches.
	Epochs, Minibatches                                         int
	NormalizeAdvantage, NormalizeObservations, NormalizeRewards bool
	LearningRateSchedule                                        Schedule
	// TotalUpdates is the length of the run in updates; used by Linear.
	TotalUpdates int64
	// TargetKL stops an iteration's updates early; 0: off.
	TargetKL  float32
	KLPenalty KLPenalty
	VGS       VGS
	// Hyperparameters every member starts with.
	Hyperparameters Hyperparameters
	// Precision of the update's matrix products; empty: Float32.
	Precision Precision
	// Threads the CPU engine uses; 0: all the process may use. The results do
	// not depend on it.
	Threads int
	// Sections are added to every member's state after the engine's own.
	Sections []tensor.Section
	// Warn is told, from the goroutine that calls the engine, of failures of an
	// [env.External] that did not end the call; nil: nobody is.
	Warn func(message string)

	// FirstMember is added to a member's index wherever that addresses random
	// numbers. With Clones the index is left out: every member draws those of
	// FirstMember, so that one member can be lived several times side by side.
	FirstMember int
	Clones      bool
	// MinibatchLimit ends every Update after so many minibatches; 0: none.
	MinibatchLimit int
}

// RandomMember is the index of a member in the addresses of random numbers.
func (c *Config) RandomMember(member int) int {
	if c.Clones {
		return c.FirstMember
	}
	return c.FirstMember + member
}

// Rows is B = T*N, the rows of a rollout.
func (c *Config) Rows() int { return c.Steps * c.Environments }

// MinibatchRows is the number of rows of a minibatch.
func (c *Config) MinibatchRows() int { return c.Rows() / c.Minibatches }

// Hyperparameter is an index into Hyperparameters: one of the constants below, or
// NumHyperparameters + i for the environment's i-th (see env.Spec).
type Hyperparameter int

// The hyperparameters, in the order in which they lie in a member's state.
const (
	LearningRate Hyperparameter = iota
	Gamma
	GAELambda
	ClipRange
	ValueClip
	EntropyCoef
	ValueCoef
	MaxGradNorm
	AdamBeta1
	AdamBeta2
	AdamEps
	WeightDecay
	VGSAlpha
	KLTarget
	NumHyperparameters
)

var hyperparameterNames = [NumHyperparameters]string{
	"learning_rate", "gamma", "gae_lambda", "clip_range", "value_clip", "entropy_coef", "value_coef",
	"max_grad_norm", "adam_beta1", "adam_beta2", "adam_eps", "weight_decay", "vgs_alpha", "kl_target",
}

// MaxHyperparameters is the largest number of hyperparameters of a member, the
// environment's included.
const MaxHyperparameters = NumHyperparameters + env.MaxHyperparameters

// String returns the name used in configs, logs and checkpoints. Those of an
// environment are named by it, see [HyperparameterNames].
func (h Hyperparameter) String() string {
	if h >= NumHyperparameters {
		return fmt.Sprintf("environment's %d", h-NumHyperparameters)
	}
	return hyperparameterNames[h]
}

// HyperparameterNames lists the names of a member's hyperparameters in the order
// of [Hyperparameters]: the algorithm's, then the environment's.
func HyperparameterNames(spec env.Spec) []string {
	names := slices.Clone(hyperparameterNames[:])
	for _, h := range spec.Hyperparameters {
		names = append(names, h.Name)
	}
	return names
}

// HyperparameterOf returns the hyperparameter of that name, of the algorithm or the
// environment.
func HyperparameterOf(spec env.Spec, name string) (Hyperparameter, bool) {
	i := slices.Index(HyperparameterNames(spec), name)
	return Hyperparameter(i), i >= 0
}

// HyperparameterByName returns the algorithm's hyperparameter of that name.
func HyperparameterByName(name string) (Hyperparameter, bool) {
	for h, n := range hyperparameterNames {
		if n == name {
			return Hyperparameter(h), true
		}
	}
	return 0, false
}

// Hyperparameters holds a value for each, indexed by [Hyperparameter]; those
// beyond the environment's are 0.
type Hyperparameters [MaxHyperparameters]float32
