package ckpt

import (
	"fmt"
	"slices"

	"brood/tensor"
)

// Tensor returns a copy of the elements of one tensor, little endian and in C order,
// as the type of spec: the same type bit for bit, another one by the rules of
// [Checkpoint.Restore]. section is the section's key in the file, and the name is a
// layout's, such as "exp_avg/actor.0.weight". It is for readers of a part of a
// checkpoint, who need not know the layout of all of it. The error wraps
// [ErrIncompatible] where there is no such tensor, where its shape is another one, or
// where an element has no place in the type.
func (c *Checkpoint) Tensor(section string, spec tensor.Spec) ([]byte, error) {
	s := c.section(section)
	if s == nil {
		return nil, fmt.Errorf("ckpt: %w: it lacks the section %s", ErrIncompatible, section)
	}
	at := slices.IndexFunc(s.tensors, func(t named) bool { return t.flat() == spec.Name })
	if at < 0 {
		return nil, fmt.Errorf("ckpt: %w: section %s lacks the tensor %s of shape %v", ErrIncompatible, section, spec.Name, spec.Shape)
	}
	v := &s.tensors[at].value
	if !slices.Equal(v.shape, spec.Shape) {
		return nil, fmt.Errorf("ckpt: %w: section %s, tensor %s: the checkpoint has shape %v, wanted is %v", ErrIncompatible, section, spec.Name, v.shape, spec.Shape)
	}
	// The size follows from what the file holds and not from what it announces.
	dst := make([]byte, len(v.data)/v.dtype.size*spec.DType.Size())
	if err := v.assign(dst, spec.DType); err != nil {
		return nil, fmt.Errorf("ckpt: %w: section %s, tensor %s: %w", ErrIncompatible, section, spec.Name, err)
	}
	return dst, nil
}
