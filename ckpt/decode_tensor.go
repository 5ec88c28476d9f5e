package ckpt

import (
	"slices"
	"strings"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// section reads a map of tensors and of groups of tensors.
func (r *reader) section(key string) (section, error) {
	s := section{key: key}
	list, err := r.fields()
	if err != nil {
		return s, err
	}
	s.tensors = make([]named, 0, len(list))
	for _, f := range list {
		value := r.inside(f)
		grouped, err := value.isGroup()
		if err != nil {
			return s, err
		}
		name := r.key(f)
		if strings.Contains(name, "/") {
			return s, value.errorf("the key %.80q has a slash; groups of tensors are nested maps", name)
		}
		if grouped {
			err = s.readGroup(name, &value)
		} else {
			err = s.read(tensorName{name: name}, &value)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *section) readGroup(group string, r *reader) error {
	list, err := r.fields()
	if err != nil {
		return err
	}
	s.tensors = slices.Grow(s.tensors, len(list))
	for _, f := range list {
		value := r.inside(f)
		if err := s.read(tensorName{group, true, r.key(f)}, &value); err != nil {
			return err
		}
	}
	return nil
}

func (s *section) read(name tensorName, r *reader) error {
	v, err := r.tensor()
	if err == nil {
		s.tensors = append(s.tensors, named{name, v})
	}
	return err
}

// isGroup tells a group of tensors from an array, whose keys are binary.
func (r *reader) isGroup() (bool, error) {
	look := *r
	if c, err := look.peek(); err != nil || !isMap(c) {
		return false, err
	}
	if n, err := look.mapLen(); err != nil || n == 0 {
		return true, err
	}
	c, err := look.peek()
	return !msgpcode.IsBin(c), err
}

// tensor reads a number, or an array as msgpack_numpy writes it.
func (r *reader) tensor() (value, error) {
	c, err := r.peek()
	if err != nil {
		return value{}, err
	}
	if !isMap(c) {
		code := span{r.pos, r.pos + 1}
		v, err := r.number()
		v.code = code
		return v, err
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
	seen int // a bit for each of arrayKeys
	nd   bool
	code span // where the element type's text is
	// listed: the element type is a list, which msgpack-numpy writes for structures
	// and Python objects.
	listed bool
	kind   []byte
	shape  []int
	data   []byte
}

// arrayKeys are the keys of msgpack-numpy's map, in the order in which it writes
// them.
var arrayKeys = [...]string{"nd", "type", "kind", "shape", "data"}

func (a *array) has(key string) bool { return a.seen>>slices.Index(arrayKeys[:], key)&1 == 1 }

func (a *array) readEntry(r *reader) error {
	key, err := r.bin()
	if err != nil {
		return err
	}
	bit := slices.Index(arrayKeys[:], string(key))
	if bit < 0 {
		return r.errorf("an array has no key %.80q", key)
	}
	if a.seen>>bit&1 == 1 {
		return r.errorf("the key %.80q is there twice", key)
	}
	a.seen |= 1 << bit
	r.push(span{r.pos - len(key), r.pos})
	switch arrayKeys[bit] {
	case "nd":
		a.nd, err = r.bool()
	case "type":
		err = a.readType(r)
	case "kind":
		a.kind, err = r.bin()
	case "shape":
		a.shape, err = r.shape()
	case "data":
		a.data, err = r.bin()
	}
	if err == nil {
		r.depth--
	}
	return err
}

func (a *array) readType(r *reader) error {
	if c, err := r.peek(); err == nil && isArray(c) {
		a.listed = true
		return r.skip()
	}
	code, err := r.text()
	a.code = span{r.pos - len(code), r.pos}
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
	switch kind := string(a.kind); {
	case kind == "O":
		return value{}, r.errorf("an array of kind %q is refused: it is of Python objects and would have to be unpickled; only plain numbers are read", kind)
	case kind != "" || a.listed:
		return value{}, r.errorf("an array of kind %.20q is refused: it is structured; only plain numbers are read", kind)
	}
	// msgpack_numpy writes a NumPy scalar without shape and with nd false.
	for _, key := range []string{"nd", "type", "data"} {
		if !a.has(key) {
			return value{}, r.errorf("the array's key %q is missing", key)
		}
	}
	if a.nd != a.has("shape") {
		return value{}, r.errorf("an array's nd is %t although its shape's presence is %t", a.nd, a.has("shape"))
	}
	d, err := dtypeOf(string(r.file[a.code.from:a.code.to]))
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
	return value{dtype: d, shape: a.shape, data: a.data, code: a.code}, nil
}
