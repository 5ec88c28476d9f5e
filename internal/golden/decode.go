package golden

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/vmihailenco/msgpack/v5"
)

// Array is a NumPy array in C order.
type Array struct {
	// Shape has no entries for a scalar.
	Shape []int
	// Data is a []float32, []float64, []int32, []int64 or []uint8 (also of
	// NumPy's bool) with as many elements as Shape says.
	Data any
}

// Len is the number of elements.
func (a Array) Len() int {
	n := 1
	for _, d := range a.Shape {
		n *= d
	}
	return n
}

// Float64s returns the elements converted to float64, in a new slice.
func (a Array) Float64s() []float64 { return convert[float64](a.Data) }

// Float32s returns the elements converted to float32, in a new slice.
func (a Array) Float32s() []float32 { return convert[float32](a.Data) }

// Ints returns the elements converted to int, in a new slice.
func (a Array) Ints() []int { return convert[int](a.Data) }

type number interface {
	~int | ~int32 | ~int64 | ~uint8 | ~float32 | ~float64
}

func convert[To number](data any) []To {
	switch d := data.(type) {
	case []float32:
		return convertAll[To](d)
	case []float64:
		return convertAll[To](d)
	case []int32:
		return convertAll[To](d)
	case []int64:
		return convertAll[To](d)
	case []uint8:
		return convertAll[To](d)
	}
	panic(fmt.Sprintf("golden: Array.Data is a %T, not one of its types", data))
}

func convertAll[To, From number](from []From) []To {
	to := make([]To, len(from))
	for i, x := range from {
		to[i] = To(x)
	}
	return to
}

// Decode reads one msgpack map. Arrays become [Array], maps map[string]any, lists
// []any, whole numbers int, floats float64, strings string, binaries []byte.
func Decode(data []byte) (map[string]any, error) {
	r := bytes.NewReader(data)
	d := msgpack.NewDecoder(r)
	d.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return decodeMap(d) })
	value, err := d.DecodeInterface()
	if err != nil {
		return nil, fmt.Errorf("msgpack: %w", err)
	}
	if _, err := d.PeekCode(); err != io.EOF {
		return nil, errors.New("msgpack: more data after the first value")
	}
	if value, err = normalise(value); err != nil {
		return nil, err
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("msgpack: the value is a %T, not a map", value)
	}
	return m, nil
}

// decodeMap reads a map whose keys are strings or, as msgpack-numpy writes them
// for arrays, binaries; DecodeString takes both. (Its loose decoding of values would
// turn binaries into strings, the data of arrays among them.)
func decodeMap(d *msgpack.Decoder) (map[string]any, error) {
	n, err := d.DecodeMapLen()
	if err != nil {
		return nil, err
	}
	m := make(map[string]any)
	for range n {
		key, err := d.DecodeString()
		if err != nil {
			return nil, err
		}
		if m[key], err = d.DecodeInterface(); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return m, nil
}

// normalise turns the decoder's types into those that [Decode] promises.
func normalise(value any) (any, error) {
	switch v := value.(type) {
	case int8:
		return int(v), nil
	case int16:
		return int(v), nil
	case int32:
		return int(v), nil
	case int64:
		return int(v), nil
	case uint8:
		return int(v), nil
	case uint16:
		return int(v), nil
	case uint32:
		return int(v), nil
	case uint64:
		if v > math.MaxInt64 {
			return nil, fmt.Errorf("the number %d does not fit an int", v)
		}
		return int(v), nil
	case float32:
		return float64(v), nil
	case []any:
		for i := range v {
			inner, err := normalise(v[i])
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			v[i] = inner
		}
		return v, nil
	case map[string]any:
		for key, inner := range v {
			inner, err := normalise(inner)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			v[key] = inner
		}
		if _, isArray := v["nd"]; isArray {
			return decodeArray(v)
		}
		return v, nil
	}
	return value, nil
}

// decodeArray reads the map that msgpack-numpy writes for an array (nd true) or a
// NumPy scalar (nd false, no shape).
func decodeArray(m map[string]any) (Array, error) {
	var a Array
	dtype, ok := m["type"].(string)
	if !ok {
		return a, fmt.Errorf("array: type is %v; structured arrays are not supported", m["type"])
	}
	raw, ok := m["data"].([]byte)
	if !ok {
		return a, fmt.Errorf("array: data is a %T, not a binary", m["data"])
	}
	if nd, _ := m["nd"].(bool); nd {
		shape, ok := m["shape"].([]any)
		if !ok {
			return a, fmt.Errorf("array: shape is a %T, not a list", m["shape"])
		}
		for _, d := range shape {
			n, ok := d.(int)
			if !ok || n < 0 {
				return a, fmt.Errorf("array: shape %v has an entry that is not a number of elements", shape)
			}
			a.Shape = append(a.Shape, n)
		}
	}
	n := a.Len()
	var size int
	switch dtype {
	case "<f4":
		a.Data, size = make([]float32, n), 4
	case "<f8":
		a.Data, size = make([]float64, n), 8
	case "<i4":
		a.Data, size = make([]int32, n), 4
	case "<i8":
		a.Data, size = make([]int64, n), 8
	case "|u1", "|b1":
		a.Data, size = make([]uint8, n), 1
	default:
		return a, fmt.Errorf("array: dtype %q is not one of <f4 <f8 <i4 <i8 |u1 |b1", dtype)
	}
	if len(raw) != n*size {
		return a, fmt.Errorf("array: shape %v of %s needs %d bytes, has %d", a.Shape, dtype, n*size, len(raw))
	}
	_, err := binary.Decode(raw, binary.LittleEndian, a.Data)
	return a, err
}
