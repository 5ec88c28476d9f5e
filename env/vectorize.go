package env

import (
	"fmt"
	"sync"

	"brood/rng"
)

// Vectorize steps a user's environment in batches: it gathers the state of one
// environment after the other into contiguous memory, calls e, and scatters the
// result; of a [Shaped] environment it computes the shaping rewards where the batch
// asks for them. It panics where [ValidateSpec] reports an error, or an
// environment with hyperparameters is not Shaped; [Make] returns that error
// instead.
func Vectorize(e Env) Vector {
	v, err := vectorize(e)
	if err != nil {
		panic(fmt.Sprintf("env: Vectorize: %v", err))
	}
	return v
}

func vectorize(e Env) (Vector, error) {
	spec := e.Spec()
	if err := ValidateSpec(spec); err != nil {
		return nil, err
	}
	shaped, ok := e.(Shaped)
	if len(spec.Hyperparameters) > 0 && !ok {
		return nil, fmt.Errorf("Spec.Hyperparameters has %d elements, want none of an environment without the method StepShaped", len(spec.Hyperparameters))
	}
	return &vectorized{env: e, shaped: shaped, spec: spec}, nil
}

type vectorized struct {
	env    Env
	shaped Shaped // env, or nil where it is not one
	spec   Spec

	// free holds the scratch memory that no call uses at the moment. Arguments of
	// an interface's methods escape to the heap, so arrays on the stack would cost
	// an allocation per call; and a sync.Pool may be emptied by any collection.
	mu   sync.Mutex
	free []*scratch
}

// scratch is one goroutine's memory: state [S] and action [Action.Width()] of a
// single environment.
type scratch struct {
	state, action []float32
}

// take returns scratch memory; only the first calls of as many goroutines as run
// at once allocate.
func (v *vectorized) take() *scratch {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := len(v.free); n > 0 {
		s := v.free[n-1]
		v.free = v.free[:n-1]
		return s
	}
	// A cache line more than needed, so that two goroutines' memory does not share
	// one.
	size, width := v.spec.StateSize, v.spec.Action.Width()
	memory := make([]float32, size+width, size+width+16)
	return &scratch{state: memory[:size:size], action: memory[size : size+width : size+width]}
}

func (v *vectorized) put(s *scratch) {
	v.mu.Lock()
	v.free = append(v.free, s)
	v.mu.Unlock()
}

func (v *vectorized) Spec() Spec { return v.spec }

func (v *vectorized) Reset(b *Batch, i int, r *rng.Stream) {
	s := v.take()
	defer v.put(s)
	clear(s.state)
	v.env.Reset(s.state, r)
	scatter(b, i, s.state)
}

func (v *vectorized) Observe(b *Batch, obs []float32, ld int) {
	s := v.take()
	defer v.put(s)
	d := v.spec.ObsDim
	for i := range b.N {
		gather(s.state, b, i)
		v.env.Observe(s.state, obs[i*ld:i*ld+d:i*ld+d])
	}
}

func (v *vectorized) Step(b *Batch) {
	s := v.take()
	defer v.put(s)
	for i := range b.N {
		gather(s.state, b, i)
		for c := range s.action {
			s.action[c] = b.Action[c*b.Stride+i]
		}
		var reward float32
		var terminated bool
		if b.Hyperparameters == nil {
			reward, terminated = v.env.Step(s.state, s.action)
		} else {
			reward, b.Shaping[i], terminated = v.shaped.StepShaped(s.state, s.action, b.Hyperparameters)
		}
		scatter(b, i, s.state)
		b.Reward[i] = reward
		b.Terminated[i] = flag(terminated)
	}
}

func gather(state []float32, b *Batch, i int) {
	for c := range state {
		state[c] = b.State[c*b.Stride+i]
	}
}

func scatter(b *Batch, i int, state []float32) {
	for c, x := range state {
		b.State[c*b.Stride+i] = x
	}
}
