// Package ppo is the algorithm as its users see it: the sections of a run's
// config that describe an agent and how it learns, their validation, and a
// [Population] whose members' parameters can be read, replaced and exploited.
// The numerical work is done by an engine of package kernels; docs/algorithm.md
// says exactly what it computes.
package ppo

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"brood/env"
	"brood/env/gym"
	"brood/kernels"
	"brood/kernels/host"
)

// EnvConfig is the config section env: what every member plays.
type EnvConfig struct {
	// ID is the registered name of the environment, or gymnasium:NAME for one of
	// Gymnasium, which runs in Python. Default CartPole-v1.
	ID string `yaml:"id"`
	// Count is N, the environments that each member steps side by side.
	// Default 64; at least 1.
	Count int64 `yaml:"count"`
	// Hyperparameters are the values every member starts with for hyperparameters
	// of the environment's own, the weights of its shaping rewards, by name.
	// Default none: all are 0, which is no shaping.
	Hyperparameters map[string]float64 `yaml:"hyperparameters"`

	// The keys below are for gymnasium:NAME alone.

	// Kwargs are keyword arguments of gymnasium.make. Default none.
	Kwargs map[string]any `yaml:"kwargs"`
	// Wrappers are applied in this order, each as package.module:Wrapper. Default none.
	Wrappers []string `yaml:"wrappers,flow"`
	// Workers is the number of Python processes. Default 0: as many as the process
	// may use processors. The results do not depend on it.
	Workers int `yaml:"workers"`
	// Python is the interpreter. Default empty: BROOD_PYTHON, the active virtual
	// environment's, or python3.
	Python string `yaml:"python"`
	// Timeout is how many seconds a worker may take for a step of all its
	// environments before it is killed and started anew. Default 120; above 0.
	Timeout float64 `yaml:"timeout"`

	// Described, where not nil, is taken for what an environment of Gymnasium is, and
	// Python is not asked: a configuration that is only read must start no program.
	Described *env.Spec `yaml:"-"`
}

// Imports are the Python modules beside Gymnasium's own that making the environment
// imports: the one before a colon in gymnasium:MODULE:NAME, and those of wrappers.
func (e *EnvConfig) Imports() (modules []string) {
	if name, ok := strings.CutPrefix(e.ID, gym.Prefix); ok {
		if module, _, registered := strings.Cut(name, ":"); registered {
			modules = append(modules, module)
		}
	}
	for _, w := range e.Wrappers {
		if module, _, _ := strings.Cut(w, ":"); module != "gymnasium.wrappers" && !strings.HasPrefix(module, "gymnasium.wrappers.") {
			modules = append(modules, module)
		}
	}
	return modules
}

// DefaultEnv returns the defaults of the section env.
func DefaultEnv() EnvConfig {
	return EnvConfig{ID: "CartPole-v1", Count: 64, Wrappers: []string{}, Timeout: gym.DefaultTimeout.Seconds()}
}

// Undescribed stands for an environment of Gymnasium where it does not matter what it
// is, in [EnvConfig.Described].
func Undescribed() *env.Spec {
	return &env.Spec{ObsDim: 1, Action: env.ActionSpace{Discrete: true, N: 2}}
}

// gymOptions are the keys of an environment of Gymnasium.
func (e *EnvConfig) gymOptions() gym.Options {
	return gym.Options{ID: e.ID, Kwargs: e.Kwargs, Wrappers: e.Wrappers, Workers: e.Workers, Python: e.Python,
		Timeout: time.Duration(e.Timeout * float64(time.Second))}
}

// PolicyConfig is the config section policy. Actor and critic are two networks
// of the same hidden layers that share no weights.
type PolicyConfig struct {
	// Hidden are the widths of the hidden layers. Default [64, 64]; an empty list
	// makes both networks linear.
	Hidden []int `yaml:"hidden,flow"`
	// Activation follows each hidden layer: tanh or relu. Default tanh.
	Activation kernels.Activation `yaml:"activation"`
	// LogStdInit is the initial log standard deviation of every dimension of a
	// continuous action, within [-20, 20]; discrete actions ignore it. Default 0:
	// a standard deviation of 1.
	LogStdInit float64 `yaml:"log_std_init"`
}

