package ppo

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"brood/env/gym"
	"brood/kernels"
)

const (
	// maxWidth bounds widths and quantiles: beyond it a number is a typing error.
	maxWidth = 1 << 16
	// maxLayers bounds the hidden layers for the same reason.
	maxLayers = 256
	// maxRows: permutations hold 32-bit row numbers.
	maxRows = math.MaxInt32
)

// FieldError is one wrong field of a config.
type FieldError struct {
	// Path names the field: "ppo.clip_range".
	Path string
	// Value is what was found there.
	Value any
	// Valid says what would be valid.
	Valid string
}

// Error names the field, its value and what would be valid.
func (e *FieldError) Error() string {
	value := fmt.Sprint(e.Value)
	if reflect.ValueOf(e.Value).Kind() == reflect.String {
		value = strconv.Quote(value)
	}
	return fmt.Sprintf("%s: %s is not valid: %s", e.Path, value, e.Valid)
}

// checker collects field errors.
type checker struct{ errs []error }

func (c *checker) field(ok bool, path string, value any, valid string, args ...any) {
	if !ok {
		c.errs = append(c.errs, &FieldError{Path: path, Value: value, Valid: fmt.Sprintf(valid, args...)})
	}
}

func (c *checker) within(path string, value float64, b bounds) {
	valid := b.check(value)
	c.field(valid == "", path, value, "%s", valid)
}

