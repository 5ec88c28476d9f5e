package conformance

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"brood/env"
	"brood/kernels"
	"brood/rng"
)

// draws holds the engine to the address of every random number, recomputed here
// from the generator alone, so that engines draw the same and no number twice.
func draws(t *testing.T, newEngine Factory) {
	t.Run("reset", func(t *testing.T) { resetDraws(t, newEngine) })
	t.Run("discrete actions", func(t *testing.T) { discreteDraws(t, newEngine) })
	t.Run("several choices", func(t *testing.T) { multiDiscreteDraws(t, newEngine) })
	t.Run("continuous actions", func(t *testing.T) { continuousDraws(t, newEngine) })
	t.Run("permutations", func(t *testing.T) { permutationDraws(t, newEngine) })
	t.Run("evaluation", func(t *testing.T) {
		e := engine(t, newEngine, clockConfig(clock(6, 0)))
		returns, _ := evaluated(t, e, 4, 9)
		for i, got := range returns[1] {
			r := rng.NewKey(3).Stream(uint32(i), rng.Address{Time: 9, Stream: rng.Eval, Purpose: rng.Reset})
			near(t, fmt.Sprintf("return of episode %d", i), []float64{got}, []float64{6 * float64(1+r.IntN(1000)) / 8}, 1e-9, 0)
		}
	})
}

// resetDraws: the clock's number is drawn at the vector step of the reset.
func resetDraws(t *testing.T, newEngine Factory) {
	c := clockConfig(clock(4, 0))
	e := engine(t, newEngine, c)
	key := rng.NewKey(c.Seed)
	for iteration := range 3 {
		iterate(t, e, 1)
		var r kernels.Rollout
		check(t, e.ReadRollout(1, &r))
		for i := range r.Rewards {
			step, n := iteration*c.Steps+i/c.Environments, i%c.Environments
			stream := key.Stream(uint32(n), rng.Address{Time: uint32(step / 4 * 4), Member: 1, Stream: rng.Train, Purpose: rng.Reset})
			if want := float32(1+stream.IntN(1000)) / 8; r.Obs[2*i+1] != want {
				t.Fatalf("vector step %d, environment %d: the number drawn at the reset is %v, want %v", step, n, r.Obs[2*i+1], want)
			}
		}
	}
}

// collectWith restores a member 1 whose actor gives zero whatever it sees, does
// one iteration and returns the next one's rollout.
func collectWith(t *testing.T, newEngine Factory, c *kernels.Config) *kernels.Rollout {
	t.Helper()
	e := engine(t, newEngine, c)
	iterate(t, e, 1)
	m := snapshot(t, e, 1)
	clear(m.Float32(kernels.SectionPolicy, "actor.4.weight"))
	clear(m.Float32(kernels.SectionPolicy, "actor.4.bias"))
	if !c.Env.Spec().Action.Discrete {
		clear(m.Float32(kernels.SectionPolicy, "log_std"))
	}
	check(t, e.Restore(1, m))
	check(t, e.Collect())
	r := &kernels.Rollout{}
	check(t, e.ReadRollout(1, r))
	return r
}

func discreteDraws(t *testing.T, newEngine Factory) {
	c := clockConfig(echo(discrete(4), 6))
	r := collectWith(t, newEngine, c)
	for i, got := range r.Actions {
		at := rng.Address{Time: uint32(c.Steps + i/c.Environments), Member: 1, Stream: rng.Train, Purpose: rng.Action}
		u := rng.Uniform(rng.NewKey(c.Seed).Block(uint32(i%c.Environments), at)[0])
		if want := float32(int(4 * u)); got != want {
			t.Fatalf("row %d: action %v of four equally likely ones at %v, want %v", i, got, u, want)
		}
	}
}

// multiDiscreteDraws: each component of an action has a word of its own.
func multiDiscreteDraws(t *testing.T, newEngine Factory) {
	for _, nvec := range [][]int{{3, 2}, {3, 2, 4, 1, 5, 2}} {
		c := clockConfig(echo(env.MultiDiscrete(nvec...), 6))
		r := collectWith(t, newEngine, c)
		for i := range c.Rows() {
			at := rng.Address{Time: uint32(c.Steps + i/c.Environments), Member: 1, Stream: rng.Train, Purpose: rng.Action}
			logProb, sum, blocks := 0.0, float32(0), (len(nvec)+3)/4
			for a, n := range nvec {
				w := rng.NewKey(c.Seed).Block(uint32(i%c.Environments*blocks+a/4), at)
				want := float32(int(float32(n) * rng.Uniform(w[a%4])))
				if got := r.Actions[i*len(nvec)+a]; got != want {
					t.Fatalf("nvec %v, row %d, component %d: choice %v, want %v", nvec, i, a, got, want)
				}
				logProb -= math.Log(float64(n))
				sum += want
			}
			near(t, "log probability of a uniform policy", []float64{float64(r.LogProbs[i])}, []float64{logProb}, 1e-6, 1e-6)
			if r.Rewards[i] != sum {
				t.Fatalf("nvec %v, row %d: the environment saw choices whose sum is %v, want %v", nvec, i, r.Rewards[i], sum)
			}
		}
	}
}

func continuousDraws(t *testing.T, newEngine Factory) {
	const dims = 6
	c := clockConfig(echo(continuous(dims, 2), 6))
	r := collectWith(t, newEngine, c)
	var want []float64
	for i := range c.Rows() {
		at := rng.Address{Time: uint32(c.Steps + i/c.Environments), Member: 1, Stream: rng.Train, Purpose: rng.Action}
		for a := range dims {
			w := rng.NewKey(c.Seed).Block(uint32(i%c.Environments*2+a/4), at)
			z0, z1 := rng.Normals(w[a%4/2*2], w[a%4/2*2+1])
			want = append(want, float64([2]float32{z0, z1}[a%2]))
		}
	}
	near(t, "actions of a standard normal policy", widen(r.Actions), want, 2e-6, 1e-5)
}

// permutationDraws: drawn permutations update the weights exactly as the same
// ones do when given.
func permutationDraws(t *testing.T, newEngine Factory) {
	c := config()
	c.Steps = 13 // rows not a multiple of 4
	c.Minibatches = 5
	drawn, given := engine(t, newEngine, c), engine(t, newEngine, c)
	for u := range 3 {
		var orders [][]int32
		for epoch := range c.Epochs {
			at := rng.Address{Time: uint32(u*c.Epochs + epoch), Member: 1, Stream: rng.Train, Purpose: rng.Permutation}
			word := func(row int32) uint32 { return rng.NewKey(c.Seed).Block(uint32(row/4), at)[row%4] }
			order := identity(c.Rows())
			slices.SortStableFunc(order, func(a, b int32) int {
				if word(a) < word(b) {
					return -1
				} else if word(a) > word(b) {
					return 1
				}
				return 0
			})
			orders = append(orders, order)
		}
		check(t, given.SetPermutations(orders))
		iterate(t, drawn, 1)
		iterate(t, given, 1)
		sameBits(t, fmt.Sprintf("after %d updates", u+1), snapshot(t, drawn, 1), snapshot(t, given, 1))
	}
	check(t, given.SetPermutations(nil))
	iterate(t, drawn, 1)
	iterate(t, given, 1)
	sameBits(t, "after going back to drawn permutations", snapshot(t, drawn, 1), snapshot(t, given, 1))
}
