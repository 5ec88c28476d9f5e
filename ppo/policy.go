package ppo

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"brood/ckpt"
	"brood/env"
	"brood/kernels"
	"brood/kernels/cpu"
	"brood/kernels/host"
	"brood/rng"
)

// Policy is a trained agent that acts outside any run: what a program embeds. It
// computes with the forward pass of the CPU engine, so that it acts as `brood eval`
// does, to the bit on the same kind of processor.
//
// Its methods allocate nothing. They use buffers of the policy and are not safe for
// concurrent use: each goroutine takes a [Policy.Clone], which shares the weights.
// They panic where a slice has another length than they say, which is a mistake in
// the calling program.
type Policy struct {
	agent         *Agent
	spec          env.Spec
	actor, critic *cpu.Inference
	invStd        []float32 // [D], of the observations; nil: not normalised
	std           []float32 // [A], of continuous actions that are sampled
	choices       []int     // of each component of discrete actions
	rows          []float32 // [cpu.InferenceRows][D], normalised observations
	best          []float32 // [A], the actor's outputs for an action that is sampled
}

// LoadPolicy reads the member file at path, which must be of format [ckpt.V2], such
// as best.ckpt of a run folder. A folder is an error: train.Find finds the best
// member of one, and [NewPolicy] makes a policy of it. Where BROOD_CPU names inner
// loops (avx512, avx2 or generic) those are used, else the fastest there are.
func LoadPolicy(path string) (*Policy, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("ppo: load a policy: %s is a folder; want a member file, such as best.ckpt of a run folder (train.Find finds the best member of a folder)", path)
	}
	c, err := ckpt.ReadFile(ckpt.OS, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("ppo: load a policy: %w; want a member file, such as best.ckpt of a run folder", err)
	}
	if err != nil {
		return nil, fmt.Errorf("ppo: load a policy: %w", err)
	}
	p, err := NewPolicy(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// NewPolicy makes a policy of a checkpoint that has been read; see [ReadAgent] for
// what is refused. The checkpoint is not kept.
func NewPolicy(c *ckpt.Checkpoint) (*Policy, error) {
	a, err := ReadAgent(c)
	if err != nil {
		return nil, err
	}
	p := &Policy{agent: a, spec: a.Spec()}
	p.choices = p.spec.Action.Choices()
	// The tensors one after the other, and each layer's places among them.
	offsets := map[string]int{}
	var weights []float32
	for _, t := range a.Tensors {
		offsets[t.Name] = len(weights)
		weights = append(weights, t.Data...)
	}
	if p.actor, err = a.network("actor", a.Env.Action.N, offsets, weights); err != nil {
		return nil, fmt.Errorf("ppo: the policy's actor: %w", err)
	}
	if p.critic, err = a.network("critic", a.Values, offsets, weights); err != nil {
		return nil, fmt.Errorf("ppo: the policy's critic: %w", err)
	}
	if n := a.Normalization; n != nil {
		p.invStd = make([]float32, len(n.Var))
		host.InvStds(p.invStd, n.Var)
	}
	if at, ok := offsets["log_std"]; ok {
		for _, x := range weights[at : at+a.Env.Action.N] {
			p.std = append(p.std, float32(math.Exp(float64(x))))
		}
	}
	p.allocate()
	return p, nil
}

func (a *Agent) network(name string, outputs int, offsets map[string]int, weights []float32) (*cpu.Inference, error) {
	var layers []host.Layer
	in := a.Env.ObsDim
	for i := 0; i <= len(a.Hidden); i++ {
		out := outputs
		if i < len(a.Hidden) {
			out = a.Hidden[i]
		}
		prefix := fmt.Sprintf("%s.%d.", name, 2*i)
		layers = append(layers, host.Layer{In: in, Out: out, Weight: offsets[prefix+"weight"], Bias: offsets[prefix+"bias"],
			WeightName: prefix + "weight", BiasName: prefix + "bias"})
		in = out
	}
	return cpu.NewInference(layers, a.Activation, weights)
}

// allocate gives the policy buffers of its own.
func (p *Policy) allocate() {
	if p.invStd != nil {
		p.rows = make([]float32, cpu.InferenceRows*p.spec.ObsDim)
	}
	p.best = make([]float32, p.spec.Action.N)
}

// Clone returns the same policy for use by another goroutine at the same time.
func (p *Policy) Clone() *Policy {
	c := *p
	c.actor, c.critic = p.actor.Clone(), p.critic.Clone()
	c.allocate()
	return &c
}

// Agent describes the agent. The caller must not change it.
func (p *Policy) Agent() *Agent { return p.agent }

// ObservationSize is D, the number of features of an observation.
func (p *Policy) ObservationSize() int { return p.spec.ObsDim }

// ActionSize is the number of float32 of an action: where actions are discrete the index
// of the choice, or one of each component (ckpt.ActionInfo.NVec), else A.
func (p *Policy) ActionSize() int { return p.spec.Action.Width() }

// Quantiles is K, the number of quantiles of a quantile critic; 0 of a scalar one.
func (p *Policy) Quantiles() int {
	if p.agent.Critic != kernels.QuantileCritic {
		return 0
	}
	return p.agent.Values
}

// Act writes the deterministic action for one observation [D] to action
// [ActionSize]: the most probable choice (of each component), of equals the first, or the
// mean within the environment's bounds.
func (p *Policy) Act(observation, action []float32) {
	p.check("Act", "observation", len(observation), p.spec.ObsDim)
	p.check("Act", "action", len(action), p.ActionSize())
	p.act(observation, action, 1)
}

// ActBatch is [Policy.Act] for many observations [n][D]; actions is [n][ActionSize].
func (p *Policy) ActBatch(observations, actions []float32) {
	n := p.count("ActBatch", observations)
	w := p.ActionSize()
	p.check("ActBatch", "actions", len(actions), n*w)
	for first := 0; first < n; first += cpu.InferenceRows {
		last := min(first+cpu.InferenceRows, n)
		p.act(observations[first*p.spec.ObsDim:last*p.spec.ObsDim], actions[first*w:last*w], last-first)
	}
}

// act is Act for up to cpu.InferenceRows rows.
func (p *Policy) act(observations, actions []float32, rows int) {
	out := p.actor.Forward(p.seen(observations), rows)
	space := &p.spec.Action
	if !space.Discrete {
		for c := range space.N {
			low, high := space.Low[c], space.High[c]
			for i, v := range out[c*cpu.InferenceRows : c*cpu.InferenceRows+rows] {
				actions[i*space.N+c] = max(low, min(high, v))
			}
		}
		return
	}
	p.actor.Choose(actions, out, p.choices, rows)
}

// seen is the observations as the networks see them, valid until the next call.
func (p *Policy) seen(observations []float32) []float32 {
	if p.invStd == nil {
		return observations
	}
	d := p.spec.ObsDim
	for i := 0; i < len(observations); i += d {
		host.NormalizeObs(p.rows[i:i+d], observations[i:i+d], p.agent.Normalization.Mean, p.invStd)
	}
	return p.rows
}

// Sample draws an action [ActionSize] from the policy's distribution for one
// observation [D], as in training: choices by their probability, or a Gaussian around
// the mean, within the bounds. Each call takes the next words of the stream.
func (p *Policy) Sample(r *rng.Stream, observation, action []float32) {
	p.check("Sample", "observation", len(observation), p.spec.ObsDim)
	p.check("Sample", "action", len(action), p.ActionSize())
	out := p.actor.Forward(p.seen(observation), 1)
	for c := range p.best {
		p.best[c] = out[c*cpu.InferenceRows]
	}
	space := &p.spec.Action
	if !space.Discrete {
		for c, mean := range p.best {
			action[c] = max(space.Low[c], min(space.High[c], mean+p.std[c]*r.Normal()))
		}
		return
	}
	logits := p.best
	for c, n := range p.choices {
		action[c] = float32(choose(logits[:n], r.Uniform()))
		logits = logits[n:]
	}
}

// choose draws a choice by inversion of the distribution that logits describe, with
// u from [0, 1). logits is overwritten.
func choose(logits []float32, u float32) int {
	top := logits[0]
	for _, x := range logits {
		top = max(top, x)
	}
	var sum float32
	for c, x := range logits {
		logits[c] = float32(math.Exp(float64(x - top)))
		sum += logits[c]
	}
	target, cumulative := u*sum, float32(0)
	for c, weight := range logits[:len(logits)-1] {
		if cumulative += weight; cumulative > target {
			return c
		}
	}
	return len(logits) - 1
}

// Value returns the critic's value of one observation [D]: the mean of its
// quantiles, where it has them.
func (p *Policy) Value(observation []float32) float32 {
	p.check("Value", "observation", len(observation), p.spec.ObsDim)
	return p.value(p.critic.Forward(p.seen(observation), 1), 0)
}

// ValueBatch writes the values of many observations [n][D] to values [n].
func (p *Policy) ValueBatch(observations, values []float32) {
	n := p.count("ValueBatch", observations)
	p.check("ValueBatch", "values", len(values), n)
	for first := 0; first < n; first += cpu.InferenceRows {
		last := min(first+cpu.InferenceRows, n)
		out := p.critic.Forward(p.seen(observations[first*p.spec.ObsDim:last*p.spec.ObsDim]), last-first)
		for i := range last - first {
			values[first+i] = p.value(out, i)
		}
	}
}

// value adds in the order in which the engine does.
func (p *Policy) value(out []float32, row int) float32 {
	k := p.critic.Outputs()
	if k == 1 {
		return out[row]
	}
	sum := out[row]
	for q := 1; q < k; q++ {
		sum += out[q*cpu.InferenceRows+row]
	}
	return sum * (1 / float32(k))
}

// QuantilesOf writes the quantiles of the return from one observation [D] on, at
// (i + 0.5)/K, to quantiles [K]; see [Policy.Quantiles].
func (p *Policy) QuantilesOf(observation, quantiles []float32) {
	p.check("QuantilesOf", "observation", len(observation), p.spec.ObsDim)
	p.check("QuantilesOf", "quantiles", len(quantiles), p.Quantiles())
	out := p.critic.Forward(p.seen(observation), 1)
	for q := range quantiles {
		quantiles[q] = out[q*cpu.InferenceRows]
	}
}

// count is the number of observations.
func (p *Policy) count(method string, observations []float32) int {
	if len(observations)%p.spec.ObsDim != 0 {
		panic(fmt.Sprintf("ppo: Policy.%s: observations has %d elements; must be a multiple of %d", method, len(observations), p.spec.ObsDim))
	}
	return len(observations) / p.spec.ObsDim
}

func (p *Policy) check(method, argument string, have, want int) {
	if have != want {
		panic(fmt.Sprintf("ppo: Policy.%s: %s has %d elements; must be %d", method, argument, have, want))
	}
}
