package tensor

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sort"

	gt "gorgonia.org/tensor"
)

// StateDict maps a section's key ("policy", "optimizer_state") to its tensors by
// name. The Dense values lie over a member's memory without a copy.
type StateDict map[string]map[string]*gt.Dense

// Section returns the tensors of one section as Dense values over the member's
// memory: no copy is made, and writing to one writes the member's state.
func (m Member) Section(name string) map[string]*gt.Dense {
	b := m.layout.Section(name)
	if b == nil {
		panic(fmt.Sprintf("tensor: no section %q", name))
	}
	dict := make(map[string]*gt.Dense, len(b.Tensors))
	for i := range b.Tensors {
		dict[b.Tensors[i].Name] = m.dense(b, &b.Tensors[i])
	}
	return dict
}

// StateDict returns the named sections, or all of them where none is named,
// keyed by the sections' keys. See [Member.Section].
func (m Member) StateDict(sections ...string) StateDict {
	if len(sections) == 0 {
		for i := range m.layout.blocks {
			sections = append(sections, m.layout.blocks[i].Name)
		}
	}
	dict := make(StateDict, len(sections))
	for _, name := range sections {
		dict[m.layout.Section(name).Key] = m.Section(name)
	}
	return dict
}

func (m Member) dense(b *Block, t *Tensor) *gt.Dense {
	shape := t.Shape
	if len(shape) == 0 {
		shape = []int{1}
	}
	var backing any
	switch t.DType {
	case Float32:
		backing = m.Float32(b.Name, t.Name)
	case Float64:
		backing = m.Float64(b.Name, t.Name)
	case Int64:
		backing = m.Int64(b.Name, t.Name)
	case Uint64:
		backing = m.Uint64(b.Name, t.Name)
	}
	return gt.New(gt.WithShape(shape...), gt.WithBacking(backing))
}

// Assign copies the tensors of dict into the named section. Every tensor of the
// section must be there with its shape and type, and no other; nothing is
// written otherwise.
func (m Member) Assign(section string, dict map[string]*gt.Dense) error {
	b := m.layout.Section(section)
	if b == nil {
		return fmt.Errorf("tensor: no section %q", section)
	}
	for i := range b.Tensors {
		if err := checkDense(b, &b.Tensors[i], dict[b.Tensors[i].Name]); err != nil {
			return err
		}
	}
	if len(dict) != len(b.Tensors) {
		return fmt.Errorf("tensor: section %q has no tensor %q", section, firstUnknown(b, dict))
	}
	for i := range b.Tensors {
		t := &b.Tensors[i]
		switch src := dict[t.Name].Data().(type) {
		case []float32:
			copy(m.Float32(section, t.Name), src)
		case []float64:
			copy(m.Float64(section, t.Name), src)
		case []int64:
			copy(m.Int64(section, t.Name), src)
		case []uint64:
			copy(m.Uint64(section, t.Name), src)
		case float32:
			m.Float32(section, t.Name)[0] = src
		case float64:
			m.Float64(section, t.Name)[0] = src
		case int64:
			m.Int64(section, t.Name)[0] = src
		case uint64:
			m.Uint64(section, t.Name)[0] = src
		}
	}
	return nil
}

func checkDense(b *Block, t *Tensor, d *gt.Dense) error {
	if d == nil {
		return fmt.Errorf("tensor: section %q lacks the tensor %q", b.Name, t.Name)
	}
	want := map[DType]gt.Dtype{Float32: gt.Float32, Float64: gt.Float64, Int64: gt.Int64, Uint64: gt.Uint64}[t.DType]
	if d.Dtype() != want {
		return fmt.Errorf("tensor: %s/%s is %v, want %v", b.Name, t.Name, d.Dtype(), want)
	}
	shape := []int(d.Shape())
	scalar := len(t.Shape) == 0 && d.Size() == 1 && len(shape) <= 1 || len(t.Shape) == 0 && d.IsScalar()
	if !scalar && !equalInts(shape, t.Shape) {
		return fmt.Errorf("tensor: %s/%s has shape %v, want %v", b.Name, t.Name, shape, t.Shape)
	}
	if !d.DataOrder().IsRowMajor() || d.RequiresIterator() {
		return fmt.Errorf("tensor: %s/%s must be contiguous in C order", b.Name, t.Name)
	}
	return nil
}

func equalInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func firstUnknown(b *Block, dict map[string]*gt.Dense) string {
	var unknown []string
	for name := range dict {
		if b.Tensor(name) == nil {
			unknown = append(unknown, name)
		}
	}
	sort.Strings(unknown)
	return unknown[0]
}

// WriteDigest feeds every section of the member, names, types, shapes and
// values without padding, to h.
func (m Member) WriteDigest(h hash.Hash) {
	var n [8]byte
	put := func(v int) {
		binary.LittleEndian.PutUint64(n[:], uint64(v))
		h.Write(n[:])
	}
	for i := range m.layout.blocks {
		b := &m.layout.blocks[i]
		for j := range b.Tensors {
			t := &b.Tensors[j]
			h.Write([]byte(b.Name + "\x00" + t.Name + "\x00" + t.DType.String() + "\x00"))
			put(len(t.Shape))
			for _, d := range t.Shape {
				put(d)
			}
			h.Write(m.data[t.Offset : t.Offset+t.Bytes()])
		}
	}
}

// Digest is the SHA-256 over all sections of the members, in order.
func Digest(members ...Member) [sha256.Size]byte {
	h := sha256.New()
	for _, m := range members {
		m.WriteDigest(h)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
