// Package cu holds the CUDA kernels: one operation per .cu file, with a plain Go
// twin of the same base name where the reference engine has none, a launcher
// (build tag cuda), and the built PTX and cubins embedded. Package gpu makes an
// engine of them.
//
// Every kernel is given the same [Params] by value: where everything lies and how
// large it is. Nothing in it changes after construction, so that a captured graph
// stays right; what does change (weights, hyperparameters, counters) lies in
// device memory, in the members' states.
package cu

//go:generate go run ./genparams

// Ptr is an address in device memory; 0 where the configuration has no such
// buffer.
type Ptr uint64

// Limits of the arrays in [Params].
const (
	// MaxLayers is the largest number of linear layers of a network: hidden layers
	// and the output.
	MaxLayers = 8
	// MaxTensors is the largest number of policy tensors: weights and biases of
	// two networks, and log_std.
	MaxTensors = 4*MaxLayers + 1
)

// Layer is a linear layer y = W x + b, W [Out, In] row-major, at offsets in
// floats within the policy section (the same within Adam's moments, the gradient
// and the partial gradients).
type Layer struct{ In, Out, Weight, Bias int32 }

// Span is a policy tensor: offset and length in floats, without padding.
type Span struct{ Offset, Len int32 }

// Network is one of the two networks, and its buffers of the tiled path.
type Network struct {
	// Activation[l] is what layer l gives, after the activation function; the
	// last one's is linear. [P][MaxRows][Layer[l].Out] float32, overwritten.
	Activation [MaxLayers]Ptr
	// Delta are two buffers of gradients by a layer's output, [P][MaxRows][largest
	// Out] float32 with rows Layer[l].Out apart, overwritten. Layer l's is Delta[l%2].
	Delta  [2]Ptr
	Layer  [MaxLayers]Layer
	Layers int32
	// MaxOut is the largest Out of its layers.
	MaxOut int32
}

// The networks' indices.
const (
	ActorNet  = 0
	CriticNet = 1
)

// Offsets says where a member's state (see kernels.Sections) holds what, in bytes
// from the start of the member. Hyperparameter h lies at Hyperparameters + 64 h.
type Offsets struct {
	Policy, ExpAvg, ExpAvgSq, Step                           int32 // float32 [PolicySize] each; int64
	ObsMean, ObsVar, ObsCount                                int32 // float32 [D] each; float64
	RewardMean, RewardVar, RewardCount                       int32 // float32; float32; float64
	VGSMeanAbs, VGSVar, VGSStep                              int32 // float32 [Tensors] each; int64
	KLBeta                                                   int32 // float32
	Hyperparameters                                          int32 // float32 each, 64 bytes apart
	EnvState, EpisodeReturn, EpisodeLength, DiscountedReturn int32 // float32 [S][N]; [N] each
	Returns, ReturnCount, IntervalSum, IntervalCount         int32 // float32 [EpisodeWindow]; int64; float64; int64
	EnvSteps, Updates, Episodes                              int32 // int64 each
	Seed                                                     int32 // uint64
}

