package env

import (
	"math"

	"brood/rng"
)

// External is an environment whose state lies where no engine can copy it, such as in
// another process. What its [Vector.Reset] writes is the seed of an episode and nothing
// else, see [PutSeed]; engines never call Step and Observe, and step the environments
// through a [Session]. A snapshot does not hold such an environment's episodes: they
// begin anew where a state is restored.
type External interface {
	Vector
	// Open makes room for environments in regions, which are commanded and waited for
	// one by one; regions[r] is the number of environments of region r. Environments
	// are numbered from 0 through all regions. One is made when it is first reset.
	// warn is told of failures that the session has dealt with; it is called from
	// Wait, and may be nil.
	Open(regions []int, warn func(message string)) (Session, error)
}

// Session is a number of environments that are stepped outside of the engine. Its
// methods are called from one goroutine at a time.
type Session interface {
	// Lanes is the memory that commands are written to and results are read from. A
	// region's part of it belongs to the session between Begin and Wait.
	Lanes() *Lanes
	// Begin starts what the commands of a region's lanes say.
	Begin(region int) error
	// Wait returns when a region's commands are done.
	Wait(region int) error
	// Close ends all environments; it may be called twice.
	Close() error
}

// Command is what one environment is to do.
type Command = uint8

// The commands.
const (
	// LaneIdle leaves the environment alone, and its lane as it is.
	LaneIdle Command = iota
	// LaneStep takes Action. Where that ends the episode, the next one begins within
	// the same step, from the environment's own random numbers.
	LaneStep
	// LaneReset begins an episode from Seed.
	LaneReset
)

// The bits of a lane's outcome.
const (
	// LaneTerminated: the episode ended by the task's own rule.
	LaneTerminated = 1 << iota
	// LaneTruncated: it was cut off, and not terminated.
	LaneTruncated
	// LaneFailed: it was cut off because the environment failed, and is no episode to
	// judge an agent by. Goes with LaneTruncated.
	LaneFailed
)

// Lanes are one slot of memory per environment, L in all; row-major.
type Lanes struct {
	Command []Command // [L]
	Seed    []uint32  // [L], of LaneReset; below 2^31
	Action  []float32 // [L][Action.Width()], of LaneStep
	// Obs [L][D] is what the next action is chosen by: after the end of an episode the
	// first observation of the next one.
	Obs []float32
	// Final [L][D] is the last observation of an episode that was truncated in this
	// step; it means nothing elsewhere.
	Final   []float32
	Reward  []float32 // [L], true rewards; 0 after LaneReset
	Outcome []uint8   // [L], of LaneStep; 0 after LaneReset
}

// ExternalState is StateSize of an [External].
const ExternalState = 2

// PutSeed draws a seed from r and writes it to the state of environment i of a batch of
// an [External]: 16 bits in each component's float, which holds them exactly.
func PutSeed(b *Batch, i int, r *rng.Stream) {
	seed := r.Uint32() >> 1 // old environments take 31 bits
	b.State[i], b.State[b.Stride+i] = float32(seed&0xffff), float32(seed>>16)
}

// SeedOf reads what [PutSeed] wrote.
func SeedOf(b *Batch, i int) uint32 {
	return uint32(b.State[i]) | uint32(b.State[b.Stride+i])<<16
}

// FirstNotFinite returns the index of the first value that is NaN or infinite, -1
// where all are finite.
func FirstNotFinite(x []float32) int {
	for i, v := range x {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return i
		}
	}
	return -1
}
