package ckpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

const (
	// maxDepth is how deep maps and arrays may nest. The formats need six.
	maxDepth = 12
	// maxDims is NumPy's own limit until version 2.
	maxDims = 32
	// maxKey bounds a key of a map, in bytes: keys are names.
	maxKey = 255
)

// reader reads msgpack token by token from bytes nobody vouches for. It reads in
// place and makes nothing for a token, and every claimed length is held against
// the bytes that are left before memory is set aside for it: a file can make the
// reader allocate in proportion to its own size and no more.
type reader struct {
	file     []byte // the whole file
	pos, end int    // what is left of the value that is read
	// path are the keys that lead to the value, as places in the file, so that
	// errors can name it and nothing is made where there is none.
	path  [maxDepth]span
	depth int
	// after is the key of the entry before, while the head of an entry is read: a
	// value whose length is damaged is noticed only there.
	after span
}

// span is a part of the file; empty: none.
type span struct{ from, to int }

func newReader(file []byte) reader { return reader{file: file, end: len(file)} }

// inside is the reader of an entry's value.
func (r *reader) inside(f field) reader {
	c := *r
	c.pos, c.end, c.after = f.start, f.end, span{}
	c.push(f.name)
	return c
}

func (r *reader) push(key span) {
	if r.depth < maxDepth {
		r.path[r.depth] = key
	}
	r.depth++
}

// where names the value that is read: the keys that lead to it.
func (r *reader) where() string {
	var keys []string
	for _, key := range r.path[:min(r.depth, maxDepth)] {
		if key.to > 0 { // the items of a list have none
			keys = append(keys, r.name(key))
		}
	}
	at := strings.Join(keys, "/")
	if at == "" {
		at = "the file"
	}
	if r.after.to > 0 {
		at += ", after " + r.name(r.after)
	}
	return at
}

// name is a key for a message: as it is where it is short and plain.
func (r *reader) name(s span) string {
	key := string(r.file[s.from:min(s.to, s.from+80)])
	if quoted := strconv.Quote(key); quoted != `"`+key+`"` {
		return quoted
	}
	return key
}

func (r *reader) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s, byte %d: %s", ErrDamaged, r.where(), r.pos, fmt.Sprintf(format, args...))
}

func (r *reader) left() int { return r.end - r.pos }

func (r *reader) peek() (byte, error) {
	if r.left() < 1 {
		return 0, r.errorf("cut short: a value is expected")
	}
	return r.file[r.pos], nil
}

// take passes over n bytes and returns them, without a copy.
func (r *reader) take(n int) ([]byte, error) {
	if n > r.left() {
		return nil, r.errorf("cut short: %d bytes are expected and only %d are left", n, r.left())
	}
	r.pos += n
	return r.file[r.pos-n : r.pos : r.pos], nil
}

// head reads a code and the big-endian number of size bytes that follows it.
func (r *reader) head(size int) (uint64, error) {
	b, err := r.take(1 + size)
	if err != nil {
		return 0, err
	}
	var word [8]byte
	copy(word[8-size:], b[1:])
	return binary.BigEndian.Uint64(word[:]), nil
}

// need fails where count items of at least size bytes each cannot follow.
func (r *reader) need(count uint64, size int) (int, error) {
	if count > uint64(r.left()/size) {
		return 0, r.errorf("%d items are announced and only %d bytes are left", count, r.left())
	}
	return int(count), nil
}

func isMap(c byte) bool {
	return msgpcode.IsFixedMap(c) || c == msgpcode.Map16 || c == msgpcode.Map32
}

func isArray(c byte) bool {
	return msgpcode.IsFixedArray(c) || c == msgpcode.Array16 || c == msgpcode.Array32
}

func isBool(c byte) bool { return c == msgpcode.True || c == msgpcode.False }

func isNumber(c byte) bool {
	return msgpcode.IsFixedNum(c) || c >= msgpcode.Float && c <= msgpcode.Int64
}

func isKey(c byte) bool { return msgpcode.IsString(c) || msgpcode.IsBin(c) }

// expect peeks at the next code and fails where it is not of the kind named.
func (r *reader) expect(kind string, is func(byte) bool) (byte, error) {
	c, err := r.peek()
	if err == nil && !is(c) {
		err = r.errorf("want %s, found %s", kind, kindOf(c))
	}
	return c, err
}