// DefaultPolicy returns the defaults of the section policy.
func DefaultPolicy() PolicyConfig {
	return PolicyConfig{Hidden: []int{64, 64}, Activation: kernels.Tanh}
}

// CriticConfig is the config section critic.
type CriticConfig struct {
	// Type is scalar (squared error) or quantile (quantile Huber loss, Dabney et
	// al. 2018). Default scalar.
	Type kernels.CriticType `yaml:"type"`
	// Quantiles is K, the outputs of a quantile critic; a scalar critic ignores
	// it. Default 32; at least 1.
	Quantiles int `yaml:"quantiles"`
	// Kappa is the error, in units of the return, at which the quantile loss turns
	// from quadratic to linear; a scalar critic ignores it. Default 1; above 0.
	Kappa float64 `yaml:"kappa"`
}

// DefaultCritic returns the defaults of the section critic.
func DefaultCritic() CriticConfig {
	return CriticConfig{Type: kernels.ScalarCritic, Quantiles: 32, Kappa: 1}
}

// KLPenaltyConfig is the config section ppo.kl_penalty: the adaptive KL penalty
// of Schulman et al. 2017, section 4, as a term beside the clipped loss.
type KLPenaltyConfig struct {
	// Enabled adds beta*kl to the loss. Default false.
	Enabled bool `yaml:"enabled"`
	// Target is the KL divergence in nats that beta is steered to: the initial
	// value of the hyperparameter kl_target. Default 0.01; above 0.
	Target float64 `yaml:"target"`
	// Beta is the coefficient a member starts with. Default 0.2; within [min, max].
	Beta float64 `yaml:"beta"`
	// Min and Max bound beta. Default 1e-4 and 100; 0 < min <= max, for a beta of
	// 0 could never grow again.
	Min float64 `yaml:"min"`
	Max float64 `yaml:"max"`
}

// VGSConfig is the config section ppo.vgs: the variance gradient scaler, which
// shrinks gradients whose variance is large against their mean.
type VGSConfig struct {
	// Enabled scales the gradients. Default true.
	Enabled bool `yaml:"enabled"`
	// Beta is the decay of the moving averages per minibatch. Default 0.99; in
	// [0, 1), 0 using the last minibatch alone.
	Beta float64 `yaml:"beta"`
	// Alpha is the strength of the scaling: the initial value of the
	// hyperparameter vgs_alpha. Default 0.1; at least 0, 0 scaling by 1.
	Alpha float64 `yaml:"alpha"`
	// Warmup is the number of minibatches before gradients are scaled. Default
	// 100; 0 scales from the first on.
	Warmup int `yaml:"warmup"`
	// Eps is added to the squared mean. Default 1e-8; above 0.
	Eps float64 `yaml:"eps"`
	// Percentile over the policy's tensors that decides the scale. Default 0.9;
	// in [0, 1], 0 being the least and 1 the largest.
	Percentile float64 `yaml:"percentile"`
}

