package conformance

import (
	"fmt"
	"slices"
	"testing"

	"brood/kernels"
)

// lives checks that a member can be lived apart from its population, several times
// side by side, and in part.
func lives(t *testing.T, newEngine Factory) {
	t.Run("FirstMember", func(t *testing.T) {
		sameLives(t, newEngine, func(c *kernels.Config) { c.Population, c.FirstMember = 2, 3 }, []int{3, 4})
	})
	t.Run("Clones", func(t *testing.T) {
		sameLives(t, newEngine, func(c *kernels.Config) { c.Population, c.FirstMember, c.Clones = 3, 2, true }, []int{2, 2, 2})
	})
	t.Run("Clones of the first", func(t *testing.T) {
		sameLives(t, newEngine, func(c *kernels.Config) { c.Population, c.Clones = 2, true }, []int{0, 0})
	})
	t.Run("MinibatchLimit", func(t *testing.T) { minibatchLimit(t, newEngine) })
}

// sameLives: member i of an engine with the changed config is member as[i] of a
// population of five, to the bit, for two iterations and in an evaluation.
func sameLives(t *testing.T, newEngine Factory, change func(*kernels.Config), as []int) {
	c := config()
	c.Env, c.Population = chase(byNumbers), 5
	whole := engine(t, newEngine, c)
	d := *c
	change(&d)
	part := engine(t, newEngine, &d)
	for n := range 3 {
		for i, m := range as {
			sameBits(t, fmt.Sprintf("member %d as member %d after %d iterations", i, m, n), snapshot(t, part, i), snapshot(t, whole, m))
		}
		iterate(t, whole, 1)
		iterate(t, part, 1)
	}
	if digest(snapshot(t, whole, 0)) == digest(snapshot(t, whole, 1)) {
		t.Error("all members of the population are alike: the test shows nothing")
	}
	want, _ := evaluated(t, whole, 3, 1)
	got, _ := evaluated(t, part, 3, 1)
	for i, m := range as {
		if !slices.Equal(got[i], want[m]) {
			t.Errorf("member %d plays for %v, member %d of the population for %v", i, got[i], m, want[m])
		}
	}
}

// minibatchLimit: with a limit of one an update is the first Adam step of an
// update without: that of an engine that the KL divergence stops at the second
// minibatch.
func minibatchLimit(t *testing.T, newEngine Factory) {
	c := config()
	c.Hyperparameters[kernels.LearningRate], c.TargetKL = 1e-2, 1e-5
	unlimited := engine(t, newEngine, c)
	d := *c
	d.MinibatchLimit = 1
	limited := engine(t, newEngine, &d)
	iterate(t, unlimited, 1)
	iterate(t, limited, 1)
	for i := range c.Population {
		all, one := unlimited.MinibatchStats(i), limited.MinibatchStats(i)
		if len(all) != 2 || !all[0].Applied || all[1].Applied {
			t.Fatalf("the unlimited update was to apply one minibatch and stop at the second: %+v", all)
		}
		if len(one) != 1 || one[0] != all[0] {
			t.Errorf("member %d: the limited update did %+v, want %+v alone", i, one, all[0])
		}
		m := snapshot(t, limited, i)
		near(t, "Adam steps", widen(m.Int64(kernels.SectionOptimizer, "step")), []float64{1}, 0, 0)
		sameBits(t, fmt.Sprintf("member %d", i), m, snapshot(t, unlimited, i))
	}
	for limit, want := range map[int]int{4: 4, 6: 6, 100: 6} { // across the end of an epoch, all, more than all
		d := *config()
		d.MinibatchLimit = limit
		e := engine(t, newEngine, &d)
		iterate(t, e, 1)
		if got := len(e.MinibatchStats(0)); got != want {
			t.Errorf("an update limited to %d of 6 minibatches does %d", limit, got)
		}
	}
}

// returns: the last episodes' returns, oldest first, a window of them, the
// member's own.
func returns(t *testing.T, newEngine Factory) {
	c := clockConfig(clock(4, 0))
	e := engine(t, newEngine, c)
	if got := e.Returns(1, nil); len(got) != 0 {
		t.Errorf("the returns before any episode are %v", got)
	}
	book := &bookkeeper{ret: slices.Repeat([]float64{0}, c.Environments), length: slices.Repeat([]float64{0}, c.Environments)}
	follow := func(iterations int) {
		t.Helper()
		for range iterations {
			iterate(t, e, 1)
			var r kernels.Rollout
			check(t, e.ReadRollout(1, &r))
			book.add(&r, c.Environments)
			near(t, "returns", e.Returns(1, nil), book.finished[max(0, len(book.finished)-kernels.EpisodeWindow):], 1e-5, 0)
		}
	}
	follow(16)
	if n := len(e.Returns(1, nil)); n != kernels.EpisodeWindow {
		t.Errorf("after %d episodes there are %d returns, want %d", len(book.finished), n, kernels.EpisodeWindow)
	}
	if got := e.Returns(1, []float64{7, 8}); len(got) != 2+kernels.EpisodeWindow || got[0] != 7 || got[1] != 8 {
		t.Errorf("the returns were not appended: %d begin with %v", len(got), got[:2])
	}
	e.ClearIntervals()
	if n := len(e.Returns(1, nil)); n != kernels.EpisodeWindow {
		t.Errorf("ClearIntervals left %d returns", n)
	}
	check(t, e.Exploit([]kernels.Exploit{{Member: 1, Source: 0, Strategy: kernels.StrategyCopy, Hyperparameters: c.Hyperparameters}}))
	if got := e.Returns(1, nil); len(got) != 0 {
		t.Errorf("an exploit left the returns %v", got)
	}
	if n := len(e.Returns(0, nil)); n != kernels.EpisodeWindow {
		t.Errorf("an exploit left its source %d returns", n)
	}
	book.finished = nil
	follow(2)
	for _, member := range []int{-1, c.Population} {
		if got := e.Returns(member, []float64{7}); !slices.Equal(got, []float64{7}) {
			t.Errorf("the returns of member %d are %v", member, got)
		}
	}
}
