package lineage

import (
	"fmt"

	"brood/pbt"
	"brood/train"
)

// Schedule is the values of the hyperparameters that a member's present weights were
// trained with, as run.schedule takes them: all of them at update 0, then what
// changed. It returns ErrMember, wrapped.
func (t *Tree) Schedule(member int) ([]train.ScheduledValue, error) {
	steps, err := t.AncestryHistory(member)
	if err != nil {
		return nil, err
	}
	var schedule []train.ScheduledValue
	for i, s := range steps {
		for _, name := range t.Names {
			if value := s.Hyperparameters[name]; i == 0 || value != steps[i-1].Hyperparameters[name] {
				schedule = append(schedule, train.ScheduledValue{Update: s.Update, Name: name, Value: value})
			}
		}
	}
	return schedule, nil
}

// Replay returns the configuration of a run of one agent with the hyperparameters
// that a member's ancestry went through, over steps environment steps; 0: as many
// updates as the run of the family. cfg is the configuration of that run, whose
// seed, device and other settings may have been changed. It returns ErrMember,
// wrapped.
func (t *Tree) Replay(cfg train.Config, member int, steps int64) (train.Config, error) {
	if steps < 0 {
		return cfg, fmt.Errorf("lineage: %d steps; valid: from 1, or 0 for as many updates as the run has", steps)
	}
	schedule, err := t.Schedule(member)
	if err != nil {
		return cfg, err
	}
	cfg.PBT.Enabled, cfg.PBT.PopulationSize, cfg.Run.Earlier = false, 1, nil
	// What is scheduled is not drawn.
	cfg.PBT.Hyperparameters = []pbt.Hyperparameter{}
	cfg.Run.TotalSteps = steps
	if steps == 0 {
		cfg.Run.TotalSteps = t.Updates * cfg.StepsPerUpdate()
	}
	cfg.Run.Schedule = nil
	for _, s := range schedule {
		// What is set after the last update would never be used.
		if s.Update < cfg.TotalUpdates() {
			cfg.Run.Schedule = append(cfg.Run.Schedule, s)
		}
	}
	return cfg, nil
}