// Config is the config section ppo. Those of its fields that carry the name of a
// hyperparameter give the value every member starts with.
type Config struct {
	// Steps is T, the vector steps of a rollout. Default 128; at least 1.
	Steps int `yaml:"steps"`
	// Epochs is the number of passes over a rollout. Default 4; at least 1.
	Epochs int `yaml:"epochs"`
	// Minibatches is the number of equal minibatches of an epoch; it must divide
	// steps*count. Default 4; at least 1.
	Minibatches int `yaml:"minibatches"`

	// LearningRate of Adam, before the schedule. Default 2.5e-4; above 0.
	LearningRate float64 `yaml:"learning_rate"`
	// Gamma is the discount factor per step. Default 0.99; in [0, 1], 0 caring for
	// the next reward alone.
	Gamma float64 `yaml:"gamma"`
	// GAELambda weighs variance (1) against bias (0) of the advantages. Default
	// 0.95; in [0, 1].
	GAELambda float64 `yaml:"gae_lambda"`
	// ClipRange is how far the probability ratio may leave 1. Default 0.2; above 0.
	ClipRange float64 `yaml:"clip_range"`
	// ValueClip is how far a value may leave its old one, in units of the return.
	// Default 0: off. Only with a scalar critic.
	ValueClip float64 `yaml:"value_clip"`
	// EntropyCoef is the coefficient of the entropy bonus. Default 0.01; 0: none.
	EntropyCoef float64 `yaml:"entropy_coef"`
	// ValueCoef is the coefficient of the value loss. Default 0.5; 0 leaves the
	// critic as it is.
	ValueCoef float64 `yaml:"value_coef"`
	// MaxGradNorm bounds the norm of the gradient over all tensors. Default 0.5;
	// above 0, and a very large number to switch clipping off.
	MaxGradNorm float64 `yaml:"max_grad_norm"`
	// AdamBeta1 is the decay of Adam's mean of gradients per minibatch. Default
	// 0.9; in [0, 1), 0: no momentum.
	AdamBeta1 float64 `yaml:"adam_beta1"`
	// AdamBeta2 is the decay of Adam's mean of squared gradients per minibatch.
	// Default 0.999; in [0, 1).
	AdamBeta2 float64 `yaml:"adam_beta2"`
	// AdamEps is added to the root of the squared gradients. Default 1e-5; above 0.
	AdamEps float64 `yaml:"adam_eps"`
	// WeightDecay is decoupled from the gradient (Loshchilov and Hutter 2019): each
	// minibatch multiplies the weights by 1 - learning_rate*weight_decay.
	// Default 0: none.
	WeightDecay float64 `yaml:"weight_decay"`

	// NormalizeAdvantage standardises the advantages of each minibatch. Default
	// true.
	NormalizeAdvantage bool `yaml:"normalize_advantage"`
	// NormalizeObservations standardises observations by running statistics.
	// Default false.
	NormalizeObservations bool `yaml:"normalize_observations"`
	// NormalizeRewards divides rewards by the running standard deviation of the
	// discounted return. Default false.
	NormalizeRewards bool `yaml:"normalize_rewards"`
	// LearningRateSchedule is constant, or linear: from learning_rate at the start
	// to 0 at the end of the run. Default constant.
	LearningRateSchedule kernels.Schedule `yaml:"learning_rate_schedule"`
	// TargetKL ends the updates of an iteration at the first minibatch whose KL
	// divergence from the behaviour policy, in nats, exceeds 1.5 times it.
	// Default 0: off.
	TargetKL  float64         `yaml:"target_kl"`
	KLPenalty KLPenaltyConfig `yaml:"kl_penalty"`
	VGS       VGSConfig       `yaml:"vgs"`
}

// Default returns the defaults of the section ppo.
func Default() Config {
	return Config{
		Steps:                128,
		Epochs:               4,
		Minibatches:          4,
		LearningRate:         2.5e-4,
		Gamma:                0.99,
		GAELambda:            0.95,
		ClipRange:            0.2,
		EntropyCoef:          0.01,
		ValueCoef:            0.5,
		MaxGradNorm:          0.5,
		AdamBeta1:            0.9,
		AdamBeta2:            0.999,
		AdamEps:              1e-5,
		NormalizeAdvantage:   true,
		LearningRateSchedule: kernels.Constant,
		KLPenalty:            KLPenaltyConfig{Target: 0.01, Beta: 0.2, Min: 1e-4, Max: 100},
		VGS:                  VGSConfig{Enabled: true, Beta: 0.99, Alpha: 0.1, Warmup: 100, Eps: 1e-8, Percentile: 0.9},
	}
}

