package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"brood/lineage"
	"brood/train"

	"github.com/spf13/cobra"
)

// family is what `lineage --json` prints.
type family struct {
	Run        string `json:"run"`
	Env        string `json:"env"`
	Population int    `json:"population"`
	Updates    int64  `json:"updates"`
	// Start is the population at the start, Changes are those of its size.
	Start   int              `json:"start"`
	Changes []lineage.Change `json:"changes"`
	lineage.Summary
	Hyperparameters []string       `json:"hyperparameters"`
	Warnings        []string       `json:"warnings"`
	Lives           []familyLife   `json:"lives"`
	Members         []familyMember `json:"members"`
}

type familyLife struct {
	ID     int   `json:"id"`
	Member int   `json:"member"`
	Born   int64 `json:"born"`
	// Ended is null for a life that goes on, Parent and Exploit for one that began
	// with the run.
	Ended             *int64              `json:"ended"`
	Parent            *int                `json:"parent"`
	LivingDescendants int                 `json:"living_descendants"`
	Exploit           *train.DecisionLine `json:"exploit"`
}

type familyMember struct {
	Member          int            `json:"member"`
	Ancestry        []int          `json:"ancestry"`
	Slot            []int          `json:"slot"`
	AncestryHistory []lineage.Step `json:"ancestry_history"`
	SlotHistory     []lineage.Step `json:"slot_history"`
}

// optionalNumber is a flag that differs from every number where it is not given.
type optionalNumber struct {
	given bool
	value uint64
}

func (n *optionalNumber) String() string {
	if !n.given {
		return ""
	}
	return strconv.FormatUint(n.value, 10)
}

// Set parses the flag's argument.
func (n *optionalNumber) Set(s string) (err error) {
	n.value, err = strconv.ParseUint(s, 0, 64)
	n.given = err == nil
	if err != nil {
		return errors.New("want a whole number, 0 or above")
	}
	return nil
}

// Type is the argument's name in the help.
func (n *optionalNumber) Type() string { return "N" }

// member is the flag's number as a member of the family; the error is one of usage.
func (n *optionalNumber) member(t *lineage.Tree) (int, error) {
	if n.value >= uint64(t.Population) {
		return 0, usage("--member %d: the members of %s are 0 to %d", n.value, t.Run, t.Population-1)
	}
	return int(n.value), nil
}

func newLineage() *cobra.Command {
	var asJSON, dot, all bool
	var member optionalNumber
	cmd := &cobra.Command{
		Use:   "lineage DIR",
		Short: "Show the family of a run: who copied whom, and the hyperparameters on the way",
		Long: "Show the family of the run in a folder, also while it goes on: who copied whom at which update, and the\n" +
			"hyperparameters that each member's weights were trained with.",
		Args: oneArgument("the run folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && dot {
				return usage("--json and --dot are two forms of the same; give one of them")
			}
			if all && (asJSON || dot || member.given) {
				return usage("--all is for the tree; it does not go with --json, --dot or --member")
			}
			t, err := readFamily(args[0])
			if err != nil {
				return err
			}
			only := lineage.None
			if member.given {
				if only, err = member.member(t); err != nil {
					return err
				}
			}
			return printFamily(cmd, t, only, asJSON, dot, all)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&dot, "dot", false, "print a graph for Graphviz: brood lineage DIR --dot | dot -Tsvg")
	cmd.Flags().BoolVar(&all, "all", false, "draw every life, also those without living descendants")
	cmd.Flags().Var(&member, "member", "only what concerns this member: its lives and their ancestors")
	return cmd
}

// readFamily reads a run folder and says what it warns of.
func readFamily(dir string) (*lineage.Tree, error) {
	t, err := lineage.Read(dir)
	if err != nil {
		return nil, err
	}
	for _, w := range t.Warnings {
		fmt.Fprintln(os.Stderr, "warning: "+w)
	}
	return t, nil
}

// printFamily prints the family, or what concerns one member; lineage.None: all.
func printFamily(cmd *cobra.Command, t *lineage.Tree, member int, asJSON, dot, all bool) error {
	out := cmd.OutOrStdout()
	var lives []int // nil: all
	if member != lineage.None {
		var err error
		if lives, err = t.Around(member); err != nil {
			return err
		}
	}
	switch {
	case asJSON:
		f, err := familyOf(t, lives, member)
		if err != nil {
			return err
		}
		return printJSON(out, f)
	case dot:
		return t.WriteDOT(out, lives)
	case member != lineage.None:
		return t.WriteMember(out, member)
	}
	return t.WriteText(out, all)
}

// familyOf gathers the JSON object: the lives (nil: all) and the member
// (lineage.None: all).
func familyOf(t *lineage.Tree, lives []int, member int) (*family, error) {
	f := &family{Run: t.Run, Env: t.Env, Population: t.Population, Updates: t.Updates, Start: t.Start, Summary: t.Summary(),
		Changes:         append([]lineage.Change{}, t.Changes...),
		Hyperparameters: append([]string{}, t.Names...), Warnings: append([]string{}, t.Warnings...)}
	if lives == nil {
		for id := range t.Lives {
			lives = append(lives, id)
		}
	}
	living := t.LivingDescendants()
	for _, id := range lives {
		l := &t.Lives[id]
		x := familyLife{ID: id, Member: l.Member, Born: l.Born, LivingDescendants: living[id], Exploit: l.Exploit}
		if !l.Living() {
			x.Ended = &l.Ended
		}
		if l.Parent != lineage.None {
			x.Parent = &l.Parent
		}
		f.Lives = append(f.Lives, x)
	}
	for m := range t.Population {
		if member != lineage.None && m != member {
			continue
		}
		x := familyMember{Member: m}
		var errs [4]error
		x.Ancestry, errs[0] = t.Ancestry(m)
		x.Slot, errs[1] = t.Slot(m)
		x.AncestryHistory, errs[2] = t.AncestryHistory(m)
		x.SlotHistory, errs[3] = t.SlotHistory(m)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		f.Members = append(f.Members, x)
	}
	return f, nil
}
