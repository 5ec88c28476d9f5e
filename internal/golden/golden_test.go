package golden

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
)

// What Python's msgpack.packb({"id": "x", "n": 7, "list": [1.5, None],
// "a": np.arange(6, dtype="<i4").reshape(2, 3), "s": np.float32(2.5)},
// default=msgpack_numpy.encode) wrote.
const packedByPython = "" +
	"85a26964a178a16e07a46c69737492cb3ff8000000000000c0a16185c4026e64c3c40474797065a33c6934c4046b696e64c4" +
	"00c4057368617065920203c40464617461c418000000000100000002000000030000000400000005000000a17383c4026e64" +
	"c2c40474797065a33c6634c40464617461c40400002040"

func TestDecodeReadsWhatPythonWrites(t *testing.T) {
	data, err := hex.DecodeString(packedByPython)
	require.NoError(t, err)
	m, err := Decode(data)
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"id":   "x",
		"n":    7,
		"list": []any{1.5, nil},
		"a":    Array{Shape: []int{2, 3}, Data: []int32{0, 1, 2, 3, 4, 5}},
		"s":    Array{Data: []float32{2.5}},
	}, m)
	a := At[Array](t, m, "a")
	require.Equal(t, []float64{0, 1, 2, 3, 4, 5}, a.Float64s())
	require.Equal(t, []float32{0, 1, 2, 3, 4, 5}, a.Float32s())
	require.Equal(t, []int{0, 1, 2, 3, 4, 5}, a.Ints())
}

// array packs one msgpack-numpy array under the key "x".
func array(t *testing.T, dtype string, data []byte, shape ...int) []byte {
	t.Helper()
	b, err := msgpack.Marshal(map[string]any{"x": map[string]any{
		"nd": true, "type": dtype, "kind": []byte{}, "shape": shape, "data": data,
	}})
	require.NoError(t, err)
	return b
}

func TestDecodeReadsNumbersOfEverySize(t *testing.T) {
	want := map[string]any{}
	for i, n := range []int{0, -1, 127, 128, 200, 500, -500, 70000, -70000, 1 << 40, -1 << 40} {
		want[string(rune('a'+i))] = n
	}
	want["float32"], want["float64"] = float32(0.5), 0.5
	data, err := msgpack.Marshal(want)
	require.NoError(t, err)
	want["float32"] = 0.5
	got, err := Decode(data)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestDecodeReadsEveryElementType(t *testing.T) {
	for dtype, want := range map[string]any{
		"<f4": []float32{-1.5}, "<f8": []float64{-1.5}, "<i4": []int32{-2}, "<i8": []int64{-2},
		"|u1": []uint8{200}, "|b1": []uint8{1},
	} {
		raw := map[string]string{"<f4": "0000c0bf", "<f8": "000000000000f8bf", "<i4": "feffffff",
			"<i8": "feffffffffffffff", "|u1": "c8", "|b1": "01"}[dtype]
		data, err := hex.DecodeString(raw)
		require.NoError(t, err)
		m, err := Decode(array(t, dtype, data, 1))
		require.NoError(t, err, dtype)
		require.Equal(t, Array{Shape: []int{1}, Data: want}, m["x"], dtype)
	}
}

func TestDecodeRejectsDamage(t *testing.T) {
	whole := array(t, "<f4", make([]byte, 8), 2)
	for i := range whole {
		_, err := Decode(whole[:i])
		require.Error(t, err, "cut at %d of %d bytes", i, len(whole))
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"short":   {array(t, "<f4", make([]byte, 7), 2), "needs 8 bytes, has 7"},
		"dtype":   {array(t, ">f4", make([]byte, 8), 2), `dtype ">f4" is not one of`},
		"shape":   {array(t, "<f4", []byte{}, -1), "not a number of elements"},
		"trailer": {append(bytes.Clone(whole), 0xc0), "more data"},
		"no map":  {[]byte{0x07}, "not a map"},
	} {
		_, err := Decode(c.data)
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestGoldenFilesOfBothKindsLoad(t *testing.T) {
	for kind, key := range map[string]string{"ppo": "name", "env": "id"} {
		for _, path := range Files(t, kind) {
			m := Load(t, path)
			require.NotEmpty(t, At[string](t, m, key), path)
		}
	}
}

func TestDirsAddsTheFolderOfTheEnvironmentVariable(t *testing.T) {
	root := ModuleRoot(t)
	_, err := os.Stat(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	t.Setenv(DirVariable, "")
	own := Files(t, "env")

	more := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(more, "env"), 0o755))
	extra := filepath.Join(more, "env", "Extra-v0.msgpack")
	require.NoError(t, os.WriteFile(extra, []byte{0x80}, 0o644))
	t.Setenv(DirVariable, more)
	require.Equal(t, append(own, extra), Files(t, "env"))
	require.Empty(t, Load(t, extra))

	relative, err := filepath.Rel(root, more)
	require.NoError(t, err)
	t.Setenv(DirVariable, relative)
	require.Contains(t, Files(t, "env"), extra)
}
