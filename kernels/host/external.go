package host

import (
	"brood/env"
	"brood/kernels"
	"brood/rng"
)

// Outside steps the environments of a population that lie outside of the engine's
// memory, in groups that take turns: while those of one are stepped, the engine
// computes the actions of another. Environment n of member m is lane m*N + n.
type Outside struct {
	config   *kernels.Config
	external env.External
	states   []*State
	groups   [][]EnvRange
	session  env.Session // nil until the environments are first needed
	// begun says of each member that its environments have episodes under way that go
	// with its state.
	begun []bool
}

// EnvRange is a run of a member's environments.
type EnvRange struct{ Member, First, Rows int }

// NewOutside returns nil where the environment is one of the engine's own. states are
// those of all members.
func NewOutside(c *kernels.Config, states []*State) *Outside {
	external, ok := c.Env.(env.External)
	if !ok {
		return nil
	}
	o := &Outside{config: c, external: external, states: states, begun: make([]bool, c.Population)}
	n := c.Environments
	switch {
	case c.Population > 1:
		for g := range 2 {
			var ranges []EnvRange
			for m := c.Population * g / 2; m < c.Population*(g+1)/2; m++ {
				ranges = append(ranges, EnvRange{m, 0, n})
			}
			o.groups = append(o.groups, ranges)
		}
	case n > 1:
		o.groups = [][]EnvRange{{{0, 0, n / 2}}, {{0, n / 2, n - n/2}}}
	default:
		o.groups = [][]EnvRange{{{0, 0, n}}}
	}
	return o
}

// Groups is the number of groups.
func (o *Outside) Groups() int { return len(o.groups) }

// Group lists the environments of a group.
func (o *Outside) Group(g int) []EnvRange { return o.groups[g] }

// Lane is the lane of a member's environment n.
func (o *Outside) Lane(member, n int) int { return member*o.config.Environments + n }

// Lanes is the memory of all lanes; valid after Start.
func (o *Outside) Lanes() *env.Lanes { return o.session.Lanes() }

// Forget says that a member's state was replaced: its episodes begin anew.
func (o *Outside) Forget(member int) { o.begun[member] = false }

// open starts the session where there is none. Its last region is for evaluations.
func (o *Outside) open() (err error) {
	if o.session != nil {
		return nil
	}
	var regions []int
	for _, ranges := range o.groups {
		n := 0
		for _, s := range ranges {
			n += s.Rows
		}
		regions = append(regions, n)
	}
	o.session, err = o.external.Open(append(regions, o.config.Population*o.config.Environments), o.config.Warn)
	return err
}

// Start begins the episodes of members whose environments have none under way. They
// are seeded as if they had been reset after the last step: at the start of a run with
// what [Init] drew.
func (o *Outside) Start() error {
	if err := o.open(); err != nil {
		return err
	}
	lanes, n := o.Lanes(), o.config.Environments
	clear(lanes.Command)
	any := false
	for m, s := range o.states {
		if o.begun[m] {
			continue
		}
		any = true
		ResetEnvironments(o.config, s, o.config.RandomMember(m), Time(*s.Updates, o.config.Steps, 0))
		b := TrainBatch(o.config, s)
		for i := range n {
			lanes.Command[o.Lane(m, i)], lanes.Seed[o.Lane(m, i)] = env.LaneReset, env.SeedOf(&b, i)
		}
	}
	if !any {
		return nil
	}
	for g := range o.groups {
		if err := o.session.Begin(g); err != nil {
			return err
		}
	}
	for g := range o.groups {
		if err := o.session.Wait(g); err != nil {
			return err
		}
	}
	for m := range o.begun {
		o.begun[m] = true
	}
	return nil
}

// Begin steps all environments of a group by the actions in their lanes.
func (o *Outside) Begin(g int) error {
	commands := o.Lanes().Command
	for _, s := range o.groups[g] {
		for n := s.First; n < s.First+s.Rows; n++ {
			commands[o.Lane(s.Member, n)] = env.LaneStep
		}
	}
	return o.session.Begin(g)
}

