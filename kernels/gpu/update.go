//go:build cuda

package gpu

import (
	"fmt"

	"brood/cuda"
	"brood/kernels"
	"brood/kernels/cu"
)

// products are the launchers of the update's matrix products, in one precision.
type products struct {
	fused                                  func(*cuda.Stream, *cu.Params, int) error
	forward, backwardWeight, backwardInput func(*cuda.Stream, *cu.Params, *cu.Rows, int) error
}

// chooseProducts returns those of the configured precision, or why the device
// has none.
func chooseProducts(k *cu.Kernels, precision kernels.Precision) (products, error) {
	if precision != kernels.TF32 {
		return products{k.UpdateFused, k.LinearForward, k.LinearBackwardWeight, k.LinearBackwardInput}, nil
	}
	if err := k.TF32(); err != nil {
		return products{}, fmt.Errorf("%w; set run.precision to float32", err)
	}
	return products{k.UpdateFusedTF32, k.LinearForwardTF32, k.LinearBackwardWeightTF32, k.LinearBackwardInputTF32}, nil
}

// permute queues the drawing of the order of rows on the main stream.
func (s *shard) permute() error { return s.permuteOn(s.main) }

func (s *shard) permuteOn(stream *cuda.Stream) error {
	if s.fixedOrder {
		return nil
	}
	return s.k.Permute(stream, s.params())
}

// advantages queues GAE.
func (s *shard) advantages() error {
	if err := s.k.Bootstrap(s.main, s.params()); err != nil {
		return err
	}
	return s.k.GAE(s.main, s.params())
}

// update queues all epochs. Which minibatches are applied is decided on the
// device: the kernels of those after a stop return at once.
func (s *shard) update() error {
	p := s.params()
	if err := s.k.BeginUpdate(s.main, p); err != nil {
		return err
	}
	if err := s.k.AdvantageScale(s.main, p); err != nil {
		return err
	}
	steps := int(p.Epochs * p.MinibatchCount)
	if limit := s.config.MinibatchLimit; limit > 0 {
		steps = min(steps, limit)
	}
	for step := range steps {
		if err := s.gradient(step); err != nil {
			return err
		}
		if err := s.k.ReduceGradient(s.main, p); err != nil {
			return err
		}
		if err := s.k.Coefficients(s.main, p, step); err != nil {
			return err
		}
		if err := s.k.Adam(s.main, p); err != nil {
			return err
		}
	}
	return s.k.EndUpdate(s.main, p)
}

// gradient queues the partial gradients and loss sums of one minibatch.
func (s *shard) gradient(step int) error {
	p := s.params()
	if s.plan.FusedUpdate {
		return s.products.fused(s.main, p, step)
	}
	r := s.minibatch(step)
	last := int(p.Net[cu.ActorNet].Layers) - 1
	for layer := range last + 1 {
		if err := s.products.forward(s.main, p, &r, layer); err != nil {
			return err
		}
	}
	if err := s.k.Loss(s.main, p, &r, step); err != nil {
		return err
	}
	for layer := last; layer >= 0; layer-- {
		if err := s.products.backwardWeight(s.main, p, &r, layer); err != nil {
			return err
		}
		if layer > 0 {
			if err := s.products.backwardInput(s.main, p, &r, layer); err != nil {
				return err
			}
		}
	}
	return nil
}

// minibatch are the rows of one minibatch step.
func (s *shard) minibatch(step int) cu.Rows {
	p := s.params()
	epoch, part := int64(step)/int64(p.MinibatchCount), int64(step)%int64(p.MinibatchCount)
	rows := int64(p.Rows)
	return cu.Rows{
		Input: p.Obs, Stride: rows * int64(p.ObsDim),
		Index:       p.Order + cu.Ptr(4*(epoch*rows+part*int64(p.MinibatchRows))),
		IndexStride: int64(p.Epochs) * rows,
		Count:       p.MinibatchRows, First: cu.ActorNet, Last: cu.CriticNet, Members: p.Members,
	}
}

// endIteration queues what ends an iteration: normalisation statistics, episode
// windows, counters, reports.
func (s *shard) endIteration() error {
	if err := s.k.Moments(s.main, s.params()); err != nil {
		return err
	}
	return s.k.EndIteration(s.main, s.params())
}
