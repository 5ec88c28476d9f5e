//go:build cuda

package cuda

// #include <stdlib.h>
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"unsafe"
)

// Launch is the shape of a launch.
type Launch struct {
	// Grid is the number of blocks, Block the number of threads of a block, in x, y
	// and z.
	Grid, Block [3]int
	// Shared is the dynamic shared memory of a block in bytes.
	Shared int
}

// Launch enqueues a kernel. An argument is a number whose type has a size
// (int32, uint32, int64, uint64, float32, float64, or a type of one of these), or a
// pointer to a struct without pointers, which the kernel gets by value. The
// arguments are copied before Launch returns. Launch does not allocate.
func (s *Stream) Launch(k *Kernel, l Launch, args ...any) error {
	const op = "launching"
	if err := s.check(op); err != nil {
		return err
	}
	pointers, err := s.args.fill(s.ctx, k, l, args)
	if err != nil {
		return &Error{Op: op, Kernel: k.name, Device: s.ctx.device.Ordinal, Cause: err}
	}
	if code := launchKernel(k.handle, l, s.handle, pointers); code != success {
		return s.launchError(k, l, code)
	}
	s.recent.add(k.name)
	if s.capture != nil {
		launched := graphKernel{name: k.name}
		launched.node, launched.code = capturedNode(s.handle)
		if launched.code != success && kinds[launched.code] != ErrNotSupported {
			return s.launchError(k, l, launched.code)
		}
		s.capture.kernels = append(s.capture.kernels, launched)
	}
	return nil
}

func (s *Stream) launchError(k *Kernel, l Launch, code int) error {
	e := newError(fmt.Sprintf("launching a grid of %v blocks of %v threads with %d bytes of dynamic shared memory", l.Grid, l.Block, l.Shared),
		s.ctx.device.Ordinal, code)
	e.Kernel = k.name
	if code == invalidValue {
		e.Hint = fmt.Sprintf("a grid has at most 2147483647 x 65535 x 65535 blocks and none of the three is 0; a block has 1 to 1024 threads; "+
			"more than 48 KiB of shared memory need SetMaxShared, %d bytes at most", s.ctx.device.MaxShared)
	}
	s.ctx.noteFault(e, s)
	return e
}

// The sizes of an argument buffer. CUDA allows 4 KiB of arguments, and 32764 bytes
// on devices from compute capability 7.0 on.
const (
	maxArguments     = 64
	maxArgumentBytes = 32764
	// argumentAlign is the largest alignment of a type in CUDA.
	argumentAlign = 16
)

// argumentBuffer is C memory that arguments are put in for a launch: the driver
// wants an array of pointers to them.
type argumentBuffer struct {
	memory *argumentMemory
}

// The pointers are to bytes, in C memory too, and none of the garbage collector's
// business.
type argumentMemory struct {
	pointers [maxArguments]uintptr
	bytes    [(maxArgumentBytes + argumentAlign) / argumentAlign * argumentAlign]byte
}

func (b *argumentBuffer) free() {
	C.free(unsafe.Pointer(b.memory))
	b.memory = nil
}

// fill checks a launch, copies its arguments and gives the array of pointers to
// them.
func (b *argumentBuffer) fill(c *Context, k *Kernel, l Launch, args []any) (*unsafe.Pointer, error) {
	if err := k.fits(c, l, len(args)); err != nil {
		return nil, err
	}
	if b.memory == nil {
		b.memory = (*argumentMemory)(C.malloc(C.size_t(unsafe.Sizeof(argumentMemory{}))))
	}
	m := b.memory
	offset := 0
	for i := range args {
		to := m.bytes[offset:]
		n, err := c.put(to, args[i])
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i, err)
		}
		if k.paramsKnown && n != k.params[i] {
			return nil, fmt.Errorf("argument %d, of type %v, has %d bytes; the kernel's parameter has %d", i, reflect.TypeOf(args[i]), n, k.params[i])
		}
		m.pointers[i] = uintptr(unsafe.Pointer(unsafe.SliceData(to)))
		offset = (offset + n + argumentAlign - 1) / argumentAlign * argumentAlign
	}
	return (*unsafe.Pointer)(unsafe.Pointer(&m.pointers)), nil
}

