package train

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"brood/pbt"
)

// EarlierPart is a part of a run in which the population had another size than after
// it. With these parts the configuration alone says how many steps were done at any
// update, and how many updates there will be.
type EarlierPart struct {
	// Updates done in the whole run when the part ended.
	Updates int64 `yaml:"updates"`
	// PopulationSize is P in the part.
	PopulationSize int `yaml:"population_size"`
}

// StepsPerUpdate is the number of environment steps of the whole population in
// one update: P*T*N.
func (c Config) StepsPerUpdate() int64 { return c.stepsPerUpdate(c.PBT.PopulationSize) }

func (c Config) stepsPerUpdate(population int) int64 {
	return int64(population) * int64(c.PPO.Steps) * c.Env.Count
}

// EnvSteps is the number of environment steps that the whole population, however
// large it was, has done after so many updates of the run.
func (c Config) EnvSteps(updates int64) int64 {
	steps, from := int64(0), int64(0)
	for _, part := range c.Run.Earlier {
		to := max(from, min(part.Updates, updates))
		steps += (to - from) * c.stepsPerUpdate(part.PopulationSize)
		from = to
	}
	return steps + max(updates-from, 0)*c.StepsPerUpdate()
}

// TotalUpdates is the length of the run in updates: the fewest after which
// run.total_steps are done.
func (c Config) TotalUpdates() int64 {
	left, done := c.Run.TotalSteps, int64(0)
	if left < 1 || c.StepsPerUpdate() < 1 {
		return 0
	}
	for _, part := range c.Run.Earlier {
		per := c.stepsPerUpdate(part.PopulationSize)
		if per < 1 || part.Updates <= done {
			return 0 // validateEarlier says what is wrong
		}
		need := (left-1)/per + 1
		if need <= part.Updates-done {
			return done + need
		}
		left -= (part.Updates - done) * per
		done = part.Updates
	}
	return done + (left-1)/c.StepsPerUpdate() + 1
}

// populationAt is P in an update of the run, counted from 1.
func (c Config) populationAt(update int64) int {
	for _, part := range c.Run.Earlier {
		if update <= part.Updates {
			return part.PopulationSize
		}
	}
	return c.PBT.PopulationSize
}

// earlierParts are those of a run that was trained by c so far and goes on after so
// many updates with a population of p.
func (c Config) earlierParts(updates int64, p int) []EarlierPart {
	parts := slices.Clone(c.Run.Earlier)
	if p != c.PBT.PopulationSize {
		parts = append(parts, EarlierPart{Updates: updates, PopulationSize: c.PBT.PopulationSize})
	}
	return parts
}

// validateEarlier checks that the parts follow one another.
func (c Config) validateEarlier(v *validation) {
	before := int64(0)
	for i, part := range c.Run.Earlier {
		key := fmt.Sprintf("run.earlier.%d", i)
		if part.Updates <= before || part.Updates > math.MaxInt32 {
			v.field(key+".updates", part.Updates, fmt.Sprintf("must be a number of updates from %d to %d", before+1, math.MaxInt32))
		}
		before = max(before, part.Updates)
		if part.PopulationSize < 1 || part.PopulationSize > pbt.MaxPopulation {
			v.field(key+".population_size", part.PopulationSize, fmt.Sprintf("must be 1 to %d", pbt.MaxPopulation))
		}
	}
}

// refuseEarlier refuses a setting of what is a record of the past.
func (c Config) refuseEarlier() error {
	v := &validation{places: c.places, seen: map[string]bool{}}
	for key, at := range c.places {
		if at.line == 0 && (key == "run.earlier" || strings.HasPrefix(key, "run.earlier.")) {
			v.problem("run.earlier", "cannot be set: it is the record of the population's earlier sizes, which resuming writes; the present size is pbt.population_size")
		}
	}
	return configError(v.mistakes)
}
