package study

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"brood/kernels"
	"brood/pbt"
	"brood/tensor"
	"brood/train"
)

// ErrNoExploit is a moment of a run at which no such exploit happened.
var ErrNoExploit = errors.New("no such exploit")

// Case is one exploit of a run just before it is carried out.
type Case struct {
	// Config of the run at that time.
	Config train.Config
	// Update is the number of updates done.
	Update   int64
	Decision pbt.Decision
	// Hyperparameters that the member has afterwards.
	Hyperparameters kernels.Hyperparameters
	// Member and Source are the whole states of the two.
	Member, Source tensor.Member
}

// Capture takes the i-th exploit of a moment; the case stays valid after it.
func Capture(m *train.Moment, cfg train.Config, i int) (*Case, error) {
	d := m.Decisions[i]
	c := &Case{Config: cfg, Update: m.Update, Decision: d, Hyperparameters: m.Exploits[i].Hyperparameters,
		Member: tensor.NewMember(m.Layout()), Source: tensor.NewMember(m.Layout())}
	if err := m.State(d.Member, c.Member); err != nil {
		return nil, fmt.Errorf("study: the state of member %d: %w", d.Member, err)
	}
	if err := m.State(d.Source, c.Source); err != nil {
		return nil, fmt.Errorf("study: the state of member %d: %w", d.Source, err)
	}
	return c, nil
}

// First asks [Find] for the first exploit of a run, FirstMember for the first of
// an interval.
const (
	First       = 0
	FirstMember = -1
)

// Find lives the run of a folder again up to the exploit of a member at an update
// and returns it. Warnings tell where the life differs from what the folder says
// happened. Without such an exploit the error is an [ErrNoExploit] that says which
// there are. opts.Settings may change the device and the number of threads.
func Find(ctx context.Context, dir string, update int64, member int, opts train.Options) (c *Case, warnings []string, err error) {
	if _, err := train.LoadRun(dir, opts.Settings...); err != nil {
		return nil, nil, err
	}
	lines, err := train.ReadDecisions(dir)
	if err != nil {
		return nil, nil, err
	}
	// Changes of the number of members are no exploits of an interval.
	lines = slices.DeleteFunc(lines, func(l train.DecisionLine) bool { return l.Operation != "" })
	if update, member, err = choose(dir, lines, update, member); err != nil {
		return nil, nil, err
	}
	opts.Warn = func(w string) { warnings = append(warnings, w) }
	var run *train.Run
	engine := ""
	opts.BeforeExploit = func(m *train.Moment) error {
		if m.Update < update {
			return nil
		}
		if m.Update > update {
			return train.ErrStop
		}
		warnings = append(warnings, differences(m.Decisions, lines, update, engine)...)
		i := slices.IndexFunc(m.Decisions, func(d pbt.Decision) bool { return d.Member == member })
		if i < 0 {
			return fmt.Errorf("%w: lived again on %s, member %d copies nobody at update %d; the run was trained on another engine or version",
				ErrNoExploit, engine, member, update)
		}
		var err error
		if c, err = Capture(m, run.Config(), i); err != nil {
			return err
		}
		return train.ErrStop
	}
	if run, err = train.Rewind(dir, update, opts); err != nil {
		return nil, warnings, err
	}
	defer run.Close()
	engine = run.EngineName()
	switch _, err = run.Train(ctx); {
	case err != nil && !errors.Is(err, train.ErrStop):
		return nil, warnings, err
	case c == nil && ctx.Err() != nil:
		return nil, warnings, ctx.Err()
	case c == nil:
		return nil, warnings, fmt.Errorf("%w: lived again on %s, the run has none at update %d; it was trained on another engine or version",
			ErrNoExploit, engine, update)
	}
	return c, warnings, nil
}

// choose finds the exploit that is meant among those of the run.
func choose(dir string, lines []train.DecisionLine, update int64, member int) (int64, int, error) {
	if len(lines) == 0 {
		return 0, 0, fmt.Errorf("%w: %s has none at all so far", ErrNoExploit, dir)
	}
	if update == First {
		update = lines[0].Update
	}
	var members []int
	for _, l := range lines {
		if l.Update == update {
			members = append(members, l.Member)
		}
	}
	switch {
	case len(members) == 0:
		return 0, 0, fmt.Errorf("%w: there is none at update %d of %s; %s", ErrNoExploit, update, dir, nearestUpdates(lines, update))
	case member == FirstMember:
		return update, members[0], nil
	case !slices.Contains(members, member):
		return 0, 0, fmt.Errorf("%w: at update %d of %s member %d copied nobody; those who did: %s", ErrNoExploit, update, dir, member, list(members))
	}
	return update, member, nil
}

// nearestUpdates names the updates with exploits around one that has none.
func nearestUpdates(lines []train.DecisionLine, update int64) string {
	const around = 3 // on each side
	var updates []int64
	for _, l := range lines {
		if len(updates) == 0 || updates[len(updates)-1] != l.Update {
			updates = append(updates, l.Update)
		}
	}
	at, _ := slices.BinarySearch(updates, update)
	near := updates[max(0, at-around):min(len(updates), at+around)]
	return fmt.Sprintf("the nearest are at %s", list(near))
}

func list[T any](items []T) string {
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = fmt.Sprint(item)
	}
	return strings.Join(words, ", ")
}

// differences says where the decisions of an interval that was lived again differ
// from those in the folder.
func differences(decisions []pbt.Decision, lines []train.DecisionLine, update int64, engine string) []string {
	const advice = "; it was trained on another engine or version, and what follows is another run's exploit"
	var recorded []train.DecisionLine
	for _, l := range lines {
		if l.Update == update {
			recorded = append(recorded, l)
		}
	}
	if len(recorded) != len(decisions) {
		return []string{fmt.Sprintf("lived again on %s, update %d has %d exploits, the folder's decisions %d%s", engine, update, len(decisions), len(recorded), advice)}
	}
	for i, d := range decisions {
		r := recorded[i]
		if d.Member != r.Member || d.Source != r.Source {
			return []string{fmt.Sprintf("lived again on %s, member %d copies member %d at update %d; by the folder's decisions member %d copied member %d%s",
				engine, d.Member, d.Source, update, r.Member, r.Source, advice)}
		}
		for name, after := range d.After {
			if h, ok := r.Hyperparameters[name]; !ok || math.Float64bits(h.After) != math.Float64bits(after) {
				return []string{fmt.Sprintf("lived again on %s, member %d has %s %v after the exploit at update %d; by the folder's decisions it was %v%s",
					engine, d.Member, name, after, update, h.After, advice)}
			}
		}
	}
	return nil
}
