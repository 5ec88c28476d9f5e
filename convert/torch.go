package convert

import (
	"fmt"
	"math"
	"strings"
)

// array is a tensor of another program's file.
type array struct {
	// code is NumPy's of the element type: "<f4".
	code  string
	shape []int
	data  []byte // little endian, C order
}

// named is a tensor with its name in the file, or brood's.
type named struct {
	name string
	array
}

// storage is the memory of a tensor of torch.save's.
type storage struct {
	code string
	data []byte
}

// elementSizes are those of the types that are read, by NumPy's code.
var elementSizes = map[string]int{"<f4": 4, "<f8": 8, "<i8": 8}

// storageTypes are the element types of torch's storage classes; empty: known, and
// not read.
var storageTypes = map[string]string{
	"FloatStorage": "<f4", "DoubleStorage": "<f8", "LongStorage": "<i8",
	"HalfStorage": "", "BFloat16Storage": "", "IntStorage": "", "ShortStorage": "", "CharStorage": "", "ByteStorage": "", "BoolStorage": "",
	"ComplexFloatStorage": "", "ComplexDoubleStorage": "",
}

var (
	orderedDict      = global{"collections", "OrderedDict"}
	rebuildTensor    = global{"torch._utils", "_rebuild_tensor_v2"}
	rebuildParameter = global{"torch._utils", "_rebuild_parameter"}
)

// knownGlobal lets through the few names that the pickle of a state dict has. They
// stay names: what follows them is data.
func knownGlobal(g global) error {
	_, isStorage := storageTypes[g.name]
	if g == orderedDict || g == rebuildTensor || g == rebuildParameter || g.module == "torch" && isStorage {
		return nil
	}
	return fmt.Errorf("%w: the file would run %.120q, which a state dict of tensors does not need", ErrRefused, g.String())
}

// torchReader turns the calls of a state dict's pickle into tensors.
type torchReader struct {
	zip    *archive
	folder string
	loaded map[string]storage
	// left is how many bytes of tensors there may still be: those of a state dict do
	// not share memory, so that all of them have no more than the file.
	left int
}

// readTorch reads the state dict in a file of torch.save. what names the file.
func readTorch(data []byte, what string) (*dict, error) {
	root, err := readTorchZip(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("%s: %w: it holds a %s; want a state dict", what, ErrRefused, kindOf(root))
	}
	return d, nil
}

func readTorchZip(data []byte) (any, error) {
	z, err := openArchive(data)
	if err != nil {
		return nil, err
	}
	r := &torchReader{zip: z, folder: z.torchFolder(), loaded: map[string]storage{}, left: len(data)}
	if r.folder == "" {
		return nil, fmt.Errorf("%w: there is no data.pkl in the archive of torch.save; it has %s", ErrDamaged, listed(z.names))
	}
	if z.has(r.folder + "constants.pkl") {
		return nil, fmt.Errorf("%w: a TorchScript program; want a state dict: torch.save(model.state_dict(), path)", ErrRefused)
	}
	if z.has(r.folder + "byteorder") {
		order, err := z.entry(r.folder + "byteorder")
		if err != nil {
			return nil, err
		}
		if string(order) != "little" {
			return nil, fmt.Errorf("%w: its byte order is %.20q; only \"little\" is read", ErrRefused, order)
		}
	}
	pickle, err := z.entry(r.folder + pickleName)
	if err != nil {
		return nil, err
	}
	u := &unpickler{data: pickle, known: knownGlobal, call: r.call, persistent: r.storage}
	return u.load()
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// storage reads ("storage", class, key, location, elements).
func (r *torchReader) storage(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) != 5 || t[0] != any("storage") {
		return nil, damaged("a persistent id is a %s; want (\"storage\", class, key, location, elements)", kindOf(id))
	}
	class, isClass := t[1].(global)
	key, isText := t[2].(string)
	elements, isNumber := t[4].(int64)
	if !isClass || !isText || !isNumber || class.module != "torch" {
		return nil, damaged("a storage is given as a %s, a %s and a %s; want a class of torch, a text and a whole number", kindOf(t[1]), kindOf(t[2]), kindOf(t[4]))
	}
	code := storageTypes[class.name]
	if code == "" {
		return nil, fmt.Errorf("%w: a tensor of type torch.%s; read are float32, float64 and int64 (in PyTorch: model.float())", ErrRefused, class.name)
	}
	s, seen := r.loaded[key]
	if !seen {
		data, err := r.zip.entry(r.folder + "data/" + key)
		if err != nil {
			return nil, err
		}
		s = storage{code, data}
		r.loaded[key] = s
	}
	if size := int64(elementSizes[code]); s.code != code || elements < 0 || elements > math.MaxInt64/size || elements*size != int64(len(s.data)) {
		return nil, damaged("storage %.20q of %d elements of torch.%s has %d bytes", key, elements, class.name, len(s.data))
	}
	return s, nil
}

