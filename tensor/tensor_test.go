package tensor

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	gt "gorgonia.org/tensor"
	"pgregory.net/rapid"
)

// layout has a section of every rule and tensors of every type.
func layout(t *testing.T) *Layout {
	l, err := NewLayout(
		Section{Name: "policy", Exploit: Copy, Tensors: []Spec{{Name: "weight", Shape: []int{3, 5}}, {Name: "bias", Shape: []int{3}}}},
		Section{Name: "optimizer", Key: "optimizer_state", Exploit: ByStrategy, Tensors: []Spec{
			{Name: "exp_avg/weight", Shape: []int{3, 5}}, {Name: "exp_avg_sq/weight", Shape: []int{3, 5}}, {Name: "step", DType: Int64}}},
		Section{Name: "environment", Exploit: Keep, Tensors: []Spec{{Name: "state", Shape: []int{7}, DType: Float64}}},
		Section{Name: "window", Exploit: Clear, Tensors: []Spec{{Name: "seed", DType: Uint64}}},
	)
	require.NoError(t, err)
	return l
}

var (
	reset   = Effects{"exp_avg": Zero, "exp_avg_sq": Zero, "step": Zero}
	copying = Effects{"exp_avg": FromSource, "exp_avg_sq": FromSource, "step": FromSource}
)

// filled returns an arena with random values in every tensor.
func filled(t *testing.T, l *Layout, members int) *Arena {
	a, err := NewArena(l, members)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	for m := range members {
		for _, b := range l.Sections() {
			for _, s := range b.Tensors {
				raw := a.Member(m).Raw(b.Name, s.Name)
				for i := range raw {
					raw[i] = byte(r.Uint32())
				}
			}
		}
	}
	return a
}

func TestLayoutAlignsEverything(t *testing.T) {
	l := layout(t)
	require.Zero(t, l.Stride()%Alignment)
	a := filled(t, l, 3)
	for m := range 3 {
		for _, b := range l.Sections() {
			for _, s := range b.Tensors {
				require.Zero(t, uintptr(unsafe.Pointer(&a.Member(m).Raw(b.Name, s.Name)[0]))%Alignment)
			}
		}
	}
}

func TestLayoutRefusesWhatIsWrong(t *testing.T) {
	for want, sections := range map[string][]Section{
		"has no name":           {{}},
		"declared twice":        {{Name: "a"}, {Name: "a"}},
		"share the key":         {{Name: "a", Key: "k"}, {Name: "b", Key: "k"}},
		`tensor "x" is declare`: {{Name: "a", Tensors: []Spec{{Name: "x"}, {Name: "x"}}}},
		"tensor 0 has no name":  {{Name: "a", Tensors: []Spec{{}}}},
		"must be at least 1":    {{Name: "a", Tensors: []Spec{{Name: "x", Shape: []int{3, 0}}}}},
		"too large":             {{Name: "a", Tensors: []Spec{{Name: "x", Shape: []int{1 << 30, 1 << 30, 1 << 30}}}}},
	} {
		_, err := NewLayout(sections...)
		require.ErrorContains(t, err, want)
	}
	_, err := NewArena(layout(t), 0)
	require.ErrorContains(t, err, "at least 1")
}

// A made-up section of each rule is treated as it declares, with no line of code
// that knows it.
func TestExploitFollowsTheRules(t *testing.T) {
	for name, effects := range map[string]Effects{"reset": reset, "copy": copying} {
		t.Run(name, func(t *testing.T) {
			l := layout(t)
			a := filled(t, l, 3)
			own, source := a.Member(0).Clone(), a.Member(2).Clone()
			require.NoError(t, a.Exploit([]Exploit{{Member: 0, Source: 2, Effects: effects}}))
			got := a.Member(0)
			same := func(want Member, section, tensor string) {
				t.Helper()
				require.Equal(t, want.Raw(section, tensor), got.Raw(section, tensor), section+"/"+tensor)
			}
			zero := NewMember(l)
			optimizer := zero
			if name == "copy" {
				optimizer = source
			}
			same(source, "policy", "weight")
			same(source, "policy", "bias")
			same(optimizer, "optimizer", "exp_avg/weight")
			same(optimizer, "optimizer", "exp_avg_sq/weight")
			same(optimizer, "optimizer", "step")
			same(own, "environment", "state")
			same(zero, "window", "seed")
			require.Equal(t, source.Bytes(), a.Member(2).Bytes(), "the source has changed")
		})
	}
}

