// Package pbt is population based training (Jaderberg et al. 2017,
// arXiv:1711.09846): who copies whom, and how the hyperparameters that were
// copied are explored.
//
// It maps scores, hyperparameters and counter-based random numbers to a list of
// [Decision] values and knows no networks, tensors, files or devices. The learner
// carries decisions out. [Scheduler] keeps a population's records; [Decide] is
// the pure function beneath it. Everything is a function of the seed, the interval and
// the member, so that a run can be replayed and resumed.
package pbt

import (
	"bytes"
	"encoding/json"
	"math"
)

// ExploitMethod is the rule by which members choose whom to copy.
type ExploitMethod string

// The exploit methods.
const (
	// Truncation lets each of the worst members copy one of as many best.
	Truncation ExploitMethod = "truncation"
	// BinaryTournament lets each member draw another and copy it if it is better.
	BinaryTournament ExploitMethod = "binary_tournament"
	// TTest is BinaryTournament that copies only what is significantly better: by
	// Welch's t-test over the last episodes of both (Jaderberg et al. 2017).
	TTest ExploitMethod = "t_test"
)

// ExploreMethod is how copied hyperparameters are changed.
type ExploreMethod string

// The explore methods.
const (
	// Perturb multiplies or divides by the factor, or takes a step along values.
	Perturb ExploreMethod = "perturb"
	// Resample draws anew from the range or the values.
	Resample ExploreMethod = "resample"
	// Both resamples with the hyperparameter's probability, else perturbs.
	Both ExploreMethod = "both"
	// PB2 takes what a Gaussian process bandit over the population's improvements
	// suggests (Parker-Holder et al. 2020, arXiv:2002.02518); see package bandit. It
	// resamples until there is enough to suggest from. It is for ranges: hyperparameters
	// with a list of values are perturbed.
	PB2 ExploreMethod = "pb2"
)

// MetricMode says which scores are better.
type MetricMode string

// The metric modes.
const (
	Max MetricMode = "max"
	Min MetricMode = "min"
)

// MetricName is what a score measures. The scheduler takes scores as they are
// reported; the name is for whoever measures them.
type MetricName string

// The metrics.
const (
	// TrainReturn is the mean return of the training episodes finished lately.
	TrainReturn MetricName = "train_return"
	// EvalReturn is the mean return of EvalEpisodes deterministic episodes.
	EvalReturn MetricName = "eval_return"
)

// Defaults of a [Hyperparameter].
const (
	DefaultPerturbationFactor  = 1.2
	DefaultResampleProbability = 0.25
)

// MaxPopulation is the largest population: the random numbers' address has 16
// bits for the member.
const MaxPopulation = 1 << 16

// Hyperparameter is one evolved value: a range, from Min to Max, or a list of
// Values.
type Hyperparameter struct {
	Name string `yaml:"name" json:"name"`
	// Min and Max bound a range, both included; both are needed, Min < Max.
	Min *float64 `yaml:"min,omitempty" json:"min,omitempty"`
	Max *float64 `yaml:"max,omitempty" json:"max,omitempty"`
	// Values are the only values allowed, at least two, in the order in which
	// perturb steps through them. Instead of Min and Max.
	Values []float64 `yaml:"values,omitempty" json:"values,omitempty"`
	// LogScale draws log-uniformly from the range; Min must be above 0.
	LogScale bool `yaml:"log_scale,omitempty" json:"log_scale,omitempty"`
	// PerturbationFactor multiplies or divides the value; above 1; 0 means
	// [DefaultPerturbationFactor]. Of a range only.
	PerturbationFactor float64 `yaml:"perturbation_factor,omitempty" json:"perturbation_factor,omitempty"`
	// ResampleProbability is the share of explores that resample where the
	// explore method is both, in [0, 1]; nil means [DefaultResampleProbability].
	ResampleProbability *float64 `yaml:"resample_probability,omitempty" json:"resample_probability,omitempty"`
}

// UnmarshalJSON replaces the whole value and refuses unknown keys. Without it,
// encoding/json would decode the elements of a list into those of the list that
// was there before, and a default's min and max would survive beside new values.
func (h *Hyperparameter) UnmarshalJSON(data []byte) error {
	type fields Hyperparameter
	var f fields
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return err
	}
	*h = Hyperparameter(f)
	return nil
}

// Range is a Hyperparameter drawn uniformly from [low, high].
func Range(name string, low, high float64) Hyperparameter {
	return Hyperparameter{Name: name, Min: &low, Max: &high}
}

// LogRange is a Hyperparameter drawn log-uniformly from [low, high], low > 0.
func LogRange(name string, low, high float64) Hyperparameter {
	h := Range(name, low, high)
	h.LogScale = true
	return h
}

// Choice is a Hyperparameter that takes one of the values.
func Choice(name string, values ...float64) Hyperparameter {
	return Hyperparameter{Name: name, Values: values}
}

func (h *Hyperparameter) factor() float64 {
	if h.PerturbationFactor == 0 {
		return DefaultPerturbationFactor
	}
	return h.PerturbationFactor
}

func (h *Hyperparameter) resampleProbability() float64 {
	if h.ResampleProbability == nil {
		return DefaultResampleProbability
	}
	return *h.ResampleProbability
}

