package pbt

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

// fieldErrorsOf unwraps what Validate joined.
func fieldErrorsOf(t *testing.T, err error) []*FieldError {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "not joined: %v", err)
	var fields []*FieldError
	for _, e := range joined.Unwrap() {
		var f *FieldError
		require.ErrorAs(t, e, &f)
		fields = append(fields, f)
	}
	return fields
}

func TestDefaultConfig(t *testing.T) {
	c := DefaultConfig()
	require.NoError(t, c.Validate())
	require.True(t, c.Enabled)
	require.Equal(t, ResetOptimizer, c.OptimizerExploitStrategy)
	h := Range("x", 0, 1)
	require.Equal(t, 1.2, h.factor())
	require.Equal(t, 0.25, h.resampleProbability())
	zero := 0.0
	h.ResampleProbability = &zero
	require.Equal(t, 0.0, h.resampleProbability(), "a probability of 0 is not the default")
}

func TestValidateNamesTheWrongField(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	one := func(h Hyperparameter) func(*Config) {
		return func(c *Config) { c.Hyperparameters = []Hyperparameter{h} }
	}
	with := func(h Hyperparameter, change func(*Hyperparameter)) func(*Config) {
		change(&h)
		return one(h)
	}
	x := Range("x", 1, 2)
	tests := []struct {
		name   string
		change func(*Config)
		path   string
		value  any
		valid  string // part of Valid
	}{
		{"population 0", func(c *Config) { c.PopulationSize = 0 }, "population_size", 0, "1 to 65536"},
		{"population too large", func(c *Config) { c.PopulationSize = 65537 }, "population_size", 65537, "1 to 65536"},
		{"interval 0", func(c *Config) { c.PerturbationInterval = 0 }, "perturbation_interval", int64(0), "at least 1"},
		{"exploit method", func(c *Config) { c.ExploitMethod = "best" }, "exploit_method", "best", "truncation or binary_tournament or t_test"},
		{"exploit method empty", func(c *Config) { c.ExploitMethod = "" }, "exploit_method", "", "truncation or binary_tournament or t_test"},
		{"explore method", func(c *Config) { c.ExploreMethod = "mutate" }, "explore_method", "mutate", "perturb or resample or both or pb2"},
		{"ratio 0", func(c *Config) { c.TruncationRatio = 0 }, "truncation_ratio", 0.0, "at most 0.5"},
		{"ratio above a half", func(c *Config) { c.TruncationRatio = 0.51 }, "truncation_ratio", 0.51, "at most 0.5"},
		{"ratio NaN", func(c *Config) { c.TruncationRatio = nan }, "truncation_ratio", nan, "at most 0.5"},
		{"metric mode", func(c *Config) { c.MetricMode = "maximum" }, "metric_mode", "maximum", "max or min"},
		{"metric name", func(c *Config) { c.MetricName = "loss" }, "metric_name", "loss", "train_return or eval_return"},
		{"eval episodes", func(c *Config) { c.EvalEpisodes = 0 }, "eval_episodes", 0, "at least 1"},
		{"ready 0", func(c *Config) { c.ReadyPercentage = 0 }, "ready_percentage", 0.0, "above 0, at most 1"},
		{"ready is a fraction", func(c *Config) { c.ReadyPercentage = 80 }, "ready_percentage", 80.0, "above 0, at most 1"},
		{"ready NaN", func(c *Config) { c.ReadyPercentage = nan }, "ready_percentage", nan, "above 0, at most 1"},
		{"burn-in", func(c *Config) { c.BurnIn = -1 }, "burn_in", int64(-1), "at least 0"},
		{"strategy", func(c *Config) { c.OptimizerExploitStrategy = "keep" }, "optimizer_exploit_strategy", "keep", "reset or copy or momentum or velocity or adaptive"},
		{"strategy empty", func(c *Config) { c.OptimizerExploitStrategy = "" }, "optimizer_exploit_strategy", "", "reset or copy or momentum or velocity or adaptive"},
		{"stale is not allowed", func(c *Config) { c.OptimizerExploitStrategy = StaleOptimizer }, "optimizer_exploit_strategy", "stale",
			"weights that are gone, which is an error outside of experiments about it; those set allow_stale_optimizer: true"},
		{"adaptive factor 1", func(c *Config) { c.OptimizerAdaptiveFactor = 1 }, "optimizer_adaptive_factor", 1.0, "above 1"},
		{"adaptive factor NaN", func(c *Config) { c.OptimizerAdaptiveFactor = nan }, "optimizer_adaptive_factor", nan, "above 1"},
		{"adaptive factor infinite", func(c *Config) { c.OptimizerAdaptiveFactor = inf }, "optimizer_adaptive_factor", inf, "above 1"},
		{"telemetry episodes", func(c *Config) { c.TelemetryEpisodes = -1 }, "telemetry_episodes", -1, "at least 0"},
		{"no name", one(Range("", 1, 2)), "hyperparameters[0].name", nil, "the name"},
		{"same name", func(c *Config) { c.Hyperparameters = []Hyperparameter{x, Choice("y", 1, 2), x} }, "hyperparameters[2].name", "x", "hyperparameters[0]"},
		{"neither", one(Hyperparameter{Name: "x"}), "hyperparameters[0]", nil, "min and max"},
		{"range and values", with(x, func(h *Hyperparameter) { h.Values = []float64{1, 2} }), "hyperparameters[0].values", []float64{1, 2}, "left out"},
		{"min and values", with(Choice("x", 1, 2), func(h *Hyperparameter) { h.Min = &nan }), "hyperparameters[0].values", []float64{1, 2}, "left out"},
		{"no min", with(x, func(h *Hyperparameter) { h.Min = nil }), "hyperparameters[0].min", nil, "finite"},
		{"no max", with(x, func(h *Hyperparameter) { h.Max = nil }), "hyperparameters[0].max", nil, "finite"},
		{"min NaN", one(Range("x", nan, 2)), "hyperparameters[0].min", nan, "finite"},
		{"max infinite", one(Range("x", 1, inf)), "hyperparameters[0].max", inf, "finite"},
		{"min above max", one(Range("x", 3, 2)), "hyperparameters[0].min", 3.0, "below max, which is 2"},
		{"min equals max", one(Range("x", 2, 2)), "hyperparameters[0].min", 2.0, "below max"},
		{"log of 0", one(LogRange("x", 0, 2)), "hyperparameters[0].min", 0.0, "above 0 with log_scale"},
		{"log of less", one(LogRange("x", -1, 2)), "hyperparameters[0].min", -1.0, "above 0 with log_scale"},
		{"factor 1", with(x, func(h *Hyperparameter) { h.PerturbationFactor = 1 }), "hyperparameters[0].perturbation_factor", 1.0, "above 1"},
		{"factor negative", with(x, func(h *Hyperparameter) { h.PerturbationFactor = -2 }), "hyperparameters[0].perturbation_factor", -2.0, "above 1"},
		{"factor NaN", with(x, func(h *Hyperparameter) { h.PerturbationFactor = nan }), "hyperparameters[0].perturbation_factor", nan, "above 1"},
		{"factor infinite", with(x, func(h *Hyperparameter) { h.PerturbationFactor = inf }), "hyperparameters[0].perturbation_factor", inf, "above 1"},
		{"probability", with(x, func(h *Hyperparameter) { p := 1.5; h.ResampleProbability = &p }), "hyperparameters[0].resample_probability", 1.5, "0 to 1"},
		{"probability NaN", with(x, func(h *Hyperparameter) { h.ResampleProbability = &nan }), "hyperparameters[0].resample_probability", nan, "0 to 1"},
		{"no values", one(Hyperparameter{Name: "x", Values: []float64{}}), "hyperparameters[0].values", []float64{}, "at least two"},
		{"one value", one(Choice("x", 1)), "hyperparameters[0].values", []float64{1}, "at least two"},
		{"value NaN", one(Choice("x", 1, nan)), "hyperparameters[0].values[1]", nan, "finite"},
		{"value repeated", one(Choice("x", 1, 2, 1)), "hyperparameters[0].values[2]", 1.0, "not in the list yet"},
		{"log scale of values", with(Choice("x", 1, 2), func(h *Hyperparameter) { h.LogScale = true }), "hyperparameters[0].log_scale", true, "false with values"},
		{"factor of values", with(Choice("x", 1, 2), func(h *Hyperparameter) { h.PerturbationFactor = 2 }), "hyperparameters[0].perturbation_factor", 2.0, "left out"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := DefaultConfig()
			test.change(&c)
			fields := fieldErrorsOf(t, c.Validate())
			require.Len(t, fields, 1, "%v", fields)
			f := fields[0]
			require.Equal(t, "pbt."+test.path, f.Path)
			require.Contains(t, f.Valid, test.valid)
			if v, ok := test.value.(float64); ok && math.IsNaN(v) {
				require.True(t, math.IsNaN(f.Value.(float64)))
			} else {
				require.Equal(t, test.value, f.Value)
			}
			require.True(t, strings.HasPrefix(f.Error(), f.Path), f.Error())
			_, err := NewScheduler(c, 1)
			require.Error(t, err, "the scheduler must refuse what Validate refuses")
		})
	}
}