// An exploit computes what its effects say from the source's state of before,
// whatever the order of a section's tensors.
func TestExploitComputesEffects(t *testing.T) {
	l, err := NewLayout(Section{Name: "optimizer", Exploit: ByStrategy, Tensors: []Spec{
		{Name: "exp_avg_sq/weight", Shape: []int{2}}, {Name: "exp_avg/weight", Shape: []int{2}}, {Name: "step", DType: Int64}}})
	require.NoError(t, err)
	a, err := NewArena(l, 2)
	require.NoError(t, err)
	fill := func(m Member, avg, sq []float32, step int64) {
		copy(m.Float32("optimizer", "exp_avg/weight"), avg)
		copy(m.Float32("optimizer", "exp_avg_sq/weight"), sq)
		m.Int64("optimizer", "step")[0] = step
	}
	x := Exploit{Scale: 0.5, Squares: Squares{Group: "exp_avg", Root: 2, Gain: 0.25}}
	for name, want := range map[string]struct {
		effects Effects
		avg, sq []float32
		step    int64
	}{
		"scaled and squared": {Effects{"exp_avg": Scaled, "exp_avg_sq": Squared, "step": FromSource}, []float32{1.5, -4}, []float32{9, 64}, 7},
		"scaled squares":     {Effects{"exp_avg": FromSource, "exp_avg_sq": Scaled, "step": Zero}, []float32{3, -8}, []float32{0.5, 2}, 0},
		"own":                {Effects{"exp_avg": Own, "exp_avg_sq": Own, "step": Own}, []float32{10, 20}, []float32{30, 40}, 9},
		"own but one":        {Effects{"exp_avg": Own, "exp_avg_sq": Squared, "step": Own}, []float32{10, 20}, []float32{9, 64}, 9},
	} {
		t.Run(name, func(t *testing.T) {
			fill(a.Member(0), []float32{10, 20}, []float32{30, 40}, 9)
			fill(a.Member(1), []float32{3, -8}, []float32{1, 4}, 7)
			source := a.Member(1).Clone()
			x := x
			x.Member, x.Source, x.Effects = 0, 1, want.effects
			swap := x
			swap.Member, swap.Source, swap.Effects = 1, 0, copying
			require.NoError(t, a.Exploit([]Exploit{swap, x}), "the source is overwritten first")
			m := a.Member(0)
			require.Equal(t, want.avg, m.Float32("optimizer", "exp_avg/weight"))
			require.Equal(t, want.sq, m.Float32("optimizer", "exp_avg_sq/weight"))
			require.Equal(t, want.step, m.Int64("optimizer", "step")[0])
			require.NotEqual(t, source.Bytes(), a.Member(1).Bytes())
		})
	}
	for says, effects := range map[string]Effects{
		"computes optimizer/step, which is int64":        {"exp_avg": Own, "exp_avg_sq": Own, "step": Scaled},
		"say what becomes of optimizer/exp_avg/weight":   {"exp_avg": Squared + 1, "exp_avg_sq": Own, "step": Own},
		"say what becomes of optimizer/exp_avg_sq/weigh": {"exp_avg": Own, "step": Own},
	} {
		require.ErrorContains(t, l.CheckEffects(effects, "exp_avg"), says)
	}
	require.ErrorContains(t, l.CheckEffects(Effects{"exp_avg": Own, "exp_avg_sq": Squared, "step": Own}, "mean"), `from the group "mean", which has no such tensor`)
}

// Any set of exploits equals carrying them out from a copy of the population.
func TestExploitIsSimultaneous(t *testing.T) {
	l := layout(t)
	rapid.Check(t, func(rt *rapid.T) {
		p := rapid.IntRange(2, 8).Draw(rt, "members")
		a := filled(t, l, p)
		before := make([]Member, p)
		for m := range p {
			before[m] = a.Member(m).Clone()
		}
		var exploits []Exploit
		for m := range p {
			if s := rapid.IntRange(0, p-1).Draw(rt, "source"); s != m {
				exploits = append(exploits, Exploit{Member: m, Source: s, Effects: copying})
			}
		}
		require.NoError(t, a.Exploit(exploits))
		for _, e := range exploits {
			require.Equal(rt, before[e.Source].Raw("policy", "weight"), a.Member(e.Member).Raw("policy", "weight"))
			require.Equal(rt, before[e.Member].Raw("environment", "state"), a.Member(e.Member).Raw("environment", "state"))
		}
	})
}

