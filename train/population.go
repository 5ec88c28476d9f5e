package train

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"brood/ckpt"
	"brood/internal/stats"
	"brood/kernels"
	"brood/kernels/host"
	"brood/pbt"
	"brood/tensor"
)

// What a line of decisions.jsonl is where a run was resumed with another number of
// members.
const (
	// OperationFill is a member that was not there before and copies another.
	OperationFill = "fill"
	// OperationMove is a member that goes on under another number, with its whole
	// state; source is the number it had.
	OperationMove = "move"
)

// StrategyMoved is the optimizer strategy of [OperationMove]: the state stays with
// the weights that it was gathered on. No configuration can name it.
const StrategyMoved pbt.Strategy = "move"

// placeMembers gives the members of a checkpoint to the scheduler and says which of
// them the run's are. Where there are as many, each stays what it is.
func (r *Run) placeMembers(state *runState, members []tensor.Member, update int64) (pbt.Resized, error) {
	if len(members) != len(r.scores) {
		return r.schedule.Resize(state.Scheduler, r.presentScores(state, members), update)
	}
	return pbt.Resized{Origins: r.members()}, r.schedule.Restore(state.Scheduler)
}

// presentScores are the scores of a checkpoint's members by the run's metric, as of
// its update where that costs nothing: what [Run.performance] is for an engine.
func (r *Run) presentScores(state *runState, members []tensor.Member) []float64 {
	scores := make([]float64, len(members))
	for m := range members {
		scores[m] = math.NaN()
		switch {
		case r.cfg.PBT.MetricName == pbt.TrainReturn:
			scores[m], _ = host.NewState(members[m]).Score()
		case state.Scores[m] != nil:
			scores[m] = *state.Scores[m]
		}
	}
	return scores
}

// resized completes a run whose checkpoint has another number of members, after
// those that go on were restored: what is known of outcomes follows its member, moves
// are written down, and new members are filled.
func (r *Run) resized(x pbt.Resized, state *runState, members []tensor.Member) error {
	r.origins, r.resizedAt = slices.Clone(x.Origins), r.updates
	for _, d := range x.Fills {
		r.origins = append(r.origins, x.Origins[d.Source])
	}
	r.moveOutcomes(x.Origins)
	if err := r.writeMoves(x, state, members); err != nil {
		return err
	}
	for _, d := range x.Fills {
		if err := r.beginMember(d.Member, members[x.Origins[d.Source]]); err != nil {
			return fmt.Errorf("member %d: %w", d.Member, err)
		}
	}
	if len(x.Fills) > 0 {
		if err := r.carryOut(x.Fills, r.exploitsOf(x.Fills), OperationFill); err != nil {
			return err
		}
	}
	r.opts.Note(r.describe(x, len(members)))
	return nil
}

// beginMember brings a member that the engine has made anew to the present of the
// run: it counts what the member did that it is going to copy, by which random
// numbers are addressed, and its environments begin anew.
func (r *Run) beginMember(member int, source tensor.Member) error {
	state := tensor.NewMember(r.engine.Layout())
	if err := r.engine.Snapshot(member, state); err != nil {
		return err
	}
	c, s, from := r.engine.Config(), host.NewState(state), host.NewState(source)
	*s.EnvSteps, *s.Updates, *s.Episodes = *from.EnvSteps, *from.Updates, *from.Episodes
	host.ResetEnvironments(c, s, c.RandomMember(member), host.Time(*s.Updates, c.Steps, 0))
	return r.engine.Restore(member, state)
}

// moveOutcomes lets the wait for the outcome of an exploit follow its member; with a
// member that is gone it ends.
func (r *Run) moveOutcomes(origins []int) {
	for _, p := range slices.Clone(r.outcomes.Pending) {
		now := slices.Index(origins, p.member())
		if now < 0 {
			r.settle(p)
			continue
		}
		p.Moved = nil
		if now != p.Line.Member {
			p.Moved = &now
		}
	}
}

// writeMoves writes a line for each member that goes on under another number.
func (r *Run) writeMoves(x pbt.Resized, state *runState, members []tensor.Member) error {
	scores := r.presentScores(state, members)
	for now, before := range x.Origins {
		if now == before {
			continue
		}
		line := DecisionLine{Update: r.updates, EnvSteps: r.envSteps(), Interval: state.Scheduler.Interval, Member: now, Source: before,
			Operation: OperationMove, MemberScore: stats.OrNil(scores[now]), SourceScore: stats.OrNil(scores[before]),
			OptimizerStrategy: StrategyMoved, ConfiguredStrategy: r.cfg.PBT.OptimizerExploitStrategy,
			Hyperparameters: map[string]HyperparameterChange{}}
		for name, value := range state.Scheduler.Members[before].Hyperparameters {
			line.Hyperparameters[name] = HyperparameterChange{Before: state.Scheduler.Members[now].Hyperparameters[name], Source: value,
				Operation: pbt.OpKeep, After: value}
		}
		text, err := line.encode(0)
		if err != nil {
			return err
		}
		r.decisions.buf = append(r.decisions.buf, text...)
	}
	return nil
}

