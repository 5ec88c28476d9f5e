package train

import (
	"errors"
	"fmt"
	"math"

	"brood/kernels"
	"brood/kernels/host"
	"brood/tensor"
)

// ErrDiverged ends a run all of whose members have weights that are not finite.
var ErrDiverged = errors.New("no member has finite weights")

// quarantine takes members with weights that are not finite out of the contest.
// Their score may still be the best: it is of episodes from before. They are
// replaced at this interval.
func (r *Run) quarantine() error {
	sick := 0
	for m := range r.stats {
		if finiteUpdate(&r.stats[m]) {
			continue
		}
		sick++
		if r.quarantined[m] {
			continue
		}
		r.quarantined[m] = true
		r.opts.Warn(fmt.Sprintf("member %d is quarantined at update %d: its weights or losses are not finite; it is not copied, and replaced by a copy of a better member",
			m, r.updates))
		if err := r.schedule.Quarantine(m); err != nil {
			return err
		}
	}
	if sick == len(r.stats) && sick > 0 {
		return fmt.Errorf("%w: all %d diverged; a smaller ppo.learning_rate or ppo.max_grad_norm may help", ErrDiverged, sick)
	}
	return nil
}

// finiteUpdate says whether the figures of a member's last update are finite. A
// weight that is NaN makes the next loss, and a gradient that is NaN the next
// weight, NaN. An infinite weight may hide behind a tanh that it saturates, and does
// no harm there.
func finiteUpdate(s *kernels.Stats) bool {
	if !s.Applied {
		return true // nothing was computed that could say so
	}
	for _, x := range []float32{s.PolicyLoss, s.ValueLoss, s.Entropy, s.KL, s.GradNorm} {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return false
		}
	}
	return true
}

// release begins the environments of a member that was quarantined anew, after it
// took over another: actions that are not finite have moved them to states that
// may not be either.
func (r *Run) release(member int) error {
	r.quarantined[member] = false
	state := tensor.NewMember(r.engine.Layout())
	if err := r.engine.Snapshot(member, state); err != nil {
		return err
	}
	c, s := r.engine.Config(), host.NewState(state)
	host.ResetEnvironments(c, s, c.RandomMember(member), host.Time(*s.Updates, c.Steps, 0))
	return r.engine.Restore(member, state)
}
