package lineage

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// WriteDOT prints the family as a graph for Graphviz: a node per life, an edge per
// copying. lives are those to draw, with every one's ancestors; nil: all.
func (t *Tree) WriteDOT(w io.Writer, lives []int) error {
	if lives == nil {
		for id := range t.Lives {
			lives = append(lives, id)
		}
	}
	b := bufio.NewWriter(w) // keeps the first error for Flush
	fmt.Fprintf(b, "digraph lineage {\n  label=%s;\n  labelloc=\"t\";\n  node [shape=\"box\", style=\"filled\", fillcolor=\"white\"];\n",
		strconv.Quote(t.Run+"  "+t.Env))
	for _, id := range lives {
		l := &t.Lives[id]
		end, colour := "living", ", fillcolor=\"palegreen\""
		if !l.Living() {
			end, colour = strconv.FormatInt(l.Ended, 10), ""
		}
		fmt.Fprintf(b, "  life%d [label=\"member %d\\n%d to %s\"%s];\n", id, l.Member, l.Born, end, colour)
	}
	for _, id := range lives {
		if l := &t.Lives[id]; l.Parent != None {
			fmt.Fprintf(b, "  life%d -> life%d [label=\"update %d\\n%s to %s\\n%s\"];\n", l.Parent, id, l.Born,
				score(l.Exploit.MemberScore), score(l.Exploit.SourceScore), l.Exploit.OptimizerStrategy)
		}
	}
	fmt.Fprintln(b, "}")
	return b.Flush()
}

// Around lists what concerns a member: its lives and all their ancestors, by ID. It
// returns ErrMember, wrapped.
func (t *Tree) Around(member int) ([]int, error) {
	slot, err := t.Slot(member)
	if err != nil {
		return nil, err
	}
	var lives []int
	for _, id := range slot {
		lives = append(lives, t.line(id)...)
	}
	slices.Sort(lives)
	return slices.Compact(lives), nil
}