// EngineConfig validates the sections and turns them into the config of an
// engine of population members. threads is as in [kernels.Config]; totalUpdates
// is the length of the run in updates, which the linear schedule needs and which
// the counters of the random numbers bound. The error joins a [FieldError] for
// every wrong field, those of the run's other sections (pbt.population_size,
// run.threads, run.total_steps) included.
func EngineConfig(e EnvConfig, policy PolicyConfig, critic CriticConfig, ppo Config,
	population int, seed uint64, threads int, totalUpdates int64) (*kernels.Config, error) {
	errs := []error{Validate(e, policy, critic, ppo), validateRun(ppo, population, threads, totalUpdates)}
	vector, err := makeEnv(e)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return &kernels.Config{
		Population:            population,
		Seed:                  seed,
		Env:                   vector,
		Environments:          int(e.Count),
		Steps:                 ppo.Steps,
		Hidden:                append([]int(nil), policy.Hidden...),
		Activation:            policy.Activation,
		LogStdInit:            float32(policy.LogStdInit),
		Critic:                kernels.Critic{Type: critic.Type, Quantiles: critic.Quantiles, Kappa: float32(critic.Kappa)},
		Epochs:                ppo.Epochs,
		Minibatches:           ppo.Minibatches,
		NormalizeAdvantage:    ppo.NormalizeAdvantage,
		NormalizeObservations: ppo.NormalizeObservations,
		NormalizeRewards:      ppo.NormalizeRewards,
		LearningRateSchedule:  ppo.LearningRateSchedule,
		TotalUpdates:          totalUpdates,
		TargetKL:              float32(ppo.TargetKL),
		KLPenalty: kernels.KLPenalty{
			Enabled: ppo.KLPenalty.Enabled,
			Beta:    float32(ppo.KLPenalty.Beta),
			Min:     float32(ppo.KLPenalty.Min),
			Max:     float32(ppo.KLPenalty.Max),
		},
		VGS: kernels.VGS{
			Enabled:    ppo.VGS.Enabled,
			Beta:       float32(ppo.VGS.Beta),
			Warmup:     ppo.VGS.Warmup,
			Eps:        float32(ppo.VGS.Eps),
			Percentile: float32(ppo.VGS.Percentile),
		},
		Hyperparameters: withOwn(ppo.Hyperparameters(), vector.Spec(), e.Hyperparameters),
		Threads:         threads,
	}, nil
}

// makeEnv makes the environment of a config and checks the values of its own
// hyperparameters; an empty id is for [Validate] to report.
func makeEnv(e EnvConfig) (env.Vector, error) {
	if e.ID == "" {
		return nil, nil
	}
	if gym.Is(e.ID) {
		return makeGym(e)
	}
	vector, err := env.Make(e.ID)
	if err == nil {
		err = host.CheckSpec(vector.Spec())
	}
	if err != nil {
		return nil, fmt.Errorf("env.id: %w", err)
	}
	return vector, validateOwn(vector.Spec(), e.Hyperparameters)
}

// makeGym makes an environment of Gymnasium, unless the config is wrong in a way that
// [Validate] reports.
func makeGym(e EnvConfig) (env.Vector, error) {
	var c checker
	if c.gym(e); c.err() != nil {
		return nil, nil
	}
	var made *gym.Env
	if e.Described != nil {
		made = gym.Known(e.gymOptions(), *e.Described)
	} else {
		var err error
		if made, err = gym.New(e.gymOptions()); err != nil {
			return nil, err
		}
	}
	return made, validateOwn(made.Spec(), e.Hyperparameters)
}

// withOwn adds the environment's hyperparameters to the algorithm's.
func withOwn(values kernels.Hyperparameters, spec env.Spec, own map[string]float64) kernels.Hyperparameters {
	for i, h := range spec.Hyperparameters {
		values[int(kernels.NumHyperparameters)+i] = float32(own[h.Name])
	}
	return values
}

func validateRun(ppo Config, population, threads int, totalUpdates int64) error {
	var c checker
	c.field(population >= 1 && population <= host.MaxPopulation, "pbt.population_size", population, "must be 1 to %d", host.MaxPopulation)
	c.field(threads >= 0, "run.threads", threads, "must be at least 0 (0: all processors)")
	c.field(totalUpdates >= 1, "run.total_steps", totalUpdates, "must make at least 1 update")
	if n := max(ppo.Steps, ppo.Epochs); n >= 1 {
		// Vector steps, and epochs, are counted in one 32-bit word of a random
		// number's address.
		most := int64(math.MaxUint32) / int64(n)
		c.field(totalUpdates <= most, "run.total_steps", totalUpdates, "must make at most %d updates of %d steps and %d epochs, or random numbers would repeat", most, ppo.Steps, ppo.Epochs)
	}
	return c.err()
}
