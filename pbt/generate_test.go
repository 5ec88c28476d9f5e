package pbt

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/rng"
)

// drawConfig draws a valid config of any kind, without burn-in.
func drawConfig(t *rapid.T) Config {
	c := DefaultConfig()
	c.PopulationSize = rapid.IntRange(1, 24).Draw(t, "population_size")
	c.PerturbationInterval = rapid.Int64Range(1, 10).Draw(t, "perturbation_interval")
	c.ExploitMethod = rapid.SampledFrom([]ExploitMethod{Truncation, BinaryTournament, TTest}).Draw(t, "exploit_method")
	c.ExploreMethod = rapid.SampledFrom([]ExploreMethod{Perturb, Resample, Both, PB2}).Draw(t, "explore_method")
	c.MetricMode = rapid.SampledFrom([]MetricMode{Max, Min}).Draw(t, "metric_mode")
	c.OptimizerExploitStrategy = rapid.SampledFrom([]Strategy{ResetOptimizer, CopyOptimizer, MomentumOptimizer, VelocityOptimizer,
		AdaptiveOptimizer, StaleOptimizer}).Draw(t, "strategy")
	c.OptimizerAdaptiveFactor = rapid.Float64Range(1.05, 3).Draw(t, "adaptive factor")
	c.AllowStaleOptimizer = c.OptimizerExploitStrategy == StaleOptimizer
	c.OptimizerLRScaling = rapid.Bool().Draw(t, "optimizer_lr_scaling")
	c.TruncationRatio = rapid.Float64Range(0.01, 0.5).Draw(t, "truncation_ratio")
	c.ReadyPercentage = rapid.Float64Range(0.01, 1).Draw(t, "ready_percentage")
	c.Hyperparameters = nil
	for i := range rapid.IntRange(0, 4).Draw(t, "hyperparameters") {
		c.Hyperparameters = append(c.Hyperparameters, drawHyperparameter(t, fmt.Sprintf("h%d", i)))
	}
	if err := c.Validate(); err != nil {
		t.Fatalf("the generator made an invalid config: %v", err)
	}
	return c
}

func drawHyperparameter(t *rapid.T, name string) Hyperparameter {
	var h Hyperparameter
	switch rapid.SampledFrom([]string{"linear", "log", "values"}).Draw(t, name) {
	case "linear":
		low := rapid.Float64Range(-10, 10).Draw(t, "low")
		h = Range(name, low, low+rapid.Float64Range(0.1, 10).Draw(t, "width"))
	case "log":
		low := rapid.Float64Range(1e-6, 1).Draw(t, "low")
		h = LogRange(name, low, low*rapid.Float64Range(1.1, 1e4).Draw(t, "ratio"))
	case "values":
		h = Choice(name, rapid.SliceOfNDistinct(rapid.Float64Range(-5, 5), 2, 6, rapid.ID[float64]).Draw(t, "values")...)
	}
	if h.Values == nil && rapid.Bool().Draw(t, "own factor") {
		h.PerturbationFactor = rapid.Float64Range(1.01, 4).Draw(t, "factor")
	}
	if rapid.Bool().Draw(t, "own probability") {
		p := rapid.Float64Range(0, 1).Draw(t, "probability")
		h.ResampleProbability = &p
	}
	return h
}

// drawScore favours ties and scores that are none.
func drawScore(t *rapid.T) float64 {
	switch rapid.IntRange(0, 9).Draw(t, "kind of score") {
	case 0:
		return rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "no score")
	case 1, 2, 3:
		return float64(rapid.IntRange(-2, 2).Draw(t, "tied score"))
	default:
		return rapid.Float64Range(-1e6, 1e6).Draw(t, "score")
	}
}

// drawReturns draws returns around a score, often with a small spread.
func drawReturns(t *rapid.T, score float64) []float64 {
	if !finite(score) {
		return nil
	}
	returns := make([]float64, rapid.IntRange(0, 6).Draw(t, "returns"))
	for i := range returns {
		returns[i] = score + float64(rapid.IntRange(-2, 2).Draw(t, "spread"))
	}
	return returns
}

