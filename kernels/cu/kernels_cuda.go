//go:build cuda

package cu

import (
	"errors"
	"fmt"

	"brood/cuda"
)

// Kernels are the loaded kernels of one device. Its methods, one per kernel,
// launch on a stream and do not wait.
type Kernels struct {
	module *cuda.Module
	byName map[string]*cuda.Kernel
	// Image names what was loaded: "sm_90.cubin", "kernels.ptx".
	Image string
}

// Load loads the image for the context's device. Call it within Do.
func Load(ctx *cuda.Context) (*Kernels, error) {
	d := ctx.Device()
	name, data, err := image(d.Major, d.Minor)
	if err != nil {
		return nil, err
	}
	module, err := ctx.LoadModule(name, data)
	if err != nil {
		return nil, err
	}
	k := &Kernels{module: module, byName: make(map[string]*cuda.Kernel), Image: name}
	names, err := kernelNames()
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if k.byName[n], err = module.Kernel(n); err != nil {
			return nil, fmt.Errorf("cu: %s: %w", name, err)
		}
	}
	return k, nil
}

// kernel returns a kernel by its name in the .cu source.
func (k *Kernels) kernel(name string) *cuda.Kernel { return k.byName[name] }

// Allocate allocates the plan's buffers, zeroed, sets their addresses in
// p.Params and uploads the constant tables. On failure nothing stays allocated,
// and an error that is cuda.ErrOutOfMemory lists the buffers. Call it within Do.
func (p *Plan) Allocate(ctx *cuda.Context, s *cuda.Stream) error {
	var made []cuda.Buffer
	undo := func(err error) error {
		for i := len(made) - 1; i >= 0; i-- {
			// A lost device frees everything with its context.
			if failed := ctx.Free(made[i]); !cuda.Lost(failed) {
				err = errors.Join(err, failed)
			}
		}
		return err
	}
	for i := range p.Buffers {
		b := &p.Buffers[i]
		buffer, err := ctx.Alloc(b.Name, b.Bytes)
		if err != nil {
			if errors.Is(err, cuda.ErrOutOfMemory) {
				err = &MemoryError{Plan: p, Failed: b, Cause: err}
			}
			return undo(err)
		}
		made = append(made, buffer)
		*b.Address = Ptr(buffer.Ptr)
		if err := s.Memset(buffer.Ptr, 0, b.Bytes); err != nil {
			return undo(err)
		}
	}
	if err := p.uploadTables(s); err != nil {
		return undo(err)
	}
	return nil
}

func (p *Plan) uploadTables(s *cuda.Stream) error {
	if err := s.CopyToDevice(uint64(p.Params.Chunks), cuda.BytesOf(p.Chunks)); err != nil {
		return err
	}
	var segments []Segment
	for _, list := range p.Segments {
		segments = append(segments, list...)
	}
	if err := s.CopyToDevice(uint64(p.Params.Segments), cuda.BytesOf(segments)); err != nil {
		return err
	}
	a := p.Config.Env.Spec().Action
	if p.severalChoices() {
		var choices []int32
		for _, n := range a.Choices() {
			choices = append(choices, int32(n))
		}
		if err := s.CopyToDevice(uint64(p.Params.Choices), cuda.BytesOf(choices)); err != nil {
			return err
		}
	}
	if !a.Discrete {
		if err := s.CopyToDevice(uint64(p.Params.ActionLow), cuda.BytesOf(a.Low)); err != nil {
			return err
		}
		if err := s.CopyToDevice(uint64(p.Params.ActionHigh), cuda.BytesOf(a.High)); err != nil {
			return err
		}
	}
	return s.Synchronize()
}
