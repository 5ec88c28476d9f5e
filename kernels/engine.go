// Package kernels declares the contract between the algorithm's numerical work
// and everything above it. An [Engine] trains all members of a population; the
// packages below implement it: plain (readable Go, the oracle of the tests), cpu
// (SIMD assembly on all cores). The package conformance runs one suite over all
// of them.
package kernels

import (
	"errors"
	"time"

	"brood/tensor"
)

// Engine holds the state of P members on its device and does the numerical work
// of the algorithm on all of them at once. Methods are not safe for concurrent
// use. After a constructor returned it, an Engine holds members whose weights,
// hyperparameters and environments are initialised from the seed.
type Engine interface {
	// Name says which engine and path this is: "plain", "cpu/avx512".
	Name() string
	// Config returns the configuration it was made with.
	Config() *Config
	// Layout is the layout of every member's state.
	Layout() *tensor.Layout

	// Iterate is Collect, Advantages and Update for every member, and what ends
	// an iteration: normalisation statistics, episode windows, counters. stats
	// has P elements and is overwritten.
	Iterate(stats []Stats) error
	// Collect fills the rollout of every member: T steps of N environments.
	Collect() error
	// Advantages computes GAE from the rollout and its values.
	Advantages() error
	// Update runs all epochs over the rollout.
	Update() error

	// Exploit carries out all exploits as if at one moment, each by the rules of
	// the layout and its strategy, and then sets the hyperparameters given.
	// It changes nothing if it returns an error.
	Exploit(exploits []Exploit) error
	// SetHyperparameters takes effect at the next update.
	SetHyperparameters(member int, h Hyperparameters) error
	// Score returns the mean true return of the episodes the member finished
	// since the last ClearIntervals, or of its last EpisodeWindow episodes where
	// those are more, and how many these are; NaN and 0 without any.
	Score(member int) (mean float64, episodes int)
	// Returns appends the true returns of the member's last finished episodes to
	// dst, oldest first: at most EpisodeWindow, none of before an exploit.
	Returns(member int, dst []float64) []float64
	// ClearIntervals begins a new interval for every member's score.
	ClearIntervals()

	// Snapshot copies the member's whole state to dst, Restore from src; both
	// are host memory of the engine's layout.
	Snapshot(member int, dst tensor.Member) error
	Restore(member int, src tensor.Member) error
	// BeginSnapshot keeps the states of all members as they are after the iterations
	// begun so far, while training goes on. The function it returns waits for them to
	// arrive in host memory; it may be called from another goroutine, and what it
	// gives is valid until the next BeginSnapshot or Close.
	BeginSnapshot() (states func() ([]tensor.Member, error), err error)

	// Evaluate plays whole episodes with the deterministic policy (the most
	// probable or the mean action) and the normalisation statistics as they are,
	// without touching the members' state. returns and lengths are [members][episodes].
	Evaluate(e Evaluation, returns [][]float64, lengths [][]int) error

	// ReadRollout copies the member's rollout to r, allocating its slices.
	ReadRollout(member int, r *Rollout) error
	// WriteRollout replaces the member's rollout by r, as if Collect had made it,
	// and computes Values from r.Obs with the member's present weights: r.Values,
	// r.Advantages and r.Returns are not read. For tests and for environments
	// that are stepped elsewhere.
	WriteRollout(member int, r *Rollout) error
	// SetPermutations fixes the order of the rows of every coming Update of all
	// members, [epochs][B]; nil goes back to drawn permutations.
	SetPermutations(p [][]int32) error
	// MinibatchStats returns the figures of each minibatch of the member's last
	// Update, those not applied included up to the one that stopped it. The
	// slice is valid until the next Update.
	MinibatchStats(member int) []MinibatchStats
	// Gradient copies the gradient of the loss, after VGS scaling and before
	// clipping, of the member's last computed minibatch to dst, which has the
	// size of the policy section (padding included, see tensor.Member.Floats).
	Gradient(member int, dst []float32) error

	// Profile returns the time spent by phase since the engine was made, summed
	// over threads.
	Profile() Profile
	// Close releases the engine; it may be called twice.
	Close() error
}

// Exploit is one member taking over the state of another.
type Exploit struct {
	Member, Source int
	Strategy       Strategy
	// ScaleMomentum scales a mean that comes from the source by [MomentumScale].
	ScaleMomentum bool
	// Hyperparameters the member has afterwards (the source's, explored).
	Hyperparameters Hyperparameters
}