// describe tells the user what became of the members.
func (r *Run) describe(x pbt.Resized, before int) string {
	head := fmt.Sprintf("the checkpoint of update %d has %s, the run now %d: ", r.updates, counted(before, "member"), len(r.scores))
	if len(x.Fills) == 0 {
		return head + r.describeRest(x, before)
	}
	var sources []int
	var strategies []string
	for _, d := range x.Fills {
		sources = append(sources, d.Source)
		strategies = append(strategies, string(d.Strategy))
	}
	slices.Sort(sources)
	slices.Sort(strategies)
	sources, strategies = slices.Compact(sources), slices.Compact(strategies)
	whence := fmt.Sprintf("the best %g %%", 100*r.cfg.PBT.TruncationRatio)
	if x.Best == 0 {
		whence = "in turn, as no member has a score"
	}
	verb := "are copies"
	if len(x.Fills) == 1 {
		verb = "is a copy"
	}
	text := fmt.Sprintf("%s%s %s of %s (%s), optimizer state by the strategy %s", head, named(x.Fills[0].Member, len(r.scores)-1), verb,
		listed(sources), whence, strings.Join(strategies, " or "))
	if r.cfg.PBT.OptimizerExploitStrategy == pbt.StaleOptimizer {
		text += " (stale is for members that have a state of their own)"
	}
	if len(r.cfg.PBT.Hyperparameters) > 0 {
		text += ", hyperparameters explored"
	}
	return text
}

// describeRest is describe for a population that became smaller.
func (r *Run) describeRest(x pbt.Resized, before int) string {
	text := fmt.Sprintf("the best by %s stay", r.cfg.PBT.MetricName)
	var gone []int
	for m := range before {
		switch now := slices.Index(x.Origins, m); {
		case now < 0:
			gone = append(gone, m)
		case now != m:
			text += fmt.Sprintf(", member %d is now member %d", m, now)
		}
	}
	return fmt.Sprintf("%s; without a place: %s", text, listed(gone))
}

// named is a range of members.
func named(first, last int) string {
	if first == last {
		return fmt.Sprintf("member %d", first)
	}
	return fmt.Sprintf("members %d to %d", first, last)
}

// listed names members, not more than a line of them.
func listed(members []int) string {
	const most = 16
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(members[:min(most, len(members))]), " ", ", "), "[]")
	if len(members) > most {
		text += fmt.Sprintf(" and %d more", len(members)-most)
	}
	if len(members) == 1 {
		return "member " + text
	}
	return "members " + text
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkRoom refuses to change the number of members of a run that is at its end.
func (c Config) checkRoom(set *ckpt.Set, old Config) error {
	v := &validation{places: c.places, seen: map[string]bool{}}
	switch total := c.TotalUpdates(); {
	case total < set.Update:
		v.problem("run.total_steps", fmt.Sprintf("%d is not valid: the run has done %d steps already", c.Run.TotalSteps, set.Run.EnvSteps))
	case total == set.Update && c.PBT.PopulationSize != old.PBT.PopulationSize:
		v.problem("pbt.population_size", fmt.Sprintf("%d after %d has nothing to train: the run has done its %d steps; it needs a larger run.total_steps",
			c.PBT.PopulationSize, old.PBT.PopulationSize, set.Run.EnvSteps))
	}
	return configError(v.mistakes)
}

// tellEngine says where another engine goes on than the one that wrote the
// checkpoint: states are taken over to the bit, and rounding differs from there on.
func (r *Run) tellEngine(wrote string) {
	if now := r.engine.Name(); wrote != "" && wrote != now {
		r.opts.Warn(fmt.Sprintf("the checkpoint of update %d was written by %s and goes on with %s: results are close and not identical", r.updates, wrote, now))
	}
}

// restoreMembers gives the engine the members of a checkpoint that go on.
func (r *Run) restoreMembers(x pbt.Resized, state *runState, members []tensor.Member, changed []kernels.Hyperparameter) error {
	quarantined := len(state.Quarantined) == len(members)
	for m, from := range x.Origins {
		if err := r.engine.Restore(m, members[from]); err != nil {
			return fmt.Errorf("member %d: %w", m, err)
		}
		r.hyper[m] = host.NewState(members[from]).Hyperparameters()
		for _, h := range changed {
			r.hyper[m][h] = r.engine.Config().Hyperparameters[h]
		}
		if len(changed) > 0 {
			if err := r.engine.SetHyperparameters(m, r.hyper[m]); err != nil {
				return fmt.Errorf("member %d: %w", m, err)
			}
		}
		r.scores[m] = math.NaN()
		if state.Scores[from] != nil {
			r.scores[m] = *state.Scores[from]
		}
		r.quarantined[m] = quarantined && state.Quarantined[from]
	}
	return nil
}
