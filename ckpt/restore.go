package ckpt

import (
	"fmt"
	"slices"

	"brood/tensor"
)

// Restore writes the checkpoint's state into dst. Every section and tensor of
// dst's layout must be there with its shape, and no other. Two things may be
// missing, and each gives a warning: the optimizer's state, which is then reset,
// and with a [V1] file everything but the policy, which then stays as it is in
// dst: initialise it first. On an error dst is left as it was.
func (c *Checkpoint) Restore(dst tensor.Member) (warnings []string, err error) {
	if !littleEndianHost {
		return nil, fmt.Errorf("ckpt: restore: checkpoints are little endian and this machine is not")
	}
	whole := dst.Clone()
	if c.FormatVersion == V1 {
		warnings, err = c.restorePolicy(whole)
	} else {
		warnings, err = c.restoreAll(whole)
	}
	if err != nil {
		return nil, fmt.Errorf("ckpt: restore: %w", err)
	}
	dst.CopyFrom(whole)
	return warnings, nil
}

func (c *Checkpoint) restorePolicy(m tensor.Member) ([]string, error) {
	found := false
	blocks := m.Layout().Sections()
	for i := range blocks {
		b := &blocks[i]
		if b.Key == policyKey {
			found = true
			if err := c.section(policyKey).restore(m, b); err != nil {
				return nil, err
			}
		}
		if b.Exploit == tensor.ByStrategy {
			m.Reset(b.Name)
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: it holds only a policy, and there is none here", ErrIncompatible)
	}
	return []string{"the checkpoint is " + V1 + ": it holds only the policy; the optimizer starts reset and everything else freshly initialised"}, nil
}

func (c *Checkpoint) restoreAll(m tensor.Member) (warnings []string, err error) {
	blocks := m.Layout().Sections()
	known := make(map[string]bool, len(blocks))
	for i := range blocks {
		b := &blocks[i]
		known[b.Key] = true
		s := c.section(b.Key)
		if b.Exploit == tensor.ByStrategy && (s != nil) != c.HasOptimizerState {
			return nil, fmt.Errorf("%w: %s is %t, but section %s is %s", ErrDamaged, keyOptimizer, c.HasOptimizerState, b.Key, presence(s != nil))
		}
		switch {
		case s != nil:
			if err := s.restore(m, b); err != nil {
				return nil, err
			}
		case b.Exploit == tensor.ByStrategy:
			m.Reset(b.Name)
			warnings = append(warnings, fmt.Sprintf("the checkpoint holds no %s: the optimizer starts reset", b.Key))
		default:
			return nil, fmt.Errorf("%w: it lacks the section %s", ErrIncompatible, b.Key)
		}
	}
	for i := range c.sections {
		if key := c.sections[i].key; !known[key] {
			return nil, fmt.Errorf("%w: it has a section %.80q, which this configuration has not", ErrIncompatible, key)
		}
	}
	if !c.Verified {
		warnings = append(warnings, "the checkpoint carries no checksums: damage to it would go unnoticed")
	}
	return warnings, nil
}

func presence(there bool) string {
	if there {
		return "there"
	}
	return "missing"
}

// restore writes the section's tensors into m.
func (s *section) restore(m tensor.Member, b *tensor.Block) error {
	at := make(map[string]int, len(s.tensors))
	for i := range s.tensors {
		name := s.tensors[i].flat()
		if b.Tensor(name) == nil {
			return fmt.Errorf("%w: section %s has a tensor %.80q, which this configuration has not", ErrIncompatible, s.key, name)
		}
		at[name] = i
	}
	for i := range b.Tensors {
		t := &b.Tensors[i]
		j, ok := at[t.Name]
		if !ok {
			return fmt.Errorf("%w: section %s lacks the tensor %s of shape %v", ErrIncompatible, s.key, t.Name, t.Shape)
		}
		v := &s.tensors[j].value
		if !slices.Equal(v.shape, t.Shape) {
			return fmt.Errorf("%w: section %s, tensor %s: the checkpoint has shape %v, this configuration needs %v", ErrIncompatible, s.key, t.Name, v.shape, t.Shape)
		}
		if err := v.assign(raw(m, t), t.DType); err != nil {
			return fmt.Errorf("%w: section %s, tensor %s: %w", ErrIncompatible, s.key, t.Name, err)
		}
	}
	return nil
}
