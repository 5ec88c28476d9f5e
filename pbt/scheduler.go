package pbt

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"brood/rng"
)

// Scheduler keeps the records of a population and takes its decisions:
//
//	s, err := pbt.NewScheduler(config, seed)
//	for _, m := range s.InitializePopulation() { ... } // m.Hyperparameters
//	for update := int64(1); ; update++ {
//		... // every member does an update
//		if !config.Due(update) { continue }
//		... // s.UpdatePerformance(member, score, update) for each with a score
//		if !s.Ready() { continue }
//		decisions, err := s.ExploitAndExplore()
//		... // carry them out
//	}
//
// Its decisions depend on the config, the seed and the scores, and not on the
// order in which scores are reported. It is not safe for concurrent use.
type Scheduler struct {
	config   Config
	seed     uint64
	key      rng.Key
	interval int
	members  []Member // members[i].ID == i
}

// NewScheduler validates the config and makes a scheduler whose population is
// that of [Scheduler.InitializePopulation]. It keeps its own copy of the config.
func NewScheduler(c Config, seed uint64) (*Scheduler, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Scheduler{config: c.clone(), seed: seed, key: rng.NewKey(seed)}
	s.InitializePopulation()
	return s, nil
}

func (c Config) clone() Config {
	c.Hyperparameters = slices.Clone(c.Hyperparameters)
	for i := range c.Hyperparameters {
		h := &c.Hyperparameters[i]
		h.Min, h.Max, h.ResampleProbability = clonePointer(h.Min), clonePointer(h.Max), clonePointer(h.ResampleProbability)
		h.Values = slices.Clone(h.Values)
	}
	return c
}

