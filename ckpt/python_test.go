package ckpt

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/internal/pyenv"
	"brood/tensor"
)

// describe prints every tensor of a file as [dtype, shape, bytes in hex]; a
// plain number as what it is.
const describe = `
import sys, json, msgpack, msgpack_numpy, numpy as np
ckpt = msgpack.unpackb(sys.stdin.buffer.read(), object_hook=msgpack_numpy.decode)
def show(v):
    if isinstance(v, dict):
        return {k: show(x) for k, x in v.items()}
    if isinstance(v, np.ndarray):
        return [v.dtype.str, list(v.shape), v.tobytes().hex()]
    return [type(v).__name__, [], (np.float64(v).tobytes() if isinstance(v, float) else v.to_bytes(8, "little", signed=v < 0)).hex()]
meta = {k: ckpt[k] for k in ckpt if k not in ("data", "checksums")}
json.dump({"data": show(ckpt["data"]), "meta": meta}, sys.stdout)
`

func TestPythonReadsWhatWeWrite(t *testing.T) {
	m := smallMember(t)
	copy(m.Float32("policy", "actor.0.bias"), []float32{float32(math.Inf(-1)), math.Float32frombits(0x7fc12345), 1e-42})
	m.Float32("hyperparameters", "learning_rate")[0] = math.Float32frombits(0x7fc54321)
	m.Uint64("rng", "seed")[0] = math.MaxUint64 - 5
	m.Int64("counters", "env_steps")[0] = -7
	meta := sampleMeta()
	meta.Performance = math.NaN()
	data, err := Encode(m, meta, true)
	require.NoError(t, err)

	var have struct {
		Data map[string]map[string]any
		Meta map[string]any
	}
	require.NoError(t, json.Unmarshal(pyenv.Run(t, describe, data), &have))
	want := map[string]map[string]any{}
	for _, b := range m.Layout().Sections() {
		entries, err := nest(&b)
		require.NoError(t, err)
		want[b.Key] = described(m, &b, entries)
	}
	require.Equal(t, want, have.Data)
	require.Equal(t, map[string]any{"format_version": V2, "step": 150.0, "performance": nil, "has_optimizer_state": true,
		"config": meta.Config, "env": map[string]any{"id": "Pendulum-v1", "obs_dim": 3.0, "action": map[string]any{
			"type": "continuous", "n": 1.0, "low": []any{-float64(float32(2.1))}, "high": []any{float64(float32(2.1))}}}}, have.Meta)
}

// described is what describe prints of the entries.
func described(m tensor.Member, b *tensor.Block, entries []entry) map[string]any {
	list := map[string]any{}
	for _, e := range entries {
		if e.group != nil {
			list[e.key] = described(m, b, e.group)
			continue
		}
		x := &b.Tensors[e.index]
		data, code := raw(m, x), stored(x.DType).code
		shape := make([]any, len(x.Shape))
		for i, d := range x.Shape {
			shape[i] = float64(d)
		}
		if len(shape) == 0 {
			code = "int"
			if d := stored(x.DType); d.kind == 'f' {
				// Python has one type of float.
				code = "float"
				data = doubleBytes(floatElement(data))
			}
		}
		list[e.key] = []any{code, shape, hex.EncodeToString(data)}
	}
	return list
}

func doubleBytes(f float64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(math.Float64bits(f) >> (8 * i))
	}
	return b
}

// Not only readable: an array's bytes are those that msgpack_numpy writes.
func TestArraysAreWrittenAsPythonWritesThem(t *testing.T) {
	want := pyenv.Run(t, `
import sys, msgpack, msgpack_numpy, numpy as np
for dtype in "<f4", "<f8", "<i8", "<u8":
    for shape in (1,), (300,), (20, 3, 70):
        sys.stdout.buffer.write(msgpack.packb(np.arange(np.prod(shape), dtype=dtype).reshape(shape), default=msgpack_numpy.encode))
`, nil)
	w := newWriter(0)
	for d := tensor.Float32; d <= tensor.Uint64; d++ {
		for _, shape := range [][]int{{1}, {300}, {20, 3, 70}} {
			m := tensor.NewMember(layoutOf(t, tensor.Section{Name: "s", Tensors: []tensor.Spec{{Name: "x", Shape: shape, DType: d}}}))
			x := m.Layout().Section("s").Tensor("x")
			for i := range x.Len {
				bits, err := fromUint(uint64(i), d)
				require.NoError(t, err)
				for b := range d.Size() {
					raw(m, x)[i*d.Size()+b] = byte(bits >> (8 * b))
				}
			}
			w.tensor(m, x)
		}
	}
	require.NoError(t, w.err)
	require.Equal(t, want, w.buf.Bytes())
}

