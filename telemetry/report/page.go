package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"brood/lineage"
	"brood/train"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

var page = template.Must(template.New("page").Parse(pageText))

// tile is a figure at the top.
type tile struct{ Name, Value, Note string }

// row is one of a table; Member is -1 where it is of none.
type row struct {
	Member int
	Lead   bool
	Cells  []string
}

type tableData struct {
	Head []string
	Rows []row
}

// section is what the template shows of a run.
type section struct {
	ID, Name, Env, Engine, State string
	Tiles                        []tile
	Warnings                     []string
	Returns, Family              template.HTML
	Figures, Hyperparameters     []figureChart
	FamilyNote                   string
	Members, Strategies, Changes tableData
	Config                       string
}

// ExploitTables are the tables of what exploits came to.
func (s section) ExploitTables() []tableData { return []tableData{s.Strategies, s.Changes} }

// Write makes the page of run folders.
func Write(w io.Writer, dirs []string) error {
	var runs []*run
	var sections []section
	for i, dir := range dirs {
		r, err := read(dir)
		if err != nil {
			return err
		}
		runs = append(runs, r)
		s, err := r.section(i)
		if err != nil {
			return err
		}
		sections = append(sections, s)
	}
	data := map[string]any{"Title": "brood: " + sections[0].Name, "Style": template.CSS(pageStyle), "Script": template.JS(pageScript), "Runs": sections}
	if n := len(sections); n > 1 {
		c, err := compare(runs, sections)
		if err != nil {
			return err
		}
		data["Title"], data["Compared"] = fmt.Sprintf("brood: %d runs", n), c
	}
	return page.Execute(w, data)
}

func (r *run) section(i int) (section, error) {
	s := section{ID: fmt.Sprintf("run%d", i), Name: r.dir, Env: r.cfg.Env.ID, State: "goes on, or was killed", Warnings: r.warnings, Config: r.config}
	if r.summary != nil {
		s.Engine, s.State = r.summary.Device, "done"
		if r.summary.Stopped != nil {
			s.State = *r.summary.Stopped
		}
		if r.summary.Updates != r.updates {
			s.State = "went on after the summary was written"
		}
	}
	if r.updates == 0 {
		s.Warnings = append(s.Warnings, "No update is done yet: there is nothing to draw.")
		s.Tiles = r.tiles()
		return s, nil
	}
	s.Tiles, s.Members = r.tiles(), r.membersTable()
	s.Returns, s.Family, s.Figures = r.drawReturns(), r.drawFamily(), r.drawFigures()
	family := r.tree.Summary()
	s.FamilyNote = fmt.Sprintf("%d exploits; the living descend from %d of %d members at the start, through up to %d copies.", family.Exploits, family.SurvivingRoots,
		r.tree.Start, family.Depth)
	if n := len(r.tree.Lives); n > maxLives {
		s.FamilyNote += fmt.Sprintf(" Of %d lives, those without living descendants are drawn among the last %d alone.", n, maxLives)
	}
	var err error
	if s.Hyperparameters, err = r.drawHyperparameters(); err != nil {
		return s, err
	}
	if r.summary != nil {
		s.Strategies = exploitTable("strategy", r.summary.Strategies, func(x *train.ExploitSummary) string { return string(x.Strategy) })
		s.Changes = exploitTable("what was explored", r.summary.Changes, func(x *train.ExploitSummary) string { return x.Hyperparameter + ", " + x.Operation })
	}
	return s, nil
}