func TestValidateReportsEveryFieldAtOnce(t *testing.T) {
	c := DefaultConfig()
	c.PopulationSize, c.MetricMode, c.Hyperparameters[0].PerturbationFactor = -1, "up", 0.5
	var paths []string
	for _, f := range fieldErrorsOf(t, c.Validate()) {
		paths = append(paths, f.Path)
	}
	require.Equal(t, []string{"pbt.population_size", "pbt.metric_mode", "pbt.hyperparameters[0].perturbation_factor"}, paths)
	require.ErrorContains(t, c.Validate(), `pbt.metric_mode: "up" is not valid: must be max or min`)
	require.ErrorContains(t, c.Validate(), `pbt.population_size: -1 is not valid: must be 1 to 65536`)
}

func TestValidateNames(t *testing.T) {
	c := DefaultConfig()
	c.Hyperparameters = []Hyperparameter{Range("gamma", 0, 1), Range("gama", 0, 1)}
	require.NoError(t, c.ValidateNames([]string{"gama", "gamma"}))
	fields := fieldErrorsOf(t, c.ValidateNames([]string{"clip_range", "gamma"}))
	require.Equal(t, []*FieldError{{Path: "pbt.hyperparameters[1].name", Value: "gama", Valid: "must be one of clip_range, gamma"}}, fields)
}

