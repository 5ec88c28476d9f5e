// Package witness lets the CPU engine play a stored agent in tests, and writes down
// what it sees and does, for comparison with another program that acts by the same
// file.
package witness

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/ckpt"
	"brood/env"
	"brood/kernels"
	"brood/kernels/cpu"
	"brood/tensor"
)

// Witness passes an environment on and writes down what is seen and done there.
type Witness struct {
	env.Vector
	mutex sync.Mutex
	// Seen are the observations, and Actions [len(Seen)][Width] what was done there.
	Seen    [][]float32
	Actions []float32
	// only, where it is not 0, is the number of environments of the calls that count.
	only int
}

// Observe is the environment's.
func (w *Witness) Observe(b *env.Batch, obs []float32, ld int) {
	w.Vector.Observe(b, obs, ld)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.only != 0 && b.N != w.only {
		return
	}
	for i := range b.N {
		w.Seen = append(w.Seen, append([]float32{}, obs[i*ld:i*ld+w.Spec().ObsDim]...))
	}
}

// Step is the environment's.
func (w *Witness) Step(b *env.Batch) {
	w.mutex.Lock()
	for i := range b.N {
		for c := range w.Spec().Action.Width() {
			w.Actions = append(w.Actions, b.Action[c*b.Stride+i])
		}
	}
	w.mutex.Unlock()
	w.Vector.Step(b)
}

// RequireSameActions compares what was done with what another program does on the
// observations that were seen, by its own arithmetic in single precision.
func (w *Witness) RequireSameActions(t testing.TB, theirs []float32) {
	t.Helper()
	require.Len(t, theirs, len(w.Actions))
	differ, kinds := 0, map[float32]int{}
	for i, action := range w.Actions {
		kinds[action]++
		if d := action - theirs[i]; !(d <= 1e-4 && d >= -1e-4) {
			differ++
		}
	}
	require.Greater(t, len(kinds), 1, "it does the same everywhere: that would prove little")
	// Of discrete actions one in thousands can be as good as another, to rounding.
	require.LessOrEqual(t, differ, len(theirs)/1000, "of %d actions", len(theirs))
	t.Logf("%d actions, %d differ", len(theirs), differ)
}

// Play plays episodes with the deterministic policy of a checkpoint, as `brood eval`
// does. c is an engine's configuration of the checkpoint's run.
func Play(t testing.TB, c *kernels.Config, checkpoint *ckpt.Checkpoint, episodes int) *Witness {
	engine, w := open(t, c, checkpoint)
	defer engine.Close()
	returns, lengths := [][]float64{make([]float64, episodes)}, [][]int{make([]int, episodes)}
	require.NoError(t, engine.Evaluate(kernels.Evaluation{Members: []int{0}, Episodes: episodes, Seed: 1}, returns, lengths))
	require.Equal(t, len(w.Seen)*w.Spec().Action.Width(), len(w.Actions))
	return w
}

// Values returns observations of a rollout and the critic's values of them.
func Values(t testing.TB, c *kernels.Config, checkpoint *ckpt.Checkpoint) (observations [][]float32, values []float32) {
	engine, w := open(t, c, checkpoint)
	defer engine.Close()
	// An engine observes an environment on its own at the end of an episode, and all
	// of them, in the order of the rollout's rows, where they are few enough for one
	// tile.
	w.only = engine.Config().Environments
	require.True(t, 1 < w.only && w.only < 128, "%d environments", w.only)
	require.NoError(t, engine.Collect())
	var r kernels.Rollout
	require.NoError(t, engine.ReadRollout(0, &r))
	require.Greater(t, len(w.Seen), len(r.Values))
	return w.Seen[:len(r.Values)], r.Values
}

// open makes an engine of one member in the state of the checkpoint.
func open(t testing.TB, c *kernels.Config, checkpoint *ckpt.Checkpoint) (kernels.Engine, *Witness) {
	one := *c
	w := &Witness{Vector: c.Env}
	one.Env, one.Population, one.Threads = w, 1, 1
	engine, err := cpu.New(&one)
	require.NoError(t, err)
	state := tensor.NewMember(engine.Layout())
	_, err = checkpoint.Restore(state)
	require.NoError(t, err)
	require.NoError(t, engine.Restore(0, state))
	w.Seen, w.Actions = nil, nil
	return engine, w
}