// tiles are the figures at the top.
func (r *run) tiles() []tile {
	steps := r.cfg.EnvSteps(r.updates)
	list := []tile{
		{"members", strconv.Itoa(r.tree.Population), fmt.Sprintf("%d environments each", r.cfg.Env.Count)},
		{"environment steps", label(float64(steps)), fmt.Sprintf("%d updates of %d", r.updates, r.cfg.TotalUpdates())},
		{"exploits", strconv.FormatInt(r.exploits, 10), fmt.Sprintf("every %d updates", r.cfg.PBT.PerturbationInterval)},
	}
	if x := r.summary; x != nil {
		list = append(list, tile{"training", duration(x.Seconds), label(x.EnvStepsPerSecond) + " steps a second"})
		if x.Best != nil {
			over := "in training"
			if x.Best.Member < len(x.Members) && x.Members[x.Best.Member].Selection != nil {
				over = fmt.Sprintf("over %d episodes", x.Members[x.Best.Member].Selection.Episodes)
			}
			list = append([]tile{{"best mean return", fmt.Sprintf("%.1f", x.Best.MeanReturn), fmt.Sprintf("member %d, %s", x.Best.Member, over)}}, list...)
		}
	}
	return list
}

func duration(seconds float64) string {
	switch s := int64(seconds + 0.5); {
	case seconds < 60:
		return fmt.Sprintf("%.1f s", seconds)
	case s < 3600:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	default:
		return fmt.Sprintf("%d h %02d min", s/3600, s%3600/60)
	}
}

// membersTable ranks the members as the summary does, or by their last return.
func (r *run) membersTable() tableData {
	names := r.tree.Names
	t := tableData{Head: append([]string{"member", "return in training", "evaluated", "std"}, names...)}
	order := make([]int, min(r.members, r.tree.Population))
	for m := range order {
		order[m] = m
	}
	key := func(m int) float64 {
		x := r.last[m]
		if r.summary != nil && m < len(r.summary.Members) && r.summary.Members[m].Selection != nil {
			x = r.summary.Members[m].Selection.MeanReturn
		}
		if r.cfg.PBT.MetricMode == "min" {
			x = -x
		}
		return x
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if key(a) > key(b) || math.IsNaN(key(b)) && !math.IsNaN(key(a)) {
			return -1
		}
		if key(a) < key(b) || math.IsNaN(key(a)) && !math.IsNaN(key(b)) {
			return 1
		}
		return 0
	})
	for _, m := range order {
		cells := []string{strconv.Itoa(m), figure(r.last[m]), "–", "–"}
		if r.summary != nil && m < len(r.summary.Members) && r.summary.Members[m].Selection != nil {
			p := r.summary.Members[m].Selection
			cells[2], cells[3] = figure(p.MeanReturn), figure(p.StdReturn)
		}
		values := r.tree.Lives[r.tree.Current[m]].Hyperparameters
		if h, err := r.tree.SlotHistory(m); err == nil && len(h) > 0 {
			values = h[len(h)-1].Hyperparameters
		}
		for _, name := range names {
			cells = append(cells, strconv.FormatFloat(values[name], 'g', 3, 64))
		}
		t.Rows = append(t.Rows, row{m, m == r.leader(), cells})
	}
	return t
}

func figure(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}

// exploitTable is how the exploits of each kind came out.
func exploitTable(what string, list []train.ExploitSummary, name func(*train.ExploitSummary) string) tableData {
	t := tableData{Head: []string{what, "exploits", "judged", "successful"}}
	for _, n := range train.OutcomeUpdates() {
		t.Head = append(t.Head, fmt.Sprintf("after %d", n))
	}
	for i := range list {
		x := &list[i]
		rate := "–"
		if x.SuccessRate != nil {
			rate = fmt.Sprintf("%.0f %%", 100**x.SuccessRate)
		}
		cells := []string{name(x), strconv.FormatInt(x.Exploits, 10), strconv.FormatInt(x.Judged, 10), rate}
		for _, n := range train.OutcomeUpdates() {
			cell := "–"
			for _, a := range x.After {
				if a.Updates == n && a.Difference != nil {
					cell = strings.Replace(fmt.Sprintf("%+.1f", *a.Difference), "-", "−", 1)
				}
			}
			cells = append(cells, cell)
		}
		t.Rows = append(t.Rows, row{Member: lineage.None, Cells: cells})
	}
	return t
}