func (c *checker) add(err error) {
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

func (c *checker) err() error { return errors.Join(c.errs...) }

// Validate checks the sections, alone and against each other. The error joins a
// [FieldError] for every wrong field. Whether the environment exists is checked
// by [EngineConfig].
func Validate(e EnvConfig, policy PolicyConfig, critic CriticConfig, ppo Config) error {
	var c checker
	c.field(e.ID != "", "env.id", e.ID, "must name an environment")
	c.field(e.Count >= 1 && e.Count <= maxRows, "env.count", e.Count, "must be 1 to %d", maxRows)
	c.gym(e)
	c.policy(policy)
	c.critic(critic, ppo)
	c.batch(e, ppo)
	c.hyperparameters(ppo)
	schedule := ppo.LearningRateSchedule
	c.field(schedule == kernels.Constant || schedule == kernels.Linear, "ppo.learning_rate_schedule", schedule, "must be constant or linear")
	c.within("ppo.target_kl", ppo.TargetKL, nonNegative)
	c.klPenalty(ppo.KLPenalty)
	c.vgs(ppo.VGS)
	return c.err()
}

// gym checks the keys of an environment of Gymnasium.
func (c *checker) gym(e EnvConfig) {
	if !gym.Is(e.ID) {
		for _, key := range []struct {
			name  string
			value any
			unset bool
		}{{"kwargs", e.Kwargs, len(e.Kwargs) == 0}, {"wrappers", e.Wrappers, len(e.Wrappers) == 0},
			{"workers", e.Workers, e.Workers == 0}, {"python", e.Python, e.Python == ""}} {
			c.field(key.unset, "env."+key.name, key.value, "is for an environment of Gymnasium, env.id: %sNAME", gym.Prefix)
		}
		return
	}
	c.field(e.ID != gym.Prefix, "env.id", e.ID, "must name an environment after %q, such as %sCartPole-v1", gym.Prefix, gym.Prefix)
	c.field(e.Workers >= 0 && e.Workers <= gym.MaxWorkers, "env.workers", e.Workers, "must be 0 (one per processor) to %d", gym.MaxWorkers)
	c.field(e.Timeout >= 0.001 && e.Timeout <= maxTimeout, "env.timeout", e.Timeout, "must be a number of seconds, 0.001 to %d", maxTimeout)
}

// maxTimeout is a week.
const maxTimeout = 7 * 24 * 3600

func (c *checker) policy(p PolicyConfig) {
	c.field(len(p.Hidden) <= maxLayers, "policy.hidden", len(p.Hidden), "must be a list of at most %d layers", maxLayers)
	for i, width := range p.Hidden {
		c.field(width >= 1 && width <= maxWidth, fmt.Sprintf("policy.hidden[%d]", i), width, "must be 1 to %d", maxWidth)
	}
	c.field(p.Activation == kernels.Tanh || p.Activation == kernels.ReLU, "policy.activation", p.Activation, "must be tanh or relu")
	c.within("policy.log_std_init", p.LogStdInit, bounds{low: -20, high: 20})
}

func (c *checker) critic(critic CriticConfig, ppo Config) {
	switch critic.Type {
	case kernels.ScalarCritic:
	case kernels.QuantileCritic:
		if ppo.ValueClip > 0 {
			c.field(false, "ppo.value_clip", ppo.ValueClip, valueClipNeedsScalar)
		}
	default:
		c.field(false, "critic.type", critic.Type, "must be scalar or quantile")
	}
	c.field(critic.Quantiles >= 1 && critic.Quantiles <= maxWidth, "critic.quantiles", critic.Quantiles, "must be 1 to %d", maxWidth)
	c.within("critic.kappa", critic.Kappa, positive)
}

// batch checks the sizes that have to fit each other.
func (c *checker) batch(e EnvConfig, ppo Config) {
	before := len(c.errs)
	c.field(ppo.Steps >= 1 && ppo.Steps <= maxRows, "ppo.steps", ppo.Steps, "must be 1 to %d", maxRows)
	c.field(ppo.Epochs >= 1, "ppo.epochs", ppo.Epochs, "must be at least 1")
	c.field(ppo.Minibatches >= 1, "ppo.minibatches", ppo.Minibatches, "must be at least 1")
	if len(c.errs) > before || e.Count < 1 || e.Count > maxRows {
		return
	}
	rows := int64(ppo.Steps) * e.Count
	if rows > maxRows {
		c.field(false, "ppo.steps", ppo.Steps, "steps*count = %d must be at most %d", rows, maxRows)
		return
	}
	least := int64(1)
	why := ""
	if ppo.NormalizeAdvantage {
		least = 2 // the standard deviation of a single advantage does not exist
		why = " into minibatches of at least 2 rows, which normalize_advantage needs"
	}
	m := int64(ppo.Minibatches)
	if rows < least {
		c.field(false, "ppo.normalize_advantage", true, "needs at least 2 rows, and steps*count = %d", rows)
		return
	}
	c.field(rows%m == 0 && rows/m >= least, "ppo.minibatches", m, "must divide steps*count = %d%s (%s)", rows, why, divisors(rows, rows/least))
}

// divisors lists the divisors of n up to most, in short.
func divisors(n, most int64) string {
	const shown = 16
	var list []string
	add := func(d int64) bool {
		if len(list) == shown {
			list = append(list, "...")
		}
		if len(list) > shown {
			return false
		}
		list = append(list, strconv.FormatInt(d, 10))
		return true
	}
	// Divisors come in pairs, of which the smaller is at most the root: n can be two
	// thousand millions.
	var larger []int64
	for d := int64(1); d <= most && d*d <= n; d++ {
		if n%d != 0 {
			continue
		}
		if !add(d) {
			return strings.Join(list, ", ")
		}
		if pair := n / d; pair != d && pair <= most {
			larger = append(larger, pair)
		}
	}
	for _, d := range slices.Backward(larger) {
		if !add(d) {
			break
		}
	}
	return strings.Join(list, ", ")
}

func (c *checker) hyperparameters(ppo Config) {
	for h, v := range ppo.fields() {
		path := "ppo." + kernels.Hyperparameter(h).String()
		switch kernels.Hyperparameter(h) {
		case kernels.VGSAlpha:
			path = "ppo.vgs.alpha"
		case kernels.KLTarget:
			path = "ppo.kl_penalty.target"
		}
		c.within(path, v, hyperparameterBounds[h])
	}
}

func (c *checker) klPenalty(k KLPenaltyConfig) {
	before := len(c.errs)
	c.within("ppo.kl_penalty.min", k.Min, positive)
	c.within("ppo.kl_penalty.max", k.Max, positive)
	if len(c.errs) > before {
		return
	}
	if k.Min > k.Max {
		c.field(false, "ppo.kl_penalty.min", k.Min, "must be at most ppo.kl_penalty.max = %g", k.Max)
		return
	}
	c.within("ppo.kl_penalty.beta", k.Beta, bounds{low: k.Min, high: k.Max})
}

func (c *checker) vgs(v VGSConfig) {
	c.within("ppo.vgs.beta", v.Beta, decay)
	c.field(v.Warmup >= 0, "ppo.vgs.warmup", v.Warmup, "must be at least 0")
	c.within("ppo.vgs.eps", v.Eps, positive)
	c.within("ppo.vgs.percentile", v.Percentile, unit)
}