// Params is what every kernel is given. P members, N environments, T steps, B =
// T*N rows, row i = t*N + n; D observation features, W numbers per action, A
// outputs of the actor; E epochs, S minibatch steps = epochs*minibatches, M rows
// of a minibatch. All buffers are in device memory.
type Params struct {
	// State [P][Stride] bytes: the members' states in the host's layout.
	State Ptr

	// The rollout.
	Obs            Ptr // [P][B][D] float32, as the networks see them
	RawObs         Ptr // [P][B][D] float32, before normalisation; 0 where off
	Actions        Ptr // [P][B][W] float32, unclipped; the index of each choice where discrete
	LogProbs       Ptr // [P][B] float32
	Values         Ptr // [P][B] float32
	Rewards        Ptr // [P][B] float32, as the algorithm sees them
	Discounted     Ptr // [P][B] float32, the discounted returns G; 0 where rewards are not normalised
	Flags          Ptr // [P][B] uint8: 1 terminated, 2 truncated
	FinalObs       Ptr // [P][B][D] float32, as the networks see them; where truncated
	FinalValues    Ptr // [P][B] float32, V(final_obs); where truncated
	LastObs        Ptr // [P][N][D] float32, as the networks see them
	LastValues     Ptr // [P][N] float32
	FinishedReturn Ptr // [P][B] float32, true return of the episode that ended in the row
	FinishedLength Ptr // [P][B] float32
	Advantages     Ptr // [P][B] float32
	Returns        Ptr // [P][B] float32

	// The stepwise path: environments on the host.
	StageObs    Ptr // [P][N][D] float32, raw, from the host
	StageAction Ptr // [P][N][W] float32, unclipped, for the host

	// The order of rows.
	SortKeys       Ptr // [2][P][E][B] uint32, scratch
	SortRows       Ptr // [P][E][B] int32, scratch
	Order          Ptr // [P][E][B] int32: rows in the order of their sort keys
	AdvantageScale Ptr // [P][S][2] float32: mean and 1/(std + 1e-8) of a minibatch's advantages

	// The update.
	Partial      Ptr // [P][Splits][PolicySize] float32, gradients of parts of the minibatch
	LossSums     Ptr // [P][Splits][LossTerms] float64, sums over the rows of a part
	Gradient     Ptr // [P][PolicySize] float32, of the minibatch, before VGS and clipping; padding 0
	Chunks       Ptr // [ChunkCount] Chunk, constant
	ChunkSums    Ptr // [P][ChunkCount][3] float64: sums of |g|, g and g^2
	Coefficients Ptr // [P] Coefficients
	Minibatches  Ptr // [P][S] Minibatch
	Progress     Ptr // [P] Progress

	// The end of an iteration.
	Moments  Ptr // [P][MomentChunks][D+3][2] float64: mean and sum of squared deviations of a chunk of rows
	Finished Ptr // [P][B] int32, scratch: rows in which episodes ended, in order
	Reports  Ptr // [P] Report

	// Exploits.
	Staging            Ptr // [P][Stride] bytes, scratch
	Segments           Ptr // [treatments][SegmentCount] Segment, constant
	Pairs              Ptr // [P] Pair
	NewHyperparameters Ptr // [P][MaxHyperparameters] float32, of the pairs

	// ActionLow and ActionHigh [A] float32 bound continuous actions; else 0.
	ActionLow, ActionHigh Ptr
	// Choices [W] int32, constant, of the components of an action that is several
	// choices, whose logits lie one after the other; else 0.
	Choices Ptr

	// Stride is the size of a member's state in bytes.
	Stride int64
	// TotalUpdates is the length of the run, for the linear schedule.
	TotalUpdates int64

	Net    [2]Network
	Tensor [MaxTensors]Span
	Offset Offsets

	// Members is P. Member m draws the random numbers of member FirstMember +
	// MemberStep m of the whole population.
	Members, FirstMember                        int32
	Environments, Steps, Rows                   int32 // N, T, B
	ObsDim, ActionWidth, ActionCount, StateSize int32 // D, W, A, S of the environment
	Epochs, MinibatchCount, MinibatchRows       int32 // E, minibatches per epoch, M
	// MaxRows is the number of rows per member that the networks' buffers hold.
	MaxRows int32
	// PolicySize is the policy section's size in floats, padding included.
	PolicySize int32
	// Tensors is the number of policy tensors.
	Tensors int32
	// LogStd is the offset of log_std in the policy section; -1 where discrete.
	LogStd int32
	// Splits is the number of parts a minibatch's rows are cut into, SplitRows the
	// rows of each but the last, which may have fewer.
	Splits, SplitRows        int32
	ChunkCount, MomentChunks int32
	SegmentCount             int32
	MaxEpisodeSteps          int32

	// Switches, 0 or 1.
	Discrete, Relu, Quantile                                    int32
	NormalizeAdvantage, NormalizeObservations, NormalizeRewards int32
	KLPenalty, VGS, LinearSchedule                              int32
	VGSWarmup                                                   int32

	// Kappa is the quantile Huber loss's threshold.
	Kappa                          float32
	TargetKL                       float32
	KLMin, KLMax                   float32
	VGSBeta, VGSEps, VGSPercentile float32

	// MemberStep is 1, or 0 where all members draw the same random numbers.
	MemberStep int32
	// HyperCount is the number of hyperparameters in a member's state, those of the
	// environment included.
	HyperCount int32
	_          int32
}

