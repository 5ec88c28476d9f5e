package ckpt

import (
	"bytes"
	"encoding/binary"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/env"
	"brood/tensor"
)

var update = flag.Bool("update", false, "rewrite testdata/*.ckpt")

func TestRoundTripOfAnyLayoutIsBitExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := randomMember(t)
		c := decoded(t, encoded(t, m, true))
		back := tensor.NewMember(m.Layout())
		warnings, err := c.Restore(back)
		require.NoError(t, err)
		require.Empty(t, warnings)
		require.Equal(t, m.Bytes(), back.Bytes())
		require.Equal(t, tensor.Digest(m), tensor.Digest(back))
	})
}

func TestMetadataRoundTrip(t *testing.T) {
	for _, performance := range []float64{0, -172.2, math.Inf(1), math.SmallestNonzeroFloat64} {
		meta := sampleMeta()
		meta.Performance = performance
		data, err := Encode(smallMember(t), meta, true)
		require.NoError(t, err)
		c := decoded(t, data)
		require.Equal(t, meta, c.Meta)
		require.Equal(t, V2, c.FormatVersion)
		require.True(t, c.HasOptimizerState)
		require.True(t, c.Verified)
	}
	meta := Meta{Performance: math.NaN(), Env: EnvOf(env.Spec{ID: "CartPole-v1", ObsDim: 4, Action: env.ActionSpace{Discrete: true, N: 2}})}
	data, err := Encode(smallMember(t), meta, false)
	require.NoError(t, err)
	c := decoded(t, data)
	require.True(t, math.IsNaN(c.Performance), "a member never scored has no performance")
	require.Equal(t, meta.Env, c.Env)
	require.False(t, c.HasOptimizerState)
}

