//go:build cuda

package gpu

import (
	"sync"
	"time"

	"brood/cuda"
	"brood/env"
	"brood/kernels"
	"brood/kernels/cu"
	"brood/kernels/host"
	"brood/rng"
)

// hostCollect is the state of collecting with environments on the host. The
// members are in two groups, each with a stream of its own: while the host steps
// the environments of one, the device chooses the actions of the other.
type hostCollect struct {
	groups []*hostGroup
	// stepping is the time spent in the environments in the last rollout.
	stepping time.Duration

	// The rollout's figures that the host makes, pinned, sent when it is complete.
	rewards, discounted, finishedReturn, finishedLength []float32   // [P][B]
	flags                                               []uint8     // [P][B]
	invStd                                              [][]float32 // [P][D], of the observations' statistics
}

// hostGroup is a range of members.
type hostGroup struct {
	params       cu.Params // of these members
	stream       *cuda.Stream
	acted, ready *cuda.Event
	obs          []float32 // [members][N][D], raw, pinned
	actions      []float32 // [members][N][W], unclipped, pinned
	final        []float32 // [members][N][D], true last observations, pinned
	members      []*hostMember
}

// hostMember is one member's environments.
type hostMember struct {
	index     int // in the shard
	batch     env.Batch
	weights   []float32 // the environment's hyperparameters; see env.Batch
	truncated bool      // in the present step, any of them
	stream    rng.Stream
}

func newHostCollect(s *shard) (*hostCollect, error) {
	p := s.params()
	h := &hostCollect{}
	rows := s.members * int(p.Rows)
	var err error
	for _, b := range []struct {
		name string
		to   *[]float32
	}{{"rewards", &h.rewards}, {"discounted returns", &h.discounted},
		{"finished returns", &h.finishedReturn}, {"finished lengths", &h.finishedLength}} {
		if *b.to, err = pinned[float32](s, b.name, rows); err != nil {
			return nil, err
		}
	}
	if h.flags, err = pinned[uint8](s, "flags", rows); err != nil {
		return nil, err
	}
	for range s.members {
		h.invStd = append(h.invStd, make([]float32, p.ObsDim))
	}
	groups := min(2, s.members)
	for g := range groups {
		first, end := s.members*g/groups, s.members*(g+1)/groups
		group, err := newHostGroup(s, first, end-first)
		if err != nil {
			return nil, err
		}
		h.groups = append(h.groups, group)
	}
	return h, nil
}

func newHostGroup(s *shard, first, count int) (g *hostGroup, err error) {
	g = &hostGroup{params: s.params().Slice(first, count)}
	if g.stream, err = s.ctx.NewStream(); err != nil {
		return nil, err
	}
	for _, event := range []**cuda.Event{&g.acted, &g.ready} {
		if *event, err = s.ctx.NewEvent(); err != nil {
			return nil, err
		}
	}
	p := &g.params
	n, d, w := int(p.Environments), int(p.ObsDim), int(p.ActionWidth)
	if g.obs, err = pinned[float32](s, "observations", count*n*d); err != nil {
		return nil, err
	}
	if g.actions, err = pinned[float32](s, "actions", count*n*w); err != nil {
		return nil, err
	}
	if g.final, err = pinned[float32](s, "final observations", count*n*d); err != nil {
		return nil, err
	}
	for m := first; m < first+count; m++ {
		x := &hostMember{index: m, batch: host.TrainBatch(&s.config, s.mirrors[m])}
		x.batch.Action, x.batch.Reward = make([]float32, w*n), make([]float32, n)
		x.batch.Terminated, x.batch.Shaping = make([]float32, n), make([]float32, n)
		x.weights = make([]float32, len(s.engine.spec.Hyperparameters))
		g.members = append(g.members, x)
	}
	return g, nil
}

// collectOnHost fills the rollouts with the host's environments, and leaves the
// members' environment sections on the device as they are afterwards.
func (s *shard) collectOnHost() error {
	h, p := s.host, s.params()
	h.stepping = 0
	if err := s.download(kernels.SectionEnvironment, kernels.SectionObservationNorm, kernels.SectionRewardNorm,
		kernels.SectionHyperparameters, kernels.SectionCounters, kernels.SectionRNG); err != nil {
		return err
	}
	for m := range s.members {
		host.InvStds(h.invStd[m], s.mirrors[m].ObsVar)
	}
	for _, g := range h.groups {
		for _, x := range g.members {
			x.batch.Hyperparameters = s.mirrors[x.index].ShapingWeights(x.weights)
		}
		g.observe(s)
	}
	for t := range int(p.Steps) {
		for _, g := range h.groups {
			if err := s.queueActions(g, t); err != nil {
				return err
			}
		}
		for _, g := range h.groups {
			if err := g.acted.Synchronize(); err != nil {
				return err
			}
			if err := s.stepGroup(g, t); err != nil {
				return err
			}
		}
	}
	for _, g := range h.groups {
		if err := s.endGroup(g); err != nil {
			return err
		}
	}
	return s.sendRollout()
}

// observe writes the group's raw observations.
func (g *hostGroup) observe(s *shard) {
	d := int(g.params.ObsDim)
	each := int(g.params.Environments) * d
	for i, x := range g.members {
		s.config.Env.Observe(&x.batch, g.obs[i*each:(i+1)*each], d)
	}
}

