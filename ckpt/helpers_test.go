package ckpt

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/tensor"
)

// smallSections is a layout with every type, rule and form of name.
func smallSections() []tensor.Section {
	return []tensor.Section{
		{Name: "policy", Exploit: tensor.Copy, Tensors: []tensor.Spec{
			{Name: "actor.0.weight", Shape: []int{3, 2}}, {Name: "actor.0.bias", Shape: []int{3}}}},
		{Name: "vgs", Key: "vgs_state", Exploit: tensor.Copy, Tensors: []tensor.Spec{
			{Name: "mean_abs", Shape: []int{2}}, {Name: "step", DType: tensor.Int64}}},
		{Name: "optimizer", Key: "optimizer_state", Exploit: tensor.ByStrategy, Tensors: []tensor.Spec{
			{Name: "exp_avg/actor.0.weight", Shape: []int{3, 2}}, {Name: "exp_avg/actor.0.bias", Shape: []int{3}},
			{Name: "exp_avg_sq/actor.0.weight", Shape: []int{3, 2}}, {Name: "exp_avg_sq/actor.0.bias", Shape: []int{3}},
			{Name: "step", DType: tensor.Int64}}},
		{Name: "hyperparameters", Exploit: tensor.Copy, Tensors: []tensor.Spec{
			{Name: "learning_rate"}, {Name: "gamma", DType: tensor.Float64}}},
		{Name: "counters", Exploit: tensor.Keep, Tensors: []tensor.Spec{{Name: "env_steps", DType: tensor.Int64}}},
		{Name: "rng", Exploit: tensor.Keep, Tensors: []tensor.Spec{{Name: "seed", DType: tensor.Uint64}}},
	}
}

func layoutOf(t require.TestingT, sections ...tensor.Section) *tensor.Layout {
	l, err := tensor.NewLayout(sections...)
	require.NoError(t, err)
	return l
}

// filled returns a member in which every element of every tensor is different.
func filled(l *tensor.Layout, seed int) tensor.Member {
	m := tensor.NewMember(l)
	n := seed * 1000
	for _, b := range l.Sections() {
		for i := range b.Tensors {
			t := &b.Tensors[i]
			for e := range t.Len {
				n++
				at := raw(m, t)[e*t.DType.Size():]
				switch t.DType {
				case tensor.Float32:
					binary.LittleEndian.PutUint32(at, math.Float32bits(float32(n)/7))
				case tensor.Float64:
					binary.LittleEndian.PutUint64(at, math.Float64bits(float64(n)/7))
				default:
					binary.LittleEndian.PutUint64(at, uint64(n))
				}
			}
		}
	}
	return m
}

func smallMember(t require.TestingT) tensor.Member {
	return filled(layoutOf(t, smallSections()...), 1)
}

func sampleMeta() Meta {
	return Meta{Step: 150, Performance: 487.25, Config: "env: {id: Pendulum-v1}\n",
		Env: EnvInfo{ID: "Pendulum-v1", ObsDim: 3,
			Action: ActionInfo{Type: "continuous", N: 1, Low: []float32{-2.1}, High: []float32{2.1}}}}
}

func encoded(t require.TestingT, m tensor.Member, optimizer bool) []byte {
	data, err := Encode(m, sampleMeta(), optimizer)
	require.NoError(t, err)
	return data
}

func decoded(t require.TestingT, data []byte) *Checkpoint {
	c, err := Decode(data)
	require.NoError(t, err)
	return c
}

