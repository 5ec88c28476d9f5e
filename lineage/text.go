package lineage

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"brood/pbt"
	"brood/train"
)

const (
	// textWidth is the terminal that the text is made for, in columns.
	textWidth = 100
	// maxIndent is the number of levels that the tree is drawn with; deeper ones are
	// told by the column of the source alone, so that lines stay within textWidth.
	maxIndent = 14
)

// marks stand behind a value for the operation that made it.
var marks = map[string]string{pbt.OpPerturbUp: "↑", pbt.OpPerturbDown: "↓", pbt.OpResample: "~", pbt.OpPB2: "^", pbt.OpCustom: "*", pbt.OpKeep: "="}

// WriteText prints the family for people, 100 columns wide: a tree of the lives that
// have living descendants, or with all of every life, then the hyperparameters of
// each member along its ancestry.
func (t *Tree) WriteText(w io.Writer, all bool) error {
	d := &drawing{tree: t, all: all, living: t.LivingDescendants(), children: t.children()}
	var roots []int
	for id := range t.Start {
		if d.shown(id) {
			roots = append(roots, id)
		}
	}
	for _, id := range roots {
		d.life(id, "", "", 0)
	}
	if err := t.writeHead(w); err != nil {
		return err
	}
	if err := writeRows(w, treeHead, d.rows); err != nil {
		return err
	}
	fmt.Fprintln(w, "\n↓: the copy that the line went on in, the original being overwritten later")
	if d.hidden > 0 {
		fmt.Fprintf(w, "%d lives without living descendants are not drawn\n", d.hidden)
	}
	if len(t.Names) == 0 {
		_, err := fmt.Fprintln(w, "\nno hyperparameters are evolved")
		return err
	}
	fmt.Fprintf(w, "\nhyperparameters along the members' ancestries\n%s\n\n", legend)
	for m := range t.Population {
		steps, err := t.AncestryHistory(m)
		if err != nil {
			return err
		}
		if err := t.writeHistory(w, fmt.Sprintf("member %d", m), steps); err != nil {
			return err
		}
	}
	return nil
}

const legend = "value@update: ↑ ↓ perturbed, ~ resampled, ^ by PB2, * by the program's own rule, = kept"

// WriteMember prints one member for people: its ancestry, its slot, and the
// hyperparameters along both. It returns ErrMember, wrapped.
func (t *Tree) WriteMember(w io.Writer, member int) error {
	ancestry, err := t.Ancestry(member)
	if err != nil {
		return err
	}
	slot, err := t.Slot(member)
	if err != nil {
		return err
	}
	if err := t.writeHead(w); err != nil {
		return err
	}
	for _, part := range []struct {
		title string
		lives []int
	}{{"the lives that the present weights of member %d passed through", ancestry}, {"the lives of member %d", slot}} {
		fmt.Fprintf(w, part.title+"\n\n", member)
		rows := make([][]string, len(part.lives))
		for i, id := range part.lives {
			rows[i] = t.row(id, fmt.Sprintf("member %d", t.Lives[id].Member), "")
		}
		if err := writeRows(w, treeHead, rows); err != nil {
			return err
		}
		if len(t.Names) > 0 {
			fmt.Fprintf(w, "\n%s\n", legend)
			if err := t.writeHistory(w, "", t.history(part.lives)); err != nil {
				return err
			}
		}
		fmt.Fprintln(w)
	}
	return nil
}

