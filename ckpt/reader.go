package ckpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// maxDepth is how deep maps and arrays may nest. The formats need five.
const maxDepth = 12

// maxDims is NumPy's own limit until version 2.
const maxDims = 32

// reader reads msgpack token by token from bytes nobody vouches for. Every
// claimed length is held against the bytes that are left before anything is
// allocated for it: a file can make the reader allocate in proportion to its own
// size and no more.
type reader struct {
	data  []byte
	base  int    // offset of data in the file
	where string // what is being read, for errors
	src   *bytes.Reader
	dec   *msgpack.Decoder
}

func newReader(data []byte, base int, where string) *reader {
	// A bytes.Reader is read by the decoder without a buffer in between, so
	// that src.Len() is what is left.
	src := bytes.NewReader(data)
	return &reader{data: data, base: base, where: where, src: src, dec: msgpack.NewDecoder(src)}
}

func (r *reader) offset() int { return len(r.data) - r.src.Len() }

func (r *reader) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s, byte %d: %s", ErrDamaged, r.where, r.base+r.offset(), fmt.Sprintf(format, args...))
}

// broken reports an error of the decoder, which at this level is always an end
// of the bytes inside a token.
func (r *reader) broken(err error) error { return r.errorf("cut short (%v)", err) }

func (r *reader) peek() (byte, error) {
	c, err := r.dec.PeekCode()
	if err != nil {
		return 0, r.broken(err)
	}
	return c, nil
}

// need fails where count items of at least size bytes each cannot follow.
func (r *reader) need(count, size int) error {
	if count < 0 || count > r.src.Len()/size {
		return r.errorf("%d items are announced and only %d bytes are left", uint32(count), r.src.Len())
	}
	return nil
}

func isMap(c byte) bool {
	return msgpcode.IsFixedMap(c) || c == msgpcode.Map16 || c == msgpcode.Map32
}

func isArray(c byte) bool {
	return msgpcode.IsFixedArray(c) || c == msgpcode.Array16 || c == msgpcode.Array32
}

// expect peeks at the next code and fails where it is not of the kind named.
func (r *reader) expect(kind string, is func(byte) bool) error {
	c, err := r.peek()
	if err != nil {
		return err
	}
	if !is(c) {
		return r.errorf("want %s, found %s", kind, kindOf(c))
	}
	return nil
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
	case c == msgpcode.True, c == msgpcode.False:
		return "a boolean"
	case msgpcode.IsExt(c):
		return "an extension type, which is not supported"
	}
	return fmt.Sprintf("the invalid byte %#02x", c)
}

func isNumber(c byte) bool {
	return msgpcode.IsFixedNum(c) || c >= msgpcode.Float && c <= msgpcode.Int64
}

// mapLen reads the head of a map: each entry takes at least two bytes.
func (r *reader) mapLen() (int, error) {
	if err := r.expect("a map", isMap); err != nil {
		return 0, err
	}
	n, err := r.dec.DecodeMapLen()
	if err != nil {
		return 0, r.broken(err)
	}
	return n, r.need(n, 2)
}

func (r *reader) arrayLen() (int, error) {
	if err := r.expect("a list", isArray); err != nil {
		return 0, err
	}
	n, err := r.dec.DecodeArrayLen()
	if err != nil {
		return 0, r.broken(err)
	}
	return n, r.need(n, 1)
}

// blob reads the body of text or bytes, without a copy.
func (r *reader) blob() ([]byte, error) {
	n, err := r.dec.DecodeBytesLen()
	if err != nil {
		return nil, r.broken(err)
	}
	if err := r.need(n, 1); err != nil {
		return nil, err
	}
	at := r.offset()
	if _, err := r.src.Seek(int64(n), 1); err != nil {
		return nil, r.broken(err)
	}
	return r.data[at : at+n : at+n], nil
}

func (r *reader) bin() ([]byte, error) {
	if err := r.expect("bytes", msgpcode.IsBin); err != nil {
		return nil, err
	}
	return r.blob()
}

func (r *reader) str() (string, error) {
	if err := r.expect("text", msgpcode.IsString); err != nil {
		return "", err
	}
	b, err := r.blob()
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", r.errorf("text is not valid UTF-8")
	}
	return string(b), nil
}

func (r *reader) bool() (bool, error) {
	if err := r.expect("a boolean", func(c byte) bool { return c == msgpcode.True || c == msgpcode.False }); err != nil {
		return false, err
	}
	v, err := r.dec.DecodeBool()
	if err != nil {
		return false, r.broken(err)
	}
	return v, nil
}