// drawPopulation draws a population all of whose members are due.
func drawPopulation(t *rapid.T, c *Config) []Member {
	population := make([]Member, c.PopulationSize)
	r := rng.NewKey(rapid.Uint64().Draw(t, "population")).Stream(0, rng.Address{Purpose: rng.User})
	for id := range population {
		values := make(map[string]float64)
		for i := range c.Hyperparameters {
			values[c.Hyperparameters[i].Name] = c.Hyperparameters[i].sample(&r)
		}
		population[id] = Member{
			ID: id, Hyperparameters: values, Performance: drawScore(t), Scored: true,
			Step: rapid.Int64Range(c.PerturbationInterval, 1000).Draw(t, "step"),
		}
		if c.ExploitMethod == TTest {
			population[id].Returns = drawReturns(t, population[id].Performance)
		}
	}
	return population
}

// scenario is one drawn argument list of Decide.
type scenario struct {
	config     Config
	population []Member
	interval   int
	key        rng.Key
}

func drawScenario(t *rapid.T) scenario {
	c := drawConfig(t)
	return scenario{
		config: c, population: drawPopulation(t, &c),
		interval: rapid.IntRange(0, 1<<20).Draw(t, "interval"),
		key:      rng.NewKey(rapid.Uint64().Draw(t, "seed")),
	}
}

func (s *scenario) decide() []Decision { return Decide(s.config, s.population, s.interval, s.key) }

// property checks f on random scenarios; rapid prints the seed of a failure.
func property(t *testing.T, name string, f func(t *rapid.T, s scenario)) {
	t.Run(name, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) { f(t, drawScenario(t)) })
	})
}

// scored makes a population with these scores and one hyperparameter, x, whose
// value is the member's ID plus 1.
func scored(scores ...float64) []Member {
	members := make([]Member, len(scores))
	for id, s := range scores {
		members[id] = Member{ID: id, Hyperparameters: map[string]float64{"x": float64(id + 1)}, Performance: s, Scored: true, Step: 1}
	}
	return members
}

// configX evolves x in [0.01, 1000] after every update.
func configX(population int) Config {
	c := DefaultConfig()
	c.PopulationSize, c.PerturbationInterval = population, 1
	c.Hyperparameters = []Hyperparameter{LogRange("x", 0.01, 1000)}
	return c
}

// sameScore is equality under which NaN equals NaN, and, as in JSON, every score
// that is not finite equals every other.
func sameScore(a, b float64) bool { return a == b || !finite(a) && !finite(b) }

// requireSameDecisions compares decisions, scores by sameScore.
func requireSameDecisions(t require.TestingT, want, got []Decision) {
	require.Equal(t, canonicalDecisions(want), canonicalDecisions(got))
}

func canonicalDecisions(decisions []Decision) []Decision {
	c := append([]Decision{}, decisions...) // none, whether nil or empty
	for i := range c {
		c[i].MemberScore = canonical(c[i].MemberScore)
		c[i].SourceScore = canonical(c[i].SourceScore)
	}
	return c
}

func requireSameMembers(t require.TestingT, want, got []Member) {
	require.Equal(t, canonicalMembers(want), canonicalMembers(got))
}

func requireSameStates(t require.TestingT, want, got State) {
	want.Members, got.Members = canonicalMembers(want.Members), canonicalMembers(got.Members)
	// A list without elements may be nil or not, before a format and after.
	want.Observations, got.Observations = append([]Observation{}, want.Observations...), append([]Observation{}, got.Observations...)
	require.Equal(t, want, got)
}

func canonicalMembers(members []Member) []Member {
	c := slices.Clone(members)
	for i := range c {
		c[i].Performance = canonical(c[i].Performance)
		c[i].Hyperparameters = maps.Clone(c[i].Hyperparameters)
	}
	return c
}

// canonical replaces what is not finite by a number no test uses as a score,
// for comparisons in which NaN must equal NaN.
func canonical(score float64) float64 {
	if !finite(score) {
		return -math.MaxFloat64
	}
	return score
}

func nan() float64 { return math.NaN() }
