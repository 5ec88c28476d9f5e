package ckpt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"brood/env"
	"brood/tensor"
)

func TestEveryFlippedByteIsRefused(t *testing.T) {
	data := encoded(t, smallMember(t), true)
	run := encodedRun(t, Set{Update: 7, Run: sampleRun(), Members: [][]byte{data}})
	flips := []byte{0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}
	for i := range data {
		for _, flip := range flips {
			data[i] ^= flip
			_, err := Decode(data)
			require.Error(t, err, "byte %d ^ %#02x", i, flip)
			data[i] ^= flip
		}
	}
	for i := range run {
		for _, flip := range flips {
			run[i] ^= flip
			_, _, err := decodeRun(run)
			require.Error(t, err, "run.ckpt, byte %d ^ %#02x", i, flip)
			run[i] ^= flip
		}
	}
	decoded(t, data)
}

func TestEveryTruncationIsRefused(t *testing.T) {
	data := encoded(t, smallMember(t), true)
	for n := range data {
		_, err := Decode(data[:n])
		require.ErrorIs(t, err, ErrDamaged, "%d bytes", n)
	}
	_, err := Decode(append(bytes.Clone(data), 0))
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "1 bytes follow the end")
}

func TestDamagedTensorIsNamed(t *testing.T) {
	m := smallMember(t)
	data := encoded(t, m, true)
	at := bytes.Index(data, m.Raw("optimizer", "exp_avg_sq/actor.0.bias"))
	require.Positive(t, at)
	data[at] ^= 1
	path := filepath.Join(t.TempDir(), "member-003.ckpt")
	require.NoError(t, os.WriteFile(path, data, 0o644))
	_, err := ReadFile(OS, path)
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "section optimizer_state, tensor exp_avg_sq/actor.0.bias: CRC-32C")

	data[at] ^= 1
	at = bytes.Index(data, []byte("Pendulum"))
	data[at] = 'p'
	_, err = Decode(data)
	require.ErrorContains(t, err, "SHA-256 of the file is")
}

// one writes a v1 file whose only tensor is what body writes.
func one(body func(w *writer)) []byte {
	w := newWriter(0)
	w.mapLen(1)
	w.str("data")
	w.mapLen(1)
	w.str("x")
	body(w)
	return w.buf.Bytes()
}

// arrayMap writes msgpack-numpy's map with the given entries.
func arrayMap(code string, kind string, shape []int64, data []byte) func(w *writer) {
	return func(w *writer) {
		w.mapLen(5)
		w.bin([]byte("nd"))
		w.bool(true)
		w.bin([]byte("type"))
		w.str(code)
		w.bin([]byte("kind"))
		w.bin([]byte(kind))
		w.bin([]byte("shape"))
		w.arrayLen(len(shape))
		for _, d := range shape {
			w.int(d)
		}
		w.bin([]byte("data"))
		w.bin(data)
	}
}

