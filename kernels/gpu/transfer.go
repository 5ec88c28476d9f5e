//go:build cuda

package gpu

import (
	"errors"
	"fmt"

	"brood/cuda"
	"brood/kernels"
	"brood/kernels/cu"
	"brood/kernels/host"
	"brood/tensor"
)

// Snapshot copies a member's whole state to dst.
func (e *Engine) Snapshot(i int, dst tensor.Member) error {
	return e.transfer(i, dst, (*shard).readState)
}

// Restore overwrites a member's whole state by src.
func (e *Engine) Restore(i int, src tensor.Member) error {
	return e.transfer(i, src, (*shard).writeState)
}

func (e *Engine) transfer(i int, other tensor.Member, f func(*shard, int, tensor.Member) error) error {
	s, m, err := e.at(i)
	if err != nil {
		return err
	}
	if err := host.CheckLayout(e.layout, other); err != nil {
		return fmt.Errorf("gpu: member %d: %w", i, err)
	}
	return s.do("state", func() error { return f(s, m, other) })
}

func (s *shard) readState(m int, dst tensor.Member) error {
	if err := s.main.CopyToHost(s.mirrorBytes(m), s.state(m)); err != nil {
		return err
	}
	if err := s.main.Synchronize(); err != nil {
		return err
	}
	copy(dst.Bytes(), s.mirrorBytes(m))
	return nil
}

func (s *shard) writeState(m int, src tensor.Member) error {
	s.episodesRead = false
	copy(s.mirrorBytes(m), src.Bytes())
	if err := s.main.CopyToDevice(s.state(m), s.mirrorBytes(m)); err != nil {
		return err
	}
	return s.main.Synchronize()
}

// ReadRollout copies the member's rollout to r.
func (e *Engine) ReadRollout(i int, r *kernels.Rollout) error {
	s, m, err := e.at(i)
	if err != nil {
		return err
	}
	return s.do("rollout", func() error { return s.readRollout(m, r) })
}

func (s *shard) readRollout(m int, r *kernels.Rollout) error {
	p := s.params().Slice(m, 1)
	b, d, w, n := int(p.Rows), int(p.ObsDim), int(p.ActionWidth), int(p.Environments)
	*r = kernels.Rollout{
		Obs: make([]float32, b*d), Actions: make([]float32, b*w), LogProbs: make([]float32, b),
		Values: make([]float32, b), Rewards: make([]float32, b),
		Terminated: make([]uint8, b), Truncated: make([]uint8, b),
		FinalObs: make([]float32, b*d), LastObs: make([]float32, n*d),
		Advantages: make([]float32, b), Returns: make([]float32, b),
	}
	flags := make([]uint8, b)
	for _, f := range rolloutFields(&p, r) {
		if err := s.main.CopyToHost(cuda.BytesOf(f.host), uint64(f.device)); err != nil {
			return err
		}
	}
	for _, f := range []deviceFloats{{r.Values, p.Values}, {r.Advantages, p.Advantages}, {r.Returns, p.Returns}} {
		if err := s.main.CopyToHost(cuda.BytesOf(f.host), uint64(f.device)); err != nil {
			return err
		}
	}
	if err := s.main.CopyToHost(flags, uint64(p.Flags)); err != nil {
		return err
	}
	if err := s.main.Synchronize(); err != nil {
		return err
	}
	for row, f := range flags {
		r.Terminated[row], r.Truncated[row] = f&cu.Terminated, f&cu.Truncated/cu.Truncated
	}
	return nil
}

type deviceFloats struct {
	host   []float32
	device cu.Ptr
}

// rolloutFields are the parts of a rollout that are both read and written; p is
// of one member.
func rolloutFields(p *cu.Params, r *kernels.Rollout) []deviceFloats {
	return []deviceFloats{
		{r.Obs, p.Obs}, {r.Actions, p.Actions}, {r.LogProbs, p.LogProbs}, {r.Rewards, p.Rewards},
		{r.FinalObs, p.FinalObs}, {r.LastObs, p.LastObs},
	}
}

// WriteRollout replaces the member's rollout by r and computes its values.
func (e *Engine) WriteRollout(i int, r *kernels.Rollout) error {
	s, m, err := e.at(i)
	if err != nil {
		return err
	}
	if err := host.CheckRollout(&e.config, r); err != nil {
		return fmt.Errorf("gpu: member %d: %w", i, err)
	}
	return s.do("rollout", func() error { return s.writeRollout(m, r) })
}

func (s *shard) writeRollout(m int, r *kernels.Rollout) error {
	p := s.params().Slice(m, 1)
	for _, f := range rolloutFields(&p, r) {
		if err := s.main.CopyToDevice(uint64(f.device), cuda.BytesOf(f.host)); err != nil {
			return err
		}
	}
	flags := make([]uint8, p.Rows)
	for row := range flags {
		flags[row] = min(r.Terminated[row], 1)*cu.Terminated | min(r.Truncated[row], 1)*cu.Truncated
	}
	if err := s.main.CopyToDevice(uint64(p.Flags), flags); err != nil {
		return err
	}
	rows, n, d := int64(p.Rows), int64(p.Environments), int64(p.ObsDim)
	if err := s.values(s.main, &p, p.Obs, rows*d, int(rows), p.Values, rows); err != nil {
		return err
	}
	if err := s.values(s.main, &p, p.LastObs, n*d, int(n), p.LastValues, n); err != nil {
		return err
	}
	return s.main.Synchronize()
}

// SetPermutations fixes the order of the rows of every coming update.
func (e *Engine) SetPermutations(order [][]int32) error {
	if e.closed {
		return kernels.ErrClosed
	}
	if err := host.CheckPermutations(&e.config, order); err != nil {
		return fmt.Errorf("gpu: %w", err)
	}
	return e.each("permutations", func(s *shard) error { return s.setOrder(order) })
}

func (s *shard) setOrder(order [][]int32) error {
	s.fixedOrder = order != nil
	p := s.params()
	for m := range s.members {
		for epoch, rows := range order {
			at := uint64(p.Order) + 4*uint64(p.Rows)*uint64(m*int(p.Epochs)+epoch)
			if err := s.main.CopyToDevice(at, cuda.BytesOf(rows)); err != nil {
				return err
			}
		}
	}
	// The update's graph draws the order, or not.
	return errors.Join(s.main.Synchronize(), s.dropGraphs())
}

// Gradient copies the gradient of the last minibatch to dst.
func (e *Engine) Gradient(i int, dst []float32) error {
	s, m, err := e.at(i)
	if err != nil {
		return err
	}
	if len(dst) != e.index.Size {
		return fmt.Errorf("gpu: room for a gradient of %d floats; the policy section has %d", len(dst), e.index.Size)
	}
	if len(s.steps[m]) == 0 {
		return errors.New("gpu: no minibatch has been computed")
	}
	err = s.do("gradient", func() error {
		p := s.params().Slice(m, 1)
		if err := s.main.CopyToHost(cuda.BytesOf(dst), uint64(p.Gradient)); err != nil {
			return err
		}
		return s.main.Synchronize()
	})
	if err != nil {
		return err
	}
	scale := s.steps[m][len(s.steps[m])-1].VGSScale
	for j := range dst {
		dst[j] *= scale
	}
	return nil
}
