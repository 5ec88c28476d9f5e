package convert

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// withHeader is a safetensors file with its header changed.
func withHeader(t testing.TB, data []byte, change func(map[string]any)) []byte {
	t.Helper()
	length := binary.LittleEndian.Uint64(data)
	var header map[string]any
	require.NoError(t, json.Unmarshal(data[8:8+length], &header))
	change(header)
	text, err := json.Marshal(header)
	require.NoError(t, err)
	return safetensorsFile(string(text), data[8+length:])
}

func safetensorsFile(header string, content []byte) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), content...)
}

// torchFile is an archive as torch.save writes it, with a pickle and storages.
func torchFile(t testing.TB, pickle string, storages ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	store(t, w, "archive/data.pkl", []byte(pickle))
	for i, s := range storages {
		store(t, w, fmt.Sprintf("archive/data/%d", i), []byte(s))
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// tensorPickle is a state dict of one tensor x of float32 over storage 0.
func tensorPickle(elements, offset int, shape, strides string) string {
	return "\x80\x02}" + text("x") + tensorValue(elements, offset, shape, strides) + "s."
}

func tensorValue(elements, offset int, shape, strides string) string {
	number := func(n int) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") +
		number(elements) + "tQ" + number(offset) + shape + strides + "\x89ccollections\nOrderedDict\n)RtR"
}

// Python's own pickles of objects whose __reduce__ runs something.
var running = map[string][2]string{
	"protocol 2, os.system":         {"\x80\x02cposix\nsystem\nq\x00X\x0b\x00\x00\x00touch pwnedq\x01\x85q\x02Rq\x03.", "posix.system"},
	"protocol 4, os.system":         {"\x80\x04\x95&\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x0btouch pwned\x94\x85\x94R\x94.", "posix.system"},
	"protocol 2, eval":              {"\x80\x02c__builtin__\neval\nX\x03\x00\x00\x001+1\x85R.", "__builtin__.eval"},
	"builtins.eval":                 {"\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R.", "builtins.eval"},
	"inst":                          {"\x80\x02(X\x03\x00\x00\x001+1ibuiltins\neval\n.", "builtins.eval"},
	"hidden in a state dict":        {"\x80\x02}X\x01\x00\x00\x00xcbuiltins\nexec\nX\x03\x00\x00\x001+1\x85Rs.", "builtins.exec"},
	"named and not called":          {"\x80\x02csubprocess\nPopen\n.", "subprocess.Popen"},
	"a relative of what is allowed": {"\x80\x02ctorch._utils\n_rebuild_device_tensor_from_numpy\n.", "torch._utils._rebuild_device_tensor_from_numpy"},
	"torch.load":                    {"\x80\x02ctorch\nload\n.", "torch.load"},
	"FloatStorage of another":       {"\x80\x02cos\nFloatStorage\n.", "os.FloatStorage"},
	"an extension":                  {"\x80\x02\x82\x01.", "an object of Python's extension registry"},
	"a new object":                  {"\x80\x02ccollections\nOrderedDict\n)\x81.", "make an object of a class of its own (opcode 0x81"},
}

func TestNothingIsRun(t *testing.T) {
	for name, test := range running {
		t.Run(name, func(t *testing.T) {
			_, err := readTorch(torchFile(t, test[0]), "the file")
			require.ErrorIs(t, err, ErrRefused)
			assert.ErrorContains(t, err, test[1])
			// The same as the policy, and the optimizer, of a model.
			for _, part := range []string{"policy.pth", "policy.optimizer.pth"} {
				data := rezip(t, testdata(t, "sb3-cartpole.zip"), func(entry string, content []byte) []byte {
					if entry == part {
						return torchFile(t, test[0])
					}
					return content
				})
				_, _, err = Bytes("m.zip", data, Options{Env: "CartPole-v1"})
				require.ErrorIs(t, err, ErrRefused)
				assert.ErrorContains(t, err, test[1])
			}
		})
	}
}

func TestDamagedPickles(t *testing.T) {
	for name, test := range map[string][2]string{
		"empty":                 {"", "1 bytes are announced and 0 are left"},
		"a text of 4 GB":        {"\x80\x02X\xff\xff\xff\xffx.", "4294967295 bytes are announced and 2 are left"},
		"a frame beyond":        {"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.", "a frame of 18446744073709551615 bytes"},
		"a long number":         {"\x80\x02\x8a\x09aaaaaaaaa.", "a whole number of 9 bytes"},
		"protocol 1":            {"\x80\x01}.", "protocol 1; want 2 to 5"},
		"a text of protocol 0":  {"S'x'\n.", "opcode 0x53 is not one that torch.save writes"},
		"nothing to stop with":  {"\x80\x02.", "it ends with 0 values"},
		"bytes after it":        {"\x80\x02}.}", "1 bytes after it"},
		"a memo of the future":  {"\x80\x02h\x07.", "value 7 is used before it is there"},
		"a memo of nothing":     {"\x80\x02q\x00.", "a value is needed and there is none"},
		"beyond the mark":       {"\x80\x02}((s.", "2 values are needed and 0 are there"},
		"no mark":               {"\x80\x02}u.", "a mark is needed"},
		"an odd pair":           {"\x80\x02}(K\x01u.", "1 keys and values are put into a map"},
		"a key twice":           {"\x80\x02}K\x01NsK\x01Ns.", "the key \"1\" is there twice"},
		"a map as a key":        {"\x80\x02}}Ns.", "a map is the key of a map"},
		"appended to a map":     {"\x80\x02}Na.", "values are appended to a map"},
		"a call of a text":      {"\x80\x02X\x01\x00\x00\x00x)R.", "a text is called with a tuple"},
		"attributes of a list":  {"\x80\x02]Nb.", "attributes are set of a list"},
		"a map with arguments":  {"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "collections.OrderedDict is called with 1 values"},
		"a parameter of a text": {"\x80\x02ctorch._utils\n_rebuild_parameter\n(X\x01\x00\x00\x00x\x88}tR.", "_rebuild_parameter is called with 3 values"},
		"a persistent number":   {"\x80\x02K\x01Q.", "a persistent id is a whole number"},
		"a line without end":    {"\x80\x02ctorch", "a line does not end"},
		"no module":             {"\x80\x04K\x01K\x02\x93.", "an object is named by a whole number"},
		"not a map":             {"\x80\x02].", "it holds a list; want a state dict"},
		"a list with itself":    {"\x80\x02]q\x00h\x00ah\x00R.", "a list is called with a list"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readTorch(torchFile(t, test[0]), "the file")
			require.Error(t, err)
			assert.ErrorContains(t, err, test[1])
		})
	}
}

func TestTensorsOfTorch(t *testing.T) {
	numbers := func(n int) string { return strings.Repeat("\x00\x00\x80\x3f", n) }
	for name, test := range map[string]struct{ pickle, content, want string }{
		"beyond the end":       {tensorPickle(6, 1, "K\x02K\x03\x86", "K\x03K\x01\x86"), numbers(6), "does not fit its storage of 6 elements"},
		"offset below 0":       {tensorPickle(6, -1, "K\x02\x85", "K\x01\x85"), numbers(6), "does not fit"},
		"strides beyond":       {tensorPickle(6, 0, "K\x02\x85", "J\xff\xff\xff\x7f\x85"), numbers(6), "does not fit"},
		"a stride below 0":     {tensorPickle(6, 5, "K\x02\x85", "J\xff\xff\xff\xff\x85"), numbers(6), "a tensor is given as"},
		"strides of another":   {tensorPickle(6, 0, "K\x02\x85", "K\x03K\x01\x86"), numbers(6), "a tensor is given as"},
		"a product of 2^62":    {tensorPickle(6, 0, "J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", "K\x00K\x00\x86"), numbers(6), "more elements than the 6 there are"},
		"0 hides nothing":      {tensorPickle(6, 0, "K\x00J\xff\xff\xff\x7f\x86", "K\x00K\x00\x86"), numbers(6), "more elements"},
		"9 dimensions":         {tensorPickle(6, 0, "("+strings.Repeat("K\x01", 9)+"t", "("+strings.Repeat("K\x01", 9)+"t"), numbers(6), "9 dimensions; at most 8"},
		"a short storage":      {tensorPickle(6, 0, "K\x06\x85", "K\x01\x85"), numbers(5), "storage \"0\" of 6 elements of torch.FloatStorage has 20 bytes"},
		"no storage":           {strings.Replace(tensorPickle(6, 0, "K\x06\x85", "K\x01\x85"), text("0"), text("7"), 1), numbers(6), `lacks the entry "archive/data/7"`},
		"half precision":       {strings.Replace(tensorPickle(6, 0, "K\x06\x85", "K\x01\x85"), "FloatStorage", "HalfStorage", 1), numbers(3), "a tensor of type torch.HalfStorage; read are float32"},
		"shared by many":       {"\x80\x02}" + text("x") + tensorValue(90, 0, "K\x5a\x85", "K\x01\x85") + "s" + shared(20), numbers(90), "they share memory"},
		"two types of one":     {"\x80\x02}" + text("x") + tensorValue(6, 0, "K\x06\x85", "K\x01\x85") + "s" + text("y") + strings.Replace(tensorValue(3, 0, "K\x03\x85", "K\x01\x85"), "Float", "Double", 1) + "s.", numbers(6), "of torch.DoubleStorage has 24 bytes"},
		"names of a tensor":    {"\x80\x02}K\x01Ns.", "", "the state dict has a None under a whole number"},
		"a map in a state":     {"\x80\x02}" + text("model") + "}s.", "", "has a map under a text; want tensors under their names (a checkpoint of several parts"},
		"one that is no agent": {tensorPickle(6, 0, "K\x06\x85", "K\x01\x85"), numbers(6), `the tensor "x" is not one of an actor and a critic`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readWeights(torchFile(t, test.pickle, test.content))
			require.Error(t, err)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

// shared is n more tensors over the storage of the first.
func shared(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(text(fmt.Sprint("t", i)) + tensorValue(90, 0, "K\x5a\x85", "K\x01\x85") + "s")
	}
	return b.String() + "."
}

// A transposed tensor, which PyTorch saves as its memory and strides, is read in C
// order.
func TestViewsOfTorch(t *testing.T) {
	var content []byte
	for i := range 7 {
		content = append(content, byte(i), 0, 0, 0)
	}
	d, err := readTorch(torchFile(t, tensorPickle(7, 1, "K\x02K\x03\x86", "K\x01K\x02\x86"), string(content)), "x")
	require.NoError(t, err)
	list, err := tensors(d)
	require.NoError(t, err)
	assert.Equal(t, []int{2, 3}, list[0].shape)
	assert.Equal(t, []byte{1, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 6, 0, 0, 0}, list[0].data)
}

func TestHostileArchives(t *testing.T) {
	var bomb bytes.Buffer
	w := zip.NewWriter(&bomb)
	for _, name := range []string{"policy.pth", "data"} {
		e, err := w.Create(name) // deflated
		require.NoError(t, err)
		for range 64 {
			_, err = e.Write(make([]byte, 1<<20))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	require.Less(t, bomb.Len(), 1<<18)
	_, _, err := Bytes("bomb.zip", bomb.Bytes(), Options{Env: "CartPole-v1"})
	require.ErrorIs(t, err, ErrRefused)
	assert.ErrorContains(t, err, `"data" is compressed`)
	assert.ErrorContains(t, err, "to 67108864")

	_, _, err = Bytes("x.zip", torchFile(t, "", "")[:0], Options{})
	require.ErrorIs(t, err, ErrDamaged)
	others := rezip(t, testdata(t, "sb3-cartpole.zip"), func(name string, content []byte) []byte {
		if name == "policy.pth" {
			return nil
		}
		return content
	})
	_, _, err = Bytes("x.zip", others, Options{})
	require.ErrorIs(t, err, ErrRefused)
	assert.ErrorContains(t, err, `without policy.pth (Stable-Baselines3) and without data.pkl (torch.save); it has "data", "pytorch_variables.pth"`)

	// A weight that was changed on the way does not fit its checksum.
	model := testdata(t, "sb3-cartpole.zip")
	policy := rezipEntry(t, model, "policy.pth")
	at := bytes.Index(model, policy) + len(policy)/2
	model[at] ^= 1
	_, _, err = Bytes("x.zip", model, Options{Env: "CartPole-v1"})
	require.ErrorIs(t, err, ErrDamaged)
	assert.ErrorContains(t, err, `"policy.pth" has the checksum`)
}

// Entries that share bytes could make a small file as long to read as a large one.
func TestOverlappingEntries(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 5000)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	store(t, w, "a", content)
	_, err := w.CreateRaw(&zip.FileHeader{Name: "b", Method: zip.Store, CRC32: crc32.ChecksumIEEE(content), CompressedSize64: 5000, UncompressedSize64: 5000})
	require.NoError(t, err)
	require.NoError(t, w.Close())
	data := out.Bytes()
	second := bytes.LastIndex(data, []byte("PK\x01\x02"))
	copy(data[second+42:], "\x00\x00\x00\x00") // where its bytes are: those of the first
	z, err := openArchive(data)
	require.NoError(t, err)
	_, err = z.entry("a")
	require.NoError(t, err)
	_, err = z.entry("b")
	require.ErrorIs(t, err, ErrDamaged)
	assert.ErrorContains(t, err, `the zip archive's entries overlap: with "b"`)
}

func rezipEntry(t *testing.T, data []byte, name string) []byte {
	t.Helper()
	z, err := openArchive(data)
	require.NoError(t, err)
	content, err := z.entry(name)
	require.NoError(t, err)
	return content
}

func TestHostileSafetensors(t *testing.T) {
	four := make([]byte, 4)
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"short":               {[]byte("PK"), "2 bytes are neither a zip archive"},
		"a header beyond":     {binary.LittleEndian.AppendUint64(nil, 1<<63), "a header of 9223372036854775808 bytes is announced and 0 are left"},
		"no object":           {safetensorsFile(`[]`, nil), "want a JSON object"},
		"no JSON":             {safetensorsFile(`{"x":`, nil), "JSON"},
		"bytes after it":      {safetensorsFile(`{} {}`, nil), "3 bytes follow"},
		"nothing":             {safetensorsFile(`{}  `, nil), "it holds no tensors"},
		"a name twice":        {safetensorsFile(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, four), `the key "x" is there twice`},
		"a key twice":         {safetensorsFile(`{"x":{"dtype":"F32","dtype":"F64","shape":[1],"data_offsets":[0,4]}}`, four), `the key "dtype" is there twice`},
		"an unknown key":      {safetensorsFile(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}`, four), `the key "more"; valid are`},
		"no shape":            {safetensorsFile(`{"x":{"dtype":"F32","data_offsets":[0,4]}}`, four), "it has 2 of dtype, shape"},
		"shape null":          {safetensorsFile(`{"x":{"dtype":"F32","shape":null,"data_offsets":[0,4]}}`, four), "it has 3 of"},
		"a fraction":          {safetensorsFile(`{"x":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}`, four), "shape: "},
		"beyond the data":     {safetensorsFile(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, four), "data_offsets are [0 8]; the data has 4 bytes"},
		"backwards":           {safetensorsFile(`{"x":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}}`, four), "data_offsets are [4 0]"},
		"below 0":             {safetensorsFile(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`, four), "data_offsets are [-4 0]"},
		"three offsets":       {safetensorsFile(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}`, four), "two data_offsets"},
		"a product of 2^64":   {safetensorsFile(`{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}`, four), "more elements than the 1 there are"},
		"a dimension below 0": {safetensorsFile(`{"x":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}`, four), "more elements"},
		"another size":        {safetensorsFile(`{"x":{"dtype":"F64","shape":[1],"data_offsets":[0,4]}}`, four), "more elements than the 0"},
		"less than it":        {safetensorsFile(`{"x":{"dtype":"F32","shape":[],"data_offsets":[0,8]}}`, make([]byte, 8)), "shape [] of F32 does not match 8 bytes"},
		"overlap": {safetensorsFile(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, four),
			`tensor "y" begins at byte 0 of the data and the one before it ends at 4`},
		"a hole":         {safetensorsFile(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, make([]byte, 8)), `tensor "x" begins at byte 4`},
		"bytes of none":  {safetensorsFile(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 8)), "the tensors end at byte 4 of the data, which has 8"},
		"half precision": {safetensorsFile(`{"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}`, four), `its type is "BF16"; read are F32, F64 and I64`},
		"metadata":       {safetensorsFile(`{"__metadata__":{"env_id":7}}`, nil), "__metadata__ must be texts"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Bytes("x.safetensors", test.data, Options{Env: "CartPole-v1"})
			require.Error(t, err)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

func TestWrongNetworks(t *testing.T) {
	weights := testdata(t, "cleanrl-cartpole.safetensors")
	move := func(from, to string) []byte {
		return withHeader(t, weights, func(h map[string]any) {
			h[to] = h[from]
			delete(h, from)
		})
	}
	shape := func(name string, shape ...int) []byte {
		return withHeader(t, weights, func(h map[string]any) { h[name].(map[string]any)["shape"] = shape })
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"CNN":          {move("actor.0.weight", "features_extractor.cnn.0.weight"), "a features extractor with parameters, such as that of CnnPolicy or MultiInputPolicy"},
		"shared":       {move("actor.0.weight", "mlp_extractor.shared_net.0.weight"), "layers that actor and critic share"},
		"recurrent":    {move("actor.0.weight", "lstm_actor.weight_ih_l0"), "a recurrent policy"},
		"a norm":       {move("actor.2.bias", "actor.1.bias"), "actor.2.weight has shape [16 16] and its bias there is none"},
		"another name": {move("actor.2.bias", "actor.2.gain"), `the tensor "actor.2.gain" is not one of`},
		"no critic":    {move("critic.0.weight", "critic.6.weight"), "there is no actor or no critic"},
		"twice":        {move("actor.0.weight", "actor_mean.2.weight"), `the tensor "actor.2.weight" is there twice`},
		"a gap":        {move("critic.4.weight", "critic.8.weight"), "those of brood's actor and critic are the same"},
		"transposed":   {shape("actor.0.weight", 4, 16), "actor.0.weight has shape [4 16] and its bias [16]; want [out, in] and [out]"},
		"no chain":     {shape("actor.4.weight", 2, 4, 4), "actor.4.weight has shape [2 4 4]"},
		"a vector":     {shape("actor.0.bias", 16, 1), "and its bias [16 1]"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Bytes("x.safetensors", test.data, Options{Env: "CartPole-v1"})
			require.ErrorIs(t, err, ErrRefused)
			assert.ErrorContains(t, err, test.want)
		})
	}
	nan := append([]byte(nil), weights...)
	copy(nan[len(nan)-4:], "\x00\x00\xc0\x7f")
	_, _, err := Bytes("x.safetensors", nan, Options{Env: "CartPole-v1"})
	require.ErrorIs(t, err, ErrRefused)
	assert.ErrorContains(t, err, "has NaN at element")
}

func TestEveryTruncation(t *testing.T) {
	for _, name := range []string{"cleanrl-cartpole.safetensors", "cleanrl-cartpole.cleanrl_model", "sb3-cartpole.zip"} {
		data := testdata(t, name)
		for n := range len(data) {
			_, _, err := Bytes(name, data[:n:n], Options{Env: "CartPole-v1"})
			require.Error(t, err, "%s cut after %d bytes", name, n)
		}
	}
	// Also where the archive around it is whole.
	d := rezipEntry(t, testdata(t, "cleanrl-cartpole.cleanrl_model"), "cleanrl-cartpole/data.pkl")
	for n := range len(d) {
		u := &unpickler{data: d[:n:n], known: knownGlobal, call: func(global, tuple) (any, error) { return array{}, nil },
			persistent: func(any) (any, error) { return storage{}, nil }}
		_, err := u.load()
		require.ErrorIs(t, err, ErrDamaged, "cut after %d bytes", n)
	}
}

// Bytes that were changed are an error or another agent, and never a panic.
func TestChangedBytes(t *testing.T) {
	for _, name := range []string{"cleanrl-cartpole.safetensors", "cleanrl-cartpole.cleanrl_model", "sb3-pendulum.zip"} {
		original := testdata(t, name)
		rapid.Check(t, func(r *rapid.T) {
			data := append([]byte(nil), original...)
			for range rapid.IntRange(1, 4).Draw(r, "edits") {
				data[rapid.IntRange(0, len(data)-1).Draw(r, "at")] = rapid.Byte().Draw(r, "byte")
			}
			file, _, err := Bytes(name, data, Options{Env: "CartPole-v1"})
			require.Equal(t, err != nil, file == nil)
		})
	}
}

// What a file makes this package allocate is bounded by its size: a pickle of the
// largest size that makes as many objects as it can is the worst there is.
func TestMemoryIsBounded(t *testing.T) {
	pickles := map[string]string{
		"maps":     "\x80\x02" + strings.Repeat("}", maxPickle-3) + ".",
		"marks":    "\x80\x02" + strings.Repeat("(", maxPickle-3) + ".",
		"memo":     "\x80\x04}" + strings.Repeat("\x94", maxPickle-4) + ".",
		"laughs":   "\x80\x02]" + strings.Repeat("q\x00]h\x00h\x00h\x00h\x00\x87", maxPickle/12) + ".",
		"announce": "\x80\x02" + strings.Repeat("X\xff\xff\xff\x7f", 1000),
		"too long": strings.Repeat("}", 64*maxPickle),
	}
	for name, pickle := range pickles {
		t.Run(name, func(t *testing.T) {
			data := torchFile(t, pickle)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readTorch(data, "x")
			runtime.ReadMemStats(&after)
			assert.Equal(t, name == "memo", err == nil, "the one that is sound: %v", err)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20), "bytes allocated in all")
		})
	}
}