// randomMember draws a layout and a state of random bits, NaN of any payload
// included.
func randomMember(t *rapid.T) tensor.Member {
	var sections []tensor.Section
	for i := range rapid.IntRange(0, 4).Draw(t, "sections") {
		s := tensor.Section{Name: fmt.Sprintf("section%d", i), Exploit: tensor.Rule(rapid.IntRange(0, 3).Draw(t, "rule"))}
		if rapid.Bool().Draw(t, "keyed") {
			s.Key = fmt.Sprintf("key %d/é", i)
		}
		for j := range rapid.IntRange(0, 5).Draw(t, "tensors") {
			name := fmt.Sprintf("t%d", j)
			if g := rapid.IntRange(0, 3).Draw(t, "group"); g > 0 {
				name = fmt.Sprintf("group%d/%s/x", g, name)
			}
			s.Tensors = append(s.Tensors, tensor.Spec{Name: name,
				DType: tensor.DType(rapid.IntRange(0, 3).Draw(t, "dtype")),
				Shape: rapid.SliceOfN(rapid.IntRange(1, 4), 0, 3).Draw(t, "shape")})
		}
		sections = append(sections, s)
	}
	m := tensor.NewMember(layoutOf(t, sections...))
	for _, b := range m.Layout().Sections() {
		for i := range b.Tensors {
			to := raw(m, &b.Tensors[i])
			copy(to, rapid.SliceOfN(rapid.Byte(), len(to), len(to)).Draw(t, "bits"))
		}
	}
	return m
}

func cartpoleSections() []tensor.Section {
	var policy, moments []tensor.Spec
	for _, n := range []struct {
		name  string
		sizes []int
	}{{"actor", []int{4, 64, 64, 2}}, {"critic", []int{4, 64, 64, 32}}} {
		for i := range len(n.sizes) - 1 {
			policy = append(policy,
				tensor.Spec{Name: fmt.Sprintf("%s.%d.weight", n.name, 2*i), Shape: []int{n.sizes[i+1], n.sizes[i]}},
				tensor.Spec{Name: fmt.Sprintf("%s.%d.bias", n.name, 2*i), Shape: []int{n.sizes[i+1]}})
		}
	}
	for _, group := range []string{"exp_avg/", "exp_avg_sq/"} {
		for _, p := range policy {
			moments = append(moments, tensor.Spec{Name: group + p.Name, Shape: p.Shape})
		}
	}
	return []tensor.Section{
		{Name: "policy", Exploit: tensor.Copy, Tensors: policy},
		{Name: "optimizer", Key: "optimizer_state", Exploit: tensor.ByStrategy, Tensors: append(moments, tensor.Spec{Name: "step", DType: tensor.Int64})},
		{Name: "environment", Exploit: tensor.Keep, Tensors: []tensor.Spec{{Name: "state", Shape: []int{5, 64}}}},
	}
}

// BenchmarkPopulation encodes and decodes the 64 members of a CartPole run with
// 2x64 networks, 110 kB each.
func BenchmarkPopulation(b *testing.B) {
	const members = 64
	m := filled(layoutOf(b, cartpoleSections()...), 1)
	data := encoded(b, m, true)
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(members * len(data)))
		for b.Loop() {
			for range members {
				encoded(b, m, true)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(members * len(data)))
		for b.Loop() {
			for range members {
				decoded(b, data)
			}
		}
	})
}

// printed is the first element of policy/x.
func printed(m tensor.Member, d tensor.DType) string {
	switch d {
	case tensor.Float32:
		return fmt.Sprint(m.Float32("policy", "x")[0])
	case tensor.Float64:
		return fmt.Sprint(m.Float64("policy", "x")[0])
	case tensor.Int64:
		return fmt.Sprint(m.Int64("policy", "x")[0])
	}
	return fmt.Sprint(m.Uint64("policy", "x")[0])
}

func sampleRun() RunState {
	return RunState{EnvSteps: 65536, Seconds: 12.5, Exploits: 3, Config: "run: {seed: 1}\n",
		Scheduler: []byte(`{"interval":5}`), Digest: [32]byte{1, 2, 3}}
}

// encodedRun is the run.ckpt of a set.
func encodedRun(t require.TestingT, s Set) []byte {
	d := s.Draft()
	var sums [][sha256.Size]byte
	for _, m := range s.Members {
		sums = append(sums, sha256.Sum256(m))
	}
	f, err := encodeRun(&d, sums)
	require.NoError(t, err)
	return f.Data
}
