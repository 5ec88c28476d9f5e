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
// Members that train at their own pace leave config.Due out: each reports whenever
// it has a score, and Ready counts those that have done an interval.
//
// Its decisions depend on the config, the seed and the scores, and not on the
// order in which scores are reported. It is not safe for concurrent use.
type Scheduler struct {
	config   Config
	seed     uint64
	key      rng.Key
	interval int
	members  []Member // members[i].ID == i
	// observations are kept under pb2 only.
	observations []Observation
	rejected     int

	custom     func(d Decision) (map[string]float64, error)
	reevaluate func(members []int) ([]float64, error)
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
	s.interval, s.rejected, s.observations = 0, 0, nil
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
// for [Scheduler.Ready], ranks last and is recorded as NaN, and so is any score of
// a member in quarantine.
//
// returns are those of the last episodes behind the score, in any order. The
// exploit method t_test compares them, the others record none. Returns that are not
// all finite can not be compared and are recorded as none.
//
// It returns ErrMember or ErrStep, wrapped, and then records nothing.
func (s *Scheduler) UpdatePerformance(member int, performance float64, step int64, returns ...float64) error {
	if err := s.checkMember(member); err != nil {
		return err
	}
	m := &s.members[member]
	if step < m.Step {
		return fmt.Errorf("%w: member %d reports step %d after step %d", ErrStep, member, step, m.Step)
	}
	if !finite(performance) || m.Quarantined {
		performance = math.NaN()
	}
	m.Performance, m.Scored, m.Step, m.Returns = performance, true, step, nil
	if s.config.ExploitMethod == TTest && !m.Quarantined && !slices.ContainsFunc(returns, notFinite) {
		m.Returns = slices.Clone(returns)
	}
	return nil
}

func (s *Scheduler) checkMember(member int) error {
	if member < 0 || member >= len(s.members) {
		return fmt.Errorf("%w: %d; valid: 0 to %d", ErrMember, member, len(s.members)-1)
	}
	return nil
}

// Ready reports whether decisions may be taken: PBT is enabled, and at least
// [Config.Required] members are due. A member is due that has a score, has done
// BurnIn updates, and PerturbationInterval since it last took part in an interval
// or copied another; members need not be at the same update. One that copied
// another has no score until it reports one of its own. Members in quarantine are
// due.
func (s *Scheduler) Ready() bool {
	return s.config.Enabled && s.count(s.config.due) >= s.config.Required(len(s.members))
}

func (s *Scheduler) count(is func(*Member) bool) int {
	n := 0
	for i := range s.members {
		if is(&s.members[i]) {
			n++
		}
	}
	return n
}

// ExploitAndExplore takes the decisions of an interval by the rules of [Decide] and
// applies them to the scheduler's records: a member that copies another has the
// decision's hyperparameters and no score any more, so that it is judged by what
// it does from now on. The learner carries the same decisions out. An interval
// may have no decisions. For all members that are due, copying or not, the next
// interval is counted from their present step; the others go on with theirs.
//
// It returns ErrNotReady where [Scheduler.Ready] is false, and ErrReevaluate or
// ErrExplore where a function of [Scheduler.SetReevaluate] or
// [Scheduler.SetExplore] fails, all wrapped. Then nothing is changed, and the
// interval is not counted.
func (s *Scheduler) ExploitAndExplore() ([]Decision, error) {
	if err := s.checkReady(); err != nil {
		return nil, err
	}
	proposed := propose(&s.config, s.members, s.interval, s.key)
	decisions, err := s.confirm(proposed)
	if err != nil {
		return nil, err
	}
	observations := s.observations
	if s.config.ExploreMethod == PB2 {
		observations = observe(&s.config, s.members, observations)
	}
	var custom func(*Decision) error
	if s.custom != nil {
		custom = s.customise
	}
	if err := explore(&s.config, decisions, s.members, observations, s.key, custom); err != nil {
		return nil, err
	}
	s.observations = observations
	s.rejected += len(proposed) - len(decisions)
	s.apply(decisions)
	s.interval++
	return decisions, nil
}

func (s *Scheduler) checkReady() error {
	if !s.config.Enabled {
		return fmt.Errorf("%w: enabled is false", ErrNotReady)
	}
	if !s.Ready() {
		scored := s.count(func(m *Member) bool { return m.Scored || m.Quarantined })
		return fmt.Errorf("%w: %d of %d members have a score, %d after %d updates or more and %d since their last interval; ready_percentage %g needs %d",
			ErrNotReady, scored, len(s.members), s.count(s.config.due), s.config.BurnIn, s.config.PerturbationInterval,
			s.config.ReadyPercentage, s.config.Required(len(s.members)))
	}
	if s.config.ExploitReevaluate && s.reevaluate == nil {
		return fmt.Errorf("%w: exploit_reevaluate is true, and there is no function that measures them; see SetReevaluate", ErrReevaluate)
	}
	return nil
}

// apply ends an interval in the records.
func (s *Scheduler) apply(decisions []Decision) {
	pace := s.config.pace(s.members)
	for i := range s.members {
		m := &s.members[i]
		if !s.config.due(m) {
			continue
		}
		m.Mark, m.Baseline = m.Step, nil
		if s.config.ExploreMethod == PB2 {
			m.Baseline = nullable(m.Performance)
		}
	}
	for i := range decisions {
		d := &decisions[i]
		m := &s.members[d.Member]
		m.Hyperparameters = maps.Clone(d.After)
		if !m.Scored {
			m.Mark = max(m.Mark, pace)
		}
		m.Performance, m.Scored, m.Quarantined, m.Returns, m.Baseline = math.NaN(), false, false, nil, nil
	}
}

// Population returns a copy of the members' records, in the order of their IDs.
func (s *Scheduler) Population() []Member { return cloneMembers(s.members) }
