//go:build cuda

package gpu

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/kernels"
	"brood/kernels/cu"
	"brood/kernels/host"
	"brood/kernels/plain"
	"brood/softcuda/control"
	"brood/tensor"
)

// onHost is a native environment that the engine does not take for one.
type onHost struct{ env.Vector }

// ways are how an engine may collect: in one launch, step by step, and with the
// environments on the host.
var ways = map[string]func(c *kernels.Config) (kernels.Engine, error){
	"fused": newOne,
	"tiled": newTiled,
	"host": func(c *kernels.Config) (kernels.Engine, error) {
		x := *c
		x.Env = onHost{c.Env}
		return New(&x, 0)
	},
}

// both makes an engine and the plain one of a configuration.
func both(t *testing.T, make func(*kernels.Config) (kernels.Engine, error), c *kernels.Config) (e, reference kernels.Engine) {
	t.Helper()
	e, err := make(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	reference, err = plain.New(c)
	require.NoError(t, err)
	return e, reference
}

// sameBits names the first tensor in which two states differ.
func sameBits(t *testing.T, want, got tensor.Member, format string, args ...any) {
	t.Helper()
	for _, s := range want.Layout().Sections() {
		for _, x := range s.Tensors {
			if !bytes.Equal(want.Raw(s.Name, x.Name), got.Raw(s.Name, x.Name)) {
				require.Failf(t, fmt.Sprintf(format, args...), "%s/%s differs", s.Name, x.Name)
			}
		}
	}
	require.True(t, bytes.Equal(want.Bytes(), got.Bytes()), "%s: the padding differs", fmt.Sprintf(format, args...))
}

// Every strategy, with the mean scaled and not, on one GPU and between two, leaves
// the bits that the arena makes on the host.
func TestExploitIsTheArenas(t *testing.T) {
	control.NeedGPUs(t, 2)
	pairs := [][2]int{{0, 3}, {3, 0}, {1, 2}, {4, 3}} // member, source
	for _, devices := range [][]int{{0}, {0, 1}} {
		c := small(t, "MountainCar-v0")
		c.Population = 5
		e, err := New(c, devices...)
		require.NoError(t, err)
		stats := make([]kernels.Stats, c.Population)
		for i, strategy := range kernels.Strategies() {
			for _, scaled := range []bool{false, true} {
				if i%2 == 0 && scaled || i == 0 { // both with steps done and after a reset
					require.NoError(t, e.Iterate(stats))
				}
				arena, err := tensor.NewArena(e.Layout(), c.Population)
				require.NoError(t, err)
				for m, s := range states(t, e) {
					arena.Member(m).CopyFrom(s)
				}
				var list []kernels.Exploit
				for _, p := range pairs {
					h := host.NewState(arena.Member(p[1])).Hyperparameters()
					h[kernels.LearningRate] *= 1.25
					h[kernels.AdamBeta1] = 0.8
					h[kernels.NumHyperparameters] = float32(p[0])
					list = append(list, kernels.Exploit{Member: p[0], Source: p[1], Strategy: strategy, ScaleMomentum: scaled, Hyperparameters: h})
				}
				wanted, err := host.ArenaExploits(c, list, func(m int) *host.State { return host.NewState(arena.Member(m)) })
				require.NoError(t, err)
				require.NoError(t, arena.Exploit(wanted))
				for i := range list {
					host.NewState(arena.Member(list[i].Member)).SetHyperparameters(list[i].Hyperparameters)
				}
				require.NoError(t, e.Exploit(list))
				for m, got := range states(t, e) {
					sameBits(t, arena.Member(m), got, "%v, %s, scaled %v: member %d", devices, strategy, scaled, m)
				}
			}
		}
		require.NoError(t, e.Close())
	}
}

// Clones of a member live what it lives in its population, to the bit: these
// minibatches are too small to be cut into parts.
func TestClones(t *testing.T) {
	control.NeedGPUs(t, 2)
	for name, make := range ways {
		t.Run(name, func(t *testing.T) {
			c := small(t, "CartPole-v1")
			e, reference := both(t, make, c)
			nearTheEnd(t, e, reference)
			before := states(t, e)
			clones := *c
			clones.Population, clones.FirstMember, clones.Clones = 4, 2, true
			x, _ := both(t, make, &clones)
			spread, err := New(&clones, 0, 1)
			require.NoError(t, err)
			defer spread.Close()
			for _, copies := range []kernels.Engine{x, spread} {
				fresh := states(t, copies)
				for m := range fresh {
					sameBits(t, fresh[0], fresh[m], "clone %d begins elsewhere", m)
					require.NoError(t, copies.Restore(m, before[2]))
				}
			}
			for range 2 {
				lives(t, e, 1)
				lives(t, x, 1)
				lives(t, spread, 1)
			}
			want := states(t, e)
			require.NotEqual(t, tensor.Digest(want[1]), tensor.Digest(want[2]))
			for m := range clones.Population {
				sameBits(t, want[2], states(t, x)[m], "clone %d", m)
			}
			if name == "fused" {
				require.Equal(t, tensor.Digest(states(t, x)...), tensor.Digest(states(t, spread)...), "clones on two GPUs")
			}
		})
	}
}

// lives runs iterations.
func lives(t *testing.T, e kernels.Engine, times int) []kernels.Stats {
	t.Helper()
	stats := make([]kernels.Stats, e.Config().Population)
	for range times {
		require.NoError(t, e.Iterate(stats))
	}
	return stats
}

// manyEngines leaves a test out with -short that makes engines of shapes which others have,
// too.
func manyEngines(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out with -short")
	}
}

