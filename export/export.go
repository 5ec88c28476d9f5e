// Package export writes trained agents as files that other programs run or read: an
// ONNX model that takes raw observations and gives actions, and the agent's tensors,
// by PyTorch's names, as safetensors or as a NumPy archive.
package export

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"brood/ckpt"
	"brood/ppo"
)

// Format is a kind of file.
type Format string

// The formats.
const (
	ONNX        Format = "onnx"
	Safetensors Format = "safetensors"
	NPZ         Format = "npz"
)

// Formats lists all formats.
func Formats() []Format { return []Format{ONNX, Safetensors, NPZ} }

var (
	// ErrFormat is an unknown format; the error lists those there are.
	ErrFormat = errors.New("unknown format")
	// ErrExists: there is something where the file would be written.
	ErrExists = ckpt.ErrFileExists
	// ErrTooLarge: the agent does not fit the format.
	ErrTooLarge = errors.New("too large")
)

// Report says what was written.
type Report struct {
	// File is where it was written; Bytes is its size.
	File   string `json:"file"`
	Format Format `json:"format"`
	Bytes  int    `json:"bytes"`
	// Env is the environment of the agent, Step the updates it was trained for.
	Env  string `json:"env"`
	Step int64  `json:"step"`
	// Parameters is the number of elements of the policy's tensors.
	Parameters int `json:"parameters"`
	// NormalizesObservations says whether the agent sees normalised observations.
	NormalizesObservations bool `json:"normalizes_observations"`
	// Inputs and Outputs are those of the model, in its order; Tensors are the names
	// in a file of tensors. Each with its shape; -1 is the size of the batch.
	Inputs  []Entry `json:"inputs,omitempty"`
	Outputs []Entry `json:"outputs,omitempty"`
	Tensors []Entry `json:"tensors,omitempty"`
}

// Entry is a named array of a file.
type Entry struct {
	Name string `json:"name"`
	// Type is NumPy's name of the element type.
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
}

// File writes the agent of a checkpoint to out, which must not exist: nothing is ever
// overwritten. It is written whole or not at all. See [ppo.ReadAgent] for what is
// refused.
func File(c *ckpt.Checkpoint, format Format, out string) (*Report, error) {
	if !slices.Contains(Formats(), format) {
		return nil, fmt.Errorf("export: %w", unknown(format))
	}
	if err := ckpt.CheckNew(out); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	a, err := ppo.ReadAgent(c)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	data, report, err := Bytes(a, format)
	if err != nil {
		return nil, err
	}
	if err := ckpt.WriteNew(out, data); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	report.File = out
	return report, nil
}

// Bytes gives the content of the file. That of the same agent by the same version of
// this program is always the same.
func Bytes(a *ppo.Agent, format Format) ([]byte, *Report, error) {
	r := &Report{Format: format, Env: a.Env.ID, Step: a.Step, NormalizesObservations: a.Normalization != nil}
	for _, t := range a.Tensors {
		r.Parameters += len(t.Data)
	}
	var data []byte
	var err error
	switch format {
	case ONNX:
		data, err = encodeONNX(a, r, maxONNX)
	case Safetensors:
		data, err = encodeSafetensors(a, r)
	case NPZ:
		data, err = encodeNPZ(a, r)
	default:
		err = unknown(format)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("export: %w", err)
	}
	r.Bytes = len(data)
	return data, r, nil
}

func unknown(format Format) error {
	var names []string
	for _, f := range Formats() {
		names = append(names, string(f))
	}
	return fmt.Errorf("%w %q; valid are %s", ErrFormat, string(format), strings.Join(names, ", "))
}

// version is that of the module brood in the running program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if module.Path == "brood" && module.Version != "" {
			return module.Version
		}
	}
	return "unknown"
}
