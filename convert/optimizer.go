package convert

import (
	"encoding/binary"
	"fmt"
	"math"

	"brood/ckpt"
	"brood/kernels"
	"brood/tensor"
)

// optimizer is the state of Adam.
type optimizer struct {
	steps            int64
	expAvg, expAvgSq []named // by brood's names of the policy's tensors
}

func (o *optimizer) fill(a *agent, m tensor.Member) error {
	if err := a.fill(m, kernels.SectionOptimizer, "exp_avg/", o.expAvg); err != nil {
		return err
	}
	if err := a.fill(m, kernels.SectionOptimizer, "exp_avg_sq/", o.expAvgSq); err != nil {
		return err
	}
	for _, t := range o.expAvgSq {
		for i, v := range m.Float32(kernels.SectionOptimizer, "exp_avg_sq/"+t.name) {
			if v < 0 {
				return fmt.Errorf("%w: exp_avg_sq/%s has %v at element %d; a mean of squares is not below 0", ErrRefused, t.name, v, i)
			}
		}
	}
	m.Int64(kernels.SectionOptimizer, "step")[0] = o.steps
	a.report.OptimizerSteps = o.steps
	return nil
}

// readOptimizer reads the state of Adam and the hyperparameters that are with it.
// torch numbers the parameters of a policy in the order of its state dict.
func (a *agent) readOptimizer(z *archive, d sb3Data) error {
	if !z.has("policy.optimizer.pth") {
		a.note("there is no policy.optimizer.pth in the file: the optimizer starts reset")
		a.learningRate(d, nil)
		return nil
	}
	data, err := z.entry("policy.optimizer.pth")
	if err != nil {
		return err
	}
	root, err := readTorch(data, "the file")
	if err != nil {
		return err
	}
	state, isMap := value(root, "state").(*dict)
	groups, isList := value(root, "param_groups").(*list)
	if !isMap || !isList || len(groups.items) != 1 {
		return fmt.Errorf("%w: want the maps of an optimizer: state, and one of param_groups", ErrRefused)
	}
	group, isMap := groups.items[0].(*dict)
	if !isMap {
		return damaged("a group of parameters is a %s; want a map", kindOf(groups.items[0]))
	}
	ids, isList := value(group, "params").(*list)
	if !isList || len(ids.items) != len(a.tensors) {
		return fmt.Errorf("%w: the optimizer does not have the %d tensors of the policy, each once", ErrRefused, len(a.tensors))
	}
	if err := a.moments(state, ids.items); err != nil {
		return err
	}
	if err := a.adam(group); err != nil {
		return err
	}
	a.learningRate(d, value(group, "lr"))
	return nil
}

// learningRate takes the one that the model was given where that is a number, and
// of a schedule what it gave the optimizer last.
func (a *agent) learningRate(d sb3Data, last any) {
	rate, why := d.number("learning_rate")
	if why == "" {
		a.cfg.PPO.LearningRate = rate
		a.take("ppo.learning_rate", nil, "learning_rate")
		return
	}
	if rate, ok := number(last); ok && rate > 0 {
		a.cfg.PPO.LearningRate = rate
		a.take("ppo.learning_rate", nil, "the optimizer's lr")
		a.note("learning_rate %s: %v is used, which the optimizer had last; --set ppo.learning_rate=... and ppo.learning_rate_schedule", why, rate)
		return
	}
	a.note("learning_rate %s: %v is used; --set ppo.learning_rate=...", why, a.cfg.PPO.LearningRate)
}

// value is the value of a key, or nil.
func value(d *dict, key any) any {
	v, _ := d.get(key)
	return v
}

