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
	c.ExploitMethod = rapid.SampledFrom([]ExploitMethod{Truncation, BinaryTournament}).Draw(t, "exploit_method")
	c.ExploreMethod = rapid.SampledFrom([]ExploreMethod{Perturb, Resample, Both}).Draw(t, "explore_method")
	c.MetricMode = rapid.SampledFrom([]MetricMode{Max, Min}).Draw(t, "metric_mode")
	c.OptimizerExploitStrategy = rapid.SampledFrom([]Strategy{ResetOptimizer, CopyOptimizer}).Draw(t, "strategy")
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
			Step: rapid.Int64Range(0, 1000).Draw(t, "step"),
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
		members[id] = Member{ID: id, Hyperparameters: map[string]float64{"x": float64(id + 1)}, Performance: s, Scored: true}
	}
	return members
}

// configX evolves x in [0.01, 1000].
func configX(population int) Config {
	c := DefaultConfig()
	c.PopulationSize = population
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