func (r *torchReader) call(g global, args tuple) (any, error) {
	switch {
	case g == orderedDict && len(args) == 0:
		return &dict{}, nil
	case g == rebuildTensor && (len(args) == 6 || len(args) == 7):
		return r.tensor(args)
	case g == rebuildParameter && len(args) == 3:
		if a, ok := args[0].(array); ok {
			return a, nil
		}
	}
	return nil, damaged("%s is called with %d values; that is not how torch.save writes a state dict", g, len(args))
}

// tensor reads (storage, offset, size, stride, ...).
func (r *torchReader) tensor(args tuple) (any, error) {
	s, isStorage := args[0].(storage)
	offset, isNumber := args[1].(int64)
	shape, strides := integers(args[2]), integers(args[3])
	if !isStorage || !isNumber || shape == nil || strides == nil || len(shape) != len(strides) {
		return nil, damaged("a tensor is given as a %s, a %s, a %s and a %s; want a storage, an offset, a shape and strides",
			kindOf(args[0]), kindOf(args[1]), kindOf(args[2]), kindOf(args[3]))
	}
	size := elementSizes[s.code]
	elements := len(s.data) / size
	count, err := product(shape, elements)
	if err != nil {
		return nil, err
	}
	if count*size > r.left {
		return nil, damaged("the tensors have more bytes than the file: they share memory")
	}
	r.left -= count * size
	// The last element's place. No sum overflows: there are few dimensions, and the
	// numbers of elements and the strides have 31 bits.
	last := offset
	for i, n := range shape {
		last += int64(strides[i]) * int64(max(n-1, 0))
	}
	if offset < 0 || offset > int64(elements) || count > 0 && last >= int64(elements) {
		return nil, damaged("a tensor of shape %v and strides %v at %d does not fit its storage of %d elements", shape, strides, offset, elements)
	}
	a := array{code: s.code, shape: shape}
	if contiguous(shape, strides) {
		a.data = s.data[int(offset)*size : (int(offset)+count)*size]
		return a, nil
	}
	a.data = gather(s.data[int(offset)*size:], shape, strides, count, size)
	return a, nil
}

// integers gives the numbers of a tuple that has nothing but whole numbers from 0,
// and nil for anything else.
func integers(v any) []int {
	t, ok := v.(tuple)
	if !ok {
		return nil
	}
	numbers := make([]int, len(t))
	for i := range t {
		n, ok := t[i].(int64)
		if !ok || n < 0 || n > math.MaxInt32 {
			return nil
		}
		numbers[i] = int(n)
	}
	return numbers
}

// maxDims is more than any tensor of a policy has.
const maxDims = 8

// product is the number of elements of a shape, at most most. No sum of what it
// lets through can overflow: a dimension of 0 does not hide the others.
func product(shape []int, most int) (int, error) {
	if len(shape) > maxDims {
		return 0, damaged("a tensor of %d dimensions; at most %d are read", len(shape), maxDims)
	}
	count, empty := 1, false
	for _, n := range shape {
		if n == 0 {
			empty = true
			continue
		}
		if n < 0 || count > most/n {
			return 0, damaged("a tensor of shape %v has more elements than the %d there are", shape, most)
		}
		count *= n
	}
	if empty {
		return 0, nil
	}
	return count, nil
}

// contiguous says whether elements lie in C order without gaps. The stride of a
// dimension of one element means nothing.
func contiguous(shape, strides []int) bool {
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] > 1 && strides[i] != step {
			return false
		}
		step *= shape[i]
	}
	return true
}

// gather copies the elements of a tensor that is a view, such as a transposed one,
// in C order.
func gather(data []byte, shape, strides []int, count, size int) []byte {
	out := make([]byte, 0, count*size)
	index := make([]int, len(shape))
	for range count {
		at := 0
		for i := range index {
			at += index[i] * strides[i]
		}
		out = append(out, data[at*size:(at+1)*size]...)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return out
}

// tensors gives the tensors of a state dict in its order.
func tensors(d *dict) ([]named, error) {
	list := make([]named, 0, len(d.keys))
	for i, key := range d.keys {
		name, isText := key.(string)
		a, isArray := d.values[i].(array)
		if !isText || !isArray {
			return nil, fmt.Errorf("%w: the state dict has a %s under a %s; want tensors under their names (a checkpoint of several parts has to be saved as model.state_dict() alone)",
				ErrRefused, kindOf(d.values[i]), kindOf(key))
		}
		list = append(list, named{strings.ToValidUTF8(name, "?"), a})
	}
	return list, nil
}