// Evaluation says which episodes to play.
type Evaluation struct {
	// Members to play; the same starting states for each.
	Members []int
	// Episodes per member: episode i starts from the draw (index i, Time) of the
	// evaluation stream of Seed.
	Episodes int
	Seed     uint64
	Time     uint32
	// MaxSteps ends an episode of an environment without a time limit of its
	// own; 0 means 100,000.
	MaxSteps int
}

// Rollout is a host copy of one member's rollout, in C order, without padding.
// T steps, N environments, D features, A = Action.Width().
type Rollout struct {
	Obs        []float32 // [T][N][D], as the networks see them (normalised)
	Actions    []float32 // [T][N][A], unclipped; the index where discrete
	LogProbs   []float32 // [T][N]
	Values     []float32 // [T][N]
	Rewards    []float32 // [T][N], as the algorithm sees them (normalised)
	Terminated []uint8   // [T][N]
	Truncated  []uint8   // [T][N]
	FinalObs   []float32 // [T][N][D], where truncated; else not meaningful
	LastObs    []float32 // [N][D]
	Advantages []float32 // [T][N]
	Returns    []float32 // [T][N]
}

// MinibatchStats are the figures of one minibatch.
type MinibatchStats struct {
	PolicyLoss, ValueLoss, Entropy, KL, ClipFraction float32
	// GradNorm is taken after VGS and before clipping.
	GradNorm float32
	// VGSScale is the factor VGS multiplied the gradient by; 1 where off.
	VGSScale float32
	// Applied is false for the minibatch that exceeded target_kl.
	Applied bool
}

// Stats summarises one iteration of one member.
type Stats struct {
	// MinibatchStats averages the applied minibatches; Applied is true where
	// there was any.
	MinibatchStats
	// Minibatches is the number of applied minibatches.
	Minibatches int
	// Stopped is true where target_kl ended the updates early.
	Stopped bool
	// LearningRate after the schedule.
	LearningRate float32
	// KLBeta is the KL penalty's coefficient after the iteration.
	KLBeta float32
	// ExplainedVariance of the returns by the values they were bootstrapped
	// from, 1 - Var(R - V)/Var(R); NaN where Var(R) is 0.
	ExplainedVariance float32
	// Episodes finished in this iteration, with the mean, least and largest of
	// their true returns and their mean length; NaN where there were none.
	Episodes                                     int
	ReturnMean, ReturnMin, ReturnMax, LengthMean float64
	// Score and ScoreEpisodes are what Engine.Score gives after the iteration.
	Score         float64
	ScoreEpisodes int
}

// Pipelined is implemented by engines whose device works on while the host does
// not wait: Iterate is Begin and Wait.
type Pipelined interface {
	// Begin queues an iteration. At most two may be begun and not waited for. All
	// other methods see the state after the iterations begun.
	Begin() error
	// Wait waits for the oldest iteration that was begun and overwrites stats, P
	// elements.
	Wait(stats []Stats) error
}

// Phase is a part of an iteration, for profiles.
type Phase int

// The phases.
const (
	PhaseForward    Phase = iota // policy and value of the rollout's observations
	PhaseSample                  // drawing actions
	PhaseStep                    // environments: step, reset, observe
	PhaseAdvantages              // GAE
	PhasePermute                 // permutations
	PhaseGather                  // minibatch rows
	PhaseGradient                // forward, loss and backward of minibatches
	PhaseOptimize                // reduction, VGS, clipping, Adam
	PhaseStatistics              // normalisation and episode statistics
	NumPhases
)

var phaseNames = [NumPhases]string{
	"collect/forward", "collect/sample", "collect/step", "advantages",
	"update/permute", "update/gather", "update/gradient", "update/optimize", "statistics",
}

// String returns the phase's name; a slash separates the part from the whole.
func (p Phase) String() string { return phaseNames[p] }

// Profile is the time spent in each phase.
type Profile [NumPhases]time.Duration

// Errors engines return.
var (
	// ErrClosed is returned by the methods of a closed engine.
	ErrClosed = errors.New("kernels: engine is closed")
	// ErrMember is returned for a member outside the population.
	ErrMember = errors.New("kernels: no such member")
)
