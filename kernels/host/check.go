package host

import (
	"errors"
	"fmt"
	"math"

	"brood/env"
	"brood/kernels"
)

// MaxPopulation is the number of members the random numbers' addresses tell
// apart.
const MaxPopulation = 1 << 16

// Check is what every engine's constructor refuses: sizes that are not positive
// or do not divide, unknown choices, numbers out of range, environments outside of
// the engine's memory. All that is wrong is in the one error, each with its field and
// value.
func Check(c *kernels.Config) error {
	if err := check(c); err != nil {
		return err
	}
	if _, external := c.Env.(env.External); external {
		return fmt.Errorf("kernels: environment %q runs outside of the process, which only the engines on a processor can step", c.Env.Spec().ID)
	}
	return nil
}

func check(c *kernels.Config) error {
	if c == nil {
		return errors.New("kernels: the config is nil")
	}
	k := &checker{}
	k.require(c.Population >= 1 && c.Population <= MaxPopulation, "Population is %d; it must be in [1, %d]", c.Population, MaxPopulation)
	k.require(c.Environments >= 1, "Environments is %d; it must be at least 1", c.Environments)
	k.require(c.Steps >= 1, "Steps is %d; it must be at least 1", c.Steps)
	for i, h := range c.Hidden {
		k.require(h >= 1, "Hidden[%d] is %d; it must be at least 1", i, h)
	}
	k.require(c.Activation == kernels.Tanh || c.Activation == kernels.ReLU,
		"Activation is %q; it must be %q or %q", c.Activation, kernels.Tanh, kernels.ReLU)
	k.require(finite(c.LogStdInit), "LogStdInit is %v; it must be finite", c.LogStdInit)
	k.require(c.Epochs >= 1, "Epochs is %d; it must be at least 1", c.Epochs)
	k.minibatches(c)
	k.critic(&c.Critic)
	k.schedule(c)
	k.require(finite(c.TargetKL) && c.TargetKL >= 0, "TargetKL is %v; it must be 0 (off) or more", c.TargetKL)
	k.penalties(c)
	k.require(c.Precision == "" || c.Precision == kernels.Float32 || c.Precision == kernels.TF32,
		"Precision is %q; it must be %q or %q", c.Precision, kernels.Float32, kernels.TF32)
	k.require(c.Threads >= 0, "Threads is %d; it must be 0 (all) or more", c.Threads)
	k.require(c.MinibatchLimit >= 0, "MinibatchLimit is %d; it must be 0 (none) or more", c.MinibatchLimit)
	k.require(c.FirstMember >= 0 && c.FirstMember <= MaxPopulation-max(1, c.Population), "FirstMember is %d; it must be in [0, %d]",
		c.FirstMember, MaxPopulation-max(1, c.Population))
	k.environment(c)
	k.add(CheckHyperparameters(c, c.Hyperparameters))
	return k.error()
}

// CheckHost is [Check] for engines on a processor: it refuses what only a GPU
// computes, and lets an [env.External] pass.
func CheckHost(c *kernels.Config) error {
	if err := check(c); err != nil {
		return err
	}
	if c.Precision == kernels.TF32 {
		return fmt.Errorf("kernels: Precision is %q, which needs a GPU; it must be %q", c.Precision, kernels.Float32)
	}
	return nil
}

// CheckHyperparameters refuses hyperparameters no update can be done with.
func CheckHyperparameters(c *kernels.Config, h kernels.Hyperparameters) error {
	k := &checker{}
	for i := range kernels.NumHyperparameters {
		v := h[i]
		switch i {
		case kernels.Gamma, kernels.GAELambda:
			k.require(v >= 0 && v <= 1, "hyperparameter %s is %v; it must be in [0, 1]", i, v)
		case kernels.AdamBeta1, kernels.AdamBeta2:
			k.require(v >= 0 && v < 1, "hyperparameter %s is %v; it must be in [0, 1)", i, v)
		case kernels.AdamEps: // 0 would divide 0 by 0 where a gradient is 0
			k.require(finite(v) && v > 0, "hyperparameter %s is %v; it must be above 0", i, v)
		case kernels.EntropyCoef:
			k.require(finite(v), "hyperparameter %s is %v; it must be finite", i, v)
		default:
			k.require(finite(v) && v >= 0, "hyperparameter %s is %v; it must be finite and not negative", i, v)
		}
	}
	if c.Env != nil { // else an error of its own
		k.own(c.Env.Spec(), h[kernels.NumHyperparameters:])
	}
	k.require(c.Critic.Type != kernels.QuantileCritic || !(h[kernels.ValueClip] > 0),
		"hyperparameter value_clip is %v; it must be 0 (off) with the quantile critic", h[kernels.ValueClip])
	return k.error()
}