// moments reads what Adam holds for each tensor: step, exp_avg and exp_avg_sq.
func (a *agent) moments(state *dict, ids []any) error {
	o := &optimizer{steps: -1}
	if len(state.keys) == 0 { // no step was done: all is zero
		a.optimizer = &optimizer{}
		return nil
	}
	if len(state.keys) != len(a.tensors) {
		return fmt.Errorf("%w: it has the state of %d tensors, and the policy has %d", ErrRefused, len(state.keys), len(a.tensors))
	}
	for i, t := range a.tensors {
		id, isNumber := ids[i].(int64)
		if !isNumber || id != int64(i) {
			return fmt.Errorf("%w: parameter %d is not numbered so: the order of the policy's tensors is not that of the optimizer", ErrRefused, i)
		}
		entry, isMap := value(state, id).(*dict)
		if !isMap {
			return damaged("the state of parameter %d is a %s; want a map", i, kindOf(value(state, id)))
		}
		mean, hasMean := value(entry, "exp_avg").(array)
		square, hasSquare := value(entry, "exp_avg_sq").(array)
		if !hasMean || !hasSquare {
			return fmt.Errorf("%w: the optimizer holds %s for a tensor; only Adam's exp_avg, exp_avg_sq and step are read", ErrRefused, keysOf(entry))
		}
		if err := o.count(value(entry, "step"), i); err != nil {
			return err
		}
		o.expAvg, o.expAvgSq = append(o.expAvg, named{t.name, mean}), append(o.expAvgSq, named{t.name, square})
	}
	a.optimizer = o
	return nil
}

// count takes a tensor's number of steps, which is the same for all.
func (o *optimizer) count(step any, parameter int) error {
	n, isNumber := step.(int64)
	if s, isArray := step.(array); isArray {
		var word [8]byte
		if len(s.shape) > 1 || len(s.data) != elementSizes[s.code] {
			return damaged("the step of parameter %d has shape %v; want one number", parameter, s.shape)
		}
		if err := ckpt.Convert(word[:], tensor.Int64, s.data, s.code); err != nil {
			return fmt.Errorf("%w: the step of parameter %d: %w", ErrRefused, parameter, err)
		}
		n, isNumber = int64(binary.LittleEndian.Uint64(word[:])), true
	}
	if !isNumber || n < 0 {
		return damaged("the step of parameter %d is a %s; want a number from 0", parameter, kindOf(step))
	}
	if o.steps >= 0 && o.steps != n {
		return fmt.Errorf("%w: parameter %d has done %d steps and those before it %d; brood counts the steps of all tensors at once", ErrRefused, parameter, n, o.steps)
	}
	o.steps = n
	return nil
}

func keysOf(d *dict) string {
	var names []string
	for _, key := range d.keys {
		names = append(names, fmt.Sprint(key))
	}
	return listed(names)
}

// adam reads the hyperparameters of the optimizer.
func (a *agent) adam(group *dict) error {
	betas, isTuple := value(group, "betas").(tuple)
	if !isTuple || len(betas) != 2 {
		return fmt.Errorf("%w: the optimizer has no betas: it is not Adam; it has %s", ErrRefused, keysOf(group))
	}
	for _, f := range []struct {
		key    string
		value  any
		target *float64
		from   string
	}{
		{"ppo.adam_beta1", betas[0], &a.cfg.PPO.AdamBeta1, "betas[0]"},
		{"ppo.adam_beta2", betas[1], &a.cfg.PPO.AdamBeta2, "betas[1]"},
		{"ppo.adam_eps", value(group, "eps"), &a.cfg.PPO.AdamEps, "eps"},
	} {
		v, ok := number(f.value)
		if !ok {
			return damaged("the optimizer's %s is a %s; want a number", f.from, kindOf(f.value))
		}
		*f.target = v
		a.take(f.key, nil, "the optimizer's "+f.from)
	}
	for _, flag := range []string{"amsgrad", "maximize"} {
		if v, _ := value(group, flag).(bool); v {
			return fmt.Errorf("%w: the optimizer is Adam with %s, which brood has not", ErrRefused, flag)
		}
	}
	decay, ok := number(value(group, "weight_decay"))
	decoupled, _ := value(group, "decoupled_weight_decay").(bool)
	switch {
	case !ok:
		return damaged("the optimizer's weight_decay is a %s; want a number", kindOf(value(group, "weight_decay")))
	case decay == 0 || decoupled:
		a.cfg.PPO.WeightDecay = decay
		a.take("ppo.weight_decay", nil, "the optimizer's weight_decay")
	default:
		a.note("the optimizer's weight_decay %v is part of the gradient (AdamW's is not, and neither is brood's): ppo.weight_decay is %v; --set ppo.weight_decay=...", decay, a.cfg.PPO.WeightDecay)
	}
	return nil
}

// number is a value that is one and finite.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case int64:
		return float64(v), true
	}
	return 0, false
}