func TestWeReadWhatPythonWrites(t *testing.T) {
	data := pyenv.Run(t, `
import sys, msgpack, msgpack_numpy, numpy as np
w, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0.5, np.nan, -np.inf], dtype=np.float64)
sys.stdout.buffer.write(msgpack.packb({
    "data": {
        "rng": {"seed": 2**64 - 1},
        "policy": {"actor.0.weight": np.asfortranarray(w), "actor.0.bias": b},
        "vgs_state": {"mean_abs": np.zeros(2, np.float32), "step": np.int32(9)},
        "optimizer_state": {"exp_avg": {"actor.0.weight": w + 1, "actor.0.bias": b}, "exp_avg_sq": {"actor.0.weight": w * 2, "actor.0.bias": b}, "step": 12.0},
        "hyperparameters": {"learning_rate": 3e-4, "gamma": np.array(0.99)},
        "counters": {"env_steps": -3},
    },
    "format_version": "v2_full_parameters", "step": 5, "performance": 12, "has_optimizer_state": True, "config": "a: 1",
    "env": {"id": "X", "obs_dim": 2, "action": {"type": "discrete", "n": 3, "low": [], "high": []}},
}, default=msgpack_numpy.encode))
`, nil)
	c := decoded(t, data)
	require.Equal(t, Meta{Step: 5, Performance: 12, Config: "a: 1",
		Env: EnvInfo{ID: "X", ObsDim: 2, Action: ActionInfo{Type: "discrete", N: 3}}}, c.Meta)
	m := smallMember(t)
	warnings, err := c.Restore(m)
	require.NoError(t, err)
	require.Equal(t, []string{"the checkpoint carries no checksums: damage to it would go unnoticed"}, warnings)
	require.Equal(t, []float32{0, 1, 2, 3, 4, 5}, m.Float32("policy", "actor.0.weight"))
	require.Equal(t, []float32{1, 2, 3, 4, 5, 6}, m.Float32("optimizer", "exp_avg/actor.0.weight"))
	bias := m.Float32("policy", "actor.0.bias")
	require.Equal(t, "[0.5 NaN -Inf]", fmt.Sprint(bias))
	require.Equal(t, []int64{12}, m.Int64("optimizer", "step"))
	require.Equal(t, []int64{9}, m.Int64("vgs", "step"))
	require.Equal(t, []float32{3e-4}, m.Float32("hyperparameters", "learning_rate"))
	require.Equal(t, []float64{0.99}, m.Float64("hyperparameters", "gamma"))
	require.Equal(t, []uint64{math.MaxUint64}, m.Uint64("rng", "seed"))
	require.Equal(t, []int64{-3}, m.Int64("counters", "env_steps"))
}

func TestWeReadV1FromPython(t *testing.T) {
	for _, form := range []string{`{"data": p}`, `{"data": {"policy": p}, "format_version": "v1_policy_only", "step": 3}`,
		`{"format_version": "v1_policy_only", "data": {"policy": p, "vgs_state": None}, "extra": [1, {"a": b"x"}]}`} {
		data := pyenv.Run(t, `
import sys, msgpack, msgpack_numpy, numpy as np
p = {"actor.0.weight": np.arange(6).reshape(3, 2), "actor.0.bias": np.ones(3)}
sys.stdout.buffer.write(msgpack.packb(`+form+`, default=msgpack_numpy.encode))
`, nil)
		m := smallMember(t)
		warnings, err := decoded(t, data).Restore(m)
		require.NoError(t, err)
		require.Len(t, warnings, 1)
		require.Equal(t, []float32{0, 1, 2, 3, 4, 5}, m.Float32("policy", "actor.0.weight"))
		require.Equal(t, []float32{1, 1, 1}, m.Float32("policy", "actor.0.bias"))
		require.Zero(t, m.Int64("optimizer", "step")[0])
	}
}

