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

// shard is one GPU's part of the population: members first to first+members-1.
// All its methods but close run on its context's thread (see shard.do).
type shard struct {
	engine         *Engine
	config         kernels.Config // of the shard's members alone
	first, members int

	ctx  *cuda.Context
	k    *cu.Kernels
	plan *cu.Plan
	// products are the kernels of the configured precision.
	products products
	// main is the order of everything; side runs what does not depend on it for a
	// while: permutations, and checkpoints on their way to the host.
	main, side *cuda.Stream
	forked     *cuda.Event
	joined     *cuda.Event

	// graphs of an iteration; nil until the first, and after what they were made
	// for has changed.
	collectGraph, updateGraph *cuda.Graph
	// fixedOrder is set while the order of rows is given and not drawn.
	fixedOrder bool

	results [resultSlots]results
	steps   [][]kernels.MinibatchStats // [P], of the last update that was waited for
	profile kernels.Profile

	// mirror is host memory of all members' states, pinned; mirrors look up the
	// tensors in it. Parts of it are refreshed where they are needed.
	mirror       *cuda.Pinned
	mirrors      []*host.State
	episodesRead bool // the mirrors' episodes are those of the device

	host     *hostCollect // nil where the environments are on the device
	snapshot snapshot
}

// newShard makes a shard with fresh members. It leaves nothing behind on failure.
func newShard(e *Engine, tiled bool, device, first, members int) (*shard, error) {
	s := &shard{engine: e, config: e.config, first: first, members: members}
	s.config.Population = members
	var err error
	if s.plan, err = cu.NewPlan(&s.config, first, tiled); err != nil {
		return nil, err
	}
	if s.ctx, err = cuda.Open(device); err != nil {
		return nil, err
	}
	if err := s.ctx.Do(s.allocate); err != nil {
		return nil, errors.Join(err, s.ctx.Close())
	}
	return s, nil
}

// allocate makes everything on the device and fills the members.
func (s *shard) allocate() (err error) {
	if s.main, err = s.ctx.NewStream(); err != nil {
		return err
	}
	if s.side, err = s.ctx.NewStream(); err != nil {
		return err
	}
	for _, event := range []**cuda.Event{&s.forked, &s.joined} {
		if *event, err = s.ctx.NewEvent(); err != nil {
			return err
		}
	}
	if s.k, err = cu.Load(s.ctx); err != nil {
		return err
	}
	if s.products, err = chooseProducts(s.k, s.config.Precision); err != nil {
		return err
	}
	if err := s.plan.Allocate(s.ctx, s.main); err != nil {
		return err
	}
	if err := s.allocateResults(); err != nil {
		return err
	}
	if s.mirror, err = s.ctx.AllocPinned("states on the host", int64(s.members)*s.params().Stride); err != nil {
		return err
	}
	for m := range s.members {
		member := tensor.MemberOver(s.engine.layout, s.mirrorBytes(m))
		clear(member.Bytes())
		host.Init(&s.config, member, s.config.RandomMember(s.first+m))
		s.mirrors = append(s.mirrors, host.NewState(member))
	}
	if s.plan.Env == cu.HostEnv {
		if s.host, err = newHostCollect(s); err != nil {
			return err
		}
	}
	if err := s.main.CopyToDevice(uint64(s.params().State), s.mirror.Bytes()); err != nil {
		return err
	}
	return s.main.Synchronize()
}

// params are what the kernels are given.
func (s *shard) params() *cu.Params { return &s.plan.Params }

// state is the device address of a member's state.
func (s *shard) state(m int) uint64 {
	return uint64(s.params().State) + uint64(m)*uint64(s.params().Stride)
}

// mirrorBytes is the host's memory for a member's state.
func (s *shard) mirrorBytes(m int) []byte {
	stride := int(s.params().Stride)
	return s.mirror.Bytes()[m*stride : (m+1)*stride : (m+1)*stride]
}

// do runs f on the context's thread and says where it failed.
func (s *shard) do(what string, f func() error) error {
	if err := s.ctx.Do(f); err != nil {
		return s.failed(what, err)
	}
	return nil
}

