//go:build cuda

package cu

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"brood/kernels"
	"brood/kernels/host"
	"brood/rng"
)

// The order must be the host's to the row: a run may move between engines.
func TestPermute(t *testing.T) {
	for _, k := range []struct{ members, environments, steps, epochs int }{
		{1, 1, 1, 3}, {3, 7, 5, 3}, {1, 8, 4, 2}, {3, 33, 31, 3}, {2, 1500, 2, 3},
		{1, 4500, 1, 1}, // more than a warp loads at once
	} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			f := newFixture(t, aroundConfig(func(c *kernels.Config) {
				c.Population, c.Environments, c.Steps, c.Epochs = k.members, k.environments, k.steps, k.epochs
				c.Minibatches, c.NormalizeAdvantage = 1, false
			}))
			f.params.FirstMember = 5
			var states []*host.State
			for m, member := range f.states() {
				s := host.NewState(member)
				*s.Updates, *s.Seed = math.MaxInt32-1+int64(m), 0xfedcba9876543210+uint64(m)
				f.setState(m, member)
				states = append(states, s)
			}
			f.run(func() error { return f.k.Permute(f.stream, &f.params) })
			rows := k.environments * k.steps
			got := download[int32](f, f.params.Order, k.members*k.epochs*rows)
			want, scratch := make([]int32, rows), host.NewSortScratch(rows)
			for m, s := range states {
				for e := range k.epochs {
					host.Permutation(want, rng.NewKey(*s.Seed), host.PermutationAddress(5+m, *s.Updates, k.epochs, e), scratch)
					if at := (m*k.epochs + e) * rows; !slices.Equal(want, got[at:at+rows]) {
						t.Fatalf("member %d epoch %d: another order than the host's", m, e)
					}
				}
			}
		})
	}
}
