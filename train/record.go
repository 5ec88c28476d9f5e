package train

import (
	"fmt"
	"path/filepath"

	"brood/ckpt"
	"brood/env"
	"brood/kernels/plain"
	"brood/rng"
	"brood/tensor"
)

// Recording is one episode, step by step.
type Recording struct {
	// Env is the environment's ID.
	Env string
	// States [steps+1][S] begin with the first of the episode. Actions [steps]
	// [Action.Width()] and Rewards [steps] lead from each to the next.
	States, Actions [][]float32
	Rewards         []float32
	// Return is the sum of the rewards.
	Return float64
}

// NewestMember returns a member of the newest checkpoint of a run folder, and the
// update of that checkpoint. It may be read while the run goes on.
func NewestMember(dir string, member int) (*Stored, int64, error) {
	s, err := readNewest(dir, func(path string) (*Stored, error) { return readMember(filepath.Join(path, ckpt.MemberFile(member))) })
	if err != nil {
		return nil, 0, err
	}
	return s, s.Step, nil
}

// Record plays one episode with the member's deterministic policy and keeps every
// state. Seed and episode address where it starts.
func (s *Stored) Record(seed uint64, episode uint32) (*Recording, error) {
	c, err := s.engineConfig()
	if err != nil {
		return nil, err
	}
	// A single episode takes no time in plain Go either, whose engine steps every
	// environment by its methods, where the states can be seen.
	recorder := &recorder{Vector: c.Env}
	c.Env = recorder
	engine, err := plain.New(c)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	state := tensor.NewMember(engine.Layout())
	if _, err := s.Restore(state); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	if err := engine.Restore(0, state); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	recorder.recording = &Recording{Env: c.Env.Spec().ID}
	returns, _, err := Play(engine, []int{0}, 1, seed, episode)
	if err != nil {
		return nil, err
	}
	recorder.recording.Return = returns[0][0]
	return recorder.recording, nil
}

// recorder is an environment that keeps what happens to its first instance until the
// first episode ends.
type recorder struct {
	env.Vector
	recording *Recording // nil: nothing is kept yet
	ended     bool
}

// Reset keeps the first state.
func (r *recorder) Reset(b *env.Batch, i int, stream *rng.Stream) {
	r.Vector.Reset(b, i, stream)
	if r.recording != nil && len(r.recording.States) == 0 {
		r.recording.States = append(r.recording.States, r.first(b.State, r.Spec().StateSize, b.Stride))
	}
}

// Step keeps the action, and the state and reward after it.
func (r *recorder) Step(b *env.Batch) {
	record := r.recording != nil && !r.ended
	if record {
		r.recording.Actions = append(r.recording.Actions, r.first(b.Action, r.Spec().Action.Width(), b.Stride))
	}
	r.Vector.Step(b)
	if record {
		r.recording.States = append(r.recording.States, r.first(b.State, r.Spec().StateSize, b.Stride))
		r.recording.Rewards = append(r.recording.Rewards, b.Reward[0])
		r.ended = b.Terminated[0] != 0
	}
}

// first gathers the components of the first instance.
func (r *recorder) first(from []float32, components, stride int) []float32 {
	values := make([]float32, components)
	for c := range values {
		values[c] = from[c*stride]
	}
	return values
}
