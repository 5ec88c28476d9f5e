package train

import (
	"math"

	"brood/internal/stats"
	"brood/kernels"
	"brood/pbt"
)

// endInterval reports every member's score to the scheduler, carries out its
// decisions and begins the next interval; where PBT is off, it does the last alone.
func (r *Run) endInterval() error {
	if !r.cfg.PBT.Enabled {
		r.engine.ClearIntervals()
		return nil
	}
	returns, err := r.measure()
	if err != nil {
		return err
	}
	for m, score := range r.scores {
		// A member with nothing to be judged by reports nothing.
		if r.cfg.PBT.MetricName == pbt.TrainReturn {
			if _, episodes := r.engine.Score(m); episodes == 0 {
				continue
			}
		}
		if err := r.schedule.UpdatePerformance(m, score, r.updates, returns[m]...); err != nil {
			return err
		}
	}
	if err := r.quarantine(); err != nil {
		return err
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

// measure fills scores by the run's metric and returns the episodes behind them.
func (r *Run) measure() (returns [][]float64, err error) {
	if r.cfg.PBT.MetricName == pbt.EvalReturn {
		// The seed of the run and the update address the starting states: the same
		// for all members, others at every interval.
		returns, _, err = Play(r.engine, r.members(), r.cfg.PBT.EvalEpisodes, r.cfg.Run.Seed, uint32(r.updates))
		for m := range returns {
			r.scores[m] = stats.Mean(returns[m])
		}
		return returns, err
	}
	returns = make([][]float64, len(r.scores))
	for m := range r.scores {
		r.scores[m], _ = r.engine.Score(m)
		if r.cfg.PBT.ExploitMethod == pbt.TTest {
			returns[m] = r.engine.Returns(m, nil)
		}
	}
	return returns, nil
}

// reevaluateTime, or-ed with the update, addresses the starting states of fresh
// scores: others than those the members were chosen by.
const reevaluateTime = 1 << 31

// reevaluate plays members that are about to copy or to be copied, for
// pbt.exploit_reevaluate.
func (r *Run) reevaluate(members []int) ([]float64, error) {
	returns, _, err := Play(r.engine, members, r.cfg.PBT.EvalEpisodes, r.cfg.Run.Seed, uint32(r.updates)|reevaluateTime)
	if err != nil {
		return nil, err
	}
	scores := make([]float64, len(members))
	for i := range returns {
		scores[i] = stats.Mean(returns[i])
	}
	return scores, nil
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
	exploits := r.exploitsOf(decisions)
	if r.opts.BeforeExploit != nil {
		if err := r.opts.BeforeExploit(&Moment{Update: r.updates, Decisions: decisions, Exploits: exploits, run: r}); err != nil {
			return err
		}
	}
	return r.carryOut(decisions, exploits, "")
}

// exploitsOf are decisions as the engine is given them.
func (r *Run) exploitsOf(decisions []pbt.Decision) []kernels.Exploit {
	exploits := make([]kernels.Exploit, len(decisions))
	for i, d := range decisions {
		h := r.hyper[d.Source]
		r.setEvolved(&h, d.After)
		exploits[i] = kernels.Exploit{Member: d.Member, Source: d.Source, Strategy: kernels.Strategy(d.Strategy),
			ScaleMomentum: d.ScaleMomentum, Hyperparameters: h}
	}
	return exploits
}

// carryOut copies members in the engine and writes down what was decided. operation
// is that of the lines.
func (r *Run) carryOut(decisions []pbt.Decision, exploits []kernels.Exploit, operation string) error {
	sources, err := r.sourceReturns(decisions)
	if err != nil {
		return err
	}
	if err := r.engine.Exploit(exploits); err != nil {
		return err
	}
	r.settleMembers(exploits)
	for i, d := range decisions {
		r.hyper[d.Member] = exploits[i].Hyperparameters
		r.scores[d.Member] = math.NaN()
		if r.quarantined[d.Member] {
			if err := r.release(d.Member); err != nil {
				return err
			}
		}
		line := r.decisionLine(d)
		line.Operation = operation
		if err := r.follow(line, sources[d.Source]); err != nil {
			return err
		}
	}
	r.exploits += int64(len(decisions))
	r.remember(decisions)
	return nil
}

// setEvolved writes the values by name into h.
func (r *Run) setEvolved(h *kernels.Hyperparameters, values map[string]float64) {
	for name, value := range values {
		if index, ok := kernels.HyperparameterOf(r.engine.Config().Env.Spec(), name); ok {
			h[index] = float32(value)
		}
	}
}
