package report

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// axis maps values to a length of the drawing.
type axis struct {
	low, high float64
	log       bool
	from, to  float64 // of the drawing
}

func (a axis) at(x float64) float64 {
	low, high := a.low, a.high
	if a.log {
		x, low, high = math.Log10(x), math.Log10(low), math.Log10(high)
	}
	return a.from + (x-low)/(high-low)*(a.to-a.from)
}

// holds says whether a value has a place on the axis.
func (a axis) holds(x float64) bool {
	return !math.IsNaN(x) && !math.IsInf(x, 0) && (!a.log || x > 0)
}

// newAxis makes an axis for values that are not empty. log: nil lets the values decide.
func newAxis(values []float64, log *bool, from, to float64) axis {
	a := axis{from: from, to: to}
	known := slices.DeleteFunc(slices.Clone(values), func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
	if len(known) == 0 {
		known = []float64{0, 1}
	}
	slices.Sort(known)
	low, high, median := known[0], known[len(known)-1], known[len(known)/2]
	// What spreads over orders of magnitude above its middle is seen on a log axis alone.
	a.log = low > 0 && high > 50*median
	if log != nil {
		a.log = *log && low > 0
	}
	switch {
	case a.log:
		a.low, a.high = low/1.1, high*1.1
	case low == 0 && high == 0:
		a.low, a.high = -1, 1
	case low == high:
		a.low, a.high = low-max(math.Abs(low)*0.05, 1e-9), high+max(math.Abs(high)*0.05, 1e-9)
	default:
		a.low, a.high = low-(high-low)*0.03, high+(high-low)*0.03
	}
	return a
}

// ticks are round values on the axis, n or a few more.
func (a axis) ticks(n int) (ticks []float64) {
	if a.log {
		first, last := math.Floor(math.Log10(a.low)), math.Ceil(math.Log10(a.high))
		if every := math.Ceil((last - first) / 9); every > 1 {
			for e := first + 1; e < last; e += every {
				ticks = append(ticks, math.Pow(10, e))
			}
			return ticks
		}
		for _, steps := range [][]float64{{1}, {1, 3}, {1, 2, 5}} {
			ticks = ticks[:0]
			for e := first; e <= last; e++ {
				for _, s := range steps {
					if x := s * math.Pow(10, e); x >= a.low && x <= a.high {
						ticks = append(ticks, x)
					}
				}
			}
			if len(ticks) >= 3 {
				return ticks
			}
		}
		if len(ticks) >= 2 {
			return ticks
		}
		return []float64{a.low * 1.1, a.high / 1.1}
	}
	raw := (a.high - a.low) / float64(n)
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, s := range []float64{1, 2, 5, 10} {
		if step*s >= raw {
			step *= s
			break
		}
	}
	for x := math.Ceil(a.low/step) * step; x <= a.high; x += step {
		ticks = append(ticks, math.Round(x/step)*step+0) // and no negative zero
	}
	return ticks
}

// labels write ticks as shortly as tells them apart.
func labels(ticks []float64) []string {
	for digits := 3; ; digits++ {
		texts := make([]string, len(ticks))
		for i, t := range ticks {
			texts[i] = number(t, digits)
		}
		if distinct := slices.Compact(slices.Clone(texts)); len(distinct) == len(texts) || digits == 17 {
			return texts
		}
	}
}

// label writes a number shortly.
func label(x float64) string { return number(x, 4) }

func number(x float64, digits int) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(x) >= unit.size {
			return strconv.FormatFloat(x/unit.size, 'g', max(digits, 4), 64) + unit.name
		}
	}
	return strconv.FormatFloat(x, 'g', digits, 64)
}

// Margins of a chart around the drawing.
const (
	left   = 58
	right  = 14
	top    = 10
	bottom = 26
)

// chart is a drawing with axes; the lines are SVG that the caller adds.
type chart struct {
	title         string
	width, height float64
	x, y          axis
	body          strings.Builder
}

// newChart makes a chart over env steps. values decide the range of y.
func newChart(title string, width, height, steps float64, values []float64, log *bool) *chart {
	c := &chart{title: title, width: width, height: height}
	c.x = axis{low: 0, high: max(steps, 1), from: left, to: width - right}
	c.y = newAxis(values, log, height-bottom, top)
	return c
}

// path is the line through points, with a gap where a value has no place. step draws it
// as stairs.
func (c *chart) path(xs, ys []float64, step bool) string {
	var b strings.Builder
	pen := false
	for i := range xs {
		if !c.y.holds(ys[i]) {
			pen = false
			continue
		}
		x, y := coordinate(c.x.at(xs[i])), coordinate(c.y.at(ys[i]))
		switch {
		case !pen:
			b.WriteString("M" + x + " " + y)
		case step:
			b.WriteString("H" + x + "V" + y)
		default:
			b.WriteString("L" + x + " " + y)
		}
		pen = true
	}
	return b.String()
}

func coordinate(x float64) string { return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64) }

// member adds the line of a member, which the page highlights everywhere at once.
func (c *chart) member(m int, class, d string) {
	if d != "" {
		fmt.Fprintf(&c.body, `<path class="m %s" data-m="%d" d="%s"><title>member %d</title></path>`, class, m, d, m)
	}
}

func (c *chart) line(class, title, d string) {
	if d != "" {
		fmt.Fprintf(&c.body, `<path class="%s" d="%s"><title>%s</title></path>`, class, d, html.EscapeString(title))
	}
}

// svg is the finished chart.
func (c *chart) svg() string {
	var b strings.Builder
	ticks := c.y.ticks(6)
	for i, text := range labels(ticks) {
		y := coordinate(c.y.at(ticks[i]))
		fmt.Fprintf(&b, `<path class="grid" d="M%d %sH%g"/><text class="ty" x="%d" y="%s">%s</text>`, left, y, c.width-right, left-7, y, text)
	}
	return c.framed(b.String(), int(c.width/110))
}

// framed is the whole drawing, given what belongs to the y axis and the number of ticks
// on the other.
func (c *chart) framed(y string, ticks int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, c.width, c.height, html.EscapeString(c.title))
	b.WriteString(y)
	for _, t := range c.x.ticks(ticks) {
		x := coordinate(c.x.at(t))
		fmt.Fprintf(&b, `<path class="tick" d="M%s %gv4"/><text class="tx" x="%s" y="%g">%s</text>`, x, c.height-bottom, x, c.height-8, label(t))
	}
	fmt.Fprintf(&b, `<path class="axis" d="M%d %gH%g"/>`, left, c.height-bottom, c.width-right)
	b.WriteString(c.body.String())
	b.WriteString("</svg>")
	return b.String()
}
