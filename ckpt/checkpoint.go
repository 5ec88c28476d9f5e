// Package ckpt writes and reads checkpoints: one file per member in the format
// v2_full_parameters (msgpack, arrays by msgpack-numpy's convention), and sets of
// them, one per checkpointed update of a run.
//
// What a member file holds is derived from the [tensor.Layout], so that state
// which is in the layout cannot be missing from a checkpoint. Files and sets are
// written whole or not at all, and every byte is covered by a checksum. The
// format is described in docs/checkpoint-format.md.
package ckpt

import (
	"cmp"
	"fmt"
	"slices"

	"brood/env"
)

// The versions of the member format.
const (
	// V2 is the version written: the whole state of a member.
	V2 = "v2_full_parameters"
	// V1 holds the policy alone; it is read, never written.
	V1 = "v1_policy_only"
)

// policyKey is the one section a v1 file holds.
const policyKey = "policy"

// Meta is what a checkpoint says about the member beside its state.
type Meta struct {
	// Step is the number of updates done.
	Step int64
	// Performance is the member's last score; NaN where it was never scored.
	Performance float64
	Env         EnvInfo
	// Config is the run's complete configuration as YAML text.
	Config string
}

// EnvInfo describes the environment a member was trained on.
type EnvInfo struct {
	ID     string     `json:"id"`
	ObsDim int        `json:"obs_dim"`
	Action ActionInfo `json:"action"`
}

// The types of actions.
const (
	Discrete      = "discrete"
	MultiDiscrete = "multi_discrete"
	Continuous    = "continuous"
)

// ActionInfo describes an action space.
type ActionInfo struct {
	// Type is [Discrete], [MultiDiscrete] or [Continuous].
	Type string `json:"type"`
	// N is the number of the actor's outputs: the choices, of all components together,
	// or the dimension of a continuous action.
	N int `json:"n"`
	// NVec has the number of choices of each component; empty but of MultiDiscrete.
	NVec []int `json:"nvec,omitempty"`
	// Low and High [N] bound a continuous action; empty where discrete.
	Low  []float32 `json:"low,omitempty"`
	High []float32 `json:"high,omitempty"`
}

// EnvOf describes the environment of a spec.
func EnvOf(s env.Spec) EnvInfo {
	a := ActionInfo{Type: Discrete, N: s.Action.N}
	switch {
	case !s.Action.Discrete:
		a.Type, a.Low, a.High = Continuous, slices.Clone(s.Action.Low), slices.Clone(s.Action.High)
	case len(s.Action.NVec) > 0:
		a.Type, a.NVec = MultiDiscrete, slices.Clone(s.Action.NVec)
	}
	return EnvInfo{ID: s.ID, ObsDim: s.ObsDim, Action: a}
}

// Spec is what an EnvInfo says of the environment, unchecked: see [env.ValidateSpec]. Its
// state is no part of it: StateSize is 1. The error is of a type of actions that is none.
func (e *EnvInfo) Spec() (env.Spec, error) {
	a := e.Action
	switch {
	case a.Type != Discrete && a.Type != MultiDiscrete && a.Type != Continuous:
		return env.Spec{}, fmt.Errorf("its type of actions is %.40q; must be %s, %s or %s", a.Type, Discrete, MultiDiscrete, Continuous)
	case a.Type == MultiDiscrete && len(a.NVec) == 0:
		return env.Spec{}, fmt.Errorf("its actions are %s, and nvec is empty; must have the number of choices of each component", MultiDiscrete)
	case a.Type != MultiDiscrete && len(a.NVec) > 0:
		return env.Spec{}, fmt.Errorf("its actions are %s, and nvec has %d numbers; must be absent", a.Type, len(a.NVec))
	}
	return env.Spec{ID: e.ID, ObsDim: e.ObsDim, StateSize: 1,
		Action: env.ActionSpace{Discrete: a.Type != Continuous, N: a.N, NVec: a.NVec, Low: a.Low, High: a.High}}, nil
}

