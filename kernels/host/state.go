// Package host holds the scalar logic that every engine on a CPU shares: how a
// fresh member is filled, which random numbers are drawn for what, normalisation
// statistics, episode scores, and the few coefficients of an update that are one
// number per member and minibatch. An engine adds the loops over rows and
// parameters, which is where the time goes.
//
// Nothing here allocates after construction and nothing depends on an order of
// threads: a function that sums, sums in the order of its arguments.
package host

import (
	"unsafe"

	"brood/kernels"
	"brood/tensor"
)

// State is one member's state with every tensor looked up once. All slices and
// pointers are views of the member's memory: after an exploit or a restore of
// that memory they show the new values.
type State struct {
	Member tensor.Member

	// Policy, ExpAvg and ExpAvgSq are the parameters and Adam's moments, each of
	// the size of the policy section, padding included (it is zero): a parameter
	// and its moments lie at the same offset. See [PolicyIndex].
	Policy, ExpAvg, ExpAvgSq []float32
	// Step is the number of Adam steps done.
	Step *int64

	ObsMean, ObsVar []float32 // [D]
	ObsCount        *float64
	// RewardMean, RewardVar and RewardCount describe the discounted return G.
	RewardMean, RewardVar *float32
	RewardCount           *float64

	VGSMeanAbs, VGSVar []float32 // one per policy tensor
	VGSStep            *int64
	KLBeta             *float32

	EnvState         []float32 // [S][N]
	EpisodeReturn    []float32 // [N], of the unfinished episodes
	EpisodeLength    []float32 // [N]
	DiscountedReturn []float32 // [N], the reward normaliser's running G

	Returns       []float32 // [EpisodeWindow], ring: episode i is at i % EpisodeWindow
	ReturnCount   *int64
	IntervalSum   *float64
	IntervalCount *int64

	EnvSteps, Updates, Episodes *int64
	Seed                        *uint64

	hyper []*float32
}

// NewState looks up the tensors of a member of the layout of
// [kernels.NewLayout].
func NewState(m tensor.Member) *State {
	s := &State{
		Member:      m,
		Policy:      m.Floats(kernels.SectionPolicy),
		Step:        &m.Int64(kernels.SectionOptimizer, "step")[0],
		ObsMean:     m.Float32(kernels.SectionObservationNorm, "mean"),
		ObsVar:      m.Float32(kernels.SectionObservationNorm, "var"),
		ObsCount:    &m.Float64(kernels.SectionObservationNorm, "count")[0],
		RewardMean:  &m.Float32(kernels.SectionRewardNorm, "mean")[0],
		RewardVar:   &m.Float32(kernels.SectionRewardNorm, "var")[0],
		RewardCount: &m.Float64(kernels.SectionRewardNorm, "count")[0],
		VGSMeanAbs:  m.Float32(kernels.SectionVGS, "mean_abs"),
		VGSVar:      m.Float32(kernels.SectionVGS, "var"),
		VGSStep:     &m.Int64(kernels.SectionVGS, "step")[0],
		KLBeta:      &m.Float32(kernels.SectionKLPenalty, "beta")[0],

		EnvState:         m.Float32(kernels.SectionEnvironment, "state"),
		EpisodeReturn:    m.Float32(kernels.SectionEnvironment, "episode_return"),
		EpisodeLength:    m.Float32(kernels.SectionEnvironment, "episode_length"),
		DiscountedReturn: m.Float32(kernels.SectionEnvironment, "discounted_return"),

		Returns:       m.Float32(kernels.SectionEpisodes, "returns"),
		ReturnCount:   &m.Int64(kernels.SectionEpisodes, "count")[0],
		IntervalSum:   &m.Float64(kernels.SectionEpisodes, "interval_sum")[0],
		IntervalCount: &m.Int64(kernels.SectionEpisodes, "interval_count")[0],

		EnvSteps: &m.Int64(kernels.SectionCounters, "env_steps")[0],
		Updates:  &m.Int64(kernels.SectionCounters, "updates")[0],
		Episodes: &m.Int64(kernels.SectionCounters, "episodes")[0],
		Seed:     &m.Uint64(kernels.SectionRNG, "seed")[0],
	}
	for _, t := range m.Layout().Section(kernels.SectionHyperparameters).Tensors {
		s.hyper = append(s.hyper, &m.Float32(kernels.SectionHyperparameters, t.Name)[0])
	}
	s.ExpAvg, s.ExpAvgSq = moments(m, len(s.Policy))
	return s
}

// moments returns the two runs of Adam moments. The optimizer section declares
// exp_avg of every policy tensor in the policy's order, then exp_avg_sq of
// every one, then step; as tensors are placed one after the other, each run has
// the policy section's offsets.
func moments(m tensor.Member, n int) (expAvg, expAvgSq []float32) {
	b := m.Layout().Section(kernels.SectionOptimizer)
	all := unsafe.Slice((*float32)(unsafe.Pointer(&m.Bytes()[b.Offset])), 2*n)
	return all[:n:n], all[n:]
}

// Hyper returns one hyperparameter.
func (s *State) Hyper(h kernels.Hyperparameter) float32 { return *s.hyper[h] }

// Hyperparameters returns all hyperparameters.
func (s *State) Hyperparameters() (h kernels.Hyperparameters) {
	for i, p := range s.hyper {
		h[i] = *p
	}
	return h
}

// ShapingWeights copies the environment's hyperparameters to dst, which has room for
// them, and returns it as [env.Batch] has it: nil where there are none or all are
// 0.
func (s *State) ShapingWeights(dst []float32) []float32 {
	shapes := false
	for i, p := range s.hyper[kernels.NumHyperparameters:] {
		dst[i] = *p
		shapes = shapes || *p != 0
	}
	if !shapes {
		return nil
	}
	return dst[:len(s.hyper)-int(kernels.NumHyperparameters)]
}

// SetHyperparameters overwrites all hyperparameters.
func (s *State) SetHyperparameters(h kernels.Hyperparameters) {
	for i, p := range s.hyper {
		*p = h[i]
	}
}