// A population that begins at a later member draws that member's numbers, on every
// GPU.
func TestFirstMember(t *testing.T) {
	control.NeedGPUs(t, 2)
	manyEngines(t)
	for name, make := range ways {
		t.Run(name, func(t *testing.T) {
			c := small(t, "CartPole-v1")
			c.Population = 4
			all, _ := both(t, make, c)
			part := *c
			part.Population, part.FirstMember = 2, 2
			later, _ := both(t, make, &part)
			lives(t, all, 2)
			lives(t, later, 2)
			for m, s := range states(t, later) {
				sameBits(t, states(t, all)[2+m], s, "member %d", m)
			}
		})
	}
}

// Updates end after so many minibatches, and the KL penalty is adapted to those.
func TestMinibatchLimit(t *testing.T) {
	control.NeedGPUs(t, 1)
	manyEngines(t)
	for _, limit := range []int{1, 4, 6, 100} {
		for _, make := range []func(*kernels.Config) (kernels.Engine, error){newOne, newTiled} {
			c := small(t, "CartPole-v1")
			c.Epochs, c.Minibatches, c.MinibatchLimit = 2, 3, limit
			c.KLPenalty = kernels.KLPenalty{Enabled: true, Beta: 0.2, Min: 1e-4, Max: 100}
			e, reference := both(t, make, c)
			lives(t, e, 2)
			lives(t, reference, 2)
			for m := range c.Population {
				require.Len(t, e.MinibatchStats(m), min(limit, 6), "limit %d", limit)
				require.Equal(t, int64(2*min(limit, 6)), *host.NewState(states(t, e)[m]).Step)
				for i, want := range reference.MinibatchStats(m) {
					require.InDelta(t, want.ValueLoss, e.MinibatchStats(m)[i].ValueLoss, 1e-3)
				}
			}
			nearStates(t, states(t, e), states(t, reference))
		}
	}
}

// Returns are those of the episodes so far, of whichever moment they are asked for.
func TestReturns(t *testing.T) {
	control.NeedGPUs(t, 2)
	c := small(t, "MountainCar-v0")
	c.Environments, c.Steps = 7, 12
	e, reference := both(t, newSpread, c)
	nearTheEnd(t, e, reference)
	same := func() int {
		t.Helper()
		for m := range c.Population {
			got, want := e.Returns(m, []float64{7}), reference.Returns(m, []float64{7})
			require.Equal(t, want, got, "member %d", m)
		}
		return len(reference.Returns(0, nil))
	}
	require.Zero(t, same())
	lives(t, e, 1)
	lives(t, reference, 1)
	first := same()
	require.Positive(t, first)
	nearTheEnd(t, e, reference)
	lives(t, e, 1)
	lives(t, reference, 1)
	require.Greater(t, same(), first)
	x := []kernels.Exploit{{Member: 0, Source: 2, Strategy: kernels.StrategyCopy, Hyperparameters: c.Hyperparameters}}
	require.NoError(t, e.Exploit(x))
	require.NoError(t, reference.Exploit(x))
	require.Zero(t, same())
	require.NotEmpty(t, e.Returns(1, nil))
	require.Nil(t, e.Returns(-1, nil))
}

// Shaping rewards are the algorithm's alone, by each member's own weight, wherever
// the environment is stepped; an exploit takes the weight over.
func TestShaping(t *testing.T) {
	control.NeedGPUs(t, 1)
	manyEngines(t)
	const weight = kernels.NumHyperparameters
	for name, make := range ways {
		for _, normalize := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/normalize=%v", name, normalize), func(t *testing.T) {
				c := small(t, "MountainCar-v0")
				c.Environments, c.Steps, c.NormalizeRewards = 7, 12, normalize
				e, reference := both(t, make, c)
				require.Equal(t, name == "host", e.(*Engine).shards[0].plan.Env == cu.HostEnv)
				nearTheEnd(t, e, reference)
				for _, x := range []kernels.Engine{e, reference} {
					for m, w := range []float32{0, 10, 0.5} {
						h := c.Hyperparameters
						h[weight] = w
						require.NoError(t, x.SetHyperparameters(m, h))
					}
				}
				shapedAlike(t, e, reference, []bool{false, true, true})
				x := []kernels.Exploit{
					{Member: 0, Source: 1, Strategy: kernels.StrategyCopy, Hyperparameters: c.Hyperparameters},
					{Member: 1, Source: 2, Strategy: kernels.StrategyMomentum, Hyperparameters: c.Hyperparameters}}
				x[0].Hyperparameters[weight] = 2
				require.NoError(t, e.Exploit(x))
				require.NoError(t, reference.Exploit(x))
				shapedAlike(t, e, reference, []bool{true, false, true})
			})
		}
	}
}

// shapedAlike runs an iteration of both engines and compares rewards and returns;
// shaped says of each member whether its rewards are to be shaped.
func shapedAlike(t *testing.T, e, reference kernels.Engine, shaped []bool) {
	t.Helper()
	lives(t, e, 1)
	lives(t, reference, 1)
	for m, is := range shaped {
		var got, want kernels.Rollout
		require.NoError(t, e.ReadRollout(m, &got))
		require.NoError(t, reference.ReadRollout(m, &want))
		require.Equal(t, want.Actions, got.Actions)
		unlike := false
		for i := range want.Rewards {
			require.InDelta(t, want.Rewards[i], got.Rewards[i], 2e-5, "member %d: reward %d", m, i)
			unlike = unlike || want.Rewards[i] != want.Rewards[0]
		}
		require.Equal(t, is, unlike, "member %d: the true rewards are all -1", m)
		for _, r := range e.Returns(m, nil) {
			require.Equal(t, float64(int(r)), r, "member %d: a true return is a whole number", m)
		}
		require.Equal(t, reference.Returns(m, nil), e.Returns(m, nil))
	}
	nearStates(t, states(t, e), states(t, reference))
}
