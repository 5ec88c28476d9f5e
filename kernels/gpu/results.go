//go:build cuda

package gpu

import (
	"time"
	"unsafe"

	"brood/cuda"
	"brood/kernels"
	"brood/kernels/cu"
	"brood/kernels/host"
)

// resultSlots is the number of iterations that may be begun and not waited for.
const resultSlots = 2

// results are an iteration's figures on their way to the host.
type results struct {
	began, collected, done *cuda.Event
	// stepping is the time the host spent in its environments.
	stepping    time.Duration
	reports     []cu.Report    // [P], pinned
	progress    []cu.Progress  // [P], pinned
	minibatches []cu.Minibatch // [P][S], pinned
}

func (s *shard) allocateResults() (err error) {
	steps := s.config.Epochs * s.config.Minibatches
	for i := range s.results {
		r := &s.results[i]
		for _, event := range []**cuda.Event{&r.began, &r.collected, &r.done} {
			if *event, err = s.ctx.NewEvent(); err != nil {
				return err
			}
		}
		if r.reports, err = pinned[cu.Report](s, "reports", s.members); err != nil {
			return err
		}
		if r.progress, err = pinned[cu.Progress](s, "progress", s.members); err != nil {
			return err
		}
		if r.minibatches, err = pinned[cu.Minibatch](s, "minibatch figures", s.members*steps); err != nil {
			return err
		}
	}
	s.steps = make([][]kernels.MinibatchStats, s.members)
	for m := range s.steps {
		s.steps[m] = make([]kernels.MinibatchStats, 0, steps)
	}
	return nil
}

// pinned allocates n elements of pinned host memory, zeroed.
func pinned[E any](s *shard, name string, n int) ([]E, error) {
	var e E
	memory, err := s.ctx.AllocPinned(name, int64(n)*int64(unsafe.Sizeof(e)))
	if err != nil {
		return nil, err
	}
	clear(memory.Bytes())
	return cuda.ElementsOf[E](memory.Bytes()), nil
}

// queueResults queues the copy of an iteration's figures to the host.
func (s *shard) queueResults(r *results) error {
	p := s.params()
	if err := s.main.CopyToHost(cuda.BytesOf(r.reports), uint64(p.Reports)); err != nil {
		return err
	}
	if err := s.queueMinibatches(r); err != nil {
		return err
	}
	return r.done.Record(s.main)
}

func (s *shard) queueMinibatches(r *results) error {
	p := s.params()
	if err := s.main.CopyToHost(cuda.BytesOf(r.progress), uint64(p.Progress)); err != nil {
		return err
	}
	return s.main.CopyToHost(cuda.BytesOf(r.minibatches), uint64(p.Minibatches))
}

// readResults waits for the update on the main stream and reads its minibatches.
func (s *shard) readResults() error {
	r := &s.results[0]
	if err := s.queueMinibatches(r); err != nil {
		return err
	}
	if err := s.main.Synchronize(); err != nil {
		return err
	}
	s.keepSteps(r)
	return nil
}

// wait waits for the iteration of a slot and turns its figures into stats [P].
func (s *shard) wait(slot int, stats []kernels.Stats) error {
	r := &s.results[slot]
	if err := r.done.Synchronize(); err != nil {
		return err
	}
	collecting, err := r.collected.Elapsed(r.began)
	if err != nil {
		return err
	}
	updating, err := r.done.Elapsed(r.collected)
	if err != nil {
		return err
	}
	s.profile[kernels.PhaseStep] += r.stepping
	s.profile[kernels.PhaseForward] += max(0, collecting-r.stepping)
	s.profile[kernels.PhaseGradient] += updating
	s.keepSteps(r)
	for m := range stats {
		stats[m] = summarize(s.steps[m], &r.reports[m])
	}
	return nil
}

// keepSteps turns the minibatches' figures into those of the contract.
func (s *shard) keepSteps(r *results) {
	each := s.config.Epochs * s.config.Minibatches
	for m := range s.steps {
		s.steps[m] = s.steps[m][:0]
		for _, b := range r.minibatches[m*each : m*each+int(r.progress[m].Computed)] {
			s.steps[m] = append(s.steps[m], kernels.MinibatchStats{
				PolicyLoss: b.PolicyLoss, ValueLoss: b.ValueLoss, Entropy: b.Entropy, KL: b.KL,
				ClipFraction: b.ClipFraction, GradNorm: b.GradNorm, VGSScale: b.VGSScale, Applied: b.Applied != 0,
			})
		}
	}
}

func summarize(steps []kernels.MinibatchStats, r *cu.Report) kernels.Stats {
	finished := host.Finished{Count: int(r.Episodes), Sum: r.Sum, LengthSum: r.LengthSum, Min: r.Min, Max: r.Max}
	stats := host.Summarize(steps, &finished, r.LearningRate, r.KLBeta, r.ExplainedVariance)
	stats.Score, stats.ScoreEpisodes = r.Score, int(r.ScoreEpisodes)
	return stats
}
