package pbt

import "math"

// Strategy names what an exploit does to the state of the member's optimizer,
// which was gathered on weights that the exploit has just replaced.
type Strategy string

// The optimizer strategies.
const (
	// ResetOptimizer starts the optimizer anew.
	ResetOptimizer Strategy = "reset"
	// CopyOptimizer takes the source's optimizer state with its weights.
	CopyOptimizer Strategy = "copy"
	// MomentumOptimizer takes the source's mean of the gradients and makes the mean
	// of their squares from it.
	MomentumOptimizer Strategy = "momentum"
	// VelocityOptimizer takes the source's mean of the squares; the mean of the
	// gradients starts anew.
	VelocityOptimizer Strategy = "velocity"
	// AdaptiveOptimizer is CopyOptimizer where the exploration changed little, and
	// ResetOptimizer where it changed much; see [Config.OptimizerAdaptiveFactor].
	// It is resolved in every decision: no [Decision.Strategy] is adaptive.
	AdaptiveOptimizer Strategy = "adaptive"
	// StaleOptimizer leaves the member's own state, which belongs to weights that
	// are gone: the bug that the others avoid. For experiments that show what it
	// costs; it needs [Config.AllowStaleOptimizer].
	StaleOptimizer Strategy = "stale"
)

// resolve sets what is done to the optimizer from what the config says and how
// the hyperparameters changed.
func (c *Config) resolve(d *Decision) {
	d.Configured, d.Strategy, d.ScaleMomentum = c.OptimizerExploitStrategy, c.OptimizerExploitStrategy, c.OptimizerLRScaling
	if d.Configured == StaleOptimizer && d.Quarantined {
		// A state that led to weights which are not finite is not finite either, or
		// soon makes the new weights so.
		d.Strategy = ResetOptimizer
	}
	if d.Configured != AdaptiveOptimizer {
		return
	}
	d.Strategy = CopyOptimizer
	for i := range c.Hyperparameters {
		name := c.Hyperparameters[i].Name
		if !WithinFactor(d.SourceValues[name], d.After[name], c.OptimizerAdaptiveFactor) {
			d.Strategy = ResetOptimizer
		}
	}
}

// WithinFactor reports whether b is a times something in [1/f, f], f at least 1: what
// the strategy adaptive asks of every explored hyperparameter. No factor leads from
// 0 to another number, to 0, or to the other sign; 0 is within of 0.
func WithinFactor(a, b, f float64) bool {
	if a == 0 || b == 0 {
		return a == b
	}
	if math.Signbit(a) != math.Signbit(b) {
		return false
	}
	// The bounds are formed as perturb forms them, so that a step by f is within.
	a, b = math.Abs(a), math.Abs(b)
	return a/f <= b && b <= a*f
}
