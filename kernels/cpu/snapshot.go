package cpu

import (
	"fmt"

	"brood/kernels"
	"brood/tensor"
)

// BeginSnapshot keeps the states of all members: all workers copy them to a second
// arena, made when first used. The copy is complete when it returns.
func (e *Engine) BeginSnapshot() (states func() ([]tensor.Member, error), err error) {
	if e.closed {
		return nil, kernels.ErrClosed
	}
	if e.kept == nil {
		if e.kept, err = tensor.NewArena(e.layout, len(e.members)); err != nil {
			return nil, fmt.Errorf("cpu: snapshot: %w", err)
		}
	}
	e.each(func(w *worker) {
		i := w.owned.member.index
		e.kept.Member(i).CopyFrom(e.arena.Member(i))
	})
	return func() ([]tensor.Member, error) {
		members := make([]tensor.Member, len(e.members))
		for i := range members {
			members[i] = e.kept.Member(i)
		}
		return members, nil
	}, nil
}