func TestHostileFilesAreRefused(t *testing.T) {
	deep := one(func(w *writer) {
		for range 100_000 {
			w.arrayLen(1)
		}
		w.nil()
	})
	head := one(func(*writer) {})
	after := func(b ...byte) []byte { return append(bytes.Clone(head), b...) }
	many := make([]int64, 40)
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"empty":            {nil, "cut short"},
		"text":             {[]byte("env: {id: CartPole-v1}\n"), "want a map, found a number"},
		"not a checkpoint": {[]byte{0x81, 0xa1, 'a', 1}, "neither format_version nor data"},
		"huge map":         {[]byte{0xdf, 0xff, 0xff, 0xff, 0xff}, "4294967295 items are announced and only 0 bytes are left"},
		"huge inner map":   {after(0xdf, 0x7f, 0xff, 0xff, 0xff), "items are announced"},
		"huge list":        {after(0xdd, 0xff, 0xff, 0xff, 0xff), "items are announced"},
		"huge bytes":       {after(0xc6, 0xff, 0xff, 0xff, 0xff, 1), "items are announced"},
		"huge text":        {after(0xdb, 0xff, 0xff, 0xff, 0xff, 1), "items are announced"},
		"extension":        {after(0xd6, 1, 0, 0, 0, 0), "an extension type"},
		"reserved byte":    {after(0xc1), "the invalid byte 0xc1"},
		"nil":              {after(0xc0), "want a number, found nil"},
		"nesting":          {deep, "nested more than 12 deep"},
		"twice":            {[]byte("\x82\xa4data\x01\xa4data\x01"), `the key "data" is there twice`},
		"objects":          {one(arrayMap("|O", "O", nil, []byte("pickle"))), `an array of kind "O"`},
		"objects unmarked": {one(arrayMap("|O", "", nil, make([]byte, 8))), "Python objects is refused"},
		"structured":       {one(arrayMap("<f4", "V", nil, nil)), `an array of kind "V"`},
		"big-endian":       {one(arrayMap(">f4", "", []int64{1}, make([]byte, 4))), `">f4" is big-endian`},
		"half":             {one(arrayMap("<f2", "", []int64{1}, make([]byte, 2))), `element type "<f2" is not one of`},
		"short data":       {one(arrayMap("<f4", "", []int64{2, 3}, make([]byte, 23))), "shape [2 3] of float32 does not match 23 bytes"},
		"odd data":         {one(arrayMap("<f4", "", []int64{2}, make([]byte, 11))), "does not match 11 bytes"},
		"overflow":         {one(arrayMap("|u1", "", []int64{1 << 30, 1 << 30, 1 << 30, 1 << 30}, nil)), "does not match 0 bytes"},
		"overflow to fit":  {one(arrayMap("|u1", "", []int64{1 << 31 / 3, 3 << 20, 1 << 30}, []byte{0, 0})), "does not match 2 bytes"},
		"large dimension":  {one(arrayMap("|u1", "", []int64{math.MaxInt64}, nil)), "is too large"},
		"negative":         {one(arrayMap("<f4", "", []int64{-1, -1}, make([]byte, 4))), "want a whole number from 0"},
		"dimensions":       {one(arrayMap("<f4", "", many, nil)), "40 dimensions are more than 32"},
		"long key":         {bytes.Replace(one(func(w *writer) { w.int(1) }), []byte("\xa1x"), append([]byte("\xda\x01\x00"), make([]byte, 256)...), 1), "a key of 256 bytes; at most 255 are read"},
		"slash":            {bytes.Replace(one(func(w *writer) { w.int(1) }), []byte("\xa1x"), []byte("\xa3x/y"), 1), `"x/y" has a slash`},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode(test.data)
			runtime.ReadMemStats(&after)
			require.ErrorContains(t, err, test.want)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "bytes allocated for a file of %d", len(test.data))
		})
	}
}

func TestV2NeedsAllItsKeysAndHasNoOther(t *testing.T) {
	with := func(keys ...string) []byte {
		w := newWriter(0)
		w.mapLen(1 + len(keys))
		w.str("format_version")
		w.str(V2)
		for _, key := range keys {
			w.str(key)
			switch key {
			case "step":
				w.int(1)
			case "has_optimizer_state":
				w.bool(false)
			case "env":
				w.env(EnvInfo{})
			case "config":
				w.str("")
			case "data", "checksums":
				w.mapLen(0)
			default:
				w.nil()
			}
		}
		return w.buf.Bytes()
	}
	c := decoded(t, with(requiredV2...))
	require.False(t, c.Verified)
	warnings, err := c.Restore(tensor.NewMember(layoutOf(t)))
	require.NoError(t, err)
	require.Equal(t, []string{"the checkpoint carries no checksums: damage to it would go unnoticed"}, warnings)
	for i, key := range requiredV2 {
		_, err := Decode(with(append(append([]string{}, requiredV2[:i]...), requiredV2[i+1:]...)...))
		require.ErrorContains(t, err, `must have the key "`+key+`"`)
	}
	_, err = Decode(with(append(requiredV2, "note")...))
	require.ErrorContains(t, err, `has no key "note"`)
	_, err = Decode(with(append([]string{"checksums"}, requiredV2...)...))
	require.ErrorContains(t, err, "must be the last")
	_, err = Decode(bytes.Replace(with(requiredV2...), []byte("v2_"), []byte("v3_"), 1))
	require.ErrorIs(t, err, ErrVersion)
}