func TestExploitRefusesAndChangesNothing(t *testing.T) {
	l := layout(t)
	a := filled(t, l, 3)
	before := Digest(a.Member(0), a.Member(1), a.Member(2))
	good := Exploit{Member: 0, Source: 1, Effects: reset}
	for want, bad := range map[string]Exploit{
		"population of 3":      {Member: 3, Source: 0, Effects: reset},
		"member -1":            {Member: -1, Source: 0, Effects: reset},
		"cannot exploit":       {Member: 1, Source: 1, Effects: reset},
		"overwritten twice":    good,
		"what becomes of opti": {Member: 2, Source: 1, Effects: Effects{"exp_avg": Zero, "step": Zero}},
	} {
		require.ErrorContains(t, a.Exploit([]Exploit{good, bad}), want)
		require.Equal(t, before, Digest(a.Member(0), a.Member(1), a.Member(2)))
	}
}

func TestStateDictIsAViewWithoutACopy(t *testing.T) {
	a := filled(t, layout(t), 2)
	m := a.Member(1)
	d := m.StateDict("policy", "optimizer")
	require.Contains(t, d, "optimizer_state", "sections go by their keys")
	w := d["policy"]["weight"]
	require.Equal(t, gt.Shape{3, 5}, w.Shape())
	require.NoError(t, w.SetAt(float32(42), 2, 4))
	require.Equal(t, float32(42), m.Float32("policy", "weight")[14])
	m.Int64("optimizer", "step")[0] = 7
	require.Equal(t, []int64{7}, d["optimizer_state"]["step"].Data())
}

func TestAssignIsTheInverseOfSection(t *testing.T) {
	l := layout(t)
	a, b := filled(t, l, 1).Member(0), NewMember(l)
	for _, s := range l.Sections() {
		require.NoError(t, b.Assign(s.Name, a.Section(s.Name)))
	}
	require.Equal(t, a.Bytes(), b.Bytes())
}

func TestAssignRefusesAndChangesNothing(t *testing.T) {
	l := layout(t)
	m := filled(t, l, 1).Member(0)
	before := m.Clone()
	floats := func(shape ...int) *gt.Dense { return gt.New(gt.WithShape(shape...), gt.Of(gt.Float32)) }
	for want, change := range map[string]func(d map[string]*gt.Dense){
		`lacks the tensor "bias"`: func(d map[string]*gt.Dense) { delete(d, "bias") },
		`no tensor "extra"`:       func(d map[string]*gt.Dense) { d["extra"] = floats(1) },
		"has shape":               func(d map[string]*gt.Dense) { d["bias"] = floats(4) },
		"want float32":            func(d map[string]*gt.Dense) { d["bias"] = gt.New(gt.WithShape(3), gt.Of(gt.Float64)) },
	} {
		d := NewMember(l).Section("policy")
		change(d)
		require.ErrorContains(t, m.Assign("policy", d), want)
		require.Equal(t, before.Bytes(), m.Bytes())
	}
	transposed := floats(5, 3)
	require.NoError(t, transposed.T())
	d := NewMember(l).Section("policy")
	d["weight"] = transposed
	require.Error(t, m.Assign("policy", d))
	require.Equal(t, before.Bytes(), m.Bytes())
}

func TestDigestSeesEveryTensorAndNoPadding(t *testing.T) {
	l := layout(t)
	a := filled(t, l, 1).Member(0)
	want := Digest(a)
	for _, b := range l.Sections() {
		for _, s := range b.Tensors {
			c := a.Clone()
			c.Raw(b.Name, s.Name)[s.Bytes()-1] ^= 1
			require.NotEqual(t, want, Digest(c), b.Name+"/"+s.Name)
		}
	}
	c := a.Clone()
	c.Bytes()[15*4] ^= 1 // after policy/weight
	require.Equal(t, want, Digest(c))
}

func TestResetZeroesOneSection(t *testing.T) {
	m := filled(t, layout(t), 1).Member(0)
	before := m.Clone()
	m.Reset("optimizer")
	require.Zero(t, m.Int64("optimizer", "step")[0])
	require.Equal(t, make([]float32, 15), m.Float32("optimizer", "exp_avg/weight"))
	require.Equal(t, before.Raw("policy", "weight"), m.Raw("policy", "weight"))
}
