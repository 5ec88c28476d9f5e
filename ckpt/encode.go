package ckpt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"brood/tensor"
)

// Two checksums, for two questions. CRC-32C per tensor says which tensor is
// damaged; it runs at memory speed on every CPU and finds all bursts up to 32
// bits. One SHA-256 over all bytes before it says whether anything at all is,
// metadata and structure included, beyond what chance or a swap could forge; its
// cost (about 1 GB/s where the CPU has the instructions) is a millisecond for a
// member of a megabyte.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumSize is the size of the SHA-256 that ends a file: bin 8 of 32 bytes.
const sumSize = 2 + sha256.Size

// littleEndianHost: tensors are written as the memory holds them.
var littleEndianHost = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// writer appends msgpack to a buffer and keeps the first error.
type writer struct {
	buf *bytes.Buffer
	enc *msgpack.Encoder
	err error
}

func newWriter(size int) *writer {
	buf := bytes.NewBuffer(make([]byte, 0, size))
	return &writer{buf: buf, enc: msgpack.NewEncoder(buf)}
}

func (w *writer) keep(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *writer) mapLen(n int)      { w.keep(w.enc.EncodeMapLen(n)) }
func (w *writer) arrayLen(n int)    { w.keep(w.enc.EncodeArrayLen(n)) }
func (w *writer) bool(v bool)       { w.keep(w.enc.EncodeBool(v)) }
func (w *writer) int(v int64)       { w.keep(w.enc.EncodeInt(v)) }
func (w *writer) uint(v uint64)     { w.keep(w.enc.EncodeUint(v)) }
func (w *writer) float64(v float64) { w.keep(w.enc.EncodeFloat64(v)) }
func (w *writer) float32(v float32) { w.keep(w.enc.EncodeFloat32(v)) }
func (w *writer) nil()              { w.keep(w.enc.EncodeNil()) }

func (w *writer) str(v string) {
	if !utf8.ValidString(v) {
		w.keep(fmt.Errorf("the text %.40q is not valid UTF-8", v))
	}
	w.keep(w.enc.EncodeString(v))
}

// key writes the name of a section or tensor, which must be one that a reader takes.
func (w *writer) key(v string) {
	if len(v) > maxKey {
		w.keep(fmt.Errorf("the name %.40q... has %d bytes; at most %d are read", v, len(v), maxKey))
	}
	w.str(v)
}

func (w *writer) bin(v []byte) {
	if uint64(len(v)) > math.MaxUint32 {
		w.keep(fmt.Errorf("%d bytes are more than msgpack can hold in one value (%d)", len(v), uint32(math.MaxUint32)))
		return
	}
	w.keep(w.enc.EncodeBytesLen(len(v)))
	w.buf.Write(v)
}

// finish ends the file with the SHA-256 of everything so far.
func (w *writer) finish() (Encoded, error) {
	w.str("sha256")
	if w.err != nil {
		return Encoded{}, w.err
	}
	h := sha256.New()
	h.Write(w.buf.Bytes())
	w.bin(h.Sum(nil))
	// The sum of the whole file goes on from there: a second pass would cost more than
	// all the rest of encoding.
	h.Write(w.buf.Bytes()[w.buf.Len()-sumSize:])
	return Encoded{w.buf.Bytes(), [sha256.Size]byte(h.Sum(nil))}, w.err
}

// Encoded is the content of a file and its SHA-256.
type Encoded struct {
	Data []byte
	Sum  [sha256.Size]byte
}

// Encode returns the member's state as a file of format [V2]. Without
// includeOptimizer the sections that an exploit treats by strategy are left out,
// and whoever restores the file starts with a reset optimizer.
func Encode(m tensor.Member, meta Meta, includeOptimizer bool) ([]byte, error) {
	f, err := EncodeFile(m, meta, includeOptimizer)
	return f.Data, err
}

// EncodeFile is [Encode] with the file's SHA-256, which it costs nothing to know.
func EncodeFile(m tensor.Member, meta Meta, includeOptimizer bool) (Encoded, error) {
	f, err := encode(m, meta, includeOptimizer)
	if err != nil {
		return Encoded{}, fmt.Errorf("ckpt: encode: %w", err)
	}
	return f, nil
}

func encode(m tensor.Member, meta Meta, includeOptimizer bool) (Encoded, error) {
	if !littleEndianHost {
		return Encoded{}, fmt.Errorf("checkpoints are little endian and this machine is not")
	}
	if meta.Step < 0 || meta.Env.ObsDim < 0 || meta.Env.Action.N < 0 {
		return Encoded{}, fmt.Errorf("step is %d, obs_dim %d and action n %d; none may be negative", meta.Step, meta.Env.ObsDim, meta.Env.Action.N)
	}
	var blocks []*tensor.Block
	names, optimizer := 0, false
	all := m.Layout().Sections()
	for i := range all {
		if b := &all[i]; b.Exploit != tensor.ByStrategy || includeOptimizer {
			blocks = append(blocks, b)
			names += len(b.Tensors)
			optimizer = optimizer || b.Exploit == tensor.ByStrategy
		}
	}
	w := newWriter(m.Layout().Stride() + 256*names + len(meta.Config) + 4096)
	w.mapLen(8)
	w.str("format_version")
	w.str(V2)
	w.meta(meta, optimizer)
	w.str("data")
	w.mapLen(len(blocks))
	for _, b := range blocks {
		if err := w.section(m, b); err != nil {
			return Encoded{}, err
		}
	}
	w.str("checksums")
	w.mapLen(2)
	w.str("crc32c")
	w.tensorSums(m, blocks)
	return w.finish()
}

