package train

import (
	"fmt"

	"brood/kernels"
	"brood/pbt"
)

// maxBytes bounds the memory of a population. It is far beyond any machine that a
// run is meant for, and keeps every size within an int.
const maxBytes = 1 << 40

// validateSize rejects a population that cannot be allocated, before anything is:
// each number of the configuration can be valid and their product beyond any
// memory.
func (c *Config) validateSize(v *validation, engine *kernels.Config) {
	if c.PBT.PopulationSize < 1 || c.PBT.PopulationSize > pbt.MaxPopulation {
		return // which is reported
	}
	layout, err := kernels.NewLayout(engine)
	if err != nil {
		v.problem("policy.hidden", err.Error())
		return
	}
	members := float64(c.PBT.PopulationSize)
	state := members * float64(layout.Stride())
	// Of a row at least observation, action, reward and value, in single precision.
	rollouts := members * float64(engine.Rows()) * float64(4*(engine.Env.Spec().ObsDim+3))
	if state+rollouts > maxBytes {
		const gib = 1 << 30
		v.problem("pbt.population_size", fmt.Sprintf(
			"%d members take %.3g GiB of state (policy.hidden, env.count) and %.3g GiB of rollouts (ppo.steps, env.count); must be at most %d GiB together",
			c.PBT.PopulationSize, state/gib, rollouts/gib, maxBytes/gib))
	}
}
