package kernels

import (
	"maps"
	"slices"

	"brood/tensor"
)

// Strategy names what an exploit does to the optimizer's state.
type Strategy string

// The strategies.
const (
	// StrategyReset starts the member's Adam anew: both moments and step zero.
	StrategyReset Strategy = "reset"
	// StrategyCopy takes both moments and step from the source.
	StrategyCopy Strategy = "copy"
	// StrategyMomentum takes the mean and step from the source, and makes the second
	// moment from the mean so that the first step stays within Adam's usual bound;
	// see [SquaresOfMean].
	StrategyMomentum Strategy = "momentum"
	// StrategyVelocity takes the second moment and step from the source; the mean
	// starts at zero.
	StrategyVelocity Strategy = "velocity"
	// StrategyStale leaves the member's own state, which belongs to weights that are
	// gone: the bug this project ends. For experiments that show what it costs.
	StrategyStale Strategy = "stale"
)

// The tensor groups of the optimizer section.
const (
	GroupExpAvg   = "exp_avg"
	GroupExpAvgSq = "exp_avg_sq"
	GroupStep     = "step"
)

// strategies is the one table of what each strategy does to each tensor group
// of the optimizer section.
var strategies = map[Strategy]tensor.Effects{
	StrategyReset:    {GroupExpAvg: tensor.Zero, GroupExpAvgSq: tensor.Zero, GroupStep: tensor.Zero},
	StrategyCopy:     {GroupExpAvg: tensor.FromSource, GroupExpAvgSq: tensor.FromSource, GroupStep: tensor.FromSource},
	StrategyMomentum: {GroupExpAvg: tensor.FromSource, GroupExpAvgSq: tensor.Squared, GroupStep: tensor.FromSource},
	StrategyVelocity: {GroupExpAvg: tensor.Zero, GroupExpAvgSq: tensor.FromSource, GroupStep: tensor.FromSource},
	StrategyStale:    {GroupExpAvg: tensor.Own, GroupExpAvgSq: tensor.Own, GroupStep: tensor.Own},
}

// Effects returns what the strategy does to each tensor group of the optimizer
// section, or false for an unknown strategy. With scaleMomentum a mean that comes
// from the source is scaled by [MomentumScale]; nothing else differs.
func (s Strategy) Effects(scaleMomentum bool) (tensor.Effects, bool) {
	e, ok := strategies[s]
	if scaleMomentum && e[GroupExpAvg] == tensor.FromSource {
		e = maps.Clone(e)
		e[GroupExpAvg] = tensor.Scaled
	}
	return e, ok
}

// MomentumScale is the factor of a mean that goes on under another learning rate:
// with it the step lr*m is continuous.
func MomentumScale(source, member *Hyperparameters) float32 {
	return float32(float64(source[LearningRate]) / float64(member[LearningRate]))
}

// SquaresOfMean says how the strategy momentum makes the second moment v of the
// mean m, both of the source, after step updates: v = (m/(1-b1^step))^2
// (1-b2^step), so that with the member's betas the bias-corrected mean divided by
// the root of the bias-corrected second moment is 1 in size, the most that Adam's
// steps usually have. A copied mean over a zero second moment would throw the
// weights far off. Without a step done both are zero.
func SquaresOfMean(step int64, member *Hyperparameters) tensor.Squares {
	s := tensor.Squares{Group: GroupExpAvg}
	if step > 0 {
		s.Root = float32(1 / (1 - power(float64(member[AdamBeta1]), step)))
		s.Gain = float32(1 - power(float64(member[AdamBeta2]), step))
	}
	return s
}

// power is b^n by squaring: products alone, which every device rounds alike.
func power(b float64, n int64) float64 {
	result := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			result *= b
		}
		b *= b
	}
	return result
}

// Strategies lists the strategies in alphabetical order.
func Strategies() []Strategy { return slices.Sorted(maps.Keys(strategies)) }