// queueActions sends the group's observations and queues what chooses its
// actions, up to their copy to the host.
func (s *shard) queueActions(g *hostGroup, t int) error {
	if err := g.stream.CopyToDevice(uint64(g.params.StageObs), cuda.BytesOf(g.obs)); err != nil {
		return err
	}
	if err := s.act(g.stream, &g.params, t); err != nil {
		return err
	}
	if err := g.stream.CopyToHost(cuda.BytesOf(g.actions), uint64(g.params.StageAction)); err != nil {
		return err
	}
	return g.acted.Record(g.stream)
}

// stepGroup steps the group's environments, several members at once, and sends
// the last observations of truncated episodes.
func (s *shard) stepGroup(g *hostGroup, t int) error {
	started := time.Now()
	var running sync.WaitGroup
	for i, x := range g.members {
		running.Add(1)
		go func() {
			defer running.Done()
			s.stepMember(g, i, x, t)
		}()
	}
	running.Wait()
	s.host.stepping += time.Since(started)
	n, d := int64(g.params.Environments), int64(g.params.ObsDim)
	for i, x := range g.members {
		if !x.truncated {
			continue
		}
		at := uint64(g.params.FinalObs) + 4*uint64(d)*uint64(int64(i)*int64(g.params.Rows)+int64(t)*n)
		if err := g.stream.CopyToDevice(at, cuda.BytesOf(g.final[int64(i)*n*d:int64(i+1)*n*d])); err != nil {
			return err
		}
	}
	return nil
}

// stepMember is one step of a member's environments: rewards, ends of episodes,
// new episodes, next observations.
func (s *shard) stepMember(g *hostGroup, i int, x *hostMember, t int) {
	h, p, st := s.host, &g.params, s.mirrors[x.index]
	n, d, w := int(p.Environments), int(p.ObsDim), int(p.ActionWidth)
	b := &x.batch
	setActions(b, s.engine.spec.Action, g.actions[i*n*w:(i+1)*n*w])
	s.config.Env.Step(b)
	final := g.final[i*n*d : (i+1)*n*d]
	s.config.Env.Observe(b, final, d)
	key, now := rng.NewKey(*st.Seed), host.Time(*st.Updates, int(p.Steps), t+1)
	rewardScale := host.InvStd(*st.RewardVar)
	x.truncated = false
	for e := range n {
		at := x.index*int(p.Rows) + t*n + e
		st.EpisodeReturn[e] += b.Reward[e]
		st.EpisodeLength[e]++
		terminated := b.Terminated[e] != 0
		truncated := host.Truncated(terminated, st.EpisodeLength[e], int(p.MaxEpisodeSteps))
		h.rewards[at] = b.Reward[e]
		if b.Hyperparameters != nil {
			h.rewards[at] += b.Shaping[e]
		}
		if p.NormalizeRewards != 0 {
			h.rewards[at], st.DiscountedReturn[e] = host.NormalizeReward(h.rewards[at], st.DiscountedReturn[e], st.Hyper(kernels.Gamma), rewardScale)
			h.discounted[at] = st.DiscountedReturn[e]
		}
		h.flags[at] = 0
		if terminated {
			h.flags[at] = cu.Terminated
		}
		if truncated {
			h.flags[at], x.truncated = cu.Truncated, true
			if p.NormalizeObservations != 0 {
				row := final[e*d : (e+1)*d]
				host.NormalizeObs(row, row, st.ObsMean, h.invStd[x.index])
			}
		}
		if terminated || truncated {
			h.finishedReturn[at], h.finishedLength[at] = st.EpisodeReturn[e], st.EpisodeLength[e]
			st.EpisodeReturn[e], st.EpisodeLength[e], st.DiscountedReturn[e] = 0, 0, 0
			x.stream = host.ResetStream(key, s.config.RandomMember(s.first+x.index), e, now)
			s.config.Env.Reset(b, e, &x.stream)
		}
	}
	s.config.Env.Observe(b, g.obs[i*n*d:(i+1)*n*d], d)
}

// endGroup queues the observations after the last step and their values, and
// makes the main stream wait for the group.
func (s *shard) endGroup(g *hostGroup) error {
	if err := g.stream.CopyToDevice(uint64(g.params.StageObs), cuda.BytesOf(g.obs)); err != nil {
		return err
	}
	if err := s.lastValues(g.stream, &g.params); err != nil {
		return err
	}
	if err := g.ready.Record(g.stream); err != nil {
		return err
	}
	return s.main.Wait(g.ready)
}

// sendRollout sends what the host made of the rollout and the environments'
// states. It waits, so that the host's memory may be written again.
func (s *shard) sendRollout() error {
	h, p := s.host, s.params()
	send := []deviceFloats{{h.rewards, p.Rewards}, {h.finishedReturn, p.FinishedReturn}, {h.finishedLength, p.FinishedLength}}
	if p.NormalizeRewards != 0 {
		send = append(send, deviceFloats{h.discounted, p.Discounted})
	}
	for _, f := range send {
		if err := s.main.CopyToDevice(uint64(f.device), cuda.BytesOf(f.host)); err != nil {
			return err
		}
	}
	if err := s.main.CopyToDevice(uint64(p.Flags), h.flags); err != nil {
		return err
	}
	environment := s.engine.layout.Section(kernels.SectionEnvironment)
	for m := range s.members {
		from := s.mirrorBytes(m)[environment.Offset : environment.Offset+environment.Size]
		if err := s.main.CopyToDevice(s.state(m)+uint64(environment.Offset), from); err != nil {
			return err
		}
	}
	return s.main.Synchronize()
}
