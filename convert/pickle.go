package convert

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxPickle bounds a pickle in bytes. One of a state dict has about 150 bytes per
// tensor, and what it can build is some hundred times its size.
const maxPickle = 1 << 18

// The values a pickle is read as are nil, bool, int64, float64, string and these.
type (
	tuple []any
	// list and dict are pointers where they are values: pickles change them after
	// they were referred to.
	list struct{ items []any }
	// dict keeps the order of its keys, which are bool, int64 or string.
	dict struct {
		keys   []any
		values []any
		at     map[any]int
	}
	// global is the name of a Python object.
	global struct{ module, name string }
)

func (g global) String() string { return g.module + "." + g.name }

func (d *dict) get(key any) (any, bool) {
	i, ok := d.at[key]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

func (d *dict) set(key, value any) error {
	switch key.(type) {
	case bool, int64, string:
	default:
		return fmt.Errorf("a %s is the key of a map; want text or a whole number", kindOf(key))
	}
	if _, dup := d.at[key]; dup {
		return fmt.Errorf("the key %.80q is there twice", fmt.Sprint(key))
	}
	if d.at == nil {
		d.at = map[any]int{}
	}
	d.at[key] = len(d.keys)
	d.keys, d.values = append(d.keys, key), append(d.values, value)
	return nil
}

// kindOf names the type of a value for errors, which never print the value itself:
// a pickle can make one that contains itself.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64:
		return "whole number"
	case float64:
		return "number"
	case string:
		return "text"
	case tuple:
		return "tuple"
	case *list:
		return "list"
	case *dict:
		return "map"
	case array:
		return "tensor"
	case storage:
		return "tensor's storage"
	case global:
		return "name of a Python object"
	}
	return "value"
}

// unpickler reads the opcodes that torch.save writes for a state dict. It runs
// nothing: a global is a name, and what a pickle may do with one is decided by the
// three functions, which see data and give data.
type unpickler struct {
	data  []byte
	at    int
	stack []any
	marks []int // lengths of the stack at the marks
	memo  map[uint32]any

	// known says whether a global may be named at all.
	known func(global) error
	// call gives what stands for the call of a global.
	call func(global, tuple) (any, error)
	// persistent gives what a persistent id stands for.
	persistent func(any) (any, error)
}

// load reads one pickle, which must fill the data.
func (u *unpickler) load() (any, error) {
	if len(u.data) > maxPickle {
		return nil, fmt.Errorf("%w: the pickle has %d bytes; a state dict's has at most %d", ErrRefused, len(u.data), maxPickle)
	}
	u.memo = map[uint32]any{}
	for {
		start := u.at
		op, err := u.bytes(1)
		if err != nil {
			return nil, err
		}
		if op[0] == '.' {
			if len(u.stack) != 1 || len(u.marks) != 0 || u.at != len(u.data) {
				return nil, u.damaged(start, "it ends with %d values, %d marks and %d bytes after it; want 1, 0 and 0", len(u.stack), len(u.marks), len(u.data)-u.at)
			}
			return u.stack[0], nil
		}
		if err := u.step(op[0], start); err != nil {
			return nil, err
		}
	}
}

func (u *unpickler) damaged(at int, format string, args ...any) error {
	return fmt.Errorf("%w: the pickle, at byte %d: %s", ErrDamaged, at, fmt.Sprintf(format, args...))
}

// bytes takes the next n bytes, a view.
func (u *unpickler) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(u.data)-u.at) {
		return nil, u.damaged(u.at, "%d bytes are announced and %d are left", n, len(u.data)-u.at)
	}
	b := u.data[u.at : u.at+int(n)]
	u.at += int(n)
	return b, nil
}

// uint takes a little-endian number of 1, 2, 4 or 8 bytes.
func (u *unpickler) uint(size int) (uint64, error) {
	b, err := u.bytes(uint64(size))
	if err != nil {
		return 0, err
	}
	var word [8]byte
	copy(word[:], b)
	return binary.LittleEndian.Uint64(word[:]), nil
}

// text takes a text whose length is a number of size bytes.
func (u *unpickler) text(size int) (string, error) {
	n, err := u.uint(size)
	if err != nil {
		return "", err
	}
	b, err := u.bytes(n)
	return string(b), err
}

// line takes a text up to the end of its line.
func (u *unpickler) line() (string, error) {
	for end := u.at; end < len(u.data); end++ {
		if u.data[end] == '\n' {
			s := string(u.data[u.at:end])
			u.at = end + 1
			return s, nil
		}
	}
	return "", u.damaged(u.at, "a line does not end")
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

// floor is the length that the stack must keep: what is below the last mark is out
// of reach of everything but what takes the mark.
func (u *unpickler) floor() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

// pop takes the last n values.
func (u *unpickler) pop(n int) ([]any, error) {
	if len(u.stack)-u.floor() < n {
		return nil, u.damaged(u.at, "%d values are needed and %d are there", n, len(u.stack)-u.floor())
	}
	values := u.stack[len(u.stack)-n:]
	u.stack = u.stack[:len(u.stack)-n]
	return values, nil
}

// popMark takes all values since the last mark, and the mark.
func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, u.damaged(u.at, "a mark is needed and there is none")
	}
	values := u.stack[u.floor():]
	u.stack = u.stack[:u.floor()]
	u.marks = u.marks[:len(u.marks)-1]
	return values, nil
}

// top is the value that an opcode changes in place.
func (u *unpickler) top() (any, error) {
	if len(u.stack) == u.floor() {
		return nil, u.damaged(u.at, "a value is needed and there is none")
	}
	return u.stack[len(u.stack)-1], nil
}

// float takes a big-endian number of 8 bytes.
func (u *unpickler) float() (float64, error) {
	b, err := u.bytes(8)
	if err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

// long takes a whole number in two's complement of at most 8 bytes.
func (u *unpickler) long() (int64, error) {
	n, err := u.uint(1)
	if err != nil {
		return 0, err
	}
	b, err := u.bytes(n)
	if err != nil {
		return 0, err
	}
	if n > 8 {
		return 0, u.damaged(u.at, "a whole number of %d bytes; at most 8 are read", n)
	}
	var word [8]byte
	copy(word[:], b)
	shift := 64 - 8*uint(n)
	return int64(binary.LittleEndian.Uint64(word[:])<<shift) >> shift, nil
}