func kindOf(c byte) string {
	switch {
	case isMap(c):
		return "a map"
	case isArray(c):
		return "a list"
	case msgpcode.IsString(c):
		return "text"
	case msgpcode.IsBin(c):
		return "bytes"
	case isNumber(c):
		return "a number"
	case c == msgpcode.Nil:
		return "nil"
	case isBool(c):
		return "a boolean"
	case msgpcode.IsExt(c):
		return "an extension type, which is not supported"
	}
	return fmt.Sprintf("the invalid byte %#02x", c)
}

// mapLen reads the head of a map: each entry takes at least two bytes.
func (r *reader) mapLen() (int, error) {
	n, err := r.entries()
	if err != nil {
		return 0, err
	}
	return r.need(n, 2)
}

func (r *reader) arrayLen() (int, error) {
	n, err := r.items()
	if err != nil {
		return 0, err
	}
	return r.need(n, 1)
}

// entries reads the number of entries that a map announces.
func (r *reader) entries() (uint64, error) {
	c, err := r.expect("a map", isMap)
	if err != nil {
		return 0, err
	}
	return r.length(c, msgpcode.IsFixedMap(c), msgpcode.FixedMapMask, msgpcode.Map16)
}

// items reads the number of items that a list announces.
func (r *reader) items() (uint64, error) {
	c, err := r.expect("a list", isArray)
	if err != nil {
		return 0, err
	}
	return r.length(c, msgpcode.IsFixedArray(c), msgpcode.FixedArrayMask, msgpcode.Array16)
}

func (r *reader) length(c byte, fixed bool, mask, two byte) (uint64, error) {
	width := 4
	switch {
	case fixed:
		width = 0
	case c == two:
		width = 2
	}
	n, err := r.head(width)
	if fixed {
		n = uint64(c & mask)
	}
	if err == nil && n > 0 && r.left() == 0 {
		_, err = r.need(n, 1)
	}
	return n, err
}

// blob reads text or bytes of code c, without a copy.
func (r *reader) blob(c byte) ([]byte, error) {
	size := 0
	switch c {
	case msgpcode.Str8, msgpcode.Bin8:
		size = 1
	case msgpcode.Str16, msgpcode.Bin16:
		size = 2
	case msgpcode.Str32, msgpcode.Bin32:
		size = 4
	}
	n, err := r.head(size)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		n = uint64(c & msgpcode.FixedStrMask)
	}
	length, err := r.need(n, 1)
	if err != nil {
		return nil, err
	}
	return r.take(length)
}

func (r *reader) bin() ([]byte, error) {
	c, err := r.expect("bytes", msgpcode.IsBin)
	if err != nil {
		return nil, err
	}
	return r.blob(c)
}

// text reads text, without a copy.
func (r *reader) text() ([]byte, error) {
	c, err := r.expect("text", msgpcode.IsString)
	if err != nil {
		return nil, err
	}
	b, err := r.blob(c)
	if err == nil && !utf8.Valid(b) {
		err = r.errorf("text is not valid UTF-8")
	}
	return b, err
}

func (r *reader) str() (string, error) {
	b, err := r.text()
	return string(b), err
}

func (r *reader) bool() (bool, error) {
	c, err := r.expect("a boolean", isBool)
	if err != nil {
		return false, err
	}
	r.pos++
	return c == msgpcode.True, nil
}

// word reads a number: its type and the bits of it, which for a float are those
// of the file. A NaN that passes through a conversion would not come out the same.
func (r *reader) word() (*dtype, uint64, error) {
	c, err := r.expect("a number", isNumber)
	if err != nil {
		return nil, 0, err
	}
	if msgpcode.IsFixedNum(c) {
		r.pos++
		return int64Type, uint64(int8(c)), nil
	}
	size := 4
	switch c {
	case msgpcode.Uint8, msgpcode.Int8:
		size = 1
	case msgpcode.Uint16, msgpcode.Int16:
		size = 2
	case msgpcode.Double, msgpcode.Uint64, msgpcode.Int64:
		size = 8
	}
	bits, err := r.head(size)
	switch {
	case c == msgpcode.Float:
		return float32Type, bits, err
	case c == msgpcode.Double:
		return float64Type, bits, err
	case c == msgpcode.Uint64 && bits > math.MaxInt64:
		return uint64Type, bits, err
	case c >= msgpcode.Int8: // the signed ones: the sign is extended
		shift := 64 - 8*size
		bits = uint64(int64(bits<<shift) >> shift)
	}
	return int64Type, bits, err
}

