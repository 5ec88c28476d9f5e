package cpu

import (
	"brood/env"
	"brood/kernels"
	"brood/kernels/cpu/simd"
	"brood/kernels/host"
	"brood/rng"
	"brood/tensor"
)

// Letters: N environments, T steps, B = T*N rows (row t*N+n), D observation, A
// actions, W numbers per action, K quantiles, M rows of a minibatch. All buffers
// are float32 on the heap and overwritten unless said otherwise.

// member is one member's state and what is kept of its rollout between phases.
type member struct {
	index int
	id    int // in the addresses of random numbers
	state *host.State

	obs      []float32 // [B][D], as the networks see them
	raw      []float32 // [B][D], as the environment gave them; only where normalised
	finalObs []float32 // [B][D], where truncated, as the networks see them
	lastObs  []float32 // [N][D]
	action   []float32 // [W][B], unclipped
	logProb  []float32 // [B]
	value    []float32 // [B]
	reward   []float32 // [B], as the algorithm sees them: shaped, normalised
	// terminated, truncated and done are 0 or 1, done being either.
	terminated, truncated, done []float32 // [B]
	lastValue                   []float32 // [N]
	advantage, ret              []float32 // [B]
	gain                        []float32 // [B], running discounted returns; only where rewards are normalised
	envAction                   []float32 // [W][N], clipped

	grad  []float32 // the policy section's size; of the last minibatch, before VGS
	steps []kernels.MinibatchStats

	outside *outsideBuffers // nil: the environments are the engine's own

	finished  host.Finished // episodes of this iteration
	explained float32
	stats     kernels.Stats
}

func (e *Engine) newMember(i int) *member {
	c := &e.config
	b, n, d, w := c.Rows(), c.Environments, e.spec.ObsDim, e.spec.Action.Width()
	f := tensor.AlignedFloats
	m := &member{index: i, id: c.RandomMember(i), state: host.NewState(e.arena.Member(i)),
		obs: f(b * d), finalObs: f(b * d), lastObs: f(n * d), action: f(w * b),
		logProb: f(b), value: f(b), reward: f(b), terminated: f(b), truncated: f(b), done: f(b),
		lastValue: f(n), advantage: f(b), ret: f(b), envAction: f(w * n),
		grad: f(e.index.Size), steps: make([]kernels.MinibatchStats, 0, c.Epochs*c.Minibatches)}
	if c.NormalizeObservations {
		m.raw = f(b * d)
	}
	if c.NormalizeRewards {
		m.gain = f(b)
	}
	return m
}

// context is what a worker needs for the member it owns; helpers read it.
type context struct {
	member *member
	key    rng.Key    // of the member's random numbers
	packed []float32  // both networks' weights, see network.pack
	grads  []float32  // [chunks][gradSize]
	sums   []lossSums // [chunks]

	permutation []int32  // [B]
	words       []uint32 // [4][B/4 rounded up]
	sort        *host.SortScratch

	minibatch []int32   // the rows of the minibatch in work, [M]
	gathered  []float32 // [M], advantages in the minibatch's order
	terms     simd.PolicyTerms

	ownHyper                      []float32 // the environment's hyperparameters
	weights                       []float32 // the same, or nil: see env.Batch
	obsScale                      []float32 // [D], 1/std of the observations
	episodeReturn, episodeLength  []float32 // [B], where an episode ended
	next, carry                   []float32 // [B], [N]: of GAE
	meanAbs, variance, vgsScratch []float64 // one per policy tensor
}

func (x *context) allocate(e *Engine) {
	c := &e.config
	b, m := c.Rows(), c.MinibatchRows()
	f := tensor.AlignedFloats
	tensors := len(e.index.Tensors)
	*x = context{packed: f(e.packedSize), grads: f(e.chunks * e.gradSize), sums: make([]lossSums, e.chunks),
		permutation: make([]int32, b), words: make([]uint32, (b+3)/4*4), sort: host.NewSortScratch(b),
		gathered: f(m), ownHyper: make([]float32, len(e.spec.Hyperparameters)), obsScale: make([]float32, e.spec.ObsDim), episodeReturn: f(b), episodeLength: f(b),
		next: f(b), carry: f(c.Environments),
		meanAbs: make([]float64, tensors), variance: make([]float64, tensors), vgsScratch: make([]float64, tensors)}
}

// take makes m the owned member. Its random numbers follow the seed of its own
// state, which a restored member brings along.
func (x *context) take(m *member) {
	x.member, x.key = m, rng.NewKey(*m.state.Seed)
}

// lossSums are a chunk's sums of the losses' terms.
type lossSums struct{ policy, value, entropy, kl, clipped float64 }

// rowBuffers are a worker's buffers for the rows of a tile outside the networks.
type rowBuffers struct {
	obs                               []float32 // [tileRows][D]
	action, noise                     []float32 // [A][tileRows]
	logProb, advantage, ret, oldValue []float32 // [tileRows]
	reward, shaping, terminated       []float32 // [tileRows]
	words                             []uint32  // [4][tileRows*blocks]
	chosenBy                          []uint32  // [tileRows]
	normals                           []float32 // [4][tileRows*blocks]

	// Arguments of calls that let them escape.
	batch    env.Batch
	stream   rng.Stream
	discrete simd.DiscreteLoss
	several  simd.MultiDiscreteLoss
	gaussian simd.GaussianLoss
	scalar   simd.ValueLoss
	quantile simd.QuantileLoss
	sampleD  simd.SampleDiscrete
	sampleG  simd.SampleGaussian
	adam     simd.AdamStep
}

func (r *rowBuffers) allocate(e *Engine) {
	f := tensor.AlignedFloats
	a := e.spec.Action.N
	blocks := (a + 3) / 4 * tileRows
	*r = rowBuffers{obs: f(tileRows * e.spec.ObsDim), action: f(a * tileRows), noise: f(a * tileRows),
		logProb: f(tileRows), advantage: f(tileRows), ret: f(tileRows), oldValue: f(tileRows),
		reward: f(tileRows), shaping: f(tileRows), terminated: f(tileRows), words: make([]uint32, 4*blocks), chosenBy: make([]uint32, tileRows), normals: f(4 * blocks)}
}
