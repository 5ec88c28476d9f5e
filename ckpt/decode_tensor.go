package ckpt

import (
	"strings"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// section reads a map of tensors and of groups of tensors; the latter's names
// become "group/tensor".
func (r *reader) section(key string) (section, error) {
	s := section{key: key}
	list, err := r.fields(key + "/")
	if err != nil {
		return s, err
	}
	for _, f := range list {
		grouped, err := f.reader.isGroup()
		if err != nil {
			return s, err
		}
		if strings.Contains(f.key, "/") {
			return s, f.reader.errorf("the key %.80q has a slash; groups of tensors are nested maps", f.key)
		}
		group := []field{f}
		if grouped {
			if group, err = f.reader.fields(f.reader.where + "/"); err != nil {
				return s, err
			}
		}
		for _, g := range group {
			name := g.key
			if grouped {
				name = f.key + "/" + g.key
			}
			v, err := g.reader.tensor()
			if err != nil {
				return s, err
			}
			s.tensors = append(s.tensors, named{name, v})
		}
	}
	return s, nil
}

// isGroup tells a group of tensors from an array, whose keys are binary.
func (r *reader) isGroup() (bool, error) {
	c, err := r.peek()
	if err != nil || !isMap(c) {
		return false, err
	}
	inner := newReader(r.data, r.base, r.where)
	if n, err := inner.mapLen(); err != nil || n == 0 {
		return true, err
	}
	c, err = inner.peek()
	return !msgpcode.IsBin(c), err
}

// tensor reads a number, or an array as msgpack_numpy writes it.
func (r *reader) tensor() (value, error) {
	c, err := r.peek()
	if err != nil {
		return value{}, err
	}
	if !isMap(c) {
		return r.number()
	}
	n, err := r.mapLen()
	if err != nil {
		return value{}, err
	}
	a := array{shape: []int{}}
	for range n {
		if err := a.readEntry(r); err != nil {
			return value{}, err
		}
	}
	return a.value(r)
}

// array collects the entries of msgpack-numpy's map.
type array struct {
	seen  map[string]bool
	nd    bool
	code  string
	kind  []byte
	shape []int
	data  []byte
}

func (a *array) readEntry(r *reader) error {
	key, err := r.bin()
	if err != nil {
		return err
	}
	if a.seen[string(key)] {
		return r.errorf("the key %.80q is there twice", key)
	}
	if a.seen == nil {
		a.seen = map[string]bool{}
	}
	a.seen[string(key)] = true
	switch string(key) {
	case "nd":
		a.nd, err = r.bool()
	case "type":
		a.code, err = r.str()
	case "kind":
		a.kind, err = r.bin()
	case "shape":
		a.shape, err = r.shape()
	case "data":
		a.data, err = r.bin()
	default:
		err = r.errorf("an array has no key %.80q", key)
	}
	return err
}

func (r *reader) shape() ([]int, error) {
	n, err := r.arrayLen()
	if err != nil {
		return nil, err
	}
	if n > maxDims {
		return nil, r.errorf("%d dimensions are more than %d", n, maxDims)
	}
	shape := make([]int, n)
	for i := range shape {
		if shape[i], err = r.count(); err != nil {
			return nil, err
		}
	}
	return shape, nil
}

func (a *array) value(r *reader) (value, error) {
	if len(a.kind) != 0 {
		return value{}, r.errorf("an array of kind %q (structured or Python objects) is refused; only plain numbers are read", a.kind)
	}
	// msgpack_numpy writes a NumPy scalar without shape and with nd false.
	for _, key := range []string{"nd", "type", "data"} {
		if !a.seen[key] {
			return value{}, r.errorf("the array's key %q is missing", key)
		}
	}
	if a.nd != a.seen["shape"] {
		return value{}, r.errorf("an array's nd is %t although its shape's presence is %t", a.nd, a.seen["shape"])
	}
	d, err := dtypeOf(a.code)
	if err != nil {
		return value{}, r.errorf("%v", err)
	}
	// The product stays within the bytes there are, so it cannot overflow.
	length := len(a.data) / d.size
	product := 1
	for _, dim := range a.shape {
		if dim > 0 && product > length/dim {
			product = -1
			break
		}
		product *= dim
	}
	if product != length || len(a.data)%d.size != 0 {
		return value{}, r.errorf("shape %v of %s does not match %d bytes of data", a.shape, d.name, len(a.data))
	}
	return value{dtype: d, shape: a.shape, data: a.data}, nil
}
