package train

import (
	"math"
	"strconv"

	"brood/kernels"
)

// metric is a figure of one member and update that goes to metrics.jsonl under
// a stable name.
type metric struct {
	name string
	// bits is the precision the figure is kept in: 32 or 64.
	bits  int
	value func(s *kernels.Stats) float64
}

// metricsOf lists what a line holds after update, env_steps, member and
// train_return. docs/reference.md defines each.
var metricsOf = []metric{
	{"episodes", 64, func(s *kernels.Stats) float64 { return float64(s.Episodes) }},
	{"episode_return_mean", 64, func(s *kernels.Stats) float64 { return s.ReturnMean }},
	{"episode_return_min", 64, func(s *kernels.Stats) float64 { return s.ReturnMin }},
	{"episode_return_max", 64, func(s *kernels.Stats) float64 { return s.ReturnMax }},
	{"episode_length_mean", 64, func(s *kernels.Stats) float64 { return s.LengthMean }},
	{"policy_loss", 32, func(s *kernels.Stats) float64 { return applied(s, s.PolicyLoss) }},
	{"value_loss", 32, func(s *kernels.Stats) float64 { return applied(s, s.ValueLoss) }},
	{"entropy", 32, func(s *kernels.Stats) float64 { return applied(s, s.Entropy) }},
	{"approx_kl", 32, func(s *kernels.Stats) float64 { return applied(s, s.KL) }},
	{"clip_fraction", 32, func(s *kernels.Stats) float64 { return applied(s, s.ClipFraction) }},
	{"grad_norm", 32, func(s *kernels.Stats) float64 { return applied(s, s.GradNorm) }},
	{"vgs_scale", 32, func(s *kernels.Stats) float64 { return applied(s, s.VGSScale) }},
	{"explained_variance", 32, func(s *kernels.Stats) float64 { return float64(s.ExplainedVariance) }},
	{"minibatches", 64, func(s *kernels.Stats) float64 { return float64(s.Minibatches) }},
	{"kl_beta", 32, func(s *kernels.Stats) float64 { return float64(s.KLBeta) }},
	{"learning_rate", 32, func(s *kernels.Stats) float64 { return float64(s.LearningRate) }},
}

// applied is a minibatch average, or NaN where no minibatch was applied.
func applied(s *kernels.Stats, x float32) float64 {
	if !s.Applied {
		return math.NaN()
	}
	return float64(x)
}

// appendMetrics appends the line of one member and update. It writes JSON by
// hand into memory that is reused: at small rollouts an encoder would cost more
// than a percent of the training.
func appendMetrics(b []byte, update, envSteps int64, member int, s *kernels.Stats,
	evolved []evolved, h *kernels.Hyperparameters) []byte {
	b = append(b, `{"update":`...)
	b = strconv.AppendInt(b, update, 10)
	b = append(b, `,"env_steps":`...)
	b = strconv.AppendInt(b, envSteps, 10)
	b = append(b, `,"member":`...)
	b = strconv.AppendInt(b, int64(member), 10)
	b = appendNumber(b, "train_return", s.Score, 64)
	for i := range metricsOf {
		m := &metricsOf[i]
		b = appendNumber(b, m.name, m.value(s), m.bits)
	}
	for _, e := range evolved {
		if e.Hyperparameter != kernels.LearningRate { // which is there, after the schedule
			b = appendNumber(b, e.name, float64(h[e.Hyperparameter]), 32)
		}
	}
	return append(b, '}', '\n')
}

// appendNumber appends ,"name":x with the fewest digits that read back the same,
// or null for what JSON cannot hold.
func appendNumber(b []byte, name string, x float64, bits int) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, x, 'g', -1, bits)
}

// MetricNames lists the names in a line of metrics.jsonl, in order; those of the
// hyperparameters that a run evolves come after them.
func MetricNames() []string {
	names := []string{"update", "env_steps", "member", "train_return"}
	for i := range metricsOf {
		names = append(names, metricsOf[i].name)
	}
	return names
}
