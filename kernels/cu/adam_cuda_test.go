//go:build cuda

package cu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"brood/kernels"
	"brood/kernels/host"
	"brood/tensor"
)

// coefficientsOf are plausible ones that differ between members.
func coefficientsOf(m int) Coefficients {
	return Coefficients{GradScale: 0.5 + 0.1*float32(m), Beta1: 0.9, Beta2: 0.99, StepSize: 0.01, InvSqrtBias2: 1.5, Eps: 1e-5,
		Decay: 0.999, Apply: 1}
}

// adam runs the kernel with a random gradient from states, which are then what
// the plain step makes of them.
func (f *fixture) adam(random *rand.Rand, states []*host.State, coefficients []Coefficients) {
	size := int(f.params.PolicySize)
	gradient := randoms(random, len(states)*size, 0) // the padding too: it must not be used
	upload(f, f.params.Gradient, gradient)
	upload(f, f.params.Coefficients, coefficients)
	f.run(func() error { return f.k.Adam(f.stream, &f.params) })
	for m, s := range states {
		if coefficients[m].Apply == 0 {
			continue
		}
		for _, c := range f.plan.Chunks {
			from, to := c.Offset, c.Offset+c.Len
			PlainAdam(s.Policy[from:to], s.ExpAvg[from:to], s.ExpAvgSq[from:to], gradient[m*size:][from:to], &coefficients[m])
		}
	}
}

func TestAdam(t *testing.T) {
	for name, change := range map[string]func(*kernels.Config){
		"odd":    nil,
		"chunks": func(c *kernels.Config) { c.Population, c.Hidden = 1, []int{33, 62} },
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(11, 12))
			f := newFixture(t, aroundConfig(change))
			states := f.shakeStates(random)
			var coefficients []Coefficients
			for m := range states {
				coefficients = append(coefficients, coefficientsOf(m))
			}
			f.adam(random, states, coefficients)
			for m, got := range f.states() {
				checkCloseWeights(t, m, states[m], host.NewState(got))
				checkState(t, withoutWeights(states[m]), withoutWeights(host.NewState(got)))
			}
		})
	}
}

// checkCloseWeights allows 1e-6 of the numbers' usual size, which is 1: terms may
// cancel.
func checkCloseWeights(t *testing.T, m int, want, got *host.State) {
	t.Helper()
	for _, x := range []struct {
		name      string
		want, got []float32
	}{{"weight", want.Policy, got.Policy}, {"exp_avg", want.ExpAvg, got.ExpAvg}, {"exp_avg_sq", want.ExpAvgSq, got.ExpAvgSq}} {
		for i := range x.want {
			if !near(float64(x.want[i]), float64(x.got[i]), 1) {
				t.Fatalf("member %d: %s %d is %v, want %v", m, x.name, i, x.got[i], x.want[i])
			}
		}
	}
}

func withoutWeights(s *host.State) tensor.Member {
	for _, x := range [][]float32{s.Policy, s.ExpAvg, s.ExpAvgSq} {
		clear(x)
	}
	return s.Member
}

// A member whose minibatch is not applied stays as it is, and one whose
// coefficients are NaN loses its weights but neither its padding nor another
// member's weights.
func TestAdamAppliesWhereItShould(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 14))
	f := newFixture(t, aroundConfig(nil))
	states := f.shakeStates(random)
	before := states[0].Member.Clone()
	coefficients := []Coefficients{coefficientsOf(0), coefficientsOf(1), coefficientsOf(2)}
	coefficients[0].Apply = 0
	coefficients[1].GradScale = float32(math.NaN())
	f.adam(random, states, coefficients)
	after := f.states()
	if !slices.Equal(before.Bytes(), after[0].Bytes()) {
		t.Error("member 0 has changed")
	}
	checkCloseWeights(t, 2, states[2], host.NewState(after[2]))
	got, weights := host.NewState(after[1]), make([]bool, f.params.PolicySize)
	for _, k := range f.plan.Index.Tensors {
		for i := range k.Len {
			weights[k.Offset+i] = true
		}
	}
	for i, is := range weights {
		for _, x := range []float32{got.Policy[i], got.ExpAvg[i], got.ExpAvgSq[i]} {
			if (x != x) != is || (!is && x != 0) {
				t.Fatalf("float %d of member 1, a weight %v, is %v", i, is, x)
			}
		}
	}
}
