package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"brood/lineage"
)

// Sizes of the drawings, in units of the page's width.
const (
	wide        = 1000.0
	tall        = 340.0
	narrow      = 490.0
	low         = 200.0
	maxExploits = 4000 // that are marked in the chart of returns
	maxLives    = 4000 // that are drawn in the family
)

// steps are environment steps after updates, none beyond what was trained.
func (r *run) steps(updates []int64) []float64 {
	steps := make([]float64, len(updates))
	for i, u := range updates {
		steps[i] = float64(r.cfg.EnvSteps(min(u, r.updates)))
	}
	return steps
}

func (r *run) allSteps() float64 { return float64(r.cfg.EnvSteps(r.updates)) }

// drawReturns shows every member's return, the best and the median, and the exploits.
func (r *run) drawReturns() template.HTML {
	var all []float64
	for m := range r.members {
		_, ys := r.series.points(m, 0, maxBuckets)
		all = append(all, ys...)
	}
	never := false
	c := newChart("Return of every member over environment steps", wide, tall, r.allSteps(), all, &never)
	var exploits strings.Builder
	every := len(r.tree.Lives)/maxExploits + 1
	for i := range r.tree.Lives {
		e := r.tree.Lives[i].Exploit
		if e == nil || i%every != 0 || e.MemberScore == nil || e.SourceScore == nil {
			continue
		}
		fmt.Fprintf(&exploits, "M%s %sV%s", coordinate(c.x.at(float64(e.EnvSteps))), coordinate(clamp(c.y.at(*e.MemberScore), top, tall-bottom)),
			coordinate(clamp(c.y.at(*e.SourceScore), top, tall-bottom)))
	}
	c.line("exploit", "exploits: from the score of the member to that of whom it copied", exploits.String())
	for _, m := range r.leadLast() {
		us, ys := r.series.points(m, 0, maxBuckets)
		c.member(m, r.class(m), c.path(r.steps(us), ys, false))
	}
	us, best := r.series.points(r.members, 0, maxBuckets)
	_, median := r.series.points(r.members, 1, maxBuckets)
	c.line("best", "best member at each time", c.path(r.steps(us), best, false))
	c.line("median", "median of the members", c.path(r.steps(us), median, false))
	return template.HTML(c.svg())
}

// leadLast are the members in the order in which they are drawn: the one that counts
// lies on top.
func (r *run) leadLast() []int {
	order := make([]int, 0, r.members)
	for m := range r.members {
		if m != r.leader() {
			order = append(order, m)
		}
	}
	if lead := r.leader(); lead < r.members {
		order = append(order, lead)
	}
	return order
}

// many members are drawn fainter, or they would be one patch.
const many = 24

func (r *run) class(m int) string {
	switch {
	case m == r.leader():
		return "lead"
	case r.members > many:
		return "faint"
	}
	return ""
}

func clamp(x, low, high float64) float64 { return math.Min(math.Max(x, low), high) }

// figureChart is a small chart with its title.
type figureChart struct {
	Title string
	Note  string
	SVG   template.HTML
}

// drawFigures shows the losses and their like.
func (r *run) drawFigures() (charts []figureChart) {
	for f := 1; f < len(figures); f++ {
		var all []float64
		for m := range r.members {
			_, ys := r.series.points(m, f, smallBuckets)
			all = append(all, ys...)
		}
		if !slices.ContainsFunc(all, func(x float64) bool { return !math.IsNaN(x) }) {
			continue
		}
		c := newChart(figures[f].title, narrow, low, r.allSteps(), all, nil)
		for _, m := range r.leadLast() {
			us, ys := r.series.points(m, f, smallBuckets)
			c.member(m, r.class(m), c.path(r.steps(us), ys, false))
		}
		charts = append(charts, figureChart{Title: figures[f].title, Note: scale(c.y), SVG: template.HTML(c.svg())})
	}
	return charts
}

func scale(a axis) string {
	if a.log {
		return "log scale"
	}
	return ""
}