// Wait waits for the step of a group.
func (o *Outside) Wait(g int) error { return o.session.Wait(g) }

// Close ends the environments; nil and one that was never started are fine.
func (o *Outside) Close() error {
	if o == nil || o.session == nil {
		return nil
	}
	return o.session.Close()
}

// BestActions writes the deterministic policy's actions [rows][W], within their bounds,
// for raw observations [rows][D] of one member.
type BestActions func(member int, obs, actions []float32, rows int)

// playing is one lane of an evaluation.
type playing struct {
	slot, episode int  // in the results; an episode past the last: idle
	begin         bool // the episode is to begin
}

// Play plays the episodes of an evaluation in environments of its own, as many side by
// side as the population has, and writes the results. An episode that a failure cut
// off is played again.
func (o *Outside) Play(ev *kernels.Evaluation, returns [][]float64, lengths [][]int, act BestActions) error {
	if err := o.open(); err != nil {
		return err
	}
	if len(ev.Members) == 0 {
		return nil
	}
	// A member has its lanes side by side, so that its actions are computed at once.
	all := o.config.Population * o.config.Environments
	each := min(ev.Episodes, max(1, all/len(ev.Members)))
	for first := 0; first < len(ev.Members); first += all / each {
		count := min(all/each, len(ev.Members)-first)
		if err := o.play(ev, first, count, each, returns, lengths, act); err != nil {
			return err
		}
	}
	return nil
}

// play plays all episodes of count members in each lanes per member.
func (o *Outside) play(ev *kernels.Evaluation, first, count, each int, returns [][]float64, lengths [][]int, act BestActions) error {
	region, base := len(o.groups), o.config.Population*o.config.Environments
	key, limit, d, w := rng.NewKey(ev.Seed), EvalLimit(o.config, ev), o.config.Env.Spec().ObsDim, o.config.Env.Spec().Action.Width()
	next, lanes := make([]int, count), make([]playing, count*each)
	take := func(p *playing) { // the member's next episode
		i := p.slot - first
		p.episode, p.begin = next[i], true
		if next[i]++; p.episode < ev.Episodes {
			returns[p.slot][p.episode], lengths[p.slot][p.episode] = 0, 0
		}
	}
	for i := range lanes {
		lanes[i].slot = first + i/each
		take(&lanes[i])
	}
	for {
		left := 0
		l := o.Lanes()
		clear(l.Command[base:])
		for i := range lanes {
			p := &lanes[i]
			switch {
			case p.episode >= ev.Episodes:
				continue
			case p.begin:
				stream := EvalStream(key, p.episode, ev.Time)
				l.Command[base+i], l.Seed[base+i] = env.LaneReset, stream.Uint32()>>1
			default:
				l.Command[base+i] = env.LaneStep
			}
			left++
		}
		if left == 0 {
			return nil
		}
		for i := range count {
			at := base + i*each
			act(ev.Members[first+i], l.Obs[at*d:(at+each)*d], l.Action[at*w:(at+each)*w], each)
		}
		if err := o.session.Begin(region); err != nil {
			return err
		}
		if err := o.session.Wait(region); err != nil {
			return err
		}
		for i := range lanes {
			lanes[i].count(l.Outcome[base+i], float64(l.Reward[base+i]), ev.Episodes, limit, returns, lengths, take)
		}
	}
}

// count enters what a lane's command gave.
func (p *playing) count(outcome uint8, reward float64, episodes, limit int, returns [][]float64, lengths [][]int, take func(*playing)) {
	if p.episode >= episodes {
		return
	}
	if p.begin {
		p.begin = false
		return
	}
	ret, length := &returns[p.slot][p.episode], &lengths[p.slot][p.episode]
	if outcome&env.LaneFailed != 0 {
		*ret, *length, p.begin = 0, 0, true
		return
	}
	*ret += reward
	*length++
	if outcome != 0 || *length >= limit {
		take(p)
	}
}