// own checks the values of the environment's hyperparameters.
func (k *checker) own(spec env.Spec, values []float32) {
	for i, v := range values {
		if i >= len(spec.Hyperparameters) {
			k.require(v == 0, "hyperparameter %d of the environment is %v; it must be 0: there are %d", i, v, len(spec.Hyperparameters))
			continue
		}
		e := spec.Hyperparameters[i] // its bounds rounded as the value is
		k.require(v >= float32(e.Min) && v <= float32(e.Max), "hyperparameter %s is %v; it must be in [%g, %g]", e.Name, v, e.Min, e.Max)
	}
}

type checker struct{ errs []error }

func (k *checker) require(ok bool, format string, args ...any) {
	if !ok {
		k.errs = append(k.errs, fmt.Errorf("kernels: "+format, args...))
	}
}

func (k *checker) add(err error) {
	if err != nil {
		k.errs = append(k.errs, err)
	}
}

func (k *checker) error() error { return errors.Join(k.errs...) }

func (k *checker) minibatches(c *kernels.Config) {
	if c.Minibatches < 1 {
		k.require(false, "Minibatches is %d; it must be at least 1", c.Minibatches)
		return
	}
	if c.Steps < 1 || c.Environments < 1 {
		return
	}
	if c.Steps > math.MaxInt32/c.Environments {
		k.require(false, "Steps*Environments is %d*%d; it must be below 2^31", c.Steps, c.Environments)
		return
	}
	k.require(c.Rows()%c.Minibatches == 0, "Minibatches is %d; it must divide Steps*Environments = %d*%d = %d",
		c.Minibatches, c.Steps, c.Environments, c.Rows())
	k.require(!c.NormalizeAdvantage || c.MinibatchRows() >= 2,
		"NormalizeAdvantage needs minibatches of at least 2 rows; Minibatches %d of %d rows have %d",
		c.Minibatches, c.Rows(), c.MinibatchRows())
}

func (k *checker) critic(c *kernels.Critic) {
	switch c.Type {
	case kernels.ScalarCritic:
	case kernels.QuantileCritic:
		k.require(c.Quantiles >= 1, "Critic.Quantiles is %d; it must be at least 1", c.Quantiles)
		k.require(finite(c.Kappa) && c.Kappa > 0, "Critic.Kappa is %v; it must be above 0", c.Kappa)
	default:
		k.require(false, "Critic.Type is %q; it must be %q or %q", c.Type, kernels.ScalarCritic, kernels.QuantileCritic)
	}
}

func (k *checker) schedule(c *kernels.Config) {
	switch c.LearningRateSchedule {
	case kernels.Constant:
	case kernels.Linear:
		k.require(c.TotalUpdates >= 1, "TotalUpdates is %d; it must be at least 1 with the linear schedule", c.TotalUpdates)
	default:
		k.require(false, "LearningRateSchedule is %q; it must be %q or %q", c.LearningRateSchedule, kernels.Constant, kernels.Linear)
	}
}

func (k *checker) penalties(c *kernels.Config) {
	if p := &c.KLPenalty; p.Enabled {
		k.require(p.Min >= 0 && p.Min <= p.Max && finite(p.Max), "KLPenalty.Min and Max are %v and %v; 0 <= Min <= Max must hold", p.Min, p.Max)
		k.require(finite(p.Beta) && p.Beta >= 0, "KLPenalty.Beta is %v; it must be 0 or more", p.Beta)
	}
	if v := &c.VGS; v.Enabled {
		k.require(v.Beta >= 0 && v.Beta < 1, "VGS.Beta is %v; it must be in [0, 1)", v.Beta)
		k.require(v.Warmup >= 0, "VGS.Warmup is %d; it must be 0 or more", v.Warmup)
		k.require(finite(v.Eps) && v.Eps > 0, "VGS.Eps is %v; it must be above 0", v.Eps)
		k.require(v.Percentile >= 0 && v.Percentile <= 1, "VGS.Percentile is %v; it must be in [0, 1]", v.Percentile)
	}
}

func (k *checker) environment(c *kernels.Config) {
	if c.Env == nil {
		k.require(false, "Env is nil")
		return
	}
	if err := CheckSpec(c.Env.Spec()); err != nil {
		k.require(false, "environment %q: %w", c.Env.Spec().ID, err)
	}
}

// CheckSpec is [env.ValidateSpec], and refuses hyperparameters with the name of one
// of the algorithm's.
func CheckSpec(s env.Spec) error {
	errs := []error{env.ValidateSpec(s)}
	for i, h := range s.Hyperparameters {
		if _, taken := kernels.HyperparameterByName(h.Name); taken {
			errs = append(errs, fmt.Errorf("Spec.Hyperparameters[%d].Name is %q, want another: the algorithm has a hyperparameter of that name", i, h.Name))
		}
	}
	return errors.Join(errs...)
}

func finite(x float32) bool { return !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0) }