// The files of other programs hold numbers of other types; whatever would not
// survive the conversion is refused.
func TestConversion(t *testing.T) {
	le := binary.LittleEndian
	restore := func(code string, data []byte, to tensor.DType) (tensor.Member, error) {
		l := layoutOf(t, tensor.Section{Name: "policy", Tensors: []tensor.Spec{{Name: "x", Shape: []int{1}, DType: to}}})
		m := tensor.NewMember(l)
		_, err := decoded(t, one(arrayMap(code, "", []int64{1}, data))).Restore(m)
		return m, err
	}
	f8 := func(f float64) []byte { return le.AppendUint64(nil, math.Float64bits(f)) }
	for _, test := range []struct {
		code string
		data []byte
		to   tensor.DType
		want string // of the value, or of the error
	}{
		{"<f8", f8(0.1), tensor.Float32, "0.1"},
		{"<f8", f8(math.Inf(-1)), tensor.Float32, "-Inf"},
		{"<f8", f8(1e300), tensor.Float32, "1e+300 is beyond float32"},
		{"<f8", f8(3), tensor.Int64, "3"},
		{"<f8", f8(3.5), tensor.Int64, "3.5 is not a whole number within int64"},
		{"<f8", f8(1 << 63), tensor.Int64, "9.223372036854776e+18 is not a whole number within int64"},
		{"<f8", f8(-1), tensor.Uint64, "-1 is not a whole number within uint64"},
		{"<f8", f8(math.NaN()), tensor.Uint64, "NaN is not a whole number within uint64"},
		{"<f4", le.AppendUint32(nil, math.Float32bits(1.5)), tensor.Float64, "1.5"},
		{"|i1", []byte{0x80}, tensor.Int64, "-128"},
		{"|u1", []byte{0x80}, tensor.Float32, "128"},
		{"<i2", []byte{0xff, 0xff}, tensor.Float64, "-1"},
		{"<i2", []byte{0xff, 0xff}, tensor.Float32, "-1"},
		{"<i4", []byte{0xff, 0xff, 0xff, 0xff}, tensor.Uint64, "-1 cannot be a uint64"},
		{"<u4", []byte{0xff, 0xff, 0xff, 0xff}, tensor.Float32, "4294967295 cannot be a float32"},
		{"<u8", le.AppendUint64(nil, 1<<63), tensor.Int64, "9223372036854775808 cannot be a int64"},
		{"<i8", le.AppendUint64(nil, 1<<63-1), tensor.Uint64, "9223372036854775807"},
	} {
		m, err := restore(test.code, test.data, test.to)
		if err != nil {
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "section policy, tensor x: element 0: ")
			continue
		}
		require.Equal(t, test.want, printed(m, test.to), "%s % x", test.code, test.data)
	}
}

// FuzzDecode: a member file of any bytes is refused or read, within bounds; what is
// read is restored whole or not at all, and a restored state survives being written.
func FuzzDecode(f *testing.F) {
	m := smallMember(f)
	f.Add(encoded(f, m, true))
	f.Add(encoded(f, m, false))
	several, err := Encode(m, Meta{Env: EnvOf(env.Spec{ID: "Switches-v0", ObsDim: 7, Action: env.MultiDiscrete(3, 2, 300)})}, true)
	require.NoError(f, err)
	f.Add(several)
	f.Fuzz(func(t *testing.T, data []byte) {
		requireBounded(t, data)
		c, err := Decode(data)
		if err != nil {
			require.True(t, errors.Is(err, ErrDamaged) || errors.Is(err, ErrVersion), "%v", err)
			require.Less(t, len(err.Error()), 4096, "an error is to be read")
			return
		}
		for _, s := range c.Sections() {
			for _, tensor := range s.Tensors {
				require.NotEmpty(t, tensor.DType)
			}
		}
		dst := filled(m.Layout(), 2)
		before := dst.Clone()
		if _, err := c.Restore(dst); err != nil {
			require.Equal(t, before.Bytes(), dst.Bytes(), "changed although refused")
			return
		}
		again := tensor.NewMember(m.Layout())
		_, err = decoded(t, encoded(t, dst, true)).Restore(again)
		require.NoError(t, err)
		require.Equal(t, dst.Bytes(), again.Bytes())
	})
}

// FuzzDecodeRun: a run.ckpt of any bytes is refused or read, within bounds; what is
// read is what is written again.
func FuzzDecodeRun(f *testing.F) {
	for _, members := range []int{1, 2, 20} {
		s := Set{Update: 50, Run: sampleRun(), Members: make([][]byte, members)}
		f.Add(encodedRun(f, s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		requireBounded(t, data)
		s, sums, err := decodeRun(data)
		if err != nil {
			require.True(t, errors.Is(err, ErrDamaged) || errors.Is(err, ErrVersion), "%v", err)
			require.Less(t, len(err.Error()), 4096, "an error is to be read")
			return
		}
		require.LessOrEqual(t, len(sums)*34, len(data))
		s.Members = make([][]byte, len(sums))
		back, _, err := decodeRun(encodedRun(t, *s))
		require.NoError(t, err)
		s.Members = nil
		require.Equal(t, fmt.Sprint(s), fmt.Sprint(back))
	})
}

// A file whose sums have been made to fit again still cannot pass a tensor off
// as another's: names and shapes decide.
func TestForgedSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := smallMember(t)
		data := encoded(t, m, true)
		for range rapid.IntRange(1, 4).Draw(t, "edits") {
			i := rapid.IntRange(0, len(data)-sumSize-1).Draw(t, "at")
			data[i] = rapid.Byte().Draw(t, "byte")
		}
		sum := sha256.Sum256(data[:len(data)-sumSize])
		copy(data[len(data)-sha256.Size:], sum[:])
		c, err := Decode(data)
		if err != nil {
			return
		}
		dst := tensor.NewMember(m.Layout())
		if _, err := c.Restore(dst); err == nil && c.Verified {
			require.Equal(t, m.Bytes(), dst.Bytes())
		}
	})
}