const everyKey = `
enabled: true
population_size: 12
perturbation_interval: 5
hyperparameters:
  - {name: learning_rate, min: 1e-5, max: 1e-2, log_scale: true, perturbation_factor: 1.5, resample_probability: 0}
  - {name: gamma, values: [0.9, 0.99, 0.999]}
exploit_method: binary_tournament
explore_method: both
truncation_ratio: 0.25
metric_mode: min
metric_name: eval_return
eval_episodes: 4
ready_percentage: 0.5
burn_in: 20
optimizer_exploit_strategy: stale
optimizer_adaptive_factor: 2
optimizer_lr_scaling: true
allow_stale_optimizer: true
exploit_reevaluate: true
telemetry_episodes: 3
`

func TestConfigYAML(t *testing.T) {
	var c Config
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(everyKey), &c, yaml.Strict()))
	require.NoError(t, c.Validate())
	lr := LogRange("learning_rate", 1e-5, 1e-2)
	lr.PerturbationFactor, lr.ResampleProbability = 1.5, new(float64)
	require.Equal(t, Config{
		Enabled: true, PopulationSize: 12, PerturbationInterval: 5,
		Hyperparameters: []Hyperparameter{lr, Choice("gamma", 0.9, 0.99, 0.999)},
		ExploitMethod:   BinaryTournament, ExploreMethod: Both, TruncationRatio: 0.25,
		MetricMode: Min, MetricName: EvalReturn, EvalEpisodes: 4, ReadyPercentage: 0.5, BurnIn: 20,
		OptimizerExploitStrategy: StaleOptimizer, OptimizerAdaptiveFactor: 2, OptimizerLRScaling: true,
		AllowStaleOptimizer: true, ExploitReevaluate: true, TelemetryEpisodes: 3,
	}, c)

	text, err := yaml.Marshal(c)
	require.NoError(t, err)
	var again Config
	require.NoError(t, yaml.UnmarshalWithOptions(text, &again, yaml.Strict()))
	require.Equal(t, c, again)
	require.Error(t, yaml.UnmarshalWithOptions([]byte("populaton_size: 3"), &again, yaml.Strict()))
}

