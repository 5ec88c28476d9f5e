package train

import (
	"encoding/json"
	"math"

	"brood/kernels"
	"brood/pbt"
)

// endInterval reports every member's score to the scheduler, carries out its
// decisions and begins the next interval.
func (r *Run) endInterval() error {
	if err := r.measure(); err != nil {
		return err
	}
	for m, score := range r.scores {
		// A member with nothing to be judged by reports nothing.
		if r.cfg.PBT.MetricName == pbt.TrainReturn {
			if _, episodes := r.engine.Score(m); episodes == 0 {
				continue
			}
		}
		if err := r.schedule.UpdatePerformance(m, score, r.updates); err != nil {
			return err
		}
	}
	if r.schedule.Ready() {
		decisions, err := r.schedule.ExploitAndExplore()
		if err != nil {
			return err
		}
		if err := r.exploit(decisions); err != nil {
			return err
		}
	}
	r.engine.ClearIntervals()
	return nil
}

// measure fills scores by the run's metric.
func (r *Run) measure() error {
	if r.cfg.PBT.MetricName == pbt.EvalReturn {
		// The seed of the run and the update address the starting states: the same
		// for all members, others at every interval.
		played, err := evaluate(r.engine, r.members(), r.cfg.PBT.EvalEpisodes, r.cfg.Run.Seed, uint32(r.updates))
		if err != nil {
			return err
		}
		for m := range played {
			r.scores[m] = played[m].MeanReturn
		}
		return nil
	}
	for m := range r.scores {
		r.scores[m], _ = r.engine.Score(m)
	}
	return nil
}

func (r *Run) members() []int {
	members := make([]int, len(r.scores))
	for m := range members {
		members[m] = m
	}
	return members
}

// exploit carries the decisions out in the engine and writes them down.
func (r *Run) exploit(decisions []pbt.Decision) error {
	if len(decisions) == 0 {
		return nil
	}
	exploits := make([]kernels.Exploit, len(decisions))
	for i, d := range decisions {
		h := r.hyper[d.Source]
		r.setEvolved(&h, d.After)
		exploits[i] = kernels.Exploit{Member: d.Member, Source: d.Source, Strategy: kernels.Strategy(d.Strategy), Hyperparameters: h}
	}
	if err := r.engine.Exploit(exploits); err != nil {
		return err
	}
	for i, d := range decisions {
		r.hyper[d.Member] = exploits[i].Hyperparameters
		r.scores[d.Member] = math.NaN()
		line, err := json.Marshal(r.decisionLine(d))
		if err != nil {
			return err
		}
		r.decisions.buf = append(append(r.decisions.buf, line...), '\n')
	}
	r.exploits += int64(len(decisions))
	return nil
}

// setEvolved writes the values by name into h.
func (r *Run) setEvolved(h *kernels.Hyperparameters, values map[string]float64) {
	for name, value := range values {
		if index, ok := kernels.HyperparameterByName(name); ok {
			h[index] = float32(value)
		}
	}
}

// decisionLine is a line of decisions.jsonl.
type decisionLine struct {
	Update      int64    `json:"update"`
	EnvSteps    int64    `json:"env_steps"`
	Interval    int      `json:"interval"`
	Member      int      `json:"member"`
	Source      int      `json:"source"`
	MemberScore *float64 `json:"member_score"`
	SourceScore *float64 `json:"source_score"`
	// OptimizerStrategy is what was done to the member's optimizer state.
	OptimizerStrategy pbt.Strategy              `json:"optimizer_strategy"`
	Hyperparameters   map[string]hyperparameter `json:"hyperparameters"`
}

// hyperparameter is what became of one: the member's before, the source's, and
// what the operation made of it for the member.
type hyperparameter struct {
	Before    float64 `json:"before"`
	Source    float64 `json:"source"`
	Operation string  `json:"operation"`
	After     float64 `json:"after"`
}

func (r *Run) decisionLine(d pbt.Decision) decisionLine {
	line := decisionLine{Update: r.updates, EnvSteps: r.envSteps(), Interval: d.Interval, Member: d.Member, Source: d.Source,
		MemberScore: floatOrNil(d.MemberScore), SourceScore: floatOrNil(d.SourceScore), OptimizerStrategy: d.Strategy,
		Hyperparameters: make(map[string]hyperparameter, len(d.After))}
	for name, after := range d.After {
		line.Hyperparameters[name] = hyperparameter{d.Before[name], d.SourceValues[name], d.Operations[name], after}
	}
	return line
}
