//go:build cuda

package gpu

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/kernels"
	"brood/kernels/cu"
	"brood/kernels/plain"
	"brood/softcuda/control"
	"brood/tensor"
)

func states(t *testing.T, e kernels.Engine) []tensor.Member {
	t.Helper()
	var all []tensor.Member
	for i := range e.Config().Population {
		m := tensor.NewMember(e.Layout())
		require.NoError(t, e.Snapshot(i, m))
		all = append(all, m)
	}
	return all
}

// Whole iterations with environments on the device, against the plain engine: in
// one launch, and step by step. The environments' states, rewards and resets, the
// weights and every statistic must agree.
func TestNativeEnvironmentsAgainstPlain(t *testing.T) {
	control.NeedGPUs(t, 1)
	for _, id := range cu.NativeEnvs {
		for _, tiled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tiled=%v", id, tiled), func(t *testing.T) {
				c := small(t, id)
				c.Environments, c.Steps = 7, 12
				e, err := newEngine(c, tiled, 0)
				require.NoError(t, err)
				defer e.Close()
				require.Equal(t, !tiled, e.(*Engine).shards[0].plan.FusedRollout)
				reference, err := plain.New(c)
				require.NoError(t, err)
				nearTheEnd(t, e, reference)
				stats, want := make([]kernels.Stats, c.Population), make([]kernels.Stats, c.Population)
				for i := range 2 {
					require.NoError(t, e.Iterate(stats))
					require.NoError(t, reference.Iterate(want))
					for m := range stats {
						require.True(t, i > 0 || want[m].Episodes > 0, "no episode ended: the test shows too little")
						require.Equal(t, want[m].Episodes, stats[m].Episodes)
						require.Equal(t, want[m].ScoreEpisodes, stats[m].ScoreEpisodes)
						require.InDelta(t, want[m].Score, stats[m].Score, 1e-2)
					}
				}
				nearStates(t, states(t, e), states(t, reference))
			})
		}
	}
}

// nearTheEnd lets some episodes of both engines end by their time limit within
// the next iteration.
func nearTheEnd(t *testing.T, engines ...kernels.Engine) {
	for _, e := range engines {
		limit := float32(e.Config().Env.Spec().MaxEpisodeSteps)
		for i, m := range states(t, e) {
			length := m.Float32(kernels.SectionEnvironment, "episode_length")
			for n := 0; n < len(length); n += 3 {
				length[n] = limit - float32(3+n)
			}
			require.NoError(t, e.Restore(i, m))
		}
	}
}

func nearStates(t *testing.T, got, want []tensor.Member) {
	t.Helper()
	for i := range want {
		for _, s := range want[i].Layout().Sections() {
			for j := range s.Tensors {
				name := s.Tensors[j].Name
				if s.Tensors[j].DType != tensor.Float32 {
					continue
				}
				g, w := got[i].Float32(s.Name, name), want[i].Float32(s.Name, name)
				for k := range w {
					// Adam's first steps are as large for a gradient of rounding errors as
					// for any other, so weights may differ by a fraction of the step.
					bound := 2e-3 + 2e-3*math.Abs(float64(w[k]))
					require.InDelta(t, w[k], g[k], bound, "member %d: %s/%s[%d]", i, s.Name, name, k)
				}
			}
		}
	}
}

func TestPipeline(t *testing.T) {
	control.NeedGPUs(t, 1)
	c := small(t, "CartPole-v1")
	e, err := New(c)
	require.NoError(t, err)
	defer e.Close()
	reference, err := New(c)
	require.NoError(t, err)
	defer reference.Close()
	ahead := e.(*Engine)
	stats, want := make([]kernels.Stats, c.Population), make([]kernels.Stats, c.Population)

	require.ErrorContains(t, ahead.Wait(stats), "no iteration was begun")
	require.NoError(t, ahead.Begin())
	for range 4 {
		require.NoError(t, ahead.Begin())
		require.ErrorContains(t, ahead.Begin(), "2 iterations are begun already")
		require.NoError(t, ahead.Wait(stats))
		require.NoError(t, reference.Iterate(want))
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(stats), "NaN where there is none")
	}
	require.NoError(t, ahead.Wait(stats))
	require.NoError(t, reference.Iterate(want))
	require.Equal(t, tensor.Digest(states(t, reference)...), tensor.Digest(states(t, e)...))
}

// A snapshot is of the moment it was begun, whatever is trained until it is read.
func TestSnapshotWhileTraining(t *testing.T) {
	control.NeedGPUs(t, 1)
	c := small(t, "CartPole-v1")
	e, err := New(c)
	require.NoError(t, err)
	defer e.Close()
	stats := make([]kernels.Stats, c.Population)
	for i := range 3 { // the second waits for the memory of the first
		require.NoError(t, e.Iterate(stats))
		want := tensor.Digest(states(t, e)...)
		read, err := e.(*Engine).BeginSnapshot()
		require.NoError(t, err)
		if i == 0 { // nothing else makes the main stream go on
			got, err := read()
			require.NoError(t, err)
			require.Equal(t, want, tensor.Digest(got...))
		}
		require.NoError(t, e.Iterate(stats))
		require.NoError(t, e.Exploit([]kernels.Exploit{{Member: 0, Source: 1, Strategy: kernels.StrategyReset, Hyperparameters: c.Hyperparameters}}))
		got, err := read()
		require.NoError(t, err)
		require.Equal(t, want, tensor.Digest(got...))
		require.NotEqual(t, want, tensor.Digest(states(t, e)...))
	}
}

// An order of rows that is given, and taken back, between iterations counts from
// the next one on, although the graphs of the iterations before were made for
// another.
func TestPermutationsBetweenIterations(t *testing.T) {
	control.NeedGPUs(t, 1)
	c := small(t, "CartPole-v1")
	e, err := New(c)
	require.NoError(t, err)
	defer e.Close()
	stats := make([]kernels.Stats, c.Population)
	backwards := make([]int32, c.Rows())
	for i := range backwards {
		backwards[i] = int32(len(backwards) - 1 - i)
	}
	for _, order := range [][][]int32{{backwards}, nil} {
		require.NoError(t, e.Iterate(stats))
		fresh, err := New(c)
		require.NoError(t, err)
		for m, s := range states(t, e) {
			require.NoError(t, fresh.Restore(m, s))
		}
		for _, x := range []kernels.Engine{e, fresh} {
			require.NoError(t, x.SetPermutations(order))
			require.NoError(t, x.Iterate(stats))
		}
		require.Equal(t, tensor.Digest(states(t, fresh)...), tensor.Digest(states(t, e)...))
		require.NoError(t, fresh.Close())
	}
}
