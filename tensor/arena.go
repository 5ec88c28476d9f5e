package tensor

import (
	"fmt"
	"unsafe"
)

// Arena holds the state of P members, member-major, in one aligned allocation
// on the heap. Padding is zero and stays zero.
type Arena struct {
	layout *Layout
	data   []byte // [P][stride], aligned to Alignment
	staged []byte // scratch of exploits whose source is overwritten in the same call
}

// NewArena allocates the zeroed state of P members.
func NewArena(l *Layout, members int) (*Arena, error) {
	if members < 1 {
		return nil, fmt.Errorf("tensor: an arena of %d members; at least 1 is needed", members)
	}
	return &Arena{layout: l, data: AlignedBytes(members * l.stride)}, nil
}

// AlignedBytes returns n zeroed bytes that start at a multiple of Alignment.
func AlignedBytes(n int) []byte {
	raw := make([]byte, n+Alignment)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(&raw[0])) % Alignment); rest != 0 {
		skip = Alignment - rest
	}
	return raw[skip : skip+n : skip+n]
}

// AlignedFloats returns n zeroed float32 that start at a multiple of Alignment.
func AlignedFloats(n int) []float32 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(AlignedBytes(4*n)))), n)
}

// Layout returns the layout of every member.
func (a *Arena) Layout() *Layout { return a.layout }

// Members is P.
func (a *Arena) Members() int { return len(a.data) / max(a.layout.stride, 1) }

// Member returns a view of member m's state; writing to it writes the arena.
func (a *Arena) Member(m int) Member {
	s := a.layout.stride
	return Member{layout: a.layout, data: a.data[m*s : (m+1)*s : (m+1)*s]}
}

// Member is a view of the state of one member: a layout over its bytes, which
// may be part of an arena or a snapshot of their own.
type Member struct {
	layout *Layout
	data   []byte
}

// NewMember allocates a zeroed state outside any arena, for a snapshot.
func NewMember(l *Layout) Member {
	return Member{layout: l, data: AlignedBytes(l.stride)}
}

// MemberOver views memory that is not Go's, such as a GPU's pinned host memory,
// as a member's state. It must have the layout's size and be aligned to
// Alignment.
func MemberOver(l *Layout, data []byte) Member {
	if len(data) != l.stride || uintptr(unsafe.Pointer(unsafe.SliceData(data)))%Alignment != 0 {
		panic(fmt.Sprintf("tensor: a member over %d bytes at %p; the layout needs %d, aligned to %d", len(data), unsafe.SliceData(data), l.stride, Alignment))
	}
	return Member{layout: l, data: data}
}

// Layout returns the layout the member follows.
func (m Member) Layout() *Layout { return m.layout }

// Bytes returns the whole state, padding included.
func (m Member) Bytes() []byte { return m.data }

// CopyFrom overwrites the whole state with that of src, which must have a
// layout of the same size.
func (m Member) CopyFrom(src Member) {
	if len(m.data) != len(src.data) {
		panic(fmt.Sprintf("tensor: copy of %d bytes into a member of %d", len(src.data), len(m.data)))
	}
	copy(m.data, src.data)
}

// Clone returns a copy of the state in memory of its own.
func (m Member) Clone() Member {
	c := NewMember(m.layout)
	c.CopyFrom(m)
	return c
}

// Raw returns the bytes of one tensor without its padding. It panics where the
// layout has no such tensor: a name in the code that is wrong is a bug.
func (m Member) Raw(section, name string) []byte {
	t := m.find(section, name)
	return m.data[t.Offset : t.Offset+t.Bytes() : t.Offset+t.Bytes()]
}

// Float32 returns a tensor's elements; it panics for another type or name.
func (m Member) Float32(section, name string) []float32 {
	return view[float32](m, section, name, Float32)
}

// Float64 returns a tensor's elements; it panics for another type or name.
func (m Member) Float64(section, name string) []float64 {
	return view[float64](m, section, name, Float64)
}

// Int64 returns a tensor's elements; it panics for another type or name.
func (m Member) Int64(section, name string) []int64 {
	return view[int64](m, section, name, Int64)
}

// Uint64 returns a tensor's elements; it panics for another type or name.
func (m Member) Uint64(section, name string) []uint64 {
	return view[uint64](m, section, name, Uint64)
}

// Floats returns all of a section's bytes as float32, padding included, for
// sections whose tensors are all float32 (one fused pass over all of them).
func (m Member) Floats(section string) []float32 {
	b := m.layout.Section(section)
	if b == nil {
		panic(fmt.Sprintf("tensor: no section %q", section))
	}
	for i := range b.Tensors {
		if b.Tensors[i].DType != Float32 {
			panic(fmt.Sprintf("tensor: section %q has %s tensors", section, b.Tensors[i].DType))
		}
	}
	if b.Size == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&m.data[b.Offset])), b.Size/4)
}

func (m Member) find(section, name string) *Tensor {
	b := m.layout.Section(section)
	if b == nil {
		panic(fmt.Sprintf("tensor: no section %q", section))
	}
	t := b.Tensor(name)
	if t == nil {
		panic(fmt.Sprintf("tensor: section %q has no tensor %q", section, name))
	}
	return t
}

func view[E any](m Member, section, name string, want DType) []E {
	t := m.find(section, name)
	if t.DType != want {
		panic(fmt.Sprintf("tensor: %s/%s is %s, not %s", section, name, t.DType, want))
	}
	return unsafe.Slice((*E)(unsafe.Pointer(&m.data[t.Offset])), t.Len)
}
