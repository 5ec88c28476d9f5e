package cu

import (
	"fmt"
	"reflect"

	"brood/env"
	"brood/kernels"
	"brood/kernels/host"
	"brood/tensor"
)

// The fused path (see update_fused.cu) is for networks of two hidden layers that
// are no larger than this, with a scalar critic, and for actions that are one choice
// or numbers.
const (
	FusedHidden  = 64
	FusedObs     = 8
	FusedActions = 4
)

// NativeEnvs are the environments that have device code (see env.cuh), in the
// order of its constants; HostEnv is any other, which is stepped on the host.
var NativeEnvs = []string{"CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"}

// HostEnv is the index of an environment that is not in NativeEnvs.
const HostEnv = -1

// Plan is everything about a configuration that is known before a device is
// touched: sizes, offsets, which kernels run, and which buffers they need.
type Plan struct {
	Config *kernels.Config
	Layout *tensor.Layout
	Index  *host.PolicyIndex
	// Params has every size and no address yet.
	Params Params
	// Env is an index into NativeEnvs, or HostEnv.
	Env int
	// FusedUpdate and FusedRollout say whether the small-network kernels run.
	FusedUpdate, FusedRollout bool
	// Chunks is the content of Params.Chunks.
	Chunks []Chunk
	// Treatments are the rows of Params.Segments.
	Treatments []Treatment
	Segments   [][]Segment
	// Buffers are to be allocated, in the order of their fields.
	Buffers []Buffer
}

// Buffer is one allocation.
type Buffer struct {
	// Name is that of the field of Params it goes to.
	Name  string
	Bytes int64
	// Address is where its address goes.
	Address *Ptr
	// Scales is the setting that makes it smaller, for the message where memory
	// is short.
	Scales string
}

// Treatment says what an exploit does to the optimizer's state; see
// kernels.Strategy.Effects.
type Treatment struct {
	Strategy      kernels.Strategy
	ScaleMomentum bool
}

// NewPlan plans for the members first to first+c.Population-1 of a population.
// With tiled the kernels for small networks are not used where they could be.
func NewPlan(c *kernels.Config, first int, tiled bool) (*Plan, error) {
	if err := host.Check(c); err != nil {
		return nil, err
	}
	if err := checkLimits(c); err != nil {
		return nil, err
	}
	layout, err := kernels.NewLayout(c)
	if err != nil {
		return nil, err
	}
	if int64(layout.Stride()) > 1<<31-1 {
		return nil, fmt.Errorf("cu: a member's state is %d bytes; at most 2^31-1 are supported on a GPU", layout.Stride())
	}
	p := &Plan{Config: c, Layout: layout, Index: host.NewPolicyIndex(c, layout), Env: nativeEnv(c.Env)}
	p.sizes(first)
	p.networks()
	p.offsets()
	p.paths(tiled)
	p.chunks()
	if p.Params.ChunkCount > maxGrid {
		return nil, fmt.Errorf("cu: networks of %d parameters; at most about %d are supported on a GPU", p.Index.Size, maxGrid*ChunkLen)
	}
	if err := p.segments(); err != nil {
		return nil, err
	}
	p.buffers()
	return p, nil
}

const (
	// MaxWidth is the widest layer: two rows of the widest critic layer must fit the
	// shared memory of a block on every device (see Bootstrap).
	MaxWidth = 8192
	// maxGrid is the largest second dimension of a grid.
	maxGrid = 65535
)

// checkLimits refuses what the kernels' parameters, grids and shared memory do not
// hold.
func checkLimits(c *kernels.Config) error {
	if n := len(c.Hidden) + 1; n > MaxLayers {
		return fmt.Errorf("cu: %d hidden layers; at most %d are supported on a GPU", len(c.Hidden), MaxLayers-1)
	}
	for i, width := range append(append([]int(nil), c.Hidden...), c.Critic.Outputs(), c.Env.Spec().Action.N) {
		if width > MaxWidth {
			return fmt.Errorf("cu: layer %d has %d outputs; at most %d are supported on a GPU", i, width, MaxWidth)
		}
	}
	if steps := c.Epochs * c.Minibatches; steps > maxGrid {
		return fmt.Errorf("cu: %d epochs of %d minibatches are %d steps; at most %d are supported on a GPU", c.Epochs, c.Minibatches, steps, maxGrid)
	}
	if rows := c.Rows(); rows > maxGrid*256 {
		return fmt.Errorf("cu: a rollout of %d rows; at most %d are supported on a GPU", rows, maxGrid*256)
	}
	return nil
}

