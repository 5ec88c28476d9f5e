//go:build cuda

package gpu

import (
	"errors"

	"brood/cuda"
	"brood/tensor"
)

// snapshot is a shard's memory for the states of all members at one moment, made
// when first used.
type snapshot struct {
	device cuda.Buffer  // [P][Stride] bytes
	host   *cuda.Pinned // the same
	// taken: the copy on the device is complete; arrived: the one on the host.
	taken, arrived *cuda.Event
}

// BeginSnapshot keeps the states of all members as they are after the iterations
// begun so far. They are copied on the device at once and travel to the host on a
// stream of their own, while training goes on. The states that the function
// returned gives are valid until the next BeginSnapshot.
func (e *Engine) BeginSnapshot() (states func() ([]tensor.Member, error), err error) {
	if err := e.each("snapshot", (*shard).beginSnapshot); err != nil {
		return nil, err
	}
	return func() ([]tensor.Member, error) {
		var members []tensor.Member
		err := e.each("snapshot", func(s *shard) error {
			if err := s.snapshot.arrived.Synchronize(); err != nil {
				return err
			}
			stride := e.layout.Stride()
			for m := range s.members {
				members = append(members, tensor.MemberOver(e.layout, s.snapshot.host.Bytes()[m*stride:(m+1)*stride:(m+1)*stride]))
			}
			return nil
		})
		return members, err
	}, nil
}

func (s *shard) beginSnapshot() error {
	x := &s.snapshot
	bytes := int64(s.members) * s.params().Stride
	if x.host == nil {
		if err := s.allocateSnapshot(bytes); err != nil {
			return err
		}
	}
	// The one before may still be on its way.
	if err := s.main.Wait(x.arrived); err != nil {
		return err
	}
	if err := s.main.CopyOnDevice(x.device.Ptr, uint64(s.params().State), bytes); err != nil {
		return err
	}
	if err := x.taken.Record(s.main); err != nil {
		return err
	}
	if err := s.side.Wait(x.taken); err != nil {
		return err
	}
	if err := s.side.CopyToHost(x.host.Bytes(), x.device.Ptr); err != nil {
		return err
	}
	return x.arrived.Record(s.side)
}

func (s *shard) allocateSnapshot(bytes int64) (err error) {
	x := &s.snapshot
	if x.taken, err = s.ctx.NewEvent(); err != nil {
		return err
	}
	if x.arrived, err = s.ctx.NewEvent(); err != nil {
		return err
	}
	if x.device, err = s.ctx.Alloc("snapshot", bytes); err != nil {
		return err
	}
	host, err := s.ctx.AllocPinned("snapshot", bytes)
	if err != nil {
		return errors.Join(err, s.ctx.Free(x.device))
	}
	x.host = host
	return nil
}