// number reads a scalar, keeping the bits of a float as they are: a NaN that
// passes through a conversion would not come out the same.
func (r *reader) number() (value, error) {
	if err := r.expect("a number", isNumber); err != nil {
		return value{}, err
	}
	c, err := r.peek()
	if err != nil {
		return value{}, err
	}
	word := make([]byte, 8)
	switch c {
	case msgpcode.Float, msgpcode.Double:
		token := make([]byte, 9)
		if c == msgpcode.Float {
			token = token[:5]
		}
		if err := r.dec.ReadFull(token); err != nil {
			return value{}, r.broken(err)
		}
		if c == msgpcode.Float {
			binary.LittleEndian.PutUint32(word, binary.BigEndian.Uint32(token[1:]))
			return value{dtype: float32Type, data: word[:4]}, nil
		}
		binary.LittleEndian.PutUint64(word, binary.BigEndian.Uint64(token[1:]))
		return value{dtype: float64Type, data: word}, nil
	case msgpcode.Uint64:
		u, err := r.dec.DecodeUint64()
		if err != nil {
			return value{}, r.broken(err)
		}
		binary.LittleEndian.PutUint64(word, u)
		if u > math.MaxInt64 {
			return value{dtype: uint64Type, data: word}, nil
		}
		return value{dtype: int64Type, data: word}, nil
	}
	i, err := r.dec.DecodeInt64()
	if err != nil {
		return value{}, r.broken(err)
	}
	binary.LittleEndian.PutUint64(word, uint64(i))
	return value{dtype: int64Type, data: word}, nil
}

// int reads a whole number of at least low.
func (r *reader) int(low int64) (int64, error) {
	v, err := r.number()
	if err != nil {
		return 0, err
	}
	i := int64(binary.LittleEndian.Uint64(append(v.data, make([]byte, 8)...)))
	if v.dtype != int64Type || i < low {
		return 0, r.errorf("want a whole number from %d to %d", low, math.MaxInt64)
	}
	return i, nil
}

// float reads any number as a float64.
func (r *reader) float() (float64, error) {
	v, err := r.number()
	if err != nil {
		return 0, err
	}
	if v.dtype.kind == 'f' {
		return floatElement(v.data), nil
	}
	if v.dtype == int64Type {
		return float64(int64(binary.LittleEndian.Uint64(v.data))), nil
	}
	return float64(binary.LittleEndian.Uint64(v.data)), nil
}

// field is an entry of a map that has been located but not read.
type field struct {
	key    string
	reader *reader
	end    int // offset in the file after the value
}

// fields locates the entries of a map with text keys, each different, and
// checks that every value is whole. Errors name a value as prefix and key.
func (r *reader) fields(prefix string) ([]field, error) {
	n, err := r.mapLen()
	if err != nil {
		return nil, err
	}
	var list []field
	seen := map[string]bool{}
	for range n {
		key, err := r.key(seen)
		if err != nil {
			return nil, err
		}
		start := r.offset()
		whole := r.where
		r.where = prefix + key
		if err := r.skip(maxDepth); err != nil {
			return nil, err
		}
		r.where = whole
		end := r.offset()
		list = append(list, field{key, newReader(r.data[start:end], r.base+start, prefix+key), r.base + end})
	}
	return list, nil
}

// key reads the text key of a map and refuses one that was there before.
func (r *reader) key(seen map[string]bool) (string, error) {
	key, err := r.str()
	if err != nil {
		return "", err
	}
	if seen[key] {
		return "", r.errorf("the key %.80q is there twice", key)
	}
	seen[key] = true
	return key, nil
}

// skip passes over one value of any kind but extension types.
func (r *reader) skip(depth int) error {
	if depth == 0 {
		return r.errorf("nested more than %d deep", maxDepth)
	}
	c, err := r.peek()
	if err != nil {
		return err
	}
	switch {
	case isMap(c) || isArray(c):
		var n int
		if isMap(c) {
			n, err = r.mapLen()
			n *= 2
		} else {
			n, err = r.arrayLen()
		}
		for ; err == nil && n > 0; n-- {
			err = r.skip(depth - 1)
		}
		return err
	case msgpcode.IsString(c) || msgpcode.IsBin(c):
		_, err = r.blob()
		return err
	case isNumber(c):
		_, err = r.number()
		return err
	case c == msgpcode.Nil, c == msgpcode.True, c == msgpcode.False:
		_, err = r.src.ReadByte()
		return err
	}
	return r.errorf("found %s", kindOf(c))
}

// end fails where bytes are left over.
func (r *reader) end() error {
	if n := r.src.Len(); n > 0 {
		return r.errorf("%d bytes follow the end", n)
	}
	return nil
}