// nativeEnv is the index of a native environment, and HostEnv for one that only
// shares the name.
func nativeEnv(v env.Vector) int {
	id := v.Spec().ID
	for i, name := range NativeEnvs {
		if name != id {
			continue
		}
		if native, err := env.Make(id); err == nil && reflect.TypeOf(native) == reflect.TypeOf(v) {
			return i
		}
	}
	return HostEnv
}

func (p *Plan) sizes(first int) {
	c, q, spec := p.Config, &p.Params, p.Config.Env.Spec()
	q.Stride, q.TotalUpdates = int64(p.Layout.Stride()), c.TotalUpdates
	q.Members, q.FirstMember, q.MemberStep = int32(c.Population), int32(c.RandomMember(first)), flag(!c.Clones)
	q.Environments, q.Steps, q.Rows = int32(c.Environments), int32(c.Steps), int32(c.Rows())
	q.ObsDim, q.ActionWidth = int32(spec.ObsDim), int32(spec.Action.Width())
	q.ActionCount, q.StateSize = int32(spec.Action.N), int32(spec.StateSize)
	q.Epochs, q.MinibatchCount, q.MinibatchRows = int32(c.Epochs), int32(c.Minibatches), int32(c.MinibatchRows())
	q.PolicySize, q.Tensors, q.LogStd = int32(p.Index.Size), int32(len(p.Index.Tensors)), int32(p.Index.LogStd)
	q.MaxEpisodeSteps, q.HyperCount = int32(spec.MaxEpisodeSteps), int32(len(kernels.HyperparameterNames(spec)))
	q.Discrete, q.Relu = flag(spec.Action.Discrete), flag(c.Activation == kernels.ReLU)
	q.Quantile, q.Kappa = flag(c.Critic.Type == kernels.QuantileCritic), c.Critic.Kappa
	q.NormalizeAdvantage, q.NormalizeObservations = flag(c.NormalizeAdvantage), flag(c.NormalizeObservations)
	q.NormalizeRewards = flag(c.NormalizeRewards)
	q.LinearSchedule, q.TargetKL = flag(c.LearningRateSchedule == kernels.Linear), c.TargetKL
	q.KLPenalty, q.KLMin, q.KLMax = flag(c.KLPenalty.Enabled), c.KLPenalty.Min, c.KLPenalty.Max
	q.VGS, q.VGSWarmup = flag(c.VGS.Enabled), int32(c.VGS.Warmup)
	q.VGSBeta, q.VGSEps, q.VGSPercentile = c.VGS.Beta, c.VGS.Eps, c.VGS.Percentile
	q.MomentChunks = (q.Rows + MomentRows - 1) / MomentRows
}

// MomentRows is the number of rows whose moments one block computes.
const MomentRows = 1024

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func (p *Plan) networks() {
	for n, layers := range [][]host.Layer{ActorNet: p.Index.Actor, CriticNet: p.Index.Critic} {
		net := &p.Params.Net[n]
		net.Layers = int32(len(layers))
		for i, l := range layers {
			net.Layer[i] = Layer{In: int32(l.In), Out: int32(l.Out), Weight: int32(l.Weight), Bias: int32(l.Bias)}
			net.MaxOut = max(net.MaxOut, int32(l.Out))
		}
	}
	for i, t := range p.Index.Tensors {
		p.Params.Tensor[i] = Span{Offset: int32(t.Offset), Len: int32(t.Len)}
	}
}