func TestConfigJSON(t *testing.T) {
	var fromYAML Config
	require.NoError(t, yaml.Unmarshal([]byte(everyKey), &fromYAML))
	text, err := json.Marshal(fromYAML)
	require.NoError(t, err)
	var c Config
	require.NoError(t, json.Unmarshal(text, &c))
	require.Equal(t, fromYAML, c)
}

// A list read over the defaults must replace them whole: no min of the default's
// learning_rate beside the new hyperparameter's values.
func TestHyperparametersReplaceTheDefaults(t *testing.T) {
	want := []Hyperparameter{Choice("gamma", 0.9, 0.99)}
	c := DefaultConfig()
	require.NoError(t, json.Unmarshal([]byte(`{"hyperparameters": [{"name": "gamma", "values": [0.9, 0.99]}]}`), &c))
	require.Equal(t, want, c.Hyperparameters)
	c = DefaultConfig()
	require.NoError(t, yaml.Unmarshal([]byte(`hyperparameters: [{name: gamma, values: [0.9, 0.99]}]`), &c))
	require.Equal(t, want, c.Hyperparameters)
	require.Error(t, json.Unmarshal([]byte(`{"hyperparameters": [{"name": "gamma", "mim": 1}]}`), &c))
}

func TestTruncated(t *testing.T) {
	for _, test := range []struct {
		ratio   float64
		p, want int
	}{
		{0.2, 1, 0}, {0.2, 2, 1}, {0.2, 4, 1}, {0.2, 5, 1}, {0.2, 9, 1}, {0.2, 10, 2}, {0.25, 8, 2},
		{0.5, 2, 1}, {0.5, 3, 1}, {0.5, 7, 3}, {0.5, 8, 4}, {0.01, 8, 1}, {0.29, 100, 29}, {0.07, 100, 7},
	} {
		c := DefaultConfig()
		c.TruncationRatio = test.ratio
		require.Equal(t, test.want, c.Truncated(test.p), "ratio %v of %d", test.ratio, test.p)
	}
}

func TestRequired(t *testing.T) {
	for _, test := range []struct {
		share   float64
		p, want int
	}{{0.8, 8, 7}, {0.8, 5, 4}, {0.8, 10, 8}, {1, 8, 8}, {0.01, 8, 1}, {0.5, 3, 2}, {0.07, 100, 7}} {
		c := DefaultConfig()
		c.ReadyPercentage = test.share
		require.Equal(t, test.want, c.Required(test.p), "share %v of %d", test.share, test.p)
	}
}

func TestDue(t *testing.T) {
	c := DefaultConfig()
	c.PerturbationInterval, c.BurnIn = 5, 11
	var due []int64
	for u := int64(-5); u <= 25; u++ {
		if c.Due(u) {
			due = append(due, u)
		}
	}
	require.Equal(t, []int64{15, 20, 25}, due)
	c.BurnIn = 0
	require.False(t, c.Due(0), "nothing was learnt yet")
	c.Enabled = false
	require.False(t, c.Due(15))
}

// Anyone may take this package without the engines.
func TestImportsNoEngine(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	checked := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range f.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			standard := !strings.Contains(path, ".") && !strings.HasPrefix(path, "brood/")
			own := []string{"brood/rng", "brood/pbt/bandit", "brood/internal/stats"}
			require.True(t, standard || slices.Contains(own, path), "%s imports %s", name, path)
		}
		checked++
	}
	require.GreaterOrEqual(t, checked, 6)
}

func TestErrorsAreTyped(t *testing.T) {
	c := DefaultConfig()
	c.EvalEpisodes = 0
	var f *FieldError
	require.True(t, errors.As(c.Validate(), &f))
	require.Equal(t, "pbt.eval_episodes", f.Path)
}