// The bytes of a file must not change by accident: other programs read them.
func TestFormatIsTheCommittedOne(t *testing.T) {
	golden := filepath.Join("testdata", "v2.ckpt")
	data := encoded(t, smallMember(t), true)
	if *update {
		require.NoError(t, os.WriteFile(golden, data, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, data), "the encoding differs from %s; if that is wanted, give the format a new version", golden)
}

func TestMadeUpSectionIsCovered(t *testing.T) {
	before := encoded(t, smallMember(t), true)
	sections := append(smallSections(), tensor.Section{Name: "curiosity", Key: "curiosity_state", Tensors: []tensor.Spec{
		{Name: "novelty/table", Shape: []int{2, 2}, DType: tensor.Float64}, {Name: "temperature"}}})
	m := filled(layoutOf(t, sections...), 3)
	c := decoded(t, encoded(t, m, true))
	back := tensor.NewMember(m.Layout())
	_, err := c.Restore(back)
	require.NoError(t, err)
	require.Equal(t, m.Bytes(), back.Bytes())
	require.Contains(t, c.Sections(), SectionInfo{Name: "curiosity_state", Tensors: []TensorInfo{
		{Name: "novelty/table", Shape: []int{2, 2}, DType: "float64"}, {Name: "temperature", Shape: []int{}, DType: "float32"}}})

	_, err = decoded(t, before).Restore(tensor.NewMember(m.Layout()))
	require.ErrorIs(t, err, ErrIncompatible)
	require.ErrorContains(t, err, "lacks the section curiosity_state")
	_, err = c.Restore(smallMember(t))
	require.ErrorIs(t, err, ErrIncompatible)
	require.ErrorContains(t, err, `section "curiosity_state", which this configuration has not`)
}

func TestEncodeRefusesWhatCannotBeRead(t *testing.T) {
	both := layoutOf(t, tensor.Section{Name: "s", Tensors: []tensor.Spec{{Name: "a"}, {Name: "a/b"}}})
	_, err := Encode(tensor.NewMember(both), Meta{}, true)
	require.ErrorContains(t, err, `section s: "a" is both a tensor and a group`)
	long := layoutOf(t, tensor.Section{Name: "s", Tensors: []tensor.Spec{{Name: strings.Repeat("n", maxKey+1)}}})
	_, err = Encode(tensor.NewMember(long), Meta{}, true)
	require.ErrorContains(t, err, "has 256 bytes; at most 255 are read")
	meta := sampleMeta()
	meta.Config = "a: \xff"
	_, err = Encode(smallMember(t), meta, true)
	require.ErrorContains(t, err, "not valid UTF-8")
	_, err = Encode(smallMember(t), Meta{Step: -1}, true)
	require.ErrorContains(t, err, "step is -1")
}

func TestWithoutOptimizer(t *testing.T) {
	m := smallMember(t)
	c := decoded(t, encoded(t, m, false))
	require.False(t, c.HasOptimizerState)
	for _, s := range c.Sections() {
		require.NotEqual(t, "optimizer_state", s.Name)
	}
	dst := filled(m.Layout(), 2)
	warnings, err := c.Restore(dst)
	require.NoError(t, err)
	require.Equal(t, []string{"the checkpoint holds no optimizer_state: the optimizer starts reset"}, warnings)
	want := m.Clone()
	want.Reset("optimizer")
	require.Equal(t, want.Bytes(), dst.Bytes(), "stale optimizer state must not survive")
}

func TestRestoreErrorsNameTheTensorAndChangeNothing(t *testing.T) {
	c := decoded(t, encoded(t, smallMember(t), true))
	change := func(edit func(s []tensor.Section)) tensor.Member {
		s := smallSections()
		edit(s)
		return filled(layoutOf(t, s...), 5)
	}
	for name, test := range map[string]struct {
		dst  tensor.Member
		want string
	}{
		"shape": {change(func(s []tensor.Section) { s[2].Tensors[3].Shape = []int{4} }),
			"section optimizer_state, tensor exp_avg_sq/actor.0.bias: the checkpoint has shape [3], this configuration needs [4]"},
		"transposed": {change(func(s []tensor.Section) { s[0].Tensors[0].Shape = []int{2, 3} }),
			"section policy, tensor actor.0.weight: the checkpoint has shape [3 2], this configuration needs [2 3]"},
		"missing": {change(func(s []tensor.Section) {
			s[0].Tensors = append(s[0].Tensors, tensor.Spec{Name: "log_std", Shape: []int{1}})
		}), "section policy lacks the tensor log_std of shape [1]"},
		"extra": {change(func(s []tensor.Section) { s[0].Tensors = s[0].Tensors[:1] }),
			`section policy has a tensor "actor.0.bias", which this configuration has not`},
		"type": {change(func(s []tensor.Section) { s[3].Tensors[1].DType = tensor.Int64 }),
			"section hyperparameters, tensor gamma: element 0: 147.57142857142858 is not a whole number within int64"},
	} {
		t.Run(name, func(t *testing.T) {
			before := test.dst.Clone()
			_, err := c.Restore(test.dst)
			require.ErrorIs(t, err, ErrIncompatible)
			require.ErrorContains(t, err, test.want)
			require.Equal(t, before.Bytes(), test.dst.Bytes())
		})
	}
}

// An action of several choices has one key more; the files of others are what they were.
func TestSeveralChoices(t *testing.T) {
	meta := sampleMeta()
	spec := env.Spec{ID: "Switches-v0", ObsDim: 7, StateSize: 1, Action: env.MultiDiscrete(3, 2, 300)}
	meta.Env = EnvOf(spec)
	require.Equal(t, ActionInfo{Type: MultiDiscrete, N: 305, NVec: []int{3, 2, 300}}, meta.Env.Action)
	data, err := Encode(smallMember(t), meta, true)
	require.NoError(t, err)
	c := decoded(t, data)
	require.Equal(t, meta, c.Meta)
	back, err := c.Env.Spec()
	require.NoError(t, err)
	require.Equal(t, spec, back)

	other := meta.Env
	other.Action.NVec = []int{3, 300, 2}
	require.ErrorContains(t, c.CheckEnv(other), "had action nvec [3 2 300]; here it is [3 300 2]")
	for want, a := range map[string]ActionInfo{
		"nvec is empty; must have":                 {Type: MultiDiscrete, N: 3},
		"nvec has 2 numbers; must be absent":       {Type: Discrete, N: 3, NVec: []int{1, 2}},
		`is "mixed"; must be discrete, multi_disc`: {Type: "mixed", N: 3},
	} {
		_, err := (&EnvInfo{ID: "X", ObsDim: 1, Action: a}).Spec()
		require.ErrorContains(t, err, want)
	}
}

func TestCheckEnv(t *testing.T) {
	c := decoded(t, encoded(t, smallMember(t), true))
	require.NoError(t, c.CheckEnv(sampleMeta().Env))
	for want, edit := range map[string]func(*EnvInfo){
		`made on environment "Pendulum-v1", not on "CartPole-v1"`: func(e *EnvInfo) { e.ID = "CartPole-v1" },
		`had obs_dim 3; here it is 4`:                             func(e *EnvInfo) { e.ObsDim = 4 },
		`had action type continuous; here it is discrete`:         func(e *EnvInfo) { e.Action.Type = "discrete" },
		`had action n 1; here it is 2`:                            func(e *EnvInfo) { e.Action.N = 2 },
		`had action low [-2.1]; here it is [-2]`:                  func(e *EnvInfo) { e.Action.Low = []float32{-2} },
		`had action high [2.1]; here it is []`:                    func(e *EnvInfo) { e.Action.High = nil },
	} {
		e := sampleMeta().Env
		edit(&e)
		err := c.CheckEnv(e)
		require.ErrorIs(t, err, ErrIncompatible)
		require.ErrorContains(t, err, want)
	}
}

// asV1 writes a v1 file; wrapped: the tensors are in data/policy, beside other
// things that a reader passes over.
func asV1(t *testing.T, m tensor.Member, version, wrapped bool) []byte {
	w := newWriter(0)
	policy := m.Layout().Section("policy")
	entries, err := nest(policy)
	require.NoError(t, err)
	w.mapLen(2)
	if version {
		w.str("format_version")
		w.str(V1)
	} else {
		w.str("saved_by")
		w.nil()
	}
	w.str("data")
	if wrapped {
		w.mapLen(2)
		w.str("kl_penalty_state")
		w.nil()
		w.str("policy")
	}
	w.entries(m, policy, entries)
	require.NoError(t, w.err)
	return w.buf.Bytes()
}

func TestV1LoadsThePolicyAndResetsTheOptimizer(t *testing.T) {
	src := smallMember(t)
	for _, version := range []bool{true, false} {
		for _, wrapped := range []bool{true, false} {
			c := decoded(t, asV1(t, src, version, wrapped))
			require.Equal(t, V1, c.FormatVersion)
			require.False(t, c.HasOptimizerState)
			require.True(t, math.IsNaN(c.Performance))
			require.NoError(t, c.CheckEnv(sampleMeta().Env), "v1 does not say which environment")
			dst := filled(src.Layout(), 2)
			want := dst.Clone()
			warnings, err := c.Restore(dst)
			require.NoError(t, err)
			require.Len(t, warnings, 1)
			require.Contains(t, warnings[0], "the optimizer starts reset")
			want.Reset("optimizer")
			for _, name := range []string{"actor.0.weight", "actor.0.bias"} {
				copy(want.Float32("policy", name), src.Float32("policy", name))
			}
			require.Equal(t, want.Bytes(), dst.Bytes())
		}
	}
	s := smallSections()
	s[0].Tensors[1].Shape = []int{7}
	_, err := decoded(t, asV1(t, src, true, true)).Restore(tensor.NewMember(layoutOf(t, s...)))
	require.ErrorContains(t, err, "section policy, tensor actor.0.bias: the checkpoint has shape [3], this configuration needs [7]")
}

// Scalars pass through MessagePack's floats, where a signalling NaN is easily
// made quiet and a negative zero lost.
func TestUnusualFloatsKeepTheirBits(t *testing.T) {
	l := layoutOf(t, tensor.Section{Name: "s", Tensors: []tensor.Spec{
		{Name: "a"}, {Name: "b", DType: tensor.Float64}, {Name: "c", Shape: []int{1}}}})
	for _, bits := range []uint64{0x7ff0000000000001, 0xfff8000012345678, 1 << 63, 1, 0x7ff0000000000000} {
		m := tensor.NewMember(l)
		narrow := uint32(bits>>32)&0x80000000 | uint32(bits&0xffffff)
		if bits>>52&0x7ff == 0x7ff {
			narrow |= 0x7f800000
		}
		binary.LittleEndian.PutUint32(m.Raw("s", "a"), narrow)
		binary.LittleEndian.PutUint64(m.Raw("s", "b"), bits)
		binary.LittleEndian.PutUint32(m.Raw("s", "c"), narrow)
		back := tensor.NewMember(l)
		_, err := decoded(t, encoded(t, m, true)).Restore(back)
		require.NoError(t, err)
		require.Equal(t, m.Bytes(), back.Bytes(), "%#x and %#x", narrow, bits)
	}
}
