package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"brood/env"
	"brood/kernels"
	"brood/tensor"
)

// madeUp is a section for each rule, to show that whatever is in the layout is
// treated by its rule.
func madeUp() []tensor.Section {
	x := func(name string) []tensor.Spec {
		return []tensor.Spec{{Name: name, Shape: []int{3, 5}}, {Name: name + "/count", DType: tensor.Int64}}
	}
	optimizer := []tensor.Spec{{Name: "exp_avg/x", Shape: []int{3, 5}}, {Name: "exp_avg_sq/x", Shape: []int{3, 5}},
		{Name: "step/count", DType: tensor.Int64}}
	return []tensor.Section{
		{Name: "made_up_copy", Key: "made_up", Exploit: tensor.Copy, Tensors: x("x")},
		{Name: "made_up_keep", Exploit: tensor.Keep, Tensors: x("x")},
		{Name: "made_up_clear", Exploit: tensor.Clear, Tensors: x("x")},
		{Name: "made_up_strategy", Exploit: tensor.ByStrategy, Tensors: optimizer},
	}
}

// scramble fills every tensor with numbers of its own, padding excepted.
func scramble(m tensor.Member, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 2))
	for _, s := range m.Layout().Sections() {
		for i := range s.Tensors {
			name := s.Tensors[i].Name
			switch s.Tensors[i].DType {
			case tensor.Float32:
				fill(m.Float32(s.Name, name), func() float32 { return 0.01 + random.Float32() })
			case tensor.Float64:
				fill(m.Float64(s.Name, name), func() float64 { return 1 + random.Float64() })
			case tensor.Int64:
				fill(m.Int64(s.Name, name), func() int64 { return 1 + random.Int64N(90) })
			case tensor.Uint64:
				fill(m.Uint64(s.Name, name), random.Uint64)
			}
		}
	}
}

func fill[E any](x []E, f func() E) {
	for i := range x {
		x[i] = f()
	}
}

func snapshotRestore(t *testing.T, newEngine Factory) {
	e := engine(t, newEngine, config())
	iterate(t, e, 2)
	kept := population(t, e)
	iterate(t, e, 2)
	want := population(t, e)

	other := config()
	other.Seed = 999
	into := engine(t, newEngine, other)
	iterate(t, into, 1)
	for i, m := range kept {
		check(t, into.Restore(i, m))
		sameBits(t, fmt.Sprintf("member %d restored", i), snapshot(t, into, i), m)
	}
	iterate(t, into, 2)
	for i, got := range population(t, into) {
		sameBits(t, fmt.Sprintf("member %d two updates later", i), got, want[i])
	}
}

// snapshotWhileTraining: a snapshot is of the moment it was begun, whatever is
// trained until it is read.
func snapshotWhileTraining(t *testing.T, newEngine Factory) {
	c := config()
	e := engine(t, newEngine, c)
	for i := range 3 { // the memory of the first is used again
		iterate(t, e, 1)
		want := population(t, e)
		states, err := e.BeginSnapshot()
		check(t, err)
		iterate(t, e, 1)
		check(t, e.Exploit([]kernels.Exploit{{Member: 0, Source: 1, Strategy: kernels.StrategyReset, Hyperparameters: c.Hyperparameters}}))
		got, err := states()
		check(t, err)
		if len(got) != len(want) {
			t.Fatalf("snapshot %d has %d members, want %d", i, len(got), len(want))
		}
		for m := range want {
			sameBits(t, fmt.Sprintf("snapshot %d, member %d", i, m), got[m], want[m])
		}
	}
}

func determinism(t *testing.T, newEngine Factory) {
	run := func(change func(*kernels.Config)) string {
		c := config()
		change(c)
		e := engine(t, newEngine, c)
		iterate(t, e, 3)
		return digest(population(t, e)...)
	}
	want := run(func(*kernels.Config) {})
	for _, threads := range []int{0, 1, 2, 5} {
		if got := run(func(c *kernels.Config) { c.Threads = threads }); got != want {
			t.Errorf("the same seed gives the digest %s with %d threads, %s before", got, threads, want)
		}
	}
	if got := run(func(c *kernels.Config) { c.Seed++ }); got == want {
		t.Errorf("another seed gives the same digest %s", got)
	}
}

// madeUpSection: a section that no engine has heard of is kept by updates,
// snapshots, restores and digests; [exploit] covers its rules.
func madeUpSection(t *testing.T, newEngine Factory) {
	c := config()
	c.Sections = madeUp()
	e := engine(t, newEngine, c)
	m := snapshot(t, e, 1)
	bare := digest(m)
	for _, s := range c.Sections {
		x := m.Float32(s.Name, s.Tensors[0].Name)
		fill(x, func() float32 { return 1.5 })
		if d := digest(m); d == bare {
			t.Errorf("the digest does not cover %s", s.Name)
		}
		bare = digest(m)
	}
	check(t, e.Restore(1, m))
	iterate(t, e, 1)
	after := snapshot(t, e, 1)
	for _, s := range c.Sections {
		name := s.Tensors[0].Name
		if string(after.Raw(s.Name, name)) != string(m.Raw(s.Name, name)) {
			t.Errorf("%s did not survive a restore, an update and a snapshot", s.Name)
		}
		after.Reset(s.Name)
		if x := after.Float32(s.Name, name); x[0] != 0 || x[len(x)-1] != 0 {
			t.Errorf("%s is %v after a reset", s.Name, x)
		}
	}
}

// nan: a diverged member stays one, harms no other and stops nothing.
func nan(t *testing.T, newEngine Factory) {
	for _, action := range []env.ActionSpace{byChoice, byNumbers, byChoices} {
		t.Run(actionName(action), func(t *testing.T) {
			c := config()
			c.Env = chase(action)
			healthy, e := engine(t, newEngine, c), engine(t, newEngine, c)
			m := snapshot(t, e, 1)
			for _, s := range m.Layout().Section(kernels.SectionPolicy).Tensors {
				fill(m.Float32(kernels.SectionPolicy, s.Name), func() float32 { return float32(math.NaN()) })
			}
			check(t, e.Restore(1, m))
			stats := iterate(t, e, 3)
			if !isNaN(stats[1].PolicyLoss) {
				t.Errorf("the policy loss of NaN weights is %v", stats[1].PolicyLoss)
			}
			e.Score(1)
			returns, lengths := [][]float64{{0, 0}}, [][]int{{0, 0}}
			check(t, e.Evaluate(kernels.Evaluation{Members: []int{1}, Episodes: 2}, returns, lengths))
			iterate(t, healthy, 3)
			for _, i := range []int{0, 2} {
				sameBits(t, fmt.Sprintf("member %d beside a diverged one", i), snapshot(t, e, i), snapshot(t, healthy, i))
			}
			check(t, e.Exploit([]kernels.Exploit{{Member: 1, Source: 0, Strategy: kernels.StrategyReset, Hyperparameters: c.Hyperparameters}}))
			if x := snapshot(t, e, 1).Floats(kernels.SectionPolicy); isNaN(x[0]) {
				t.Error("an exploit left the diverged weights")
			}
		})
	}
}