// number reads a scalar as a tensor without dimensions.
func (r *reader) number() (value, error) {
	d, bits, err := r.word()
	if err != nil {
		return value{}, err
	}
	return value{dtype: d, data: binary.LittleEndian.AppendUint64(nil, bits)[:d.size:d.size]}, nil
}

// int reads a whole number of at least low.
func (r *reader) int(low int64) (int64, error) {
	d, bits, err := r.word()
	if err == nil && (d != int64Type || int64(bits) < low) {
		err = r.errorf("want a whole number from %d to %d", low, math.MaxInt64)
	}
	return int64(bits), err
}

// float reads any number as a float64.
func (r *reader) float() (float64, error) {
	d, bits, err := r.word()
	switch d {
	case float32Type:
		return float64(math.Float32frombits(uint32(bits))), err
	case float64Type:
		return math.Float64frombits(bits), err
	case int64Type:
		return float64(int64(bits)), err
	}
	return float64(bits), err
}

// field is an entry of a map that has been located but not read.
type field struct {
	name       span
	start, end int // of the value
}

func (r *reader) key(f field) string { return string(r.file[f.name.from:f.name.to]) }

// fields locates the entries of a map with text keys, each different, and
// checks that every value is whole.
func (r *reader) fields() ([]field, error) {
	// The map is passed over once before memory is set aside for its entries: the
	// number it announces may be a lie.
	if _, err := r.expect("a map", isMap); err != nil {
		return nil, err
	}
	probe := *r
	if err := probe.skip(); err != nil {
		return nil, err
	}
	n, err := r.mapLen()
	if err != nil {
		return nil, err
	}
	list := make([]field, n)
	for i := range list {
		if list[i], err = r.entry("text", msgpcode.IsString); err != nil {
			return nil, err
		}
	}
	r.after = span{}
	return list, r.different(list)
}

// entry locates the next entry of a map and passes over it.
func (r *reader) entry(kind string, is func(byte) bool) (field, error) {
	c, err := r.expect(kind, is)
	if err != nil {
		return field{}, err
	}
	key, err := r.blob(c)
	if err != nil {
		return field{}, err
	}
	f := field{name: span{r.pos - len(key), r.pos}, start: r.pos}
	if len(key) > maxKey {
		return f, r.errorf("a key of %d bytes; at most %d are read", len(key), maxKey)
	}
	if msgpcode.IsString(c) && !utf8.Valid(key) {
		return f, r.errorf("a key is not valid UTF-8")
	}
	r.after = span{}
	r.push(f.name)
	if err := r.skip(); err != nil {
		return f, err
	}
	r.depth--
	r.after, f.end = f.name, r.pos
	return f, nil
}

// different fails where a key is there twice. Sorted places take less memory than
// a set of keys.
func (r *reader) different(list []field) error {
	key := func(i int32) []byte { return r.file[list[i].name.from:list[i].name.to] }
	order := sorted(len(list), func(a, b int) int { return bytes.Compare(key(int32(a)), key(int32(b))) })
	for i := 1; i < len(order); i++ {
		if bytes.Equal(key(order[i]), key(order[i-1])) {
			r.pos = list[max(order[i], order[i-1])].start
			return r.errorf("the key %.80q is there twice", key(order[i]))
		}
	}
	return nil
}

// skip passes over one value of any kind but extension types.
func (r *reader) skip() error {
	if r.depth > maxDepth {
		return r.errorf("nested more than %d deep", maxDepth)
	}
	c, err := r.peek()
	if err != nil {
		return err
	}
	switch {
	case isMap(c):
		// Numbers that are too large are found where the bytes end, which names what
		// is cut better than their comparison here would.
		n, err := r.entries()
		for ; err == nil && n > 0; n-- {
			_, err = r.entry("a key", isKey)
		}
		r.after = span{}
		return err
	case isArray(c):
		n, err := r.items()
		r.push(span{})
		for ; err == nil && n > 0; n-- {
			err = r.skip()
		}
		r.depth--
		return err
	case isKey(c):
		_, err = r.blob(c)
		return err
	case isNumber(c):
		_, _, err = r.word()
		return err
	case c == msgpcode.Nil, isBool(c):
		r.pos++
		return nil
	}
	return r.errorf("found %s", kindOf(c))
}

// finished fails where bytes are left over.
func (r *reader) finished() error {
	if n := r.left(); n > 0 {
		return r.errorf("%d bytes follow the end", n)
	}
	return nil
}
