package kernels

import (
	"fmt"

	"brood/tensor"
)

// The sections of a member's state; see [Sections].
const (
	SectionPolicy          = "policy"
	SectionObservationNorm = "observation_norm"
	SectionRewardNorm      = "reward_norm"
	SectionVGS             = "vgs"
	SectionKLPenalty       = "kl_penalty"
	SectionOptimizer       = "optimizer"
	SectionHyperparameters = "hyperparameters"
	SectionEnvironment     = "environment"
	SectionEpisodes        = "episodes"
	SectionCounters        = "counters"
	SectionRNG             = "rng"
)

// EpisodeWindow is the number of last episode returns a member remembers.
const EpisodeWindow = 100

// Sections lists the whole state of a member, with what an exploit does to each
// section. Adding state to the algorithm means adding a line here: checkpoints,
// copies, resets, digests and their tests follow from it.
func Sections(c *Config) []tensor.Section {
	spec := c.Env.Spec()
	policy := PolicyTensors(c)
	scalar := func(name string, d tensor.DType) tensor.Spec { return tensor.Spec{Name: name, DType: d} }
	vector := func(name string, n int) tensor.Spec { return tensor.Spec{Name: name, Shape: []int{n}} }

	optimizer := make([]tensor.Spec, 0, 2*len(policy)+1)
	for _, moment := range []string{"exp_avg", "exp_avg_sq"} {
		for _, t := range policy {
			optimizer = append(optimizer, tensor.Spec{Name: moment + "/" + t.Name, Shape: t.Shape})
		}
	}
	optimizer = append(optimizer, scalar("step", tensor.Int64))

	var hyper []tensor.Spec
	for _, name := range HyperparameterNames(spec) {
		hyper = append(hyper, scalar(name, tensor.Float32))
	}

	n := c.Environments
	sections := []tensor.Section{
		{Name: SectionPolicy, Exploit: tensor.Copy, Tensors: policy},
		{Name: SectionObservationNorm, Exploit: tensor.Copy, Tensors: []tensor.Spec{
			vector("mean", spec.ObsDim), vector("var", spec.ObsDim), scalar("count", tensor.Float64)}},
		{Name: SectionRewardNorm, Exploit: tensor.Copy, Tensors: []tensor.Spec{
			scalar("mean", tensor.Float32), scalar("var", tensor.Float32), scalar("count", tensor.Float64)}},
		// One moving average per policy tensor, in the order of the policy's tensors.
		{Name: SectionVGS, Key: "vgs_state", Exploit: tensor.Copy, Tensors: []tensor.Spec{
			vector("mean_abs", len(policy)), vector("var", len(policy)), scalar("step", tensor.Int64)}},
		{Name: SectionKLPenalty, Key: "kl_penalty_state", Exploit: tensor.Copy, Tensors: []tensor.Spec{
			scalar("beta", tensor.Float32)}},
		{Name: SectionOptimizer, Key: "optimizer_state", Exploit: tensor.ByStrategy, Tensors: optimizer},
		{Name: SectionHyperparameters, Exploit: tensor.Copy, Tensors: hyper},
		// state [S, N] is component-major; returns and lengths are those of the
		// unfinished episodes; discounted_return is the normaliser's running G.
		{Name: SectionEnvironment, Exploit: tensor.Keep, Tensors: []tensor.Spec{
			{Name: "state", Shape: []int{spec.StateSize, n}}, vector("episode_return", n),
			vector("episode_length", n), vector("discounted_return", n)}},
		// The last finished episodes' true returns: a ring of which count were ever
		// written, and the sum and number of those finished since the last interval.
		// Emptied by an exploit: a member is judged by its own episodes.
		{Name: SectionEpisodes, Exploit: tensor.Clear, Tensors: []tensor.Spec{
			vector("returns", EpisodeWindow), scalar("count", tensor.Int64),
			scalar("interval_sum", tensor.Float64), scalar("interval_count", tensor.Int64)}},
		{Name: SectionCounters, Exploit: tensor.Keep, Tensors: []tensor.Spec{
			scalar("env_steps", tensor.Int64), scalar("updates", tensor.Int64), scalar("episodes", tensor.Int64)}},
		{Name: SectionRNG, Exploit: tensor.Keep, Tensors: []tensor.Spec{scalar("seed", tensor.Uint64)}},
	}
	return append(sections, c.Sections...)
}

// NewLayout is the layout of [Sections].
func NewLayout(c *Config) (*tensor.Layout, error) { return tensor.NewLayout(Sections(c)...) }

// PolicyTensors lists the tensors of the actor, the critic and, for continuous
// actions, log_std, with PyTorch's names and shapes for Sequential(Linear,
// activation, Linear, ...): weights are [out, in].
func PolicyTensors(c *Config) []tensor.Spec {
	spec := c.Env.Spec()
	var list []tensor.Spec
	network := func(name string, outputs int) {
		in := spec.ObsDim
		for i, out := range append(append([]int(nil), c.Hidden...), outputs) {
			list = append(list,
				tensor.Spec{Name: fmt.Sprintf("%s.%d.weight", name, 2*i), Shape: []int{out, in}},
				tensor.Spec{Name: fmt.Sprintf("%s.%d.bias", name, 2*i), Shape: []int{out}})
			in = out
		}
	}
	network("actor", spec.Action.N)
	network("critic", c.Critic.Outputs())
	if !spec.Action.Discrete {
		list = append(list, tensor.Spec{Name: "log_std", Shape: []int{spec.Action.N}})
	}
	return list
}
