// Package tensor describes the state of a population and holds it.
//
// A [Layout] lists every section and tensor of one member's state, and each
// section declares what an exploit does to it. Everything that treats a member
// as a whole (copy, reset, checkpoint, restore, digest) walks the layout, so
// that state which is in the layout cannot be forgotten and state which is not
// does not exist.
package tensor

import (
	"fmt"
	"strings"
)

// Alignment is the alignment in bytes of every section, tensor and member: one
// cache line and one AVX-512 vector.
const Alignment = 64

// DType is the element type of a tensor.
type DType uint8

// The element types a tensor may have.
const (
	Float32 DType = iota
	Float64
	Int64
	Uint64
)

// Size returns the size of one element in bytes.
func (d DType) Size() int {
	if d == Float32 {
		return 4
	}
	return 8
}

// String returns NumPy's name of the type.
func (d DType) String() string {
	switch d {
	case Float32:
		return "float32"
	case Float64:
		return "float64"
	case Int64:
		return "int64"
	case Uint64:
		return "uint64"
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Rule says what becomes of a section of a member that exploits another.
type Rule uint8

// The exploit rules.
const (
	// Copy takes the section from the source.
	Copy Rule = iota
	// ByStrategy treats each tensor as the exploit's [Effects] say.
	ByStrategy
	// Keep leaves the member's own values.
	Keep
	// Clear zeroes the section.
	Clear
)

// String returns the name of the rule.
func (r Rule) String() string {
	switch r {
	case Copy:
		return "copy"
	case ByStrategy:
		return "by strategy"
	case Keep:
		return "keep"
	case Clear:
		return "clear"
	}
	return fmt.Sprintf("Rule(%d)", uint8(r))
}

// Spec declares one tensor of a section.
type Spec struct {
	// Name is unique within the section. A slash separates a group from the
	// tensor's own name ("exp_avg/actor.0.weight"); checkpoints nest by it.
	Name string
	// Shape in C order; empty for a scalar.
	Shape []int
	DType DType
}

// Section declares one section of a member's state.
type Section struct {
	// Name is unique within the layout.
	Name string
	// Key is the section's name in state dicts and checkpoints; empty: Name.
	Key string
	// Exploit says what an exploit does to the section.
	Exploit Rule
	Tensors []Spec
}

// Tensor is a declared tensor with its place in a member's state.
type Tensor struct {
	Spec
	// Offset in bytes from the start of the member, a multiple of Alignment.
	Offset int
	// Len is the number of elements.
	Len int
}

// Group is the part of the name before the slash, or the whole name.
func (t *Tensor) Group() string {
	group, _, _ := strings.Cut(t.Name, "/")
	return group
}

// Bytes is the size of the tensor without padding.
func (t *Tensor) Bytes() int { return t.Len * t.DType.Size() }

// Block is a section with its place in a member's state. The tensors lie one
// after the other in declared order, each aligned; the padding is zero.
type Block struct {
	Name    string
	Key     string
	Exploit Rule
	// Offset and Size in bytes, both multiples of Alignment.
	Offset, Size int
	Tensors      []Tensor
	index        map[string]int
}

// Tensor returns the tensor of that name, or nil.
func (b *Block) Tensor(name string) *Tensor {
	if i, ok := b.index[name]; ok {
		return &b.Tensors[i]
	}
	return nil
}

// Layout is the fixed list of sections that make up a member's state. It is
// immutable once made.
type Layout struct {
	blocks []Block
	index  map[string]int
	stride int
}

// NewLayout places the sections one after the other. It refuses empty and
// repeated names and negative dimensions.
func NewLayout(sections ...Section) (*Layout, error) {
	l := &Layout{index: make(map[string]int, len(sections))}
	keys := make(map[string]string, len(sections))
	for _, s := range sections {
		if s.Key == "" {
			s.Key = s.Name
		}
		if s.Name == "" {
			return nil, fmt.Errorf("tensor: section %d has no name", len(l.blocks))
		}
		if _, dup := l.index[s.Name]; dup {
			return nil, fmt.Errorf("tensor: section %q is declared twice", s.Name)
		}
		if other, dup := keys[s.Key]; dup {
			return nil, fmt.Errorf("tensor: sections %q and %q share the key %q", other, s.Name, s.Key)
		}
		keys[s.Key] = s.Name
		b, err := place(s, l.stride)
		if err != nil {
			return nil, err
		}
		l.index[s.Name] = len(l.blocks)
		l.blocks = append(l.blocks, b)
		l.stride += b.Size
	}
	return l, nil
}

func place(s Section, offset int) (Block, error) {
	b := Block{Name: s.Name, Key: s.Key, Exploit: s.Exploit, Offset: offset, index: make(map[string]int, len(s.Tensors))}
	for _, spec := range s.Tensors {
		if spec.Name == "" {
			return b, fmt.Errorf("tensor: section %q: tensor %d has no name", s.Name, len(b.Tensors))
		}
		if _, dup := b.index[spec.Name]; dup {
			return b, fmt.Errorf("tensor: section %q: tensor %q is declared twice", s.Name, spec.Name)
		}
		t := Tensor{Spec: spec, Offset: offset + b.Size, Len: 1}
		t.Shape = append([]int(nil), spec.Shape...)
		for _, d := range t.Shape {
			if d < 1 {
				return b, fmt.Errorf("tensor: section %q: tensor %q has shape %v; every dimension must be at least 1", s.Name, spec.Name, spec.Shape)
			}
			if t.Len > (1<<40)/d {
				return b, fmt.Errorf("tensor: section %q: tensor %q of shape %v is too large", s.Name, spec.Name, spec.Shape)
			}
			t.Len *= d
		}
		b.index[spec.Name] = len(b.Tensors)
		b.Tensors = append(b.Tensors, t)
		b.Size += alignUp(t.Bytes())
	}
	return b, nil
}

func alignUp(n int) int { return (n + Alignment - 1) &^ (Alignment - 1) }

// Sections returns the sections in order. The caller must not change them.
func (l *Layout) Sections() []Block { return l.blocks }

// Section returns the section of that name, or nil.
func (l *Layout) Section(name string) *Block {
	if i, ok := l.index[name]; ok {
		return &l.blocks[i]
	}
	return nil
}

// Stride is the size of a member's state in bytes, a multiple of Alignment.
func (l *Layout) Stride() int { return l.stride }