// drawHyperparameters shows each hyperparameter of every member, on the scale that it is
// drawn on.
func (r *run) drawHyperparameters() (charts []figureChart, err error) {
	histories := make([][]lineage.Step, min(r.members, r.tree.Population))
	for m := range histories {
		if histories[m], err = r.tree.SlotHistory(m); err != nil {
			return nil, err
		}
	}
	for _, name := range r.tree.Names {
		var all []float64
		log := false
		for _, h := range r.cfg.PBT.Hyperparameters {
			if h.Name == name {
				log = h.LogScale
				if h.Min != nil && h.Max != nil {
					all = append(all, *h.Min, *h.Max)
				}
			}
		}
		for _, steps := range histories {
			for _, s := range steps {
				all = append(all, s.Hyperparameters[name])
			}
		}
		c := newChart(name, narrow, low, r.allSteps(), all, &log)
		for _, m := range r.leadLast() {
			if m >= len(histories) {
				continue // it is gone
			}
			var xs, ys []float64
			for _, s := range histories[m] {
				xs = append(xs, float64(r.cfg.EnvSteps(min(s.Update, r.updates))))
				ys = append(ys, s.Hyperparameters[name])
			}
			if len(ys) > 0 {
				xs, ys = append(xs, r.allSteps()), append(ys, ys[len(ys)-1])
			}
			c.member(m, r.class(m), c.path(xs, ys, true))
		}
		charts = append(charts, figureChart{Title: name, Note: scale(c.y), SVG: template.HTML(c.svg())})
	}
	return charts, nil
}

// familyColours is how many roots have a colour of their own.
const familyColours = 8

// drawFamily shows a lane for each member, its lives in the colour of the member of the
// start that they descend from, and the copies that the living descend from.
func (r *run) drawFamily() template.HTML {
	lanes := min(r.population, maxMembers)
	pitch := clamp(640/float64(max(lanes, 1)), 5, 22)
	height := float64(lanes)*pitch + top + bottom
	c := &chart{title: "The family: who copied whom", width: wide, height: height}
	c.x = axis{high: max(r.allSteps(), 1), from: left, to: wide - right}
	c.y = axis{low: -0.5, high: float64(lanes) - 0.5, from: top, to: height - bottom}
	colour := map[int]int{}
	for i, root := range r.survivors() {
		colour[root] = min(i, familyColours)
	}
	roots, living := r.roots(), r.tree.LivingDescendants()
	ended, ofLiving, copies := map[int]*strings.Builder{}, map[int]*strings.Builder{}, map[int]*strings.Builder{}
	add := func(to map[int]*strings.Builder, colour int, format string, args ...any) {
		if to[colour] == nil {
			to[colour] = &strings.Builder{}
		}
		fmt.Fprintf(to[colour], format, args...)
	}
	at := func(update int64) string { return coordinate(c.x.at(float64(r.cfg.EnvSteps(min(update, r.updates))))) }
	first := max(len(r.tree.Lives)-maxLives, 0)
	for id := range r.tree.Lives {
		l := &r.tree.Lives[id]
		k, survives := colour[roots[id]]
		if l.Member >= lanes || id < first && living[id] == 0 {
			continue
		}
		end := l.Ended
		if l.Living() {
			end = r.updates
		}
		y := coordinate(c.y.at(float64(l.Member)))
		switch {
		case living[id] > 0:
			add(ofLiving, k, "M%s %sH%s", at(l.Born), y, at(end))
			if l.Parent != lineage.None && r.tree.Lives[l.Parent].Member < lanes {
				add(copies, k, "M%s %sV%s", at(l.Born), coordinate(c.y.at(float64(r.tree.Lives[l.Parent].Member))), y)
			}
		case survives:
			add(ended, k, "M%s %sH%s", at(l.Born), y, at(end))
		default:
			add(ended, familyColours, "M%s %sH%s", at(l.Born), y, at(end))
		}
	}
	for _, layer := range []struct {
		class string
		paths map[int]*strings.Builder
	}{{"ended", ended}, {"copy", copies}, {"living", ofLiving}} {
		for k := range familyColours + 1 {
			if b := layer.paths[k]; b != nil {
				fmt.Fprintf(&c.body, `<path class="%s f%d" d="%s"/>`, layer.class, k, b.String())
			}
		}
	}
	return template.HTML(c.lanes(lanes, pitch))
}

// lanes is a chart whose y axis are members.
func (c *chart) lanes(n int, pitch float64) string {
	var b strings.Builder
	every := int(math.Ceil(13 / pitch))
	for m := 0; m < n; m += every {
		fmt.Fprintf(&b, `<text class="ty" x="%d" y="%s">%d</text>`, left-7, coordinate(c.y.at(float64(m))), m)
	}
	return c.framed(b.String(), 9)
}