// fits checks what of a launch does not depend on the arguments' values.
func (k *Kernel) fits(c *Context, l Launch, args int) error {
	if k.module.closed() {
		return ErrClosed
	}
	if k.module.ctx.handle != c.handle {
		return fmt.Errorf("the kernel is of device %d", k.module.ctx.device.Ordinal)
	}
	for _, n := range [...]int{l.Grid[0], l.Grid[1], l.Grid[2], l.Block[0], l.Block[1], l.Block[2]} {
		if n < 1 || n > math.MaxInt32 {
			return fmt.Errorf("a grid of %v blocks of %v threads: each number must be 1 or more, and fit 31 bits", l.Grid, l.Block)
		}
	}
	if l.Shared < 0 || l.Shared > math.MaxInt32 {
		return fmt.Errorf("%d bytes of shared memory", l.Shared)
	}
	if k.paramsKnown && args != len(k.params) {
		return fmt.Errorf("%d arguments; the kernel has %d parameters", args, len(k.params))
	}
	if args > maxArguments {
		return fmt.Errorf("%d arguments; at most %d are allowed", args, maxArguments)
	}
	return nil
}

var errArgumentType = errors.New("want a number whose type has a size (int32, uint64, float32, ...) or a pointer to a struct without pointers")

// put writes an argument as the kernel gets it, and gives its size.
func (c *Context) put(to []byte, arg any) (bytes int, err error) {
	v := reflect.ValueOf(arg)
	if v.Kind() == reflect.Pointer {
		return c.putStruct(to, v)
	}
	var bits uint64
	switch {
	case !v.IsValid() || !isSized(v.Kind()):
		return 0, fmt.Errorf("%v: %w", reflect.TypeOf(arg), errArgumentType)
	case v.CanInt():
		bits = uint64(v.Int())
	case v.CanUint():
		bits = v.Uint()
	case v.Kind() == reflect.Float32:
		bits = uint64(math.Float32bits(float32(v.Float())))
	default:
		bits = math.Float64bits(v.Float())
	}
	if len(to) < 8 {
		return 0, errArgumentsTooLarge
	}
	// Little endian, as all hosts of NVIDIA's devices are: the first bytes are the
	// number's.
	binary.LittleEndian.PutUint64(to, bits)
	return int(v.Type().Size()), nil
}

var errArgumentsTooLarge = fmt.Errorf("the arguments have more than %d bytes", maxArgumentBytes)

// putStruct writes the struct that a pointer points to.
func (c *Context) putStruct(to []byte, pointer reflect.Value) (bytes int, err error) {
	t := pointer.Type().Elem()
	if !c.structs[t] {
		if t.Kind() != reflect.Struct || !isPlain(t) {
			return 0, fmt.Errorf("%v: %w", pointer.Type(), errArgumentType)
		}
		c.structs[t] = true
	}
	if pointer.IsNil() {
		return 0, fmt.Errorf("the %v is nil", pointer.Type())
	}
	bytes = int(t.Size())
	if bytes > len(to) {
		return 0, errArgumentsTooLarge
	}
	copy(to, unsafe.Slice((*byte)(pointer.UnsafePointer()), bytes))
	return bytes, nil
}

// isSized reports whether a kind is a number that is as large in C.
func isSized(k reflect.Kind) bool {
	switch k {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16,
		reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	}
	return false
}

// isPlain reports whether a type holds sized numbers and booleans only.
func isPlain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if !isPlain(t.Field(i).Type) {
				return false
			}
		}
		return true
	case reflect.Array:
		return isPlain(t.Elem())
	}
	return t.Kind() == reflect.Bool || isSized(t.Kind())
}