// Checkpoint is a member file that has been read and verified.
type Checkpoint struct {
	// FormatVersion is [V2] or [V1].
	FormatVersion string
	Meta
	HasOptimizerState bool
	// Verified says that the file carried checksums and that they hold. A file
	// written by another program may have none.
	Verified bool
	sections []section // in the file's order
}

// section is one section as the file holds it, tensors by their flat names.
type section struct {
	key     string
	tensors []named
}

type named struct {
	tensorName
	value
}

// tensorName is a tensor's name in two parts, as the file has it.
type tensorName struct {
	group   string // of grouped ones
	grouped bool
	name    string
}

// flat is the name in the layout.
func (n tensorName) flat() string {
	if n.grouped {
		return n.group + "/" + n.name
	}
	return n.name
}

// at is a byte of the flat form, which is not made for it.
func (n *tensorName) at(i int) byte {
	if !n.grouped {
		return n.name[i]
	}
	switch g := len(n.group); {
	case i < g:
		return n.group[i]
	case i == g:
		return '/'
	default:
		return n.name[i-g-1]
	}
}

func (n *tensorName) length() int {
	if n.grouped {
		return len(n.group) + 1 + len(n.name)
	}
	return len(n.name)
}

// compare orders names by their flat form.
func (n tensorName) compare(other tensorName) int {
	for i := range min(n.length(), other.length()) {
		if c := cmp.Compare(n.at(i), other.at(i)); c != 0 {
			return c
		}
	}
	return cmp.Compare(n.length(), other.length())
}

// compareKey orders a name and a key that is a flat one.
func (n tensorName) compareKey(key []byte) int {
	for i := range min(n.length(), len(key)) {
		if c := cmp.Compare(n.at(i), key[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(n.length(), len(key))
}

// SectionInfo describes a section of a checkpoint.
type SectionInfo struct {
	// Name is the section's key in the file.
	Name    string
	Tensors []TensorInfo
}

// TensorInfo describes a tensor of a checkpoint.
type TensorInfo struct {
	Name string
	// Shape in C order; empty for a scalar.
	Shape []int
	// DType is NumPy's name of the element type as stored.
	DType string
}

// Sections describes what the checkpoint holds, in the file's order.
func (c *Checkpoint) Sections() []SectionInfo {
	infos := make([]SectionInfo, len(c.sections))
	for i := range c.sections {
		s := &c.sections[i]
		infos[i] = SectionInfo{Name: s.key, Tensors: make([]TensorInfo, len(s.tensors))}
		for j := range s.tensors {
			t := &s.tensors[j]
			infos[i].Tensors[j] = TensorInfo{Name: t.flat(), Shape: append([]int{}, t.shape...), DType: t.dtype.name}
		}
	}
	return infos
}

// CheckEnv reports whether the checkpoint was made on the environment want. A v1
// file that does not say passes: its tensors' shapes are checked all the same.
func (c *Checkpoint) CheckEnv(want EnvInfo) error {
	have := c.Env
	if have.ID == "" && c.FormatVersion == V1 {
		return nil
	}
	if have.ID != want.ID {
		return fmt.Errorf("%w: it was made on environment %q, not on %q", ErrIncompatible, have.ID, want.ID)
	}
	for _, f := range []struct {
		what       string
		have, want any
	}{
		{"obs_dim", have.ObsDim, want.ObsDim},
		{"action type", have.Action.Type, want.Action.Type},
		{"action n", have.Action.N, want.Action.N},
		{"action nvec", have.Action.NVec, want.Action.NVec},
		{"action low", have.Action.Low, want.Action.Low},
		{"action high", have.Action.High, want.Action.High},
	} {
		// Printed floats are equal only where their values are.
		if h, w := fmt.Sprint(f.have), fmt.Sprint(f.want); h != w {
			return fmt.Errorf("%w: its environment %q had %s %s; here it is %s", ErrIncompatible, have.ID, f.what, h, w)
		}
	}
	return nil
}

func (c *Checkpoint) section(key string) *section {
	for i := range c.sections {
		if c.sections[i].key == key {
			return &c.sections[i]
		}
	}
	return nil
}