func (w *writer) meta(meta Meta, optimizer bool) {
	w.str("step")
	w.int(meta.Step)
	w.str("performance")
	if math.IsNaN(meta.Performance) {
		w.nil()
	} else {
		w.float64(meta.Performance)
	}
	w.str("has_optimizer_state")
	w.bool(optimizer)
	w.str("env")
	w.env(meta.Env)
	w.str("config")
	w.str(meta.Config)
}

func (w *writer) env(e EnvInfo) {
	w.mapLen(3)
	w.str("id")
	w.str(e.ID)
	w.str("obs_dim")
	w.int(int64(e.ObsDim))
	w.str("action")
	// The key nvec is there where it says something alone: files of other actions are
	// what they were before there was one.
	keys := 4
	if len(e.Action.NVec) > 0 {
		keys++
	}
	w.mapLen(keys)
	w.str("type")
	w.str(e.Action.Type)
	w.str("n")
	w.int(int64(e.Action.N))
	if len(e.Action.NVec) > 0 {
		w.str("nvec")
		w.arrayLen(len(e.Action.NVec))
		for _, n := range e.Action.NVec {
			w.int(int64(n))
		}
	}
	w.str("low")
	w.floats(e.Action.Low)
	w.str("high")
	w.floats(e.Action.High)
}

func (w *writer) floats(list []float32) {
	w.arrayLen(len(list))
	for _, f := range list {
		w.float32(f)
	}
}

// entry is a key of a section's map: a tensor, or a group of them.
type entry struct {
	key   string
	index int     // of the tensor within the section
	group []entry // nil for a tensor
}

// nest arranges a section's tensors by the slash in their names, groups in the
// order in which they first appear.
func nest(b *tensor.Block) ([]entry, error) {
	names := make([]string, len(b.Tensors))
	for i := range b.Tensors {
		names[i] = b.Tensors[i].Name
	}
	return nestNames(b.Key, names)
}

func nestNames(section string, names []string) ([]entry, error) {
	var entries []entry
	at := make(map[string]int, len(names))
	for i, flat := range names {
		key, name, grouped := strings.Cut(flat, "/")
		j, seen := at[key]
		if seen && (!grouped || entries[j].group == nil) {
			return nil, fmt.Errorf("section %s: %q is both a tensor and a group of tensors", section, key)
		}
		if !seen {
			j = len(entries)
			at[key] = j
			entries = append(entries, entry{key: key, index: i})
		}
		if grouped {
			entries[j].group = append(entries[j].group, entry{key: name, index: i})
		}
	}
	return entries, nil
}

func (w *writer) section(m tensor.Member, b *tensor.Block) error {
	entries, err := nest(b)
	if err != nil {
		return err
	}
	w.key(b.Key)
	w.entries(m, b, entries)
	return nil
}

func (w *writer) entries(m tensor.Member, b *tensor.Block, entries []entry) {
	w.mapLen(len(entries))
	for i := range entries {
		e := &entries[i]
		w.key(e.key)
		if e.group == nil {
			w.tensor(m, &b.Tensors[e.index])
		} else {
			w.entries(m, b, e.group)
		}
	}
}

func raw(m tensor.Member, t *tensor.Tensor) []byte {
	return m.Bytes()[t.Offset : t.Offset+t.Bytes()]
}

// tensor writes a scalar as a number, anything else as msgpack_numpy.encode
// writes an array: a map whose keys are binary.
func (w *writer) tensor(m tensor.Member, t *tensor.Tensor) {
	data := raw(m, t)
	if len(t.Shape) == 0 {
		w.scalar(data, t.DType)
		return
	}
	w.mapLen(5)
	w.bin([]byte("nd"))
	w.bool(true)
	w.bin([]byte("type"))
	w.str(stored(t.DType).code)
	w.bin([]byte("kind"))
	w.bin(nil)
	w.bin([]byte("shape"))
	w.arrayLen(len(t.Shape))
	for _, d := range t.Shape {
		w.int(int64(d))
	}
	w.bin([]byte("data"))
	w.bin(data)
}

func (w *writer) scalar(data []byte, d tensor.DType) {
	switch d {
	case tensor.Float32:
		w.float32(math.Float32frombits(binary.LittleEndian.Uint32(data)))
	case tensor.Float64:
		w.float64(math.Float64frombits(binary.LittleEndian.Uint64(data)))
	case tensor.Int64:
		w.int(int64(binary.LittleEndian.Uint64(data)))
	case tensor.Uint64:
		w.uint(binary.LittleEndian.Uint64(data))
	}
}

func (w *writer) tensorSums(m tensor.Member, blocks []*tensor.Block) {
	w.mapLen(len(blocks))
	for _, b := range blocks {
		w.str(b.Key)
		w.mapLen(len(b.Tensors))
		for i := range b.Tensors {
			w.str(b.Tensors[i].Name)
			w.uint(uint64(crc32.Checksum(raw(m, &b.Tensors[i]), castagnoli)))
		}
	}
}