func clonePointer(p *float64) *float64 {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// Config returns a copy of the configuration.
func (s *Scheduler) Config() Config { return s.config.clone() }

// Interval is the number of intervals decided so far.
func (s *Scheduler) Interval() int { return s.interval }

// InitializePopulation begins anew: unscored members 0 to P-1, whose
// hyperparameters are drawn from their ranges, uniformly, log-uniformly or from
// the values, as the seed says. It returns a copy of the population.
func (s *Scheduler) InitializePopulation() []Member {
	s.interval = 0
	s.members = make([]Member, s.config.PopulationSize)
	for id := range s.members {
		values := make(map[string]float64, len(s.config.Hyperparameters))
		for i := range s.config.Hyperparameters {
			h := &s.config.Hyperparameters[i]
			r := s.key.Stream(uint32(i), rng.Address{Member: uint32(id), Purpose: rng.Population})
			values[h.Name] = h.sample(&r)
		}
		s.members[id] = Member{ID: id, Hyperparameters: values, Performance: math.NaN()}
	}
	return s.Population()
}

// UpdatePerformance records a member's score after step updates; it replaces the
// score before. Call it for members that have something to be judged by: a score
// of NaN or infinity is a score too, that of a learner which diverged. It counts
// for [Scheduler.Ready], ranks last and is recorded as NaN.
//
// It returns ErrMember or ErrStep, wrapped, and then records nothing.
func (s *Scheduler) UpdatePerformance(member int, performance float64, step int64) error {
	if member < 0 || member >= len(s.members) {
		return fmt.Errorf("%w: %d; valid: 0 to %d", ErrMember, member, len(s.members)-1)
	}
	m := &s.members[member]
	if step < m.Step {
		return fmt.Errorf("%w: member %d reports step %d after step %d", ErrStep, member, step, m.Step)
	}
	if !finite(performance) {
		performance = math.NaN()
	}
	m.Performance, m.Scored, m.Step = performance, true, step
	return nil
}

// Ready reports whether decisions may be taken: PBT is enabled, and at least
// [Config.Required] members have a score and have done BurnIn updates. A
// member that copied another has no score until it reports one of its own.
func (s *Scheduler) Ready() bool {
	return s.config.Enabled && s.ready() >= s.config.Required(len(s.members))
}

func (s *Scheduler) ready() int {
	n := 0
	for i := range s.members {
		if s.members[i].Scored && s.members[i].Step >= s.config.BurnIn {
			n++
		}
	}
	return n
}

// ExploitAndExplore takes the decisions of an interval by [Decide] and applies
// them to the scheduler's records: a member that copies another has the
// decision's hyperparameters and no score any more, so that it is judged by what
// it does from now on. The learner carries the same decisions out. An interval
// may have no decisions.
//
// It returns ErrNotReady, wrapped, where [Scheduler.Ready] is false; the
// interval is not counted then.
func (s *Scheduler) ExploitAndExplore() ([]Decision, error) {
	if !s.config.Enabled {
		return nil, fmt.Errorf("%w: enabled is false", ErrNotReady)
	}
	if !s.Ready() {
		return nil, fmt.Errorf("%w: %d of %d members have a score after %d updates or more; ready_percentage %g needs %d",
			ErrNotReady, s.ready(), len(s.members), s.config.BurnIn, s.config.ReadyPercentage, s.config.Required(len(s.members)))
	}
	decisions := Decide(s.config, s.members, s.interval, s.key)
	for i := range decisions {
		d := &decisions[i]
		m := &s.members[d.Member]
		m.Hyperparameters = maps.Clone(d.After)
		m.Performance, m.Scored = math.NaN(), false
	}
	s.interval++
	return decisions, nil
}

// Population returns a copy of the members' records, in the order of their IDs.
func (s *Scheduler) Population() []Member { return cloneMembers(s.members) }

func cloneMembers(members []Member) []Member {
	c := slices.Clone(members)
	for i := range c {
		c[i].Hyperparameters = maps.Clone(c[i].Hyperparameters)
	}
	return c
}

// State is everything a scheduler needs to go on where it stopped, beside its
// config. It can be written as JSON and as msgpack.
type State struct {
	Seed uint64 `json:"seed" msgpack:"seed"`
	// Interval is the number of intervals decided.
	Interval int      `json:"interval" msgpack:"interval"`
	Members  []Member `json:"members" msgpack:"members"`
}

// State returns a copy of the scheduler's state.
func (s *Scheduler) State() State {
	return State{Seed: s.seed, Interval: s.interval, Members: s.Population()}
}

// Restore continues from a state: the decisions that follow are those of the
// scheduler it was taken from, given the same scores. The config may differ in
// all but the population's size and the hyperparameters' names; values outside a
// range that was narrowed are clipped when they are next explored.
//
// It returns ErrState, wrapped with what does not fit, and then changes nothing.
func (s *Scheduler) Restore(state State) error {
	if state.Seed != s.seed {
		return fmt.Errorf("%w: seed %d; this scheduler's is %d", ErrState, state.Seed, s.seed)
	}
	if state.Interval < 0 {
		return fmt.Errorf("%w: interval %d; valid: at least 0", ErrState, state.Interval)
	}
	if len(state.Members) != s.config.PopulationSize {
		return fmt.Errorf("%w: %d members; population_size is %d", ErrState, len(state.Members), s.config.PopulationSize)
	}
	if err := checkPopulation(&s.config, state.Members); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	for i := range state.Members {
		m := &state.Members[i]
		if m.ID != i {
			return fmt.Errorf("%w: member %d at place %d", ErrState, m.ID, i)
		}
		if m.Step < 0 {
			return fmt.Errorf("%w: member %d has step %d; valid: at least 0", ErrState, i, m.Step)
		}
		for name := range m.Hyperparameters {
			if !s.config.has(name) {
				return fmt.Errorf("%w: member %d has the hyperparameter %q, which the config lacks", ErrState, i, name)
			}
		}
	}
	s.interval = state.Interval
	s.members = cloneMembers(state.Members)
	return nil
}

func (c *Config) has(name string) bool {
	return slices.ContainsFunc(c.Hyperparameters, func(h Hyperparameter) bool { return h.Name == name })
}