func (t *Tree) writeHead(w io.Writer) error {
	s := t.Summary()
	fmt.Fprintf(w, "%s  %s  %d members, %d updates  %d exploits, depth %d\n%d of %d members of the start have living descendants\n",
		t.Run, t.Env, t.Population, t.Updates, s.Exploits, s.Depth, s.SurvivingRoots, t.Start)
	for _, c := range t.Changes {
		fmt.Fprintf(w, "%d members became %d at update %d\n", c.Before, c.After, c.Update)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// children lists the lives that were copied from each life, by birth.
func (t *Tree) children() [][]int {
	children := make([][]int, len(t.Lives))
	for id := range t.Lives {
		if p := t.Lives[id].Parent; p != None {
			children[p] = append(children[p], id)
		}
	}
	return children
}

// drawing is a tree on its way to text.
type drawing struct {
	tree     *Tree
	all      bool
	living   []int
	children [][]int
	rows     [][]string
	hidden   int
}

func (d *drawing) shown(life int) bool {
	if d.all || d.living[life] > 0 {
		return true
	}
	d.hidden += d.size(life)
	return false
}

// size counts a life and its descendants.
func (d *drawing) size(life int) int {
	n := 1
	for _, c := range d.children[life] {
		n += d.size(c)
	}
	return n
}

// life draws a life behind prefix and its descendants behind rest. A line that went
// on in one copy alone stays in its column: else a long run would lean to the right.
func (d *drawing) life(id int, prefix, rest string, level int) {
	l := &d.tree.Lives[id]
	hidden := d.hidden
	children := slices.DeleteFunc(slices.Clone(d.children[id]), func(c int) bool { return !d.shown(c) })
	note := ""
	if n := d.hidden - hidden; n > 0 {
		note = fmt.Sprintf("+%d", n)
	}
	d.rows = append(d.rows, d.tree.row(id, fmt.Sprintf("%smember %d", prefix, l.Member), note))
	if len(children) == 1 && !l.Living() {
		d.life(children[0], rest+"↓ ", rest, level)
		return
	}
	for i, c := range children {
		switch {
		case level >= maxIndent:
			d.life(c, rest+"├ ", rest, level)
		case i == len(children)-1:
			d.life(c, rest+"└ ", rest+"  ", level+1)
		default:
			d.life(c, rest+"├ ", rest+"│ ", level+1)
		}
	}
}

var treeHead = []string{"life", "update", "copied", "score", "source's", "optimizer", "end", ""}

// row tells a life: its name, when it was born, whom it copied, both scores from
// before, what was done to the optimizer's state, and its end.
func (t *Tree) row(id int, name, note string) []string {
	l := &t.Lives[id]
	row := []string{name, strconv.FormatInt(l.Born, 10), "start", "", "", "", "living", note}
	if !l.Living() {
		row[6] = strconv.FormatInt(l.Ended, 10)
	}
	if e := l.Exploit; e != nil {
		row[2], row[3], row[4], row[5] = strconv.Itoa(e.Source), score(e.MemberScore), score(e.SourceScore), string(e.OptimizerStrategy)
		if e.ScaleMomentum {
			row[5] += " scaled"
		}
		switch {
		case e.Quarantined:
			row[3] = "diverged"
		case e.Operation == train.OperationFill:
			row[3] = "new"
		}
	}
	return row
}

func score(x *float64) string {
	switch {
	case x == nil:
		return "-"
	case *x >= 1e7 || *x <= -1e6:
		return strconv.FormatFloat(*x, 'g', 4, 64)
	}
	return strconv.FormatFloat(*x, 'f', 1, 64)
}

// writeRows prints a table: the first column to the left, the others to the right.
func writeRows(w io.Writer, head []string, rows [][]string) error {
	width := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range append([][]string{head}, rows...) {
		var b strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString(cell + space)
			} else {
				b.WriteString("  " + space + cell)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// writeHistory prints a line per hyperparameter with the values that it went
// through, folded at textWidth.
func (t *Tree) writeHistory(w io.Writer, title string, steps []Step) error {
	nameWidth := 0
	for _, name := range t.Names {
		nameWidth = max(nameWidth, len(name))
	}
	for _, name := range t.Names {
		line := fmt.Sprintf("%-12s  %-*s", title, nameWidth, name)
		title = ""
		margin := utf8.RuneCountInString(line)
		column := margin
		for i, s := range steps {
			value := s.Hyperparameters[name]
			if i > 0 && value == steps[i-1].Hyperparameters[name] && marks[s.Operations[name]] == "" {
				continue
			}
			text := strconv.FormatFloat(value, 'g', 3, 64)
			if i > 0 {
				text += "@" + strconv.FormatInt(s.Update, 10) + marks[s.Operations[name]]
			}
			size := 2 + utf8.RuneCountInString(text)
			if column+size > textWidth {
				line += "\n" + strings.Repeat(" ", margin)
				column = margin
			}
			line += "  " + text
			column += size
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