func (s *shard) failed(what string, err error) error {
	return fmt.Errorf("gpu: %s of members %d to %d: %w", what, s.first, s.first+s.members-1, err)
}

// begin queues an iteration whose results go to the slot.
func (s *shard) begin(slot int) error {
	s.episodesRead = false
	if s.updateGraph == nil {
		if err := s.capture(); err != nil {
			return err
		}
	}
	r := &s.results[slot]
	if err := r.began.Record(s.main); err != nil {
		return err
	}
	if s.host != nil {
		if err := s.collectOnHost(); err != nil {
			return err
		}
		r.stepping = s.host.stepping
	} else if err := s.collectGraph.Launch(s.main); err != nil {
		return err
	}
	if err := r.collected.Record(s.main); err != nil {
		return err
	}
	if err := s.updateGraph.Launch(s.main); err != nil {
		return err
	}
	return s.queueResults(r)
}

// capture makes the graphs of an iteration. Everything that changes from one to
// the next is read from device memory by the kernels.
func (s *shard) capture() (err error) {
	if s.host == nil {
		if s.collectGraph, err = s.record(s.collect); err != nil {
			return err
		}
	}
	s.updateGraph, err = s.record(func() error {
		// The order of rows does not depend on the advantages.
		if err := s.fork(s.permuteOn); err != nil {
			return err
		}
		if err := s.advantages(); err != nil {
			return err
		}
		if err := s.main.Wait(s.joined); err != nil {
			return err
		}
		if err := s.update(); err != nil {
			return err
		}
		return s.endIteration()
	})
	return err
}

// record captures what f launches on the main stream, and on streams forked
// from it.
func (s *shard) record(f func() error) (*cuda.Graph, error) {
	if err := s.main.BeginCapture(); err != nil {
		return nil, err
	}
	failed := f()
	g, err := s.main.EndCapture()
	if failed != nil {
		if g != nil {
			failed = errors.Join(failed, g.Close())
		}
		return nil, failed
	}
	return g, err
}

// fork runs f on the side stream from here on; it ends with s.joined.
func (s *shard) fork(f func(*cuda.Stream) error) error {
	if err := s.forked.Record(s.main); err != nil {
		return err
	}
	if err := s.side.Wait(s.forked); err != nil {
		return err
	}
	if err := f(s.side); err != nil {
		return err
	}
	return s.joined.Record(s.side)
}

// dropGraphs makes the next iteration capture anew.
func (s *shard) dropGraphs() error {
	var errs []error
	for _, g := range []**cuda.Graph{&s.collectGraph, &s.updateGraph} {
		if *g != nil {
			errs = append(errs, (*g).Close())
			*g = nil
		}
	}
	return errors.Join(errs...)
}

func (s *shard) setHyperparameters(m int, h kernels.Hyperparameters) error {
	block := s.engine.layout.Section(kernels.SectionHyperparameters)
	s.mirrors[m].SetHyperparameters(h)
	return s.upload(m, block)
}

// upload copies a section of a member's mirror to the device.
func (s *shard) upload(m int, b *tensor.Block) error {
	from := s.mirrorBytes(m)[b.Offset : b.Offset+b.Size]
	if err := s.main.CopyToDevice(s.state(m)+uint64(b.Offset), from); err != nil {
		return err
	}
	return s.main.Synchronize()
}

// download copies sections of all members to the mirrors.
func (s *shard) download(sections ...string) error {
	for _, name := range sections {
		b := s.engine.layout.Section(name)
		for m := range s.members {
			if err := s.main.CopyToHost(s.mirrorBytes(m)[b.Offset:b.Offset+b.Size], s.state(m)+uint64(b.Offset)); err != nil {
				return err
			}
		}
	}
	return s.main.Synchronize()
}

func (s *shard) readEpisodes() error {
	if s.episodesRead {
		return nil
	}
	if err := s.download(kernels.SectionEpisodes); err != nil {
		return err
	}
	s.episodesRead = true
	return nil
}

func (s *shard) close() error { return s.ctx.Close() }
