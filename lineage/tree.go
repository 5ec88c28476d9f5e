// Package lineage tells the family of a population from its run folder: who copied
// whom, which lives the weights of a member passed through, and which values its
// hyperparameters had on the way.
//
// A life is a member from its birth, at the start of the run or by copying another,
// to the moment it copies another itself. Lives and copies make a forest whose roots
// are the members at the start. It needs config.yaml and decisions.jsonl alone, and
// can be read while the run goes on.
package lineage

import (
	"errors"
	"fmt"
	"maps"

	"brood/train"
)

// ErrMember is a member that the population does not have.
var ErrMember = errors.New("no such member")

// None stands for a life that does not exist, and for an end that has not come.
const None = -1

// Life is a member from its birth to the exploit in which it copies another.
type Life struct {
	// ID is the life's index in Tree.Lives.
	ID     int
	Member int
	// Born is the number of updates the run had done at its birth, Ended at its
	// end; None: it goes on. It was trained in updates Born+1 to Ended.
	Born, Ended int64
	// Parent is the ID of the life it was copied from; None: it began with the run.
	Parent int
	// Exploit is the copying it was born by; nil where it began with the run.
	Exploit *train.DecisionLine
	// Hyperparameters are the values at its birth, by name.
	Hyperparameters map[string]float64
}

// Living is true for the last life of a member.
func (l *Life) Living() bool { return l.Ended == None }

// Tree is the family of a population.
type Tree struct {
	// Run is the run folder, Env the environment's ID.
	Run, Env string
	// Population is P, Updates the length of the run by its configuration.
	Population int
	Updates    int64
	// Start is the number of members that the run began with. It differs from
	// Population where the run was resumed with another number.
	Start int
	// Changes of the number of members, in their order.
	Changes []Change
	// Names are the hyperparameters that differ between members or updates: those
	// that pbt evolves, then those of run.schedule alone.
	Names []string
	// Lives in the order of their births; the first Start began with the run.
	Lives []Life
	// Current are the IDs of the living lives, by member.
	Current []int
	// Warnings say what was left out or does not fit together.
	Warnings []string

	// evolved is the number of Names that pbt evolves; schedule is run.schedule.
	evolved  int
	schedule []train.ScheduledValue
}

// Change is a moment at which the number of members was changed.
type Change struct {
	// Update is the number of updates done, Before and After are the numbers.
	Update int64 `json:"update"`
	Before int   `json:"before"`
	After  int   `json:"after"`
}

// moved is true for a life that only goes on under another number.
func (l *Life) moved() bool { return l.Exploit != nil && l.Exploit.Operation == train.OperationMove }

// Summary is a family in three figures.
type Summary struct {
	Exploits int `json:"exploits"`
	// SurvivingRoots of the members at the start have living descendants or live on.
	SurvivingRoots int `json:"surviving_roots"`
	// Depth is the largest number of copies between the start and a life.
	Depth int `json:"depth"`
}

// Summary counts the family.
func (t *Tree) Summary() Summary {
	var s Summary
	depth := make([]int, len(t.Lives))
	for id, living := range t.LivingDescendants() {
		if p := t.Lives[id].Parent; p != None {
			depth[id] = depth[p]
			if !t.Lives[id].moved() {
				depth[id]++
				s.Exploits++
			}
		} else if living > 0 {
			s.SurvivingRoots++
		}
		s.Depth = max(s.Depth, depth[id])
	}
	return s
}

// LivingDescendants counts for each life the living ones that descend from it,
// itself included.
func (t *Tree) LivingDescendants() []int {
	n := make([]int, len(t.Lives))
	// A parent is always born before its children.
	for id := len(t.Lives) - 1; id >= 0; id-- {
		if t.Lives[id].Living() {
			n[id]++
		}
		if p := t.Lives[id].Parent; p != None {
			n[p] += n[id]
		}
	}
	return n
}

// Ancestry lists the lives that a member's present weights passed through, the one
// that began with the run first. It returns ErrMember, wrapped.
func (t *Tree) Ancestry(member int) ([]int, error) {
	if err := t.checkMember(member); err != nil {
		return nil, err
	}
	return t.line(t.Current[member]), nil
}

// Slot lists the lives of a member, in the order of their births. It returns
// ErrMember, wrapped.
func (t *Tree) Slot(member int) ([]int, error) {
	if err := t.checkMember(member); err != nil {
		return nil, err
	}
	var lives []int
	for id := range t.Lives {
		if t.Lives[id].Member == member {
			lives = append(lives, id)
		}
	}
	return lives, nil
}

func (t *Tree) checkMember(member int) error {
	if member < 0 || member >= t.Population {
		return fmt.Errorf("%w: %d; the members of %s are 0 to %d", ErrMember, member, t.Run, t.Population-1)
	}
	return nil
}

// line is the way from the start to a life.
func (t *Tree) line(life int) []int {
	n := 0
	for id := life; id != None; id = t.Lives[id].Parent {
		n++
	}
	line := make([]int, n)
	for id := life; id != None; id = t.Lives[id].Parent {
		n--
		line[n] = id
	}
	return line
}

// Step is the values that hyperparameters have from an update on.
type Step struct {
	// Update is the number of updates done: the values are those of the next.
	Update int64 `json:"update"`
	// Life and Member had them.
	Life   int `json:"life"`
	Member int `json:"member"`
	// Hyperparameters are all of Tree.Names.
	Hyperparameters map[string]float64 `json:"hyperparameters"`
	// Operations say for a birth what the exploration did to the source's values;
	// nil for the start and for a change by run.schedule.
	Operations map[string]string `json:"operations"`
}

// AncestryHistory is the values of the hyperparameters that a member's present
// weights were trained with, from the start. It returns ErrMember, wrapped.
func (t *Tree) AncestryHistory(member int) ([]Step, error) {
	lives, err := t.Ancestry(member)
	if err != nil {
		return nil, err
	}
	return t.history(lives), nil
}

// SlotHistory is the values that a member had at every time, whoever's weights it
// held. It returns ErrMember, wrapped.
func (t *Tree) SlotHistory(member int) ([]Step, error) {
	lives, err := t.Slot(member)
	if err != nil {
		return nil, err
	}
	return t.history(lives), nil
}

// history follows lives each of which takes over from the one before at its birth.
func (t *Tree) history(lives []int) (steps []Step) {
	for i, id := range lives {
		l := &t.Lives[id]
		birth := Step{Update: l.Born, Life: id, Member: l.Member, Hyperparameters: t.valuesAt(id, l.Born)}
		if l.Exploit != nil {
			birth.Operations = make(map[string]string, len(l.Exploit.Hyperparameters))
			for name, h := range l.Exploit.Hyperparameters {
				birth.Operations[name] = h.Operation
			}
		}
		steps = append(steps, birth)
		for _, s := range t.schedule {
			if s.Update <= steps[len(steps)-1].Update || i+1 < len(lives) && s.Update >= t.Lives[lives[i+1]].Born {
				continue
			}
			steps = append(steps, Step{Update: s.Update, Life: id, Member: l.Member, Hyperparameters: t.valuesAt(id, s.Update)})
		}
	}
	return steps
}

// valuesAt is what a life has after an update, its birth or a later one: values of
// run.schedule are set after the exploits of the same update.
func (t *Tree) valuesAt(life int, update int64) map[string]float64 {
	values := maps.Clone(t.Lives[life].Hyperparameters)
	for _, s := range t.schedule {
		if s.Update >= t.Lives[life].Born && s.Update <= update {
			values[s.Name] = s.Value
		}
	}
	return values
}
