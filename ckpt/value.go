package ckpt

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"brood/tensor"
)

// dtype is an element type of the files, by NumPy's array protocol.
type dtype struct {
	code string // "<f4"
	name string // "float32"
	kind byte   // 'f', 'i' or 'u'
	size int    // bytes
	// number is MessagePack's code of a plain number of the type, of those that are
	// written as one.
	number []byte
}

// dtypes are those that are read, each there once: a type is compared by its
// address. Only the four of [tensor.DType] are written; the others are what other
// programs' files hold.
var dtypes = []dtype{
	{"<f4", "float32", 'f', 4, []byte{msgpcode.Float}}, {"<f8", "float64", 'f', 8, []byte{msgpcode.Double}},
	{"<i8", "int64", 'i', 8, []byte{msgpcode.Int64}}, {"<u8", "uint64", 'u', 8, []byte{msgpcode.Uint64}},
	{"<i4", "int32", 'i', 4, nil}, {"<u4", "uint32", 'u', 4, nil}, {"<i2", "int16", 'i', 2, nil}, {"<u2", "uint16", 'u', 2, nil},
	{"|i1", "int8", 'i', 1, nil}, {"|u1", "uint8", 'u', 1, nil},
}

var (
	float32Type = &dtypes[0]
	float64Type = &dtypes[1]
	int64Type   = &dtypes[2]
	uint64Type  = &dtypes[3]
)

func dtypeOf(code string) (*dtype, error) {
	for i := range dtypes {
		if d := &dtypes[i]; d.code == code {
			return d, nil
		}
	}
	switch {
	case code != "" && code[0] == '>':
		return nil, fmt.Errorf("element type %.40q is big-endian; arrays must be little endian (in NumPy: a.astype(a.dtype.newbyteorder('<')))", code)
	case code == "|O":
		return nil, fmt.Errorf("an array of Python objects is refused: it would have to be unpickled")
	}
	return nil, fmt.Errorf("element type %.40q is not one of float32, float64 and integers of 1 to 8 bytes, little endian", code)
}

// stored is the type as which a tensor's elements are written.
func stored(d tensor.DType) *dtype {
	switch d {
	case tensor.Float64:
		return float64Type
	case tensor.Int64:
		return int64Type
	case tensor.Uint64:
		return uint64Type
	}
	return float32Type
}

// value is a tensor as a file holds it.
type value struct {
	dtype *dtype
	shape []int  // empty: a scalar
	data  []byte // little endian, C order
	// code is where in the file the element type is: the byte before a number, the
	// text of an array.
	code span
}

// assign writes the elements to dst, which holds as many of type d. Elements of
// the same type are copied bit for bit. Others are converted where nothing but
// the precision of a float is lost, and refused otherwise.
func (v *value) assign(dst []byte, d tensor.DType) error {
	if v.dtype == stored(d) {
		copy(dst, v.data)
		return nil
	}
	size := v.dtype.size
	for i := range len(v.data) / size {
		bits, err := convert(v.data[i*size:(i+1)*size], v.dtype, d)
		if err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		if d == tensor.Float32 {
			binary.LittleEndian.PutUint32(dst[4*i:], uint32(bits))
		} else {
			binary.LittleEndian.PutUint64(dst[8*i:], bits)
		}
	}
	return nil
}

// Convert writes elements of another program's type to dst, which holds as many of
// type to, by the rules of [Checkpoint.Restore]: the same type bit for bit, another
// one where nothing but the precision of a float is lost. src is little endian and
// code is NumPy's of its type, such as "<f4". The error names the element.
func Convert(dst []byte, to tensor.DType, src []byte, code string) error {
	d, err := dtypeOf(code)
	if err != nil {
		return fmt.Errorf("ckpt: convert: %w", err)
	}
	size := to.Size()
	if len(src)%d.size != 0 || len(dst)%size != 0 || len(src)/d.size != len(dst)/size {
		return fmt.Errorf("ckpt: convert: %d bytes of %s do not make %d bytes of %s", len(src), d.name, len(dst), to)
	}
	v := value{dtype: d, data: src}
	if err := v.assign(dst, to); err != nil {
		return fmt.Errorf("ckpt: convert: %w", err)
	}
	return nil
}

// convert returns the bits, as type to, of one element of type from.
func convert(raw []byte, from *dtype, to tensor.DType) (uint64, error) {
	if from.kind == 'f' {
		return fromFloat(floatElement(raw), to)
	}
	var word [8]byte
	copy(word[:], raw)
	u := binary.LittleEndian.Uint64(word[:])
	if from.kind == 'u' {
		return fromUint(u, to)
	}
	shift := 64 - 8*from.size
	return fromInt(int64(u<<shift)>>shift, to)
}

func floatElement(raw []byte) float64 {
	if len(raw) == 4 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(raw)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(raw))
}

func fromFloat(f float64, to tensor.DType) (uint64, error) {
	switch to {
	case tensor.Float32:
		r := float32(f)
		if math.IsInf(float64(r), 0) && !math.IsInf(f, 0) {
			return 0, fmt.Errorf("%v is beyond float32", f)
		}
		return uint64(math.Float32bits(r)), nil
	case tensor.Float64:
		return math.Float64bits(f), nil
	case tensor.Int64:
		if f == math.Trunc(f) && f >= -1<<63 && f < 1<<63 {
			return uint64(int64(f)), nil
		}
	case tensor.Uint64:
		if f == math.Trunc(f) && f >= 0 && f < 1<<64 {
			return uint64(f), nil
		}
	}
	return 0, fmt.Errorf("%v is not a whole number within %v", f, to)
}

func fromInt(i int64, to tensor.DType) (uint64, error) {
	if i >= 0 {
		return fromUint(uint64(i), to)
	}
	switch {
	case to == tensor.Int64:
		return uint64(i), nil
	case to == tensor.Float32 && i >= -1<<24:
		return uint64(math.Float32bits(float32(i))), nil
	case to == tensor.Float64 && i >= -1<<53:
		return math.Float64bits(float64(i)), nil
	}
	return 0, fmt.Errorf("%d cannot be a %v", i, to)
}

// fromUint takes only those integers that a float type holds exactly with all
// their neighbours.
func fromUint(u uint64, to tensor.DType) (uint64, error) {
	switch {
	case to == tensor.Uint64, to == tensor.Int64 && u <= math.MaxInt64:
		return u, nil
	case to == tensor.Float32 && u <= 1<<24:
		return uint64(math.Float32bits(float32(u))), nil
	case to == tensor.Float64 && u <= 1<<53:
		return math.Float64bits(float64(u)), nil
	}
	return 0, fmt.Errorf("%d cannot be a %v", u, to)
}