func TestThePythonOfTheDocumentation(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "checkpoint-format.md"))
	require.NoError(t, err)
	var blocks []string
	for _, part := range strings.Split(string(page), "```python\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	require.Len(t, blocks, 4)
	t.Setenv(pyenv.PythonVariable, pyenv.Interpreter(t)) // before the folder changes
	t.Chdir(t.TempDir())
	m := smallMember(t)
	require.NoError(t, WriteFile(OS, "member-000.ckpt", encoded(t, m, true)))

	out := pyenv.Run(t, blocks[0]+`print(policy["actor.0.weight"].tobytes().hex(), policy["actor.0.bias"].shape)`, nil)
	require.Equal(t, hex.EncodeToString(m.Raw("policy", "actor.0.weight"))+" (3,)\n", string(out))
	pyenv.Run(t, blocks[1], nil)
	pyenv.Run(t, blocks[2], nil)
	edited, err := ReadFile(OS, "edited.ckpt")
	require.NoError(t, err)
	back := tensor.NewMember(m.Layout())
	_, err = edited.Restore(back)
	require.NoError(t, err)
	for i := range m.Float32("policy", "actor.0.bias") {
		m.Float32("policy", "actor.0.bias")[i]++
	}
	m.Float32("hyperparameters", "learning_rate")[0] = 1e-3
	require.Equal(t, m.Bytes(), back.Bytes())

	pyenv.Run(t, blocks[3], nil)
	made, err := ReadFile(OS, "made.ckpt")
	require.NoError(t, err)
	require.True(t, made.HasOptimizerState)
	require.False(t, made.Verified)
	require.Equal(t, "CartPole-v1", made.Env.ID)
	require.Contains(t, made.Sections()[0].Tensors, TensorInfo{Name: "critic.4.weight", Shape: []int{1, 4}, DType: "float32"})
	// It is restored into today's layout and played in train's tests.
}

// refusedFromPython are values of a tensor that are no plain numbers.
var refusedFromPython = []struct{ value, want string }{
	{`np.array([1, "a", None], dtype=object)`, `an array of kind "O" is refused: it is of Python objects and would have to be unpickled`},
	{`np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")])`, `an array of kind "V" is refused: it is structured`},
	{`np.array(["ab"])`, `element type "<U2" is not one of float32`},
	{`np.zeros(1, bool)`, `element type "|b1" is not one of`},
	{`np.zeros(1, ">f4")`, `element type ">f4" is big-endian`},
	{`np.zeros(1, np.float16)`, `element type "<f2" is not one of`},
	{`np.array([1j])`, `element type "<c16" is not one of`},
	{`1j`, `an array has no key "complex"`},
	{`"text"`, `want a number, found text`},
	{`True`, `want a number, found a boolean`},
	{`None`, `want a number, found nil`},
	{`[1.0, 2.0]`, `want a number, found a list`},
	{`{b"nd": True, b"type": "<f4", b"data": b"1234"}`, `an array's nd is true although its shape's presence is false`},
	{`{b"nd": True, b"type": [["", "|O"]], b"data": b"1234"}`, `is refused: it is structured`},
}

// Arrays that are no plain numbers are refused as msgpack_numpy really writes them,
// and the error says which it is.
func TestObjectsFromPythonAreRefusedByName(t *testing.T) {
	tests := refusedFromPython
	var values []string
	for _, test := range tests {
		values = append(values, test.value)
	}
	// One process for all: each file follows its length.
	files := pyenv.Run(t, `
import sys, msgpack, msgpack_numpy, numpy as np
for value in [
    `+strings.Join(values, ",\n    ")+`,
]:
    moments = {"actor.0.weight": np.zeros((3, 2), np.float32), "actor.0.bias": value}
    file = msgpack.packb({"format_version": "v2_full_parameters", "step": 1, "performance": None, "has_optimizer_state": True, "config": "",
        "env": {"id": "X", "obs_dim": 2, "action": {"type": "discrete", "n": 3, "low": [], "high": []}},
        "data": {"optimizer_state": {"exp_avg": moments}}}, default=msgpack_numpy.encode)
    sys.stdout.buffer.write(len(file).to_bytes(4, "little") + file)
`, nil)
	for _, test := range tests {
		size := binary.LittleEndian.Uint32(files)
		err := asMember(files[4 : 4+size])
		files = files[4+size:]
		require.ErrorIs(t, err, ErrDamaged, test.value)
		require.ErrorContains(t, err, test.want)
		require.ErrorContains(t, err, somewhere)
		require.ErrorContains(t, err, "data/optimizer_state/exp_avg/actor.0.bias", test.value)
	}
	require.Empty(t, files)
}