// Rows says over which rows of each member the networks run in the tiled path.
type Rows struct {
	// Input is the first row of the first member, [D] float32 each, contiguous.
	Input Ptr
	// Stride in floats from one member's first row to the next member's.
	Stride int64
	// Index of the rows, int32 each: row i is Input row Index[i]; 0: row i itself.
	Index Ptr
	// IndexStride in elements from one member's index to the next member's.
	IndexStride int64
	// Count of rows per member, at most MaxRows.
	Count int32
	// First and Last network to run: ActorNet, CriticNet.
	First, Last int32
	// Members to run: the first Members of the population.
	Members int32
}

// Chunk is a part of a policy tensor that one block of the optimizer treats.
type Chunk struct {
	Tensor int32
	// Offset in the policy section and Len, in floats.
	Offset, Len int32
	_           int32
}

// ChunkLen is the largest Len of a [Chunk].
const ChunkLen = 1024

// Coefficients of one member's Adam step; see host.AdamStep.
type Coefficients struct {
	// GradScale is VGS's factor times the clipping coefficient.
	GradScale, Beta1, Beta2, StepSize, InvSqrtBias2, Eps, Decay float32
	// Apply is 0 where the minibatch is not applied.
	Apply int32
}

// Minibatch are the figures of one minibatch; see kernels.MinibatchStats.
type Minibatch struct {
	PolicyLoss, ValueLoss, Entropy, KL, ClipFraction, GradNorm, VGSScale float32
	Applied                                                              int32
}

// The terms of LossSums: sums over rows.
const (
	TermPolicy = iota
	TermValue
	TermEntropy
	TermKL
	TermClipped
	LossTerms
)

// Progress is how far a member's update has come.
type Progress struct {
	// Computed minibatches of this update, the one that stopped it included.
	Computed int32
	// Stopped is 1 once target_kl ended it.
	Stopped int32
}

// Report is what an iteration tells the host of a member, besides its
// minibatches.
type Report struct {
	// Sum, LengthSum, Min and Max are of the finished episodes' true returns.
	Sum, LengthSum, Min, Max float64
	Episodes                 int64
	// Score and ScoreEpisodes are what the member is judged by after the iteration;
	// see host.State.Score.
	Score                float64
	ScoreEpisodes        int64
	LearningRate, KLBeta float32
	// ExplainedVariance is NaN where the returns do not vary.
	ExplainedVariance float32
	_                 int32
}

// Segment is a run of bytes of a member's state that an exploit treats alike.
type Segment struct {
	// Offset in the member, and Source in the source, of what it is made from.
	Offset, Source, Bytes int64
	// Effect is one of the constants below.
	Effect int64
}

// Bits of Flags.
const (
	Terminated = 1
	Truncated  = 2
)

// What an exploit does to a [Segment]. Segments that are kept are in no list.
const (
	EffectCopy = 1
	EffectZero = 2
	// EffectScale and EffectSquare are tensor.Scaled and tensor.Squared.
	EffectScale  = 3
	EffectSquare = 4
)

// Pair is one exploit.
type Pair struct {
	Member, Source int32
	// Treatment is the index of a row of Segments.
	Treatment int32
	_         int32
}