func (p *Plan) offsets() {
	at := func(section, name string) int32 {
		return int32(p.Layout.Section(section).Tensor(name).Offset)
	}
	policy := int32(p.Layout.Section(kernels.SectionPolicy).Offset)
	// exp_avg of every policy tensor in the policy's order, then exp_avg_sq: each
	// run has the policy section's offsets (see host.NewState).
	moments := int32(p.Layout.Section(kernels.SectionOptimizer).Offset)
	p.Params.Offset = Offsets{
		Policy: policy, ExpAvg: moments, ExpAvgSq: moments + 4*int32(p.Index.Size), Step: at(kernels.SectionOptimizer, "step"),
		ObsMean: at(kernels.SectionObservationNorm, "mean"), ObsVar: at(kernels.SectionObservationNorm, "var"),
		ObsCount:   at(kernels.SectionObservationNorm, "count"),
		RewardMean: at(kernels.SectionRewardNorm, "mean"), RewardVar: at(kernels.SectionRewardNorm, "var"),
		RewardCount: at(kernels.SectionRewardNorm, "count"),
		VGSMeanAbs:  at(kernels.SectionVGS, "mean_abs"), VGSVar: at(kernels.SectionVGS, "var"), VGSStep: at(kernels.SectionVGS, "step"),
		KLBeta:          at(kernels.SectionKLPenalty, "beta"),
		Hyperparameters: int32(p.Layout.Section(kernels.SectionHyperparameters).Offset),
		EnvState:        at(kernels.SectionEnvironment, "state"), EpisodeReturn: at(kernels.SectionEnvironment, "episode_return"),
		EpisodeLength:    at(kernels.SectionEnvironment, "episode_length"),
		DiscountedReturn: at(kernels.SectionEnvironment, "discounted_return"),
		Returns:          at(kernels.SectionEpisodes, "returns"), ReturnCount: at(kernels.SectionEpisodes, "count"),
		IntervalSum: at(kernels.SectionEpisodes, "interval_sum"), IntervalCount: at(kernels.SectionEpisodes, "interval_count"),
		EnvSteps: at(kernels.SectionCounters, "env_steps"), Updates: at(kernels.SectionCounters, "updates"),
		Episodes: at(kernels.SectionCounters, "episodes"), Seed: at(kernels.SectionRNG, "seed"),
	}
}

// severalChoices says whether an action is more than one choice.
func (p *Plan) severalChoices() bool { return p.Params.Discrete != 0 && p.Params.ActionWidth > 1 }

// paths chooses the kernels and how a minibatch is cut into parts. Both depend
// on the configuration alone: the same bits on every device.
func (p *Plan) paths(tiled bool) {
	c, q := p.Config, &p.Params
	small := !tiled && !p.severalChoices() && len(c.Hidden) == 2 && max(c.Hidden[0], c.Hidden[1]) <= FusedHidden &&
		q.ObsDim <= FusedObs && q.ActionCount <= FusedActions && q.Quantile == 0
	p.FusedUpdate, p.FusedRollout = small, small && p.Env != HostEnv
	q.MaxRows = q.Environments
	// About 512 blocks fill a large GPU: fewer parts per member where there are
	// many members.
	part, wanted := int32(64), 256/q.Members
	if !small {
		q.MaxRows = max(q.MaxRows, q.MinibatchRows)
		part, wanted = 256, 128/q.Members
	}
	parts := (q.MinibatchRows + part - 1) / part
	perSplit := (parts + max(1, min(parts, wanted)) - 1) / max(1, min(parts, wanted))
	q.SplitRows = perSplit * part
	q.Splits = (q.MinibatchRows + q.SplitRows - 1) / q.SplitRows
}

func (p *Plan) chunks() {
	for t, s := range p.Index.Tensors {
		for from := 0; from < s.Len; from += ChunkLen {
			p.Chunks = append(p.Chunks, Chunk{Tensor: int32(t), Offset: int32(s.Offset + from), Len: int32(min(ChunkLen, s.Len-from))})
		}
	}
	p.Params.ChunkCount = int32(len(p.Chunks))
}