// Config configures population based training. Start from [DefaultConfig].
type Config struct {
	// Enabled false leaves the population as it is: no member is ever due,
	// ready or decided upon. Default true.
	Enabled bool `yaml:"enabled" json:"enabled"`
	// PopulationSize is P, 1 to [MaxPopulation]; a population of 1 has nobody
	// to copy. Default 8.
	PopulationSize int `yaml:"population_size" json:"population_size"`
	// PerturbationInterval is the number of updates a member does from one
	// interval's decisions to the next, at least 1. Default 10.
	PerturbationInterval int64 `yaml:"perturbation_interval" json:"perturbation_interval"`
	// Hyperparameters are evolved; with none, an exploit copies and explores
	// nothing. Default: learning_rate, 1e-5 to 1e-2, log scale.
	Hyperparameters []Hyperparameter `yaml:"hyperparameters" json:"hyperparameters"`
	// ExploitMethod chooses whom to copy. Default truncation.
	ExploitMethod ExploitMethod `yaml:"exploit_method" json:"exploit_method"`
	// ExploreMethod changes what was copied. Default perturb.
	ExploreMethod ExploreMethod `yaml:"explore_method" json:"explore_method"`
	// TruncationRatio is the share of the population that counts as worst, and
	// as best, in (0, 0.5]. Default 0.2.
	TruncationRatio float64 `yaml:"truncation_ratio" json:"truncation_ratio"`
	// MetricMode says whether large or small scores are better. Default max.
	MetricMode MetricMode `yaml:"metric_mode" json:"metric_mode"`
	// MetricName is what the scores measure. Default train_return.
	MetricName MetricName `yaml:"metric_name" json:"metric_name"`
	// EvalEpisodes are played for a score of eval_return, at least 1. Default 16.
	EvalEpisodes int `yaml:"eval_episodes" json:"eval_episodes"`
	// ReadyPercentage is the fraction of the members that must be due before
	// decisions are taken, in (0, 1]. Default 0.8.
	ReadyPercentage float64 `yaml:"ready_percentage" json:"ready_percentage"`
	// BurnIn is the number of updates a member does before it may copy another,
	// at least 0. Default 0.
	BurnIn int64 `yaml:"burn_in" json:"burn_in"`
	// OptimizerExploitStrategy is what an exploit does to the optimizer's
	// state. Default reset.
	OptimizerExploitStrategy Strategy `yaml:"optimizer_exploit_strategy" json:"optimizer_exploit_strategy"`
	// OptimizerAdaptiveFactor is f, above 1, of the strategy adaptive: copy where
	// every hyperparameter explored is the source's times something in [1/f, f],
	// else reset. Default 1.5.
	OptimizerAdaptiveFactor float64 `yaml:"optimizer_adaptive_factor" json:"optimizer_adaptive_factor"`
	// OptimizerLRScaling scales a mean of the gradients that comes from the source
	// by the source's learning rate over the member's, so that the steps it leads to
	// go on at their size. Default false.
	OptimizerLRScaling bool `yaml:"optimizer_lr_scaling" json:"optimizer_lr_scaling"`
	// AllowStaleOptimizer must be true for the strategy stale. Default false.
	AllowStaleOptimizer bool `yaml:"allow_stale_optimizer" json:"allow_stale_optimizer"`
	// ExploitReevaluate lets a decision stand only where the source is better by
	// fresh scores too; see [Scheduler.SetReevaluate]. Default false.
	ExploitReevaluate bool `yaml:"exploit_reevaluate" json:"exploit_reevaluate"`
	// TelemetryEpisodes are played by a learner that follows what becomes of its
	// exploits, at least 0; 0 means none. The scheduler plays none. Default 16.
	TelemetryEpisodes int `yaml:"telemetry_episodes" json:"telemetry_episodes"`
}

// DefaultConfig returns the defaults; it is valid.
func DefaultConfig() Config {
	return Config{
		Enabled:                  true,
		PopulationSize:           8,
		PerturbationInterval:     10,
		Hyperparameters:          []Hyperparameter{LogRange("learning_rate", 1e-5, 1e-2)},
		ExploitMethod:            Truncation,
		ExploreMethod:            Perturb,
		TruncationRatio:          0.2,
		MetricMode:               Max,
		MetricName:               TrainReturn,
		EvalEpisodes:             16,
		ReadyPercentage:          0.8,
		OptimizerExploitStrategy: ResetOptimizer,
		OptimizerAdaptiveFactor:  1.5,
		TelemetryEpisodes:        16,
	}
}

// Due reports whether an interval ends after that many updates: a positive
// multiple of PerturbationInterval, not before BurnIn. It is for learners that
// train all members in step; others ask [Scheduler.Ready].
func (c *Config) Due(updates int64) bool {
	return c.Enabled && updates > 0 && updates >= c.BurnIn && updates%c.PerturbationInterval == 0
}

// rounding keeps shares of the population from losing a member to binary
// fractions: 0.29 * 100 is 28.999999999999996.
const rounding = 1e-9

// Truncated is the number of worst members, and of best, under truncation in a
// population of p: floor(ratio p), but at least 1 for p >= 2.
func (c *Config) Truncated(p int) int {
	if p < 2 {
		return 0
	}
	return max(1, int(math.Floor(c.TruncationRatio*float64(p)+rounding)))
}

// Required is the number of members that must be due before decisions are taken
// in a population of p: ceil(ReadyPercentage p).
func (c *Config) Required(p int) int {
	return int(math.Ceil(c.ReadyPercentage*float64(p) - rounding))
}
