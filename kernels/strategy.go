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
)

// strategies is the one table of what each strategy does to each tensor group
// of the optimizer section.
var strategies = map[Strategy]tensor.Effects{
	StrategyReset: {"exp_avg": tensor.Zero, "exp_avg_sq": tensor.Zero, "step": tensor.Zero},
	StrategyCopy:  {"exp_avg": tensor.FromSource, "exp_avg_sq": tensor.FromSource, "step": tensor.FromSource},
}

// Effects returns what the strategy does to each tensor group of the optimizer
// section, or false for an unknown strategy.
func (s Strategy) Effects() (tensor.Effects, bool) {
	e, ok := strategies[s]
	return e, ok
}

// Strategies lists the strategies in alphabetical order.
func Strategies() []Strategy { return slices.Sorted(maps.Keys(strategies)) }
