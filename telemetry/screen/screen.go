// Package screen draws a run on a terminal: a bar, the best members with the course of
// their returns, the last exploits. It turns a view into lines and knows no terminal.
package screen

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// View is a run at a moment. NaN stands for a figure that does not exist.
type View struct {
	// Done of 1, and Summary behind the bar; State is the line below.
	Done           float64
	Summary, State string
	// Members are the best, the first one leading; More are not shown.
	Members []Member
	More    int
	// Names of Member.Values.
	Names []string
	// Exploits are the last ones, the newest first.
	Exploits []string
}

// Member is a row of the table.
type Member struct {
	Index   int
	Return  float64
	History []float64
	// Values of the hyperparameters.
	Values []float64
	// Quarantined members have weights that are not finite.
	Quarantined bool
}

// Line is one row of a terminal, with its escape sequences, and how many columns it
// takes without them.
type Line struct {
	Text  string
	Width int
}

// Styles, as the numbers of escape sequences.
const (
	plain  = ""
	dim    = "2"
	bold   = "1"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// maxBar is the longest bar that is drawn.
const maxBar = 30

// line gathers pieces up to the width of the terminal.
type line struct {
	b      strings.Builder
	width  int
	room   int
	colour bool
}

func (l *line) put(style, text string) {
	n := utf8.RuneCountInString(text)
	if n > l.room {
		text, n = string([]rune(text)[:l.room]), l.room
	}
	l.room -= n
	l.width += n
	if l.colour && style != plain && n > 0 {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	l.b.WriteString(text)
}

// Draw lays a view out for a terminal of so many columns and rows. No line reaches the
// last column, where terminals differ in what they do next, and one row stays free for
// the cursor. A terminal that is too low for the table gets the bar alone.
func Draw(v *View, columns, rows int, colour bool) (lines []Line) {
	add := func(draw func(l *line)) {
		l := &line{room: max(columns-1, 1), colour: colour}
		draw(l)
		lines = append(lines, Line{l.b.String(), l.width})
	}
	add(func(l *line) { drawBar(l, v) })
	if rows < 4 {
		return lines
	}
	add(func(l *line) { l.put(plain, v.State) })
	room := rows - len(lines) - 1
	if len(v.Exploits) > 0 && room > 4 {
		room-- // for their line
	}
	const around = 2 // an empty line and the names of the columns
	if shown := min(len(v.Members), room-around); shown >= 2 || shown == len(v.Members) && shown > 0 {
		drawTable(add, v, shown, columns)
	}
	if len(v.Exploits) > 0 && rows-len(lines)-1 > 0 {
		add(func(l *line) { drawExploits(l, v.Exploits) })
	}
	return lines
}

func drawBar(l *line, v *View) {
	if width := min(l.room-utf8.RuneCountInString(v.Summary)-2, maxBar); width >= 8 {
		full := int(math.Min(math.Max(v.Done, 0), 1)*float64(width) + 0.5)
		l.put(green, strings.Repeat("━", full))
		l.put(dim, strings.Repeat("─", width-full))
		l.put(plain, "  ")
	}
	l.put(plain, v.Summary)
}

// Widths of the table's columns.
const (
	indexWidth  = 6
	returnWidth = 9
	minValue    = 11
	// SparkWidth is how many points of a history are drawn where there is room.
	SparkWidth = 24
)

func drawTable(add func(func(*line)), v *View, shown, columns int) {
	spark := SparkWidth
	if columns < 60 {
		spark = 10
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, m := range v.Members[:shown] {
		for _, x := range m.History {
			if !math.IsNaN(x) && !math.IsInf(x, 0) {
				low, high = math.Min(low, x), math.Max(high, x)
			}
		}
	}
	add(func(*line) {})
	add(func(l *line) {
		l.put(dim, fmt.Sprintf("%*s%*s  %-*s", indexWidth, "member", returnWidth, "return", spark, "so far"))
		for _, name := range v.Names {
			if w := max(minValue, len(name)) + 2; l.room >= w {
				l.put(dim, fmt.Sprintf("%*s", w, name))
			}
		}
		if v.More+len(v.Members)-shown > 0 {
			l.put(dim, fmt.Sprintf("  +%d more", v.More+len(v.Members)-shown))
		}
	})
	for i := range v.Members[:shown] {
		m := &v.Members[i]
		add(func(l *line) {
			style := plain
			if i == 0 {
				style = bold
			}
			l.put(style, fmt.Sprintf("%*d%*s  ", indexWidth, m.Index, returnWidth, figure(m.Return)))
			if m.Quarantined {
				l.put(yellow, fmt.Sprintf("%-*.*s", spark, spark, "quarantined"))
			} else {
				l.put(cyan, fmt.Sprintf("%-*s", spark, Spark(m.History, spark, low, high)))
			}
			for j, name := range v.Names {
				if w := max(minValue, len(name)) + 2; l.room >= w && j < len(m.Values) {
					l.put(plain, fmt.Sprintf("%*s", w, fmt.Sprintf("%.3g", m.Values[j])))
				}
			}
		})
	}
}

func figure(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.1f", x)
}

// drawExploits lists as many as have room, whole ones alone.
func drawExploits(l *line, exploits []string) {
	l.put(dim, "exploits  ")
	for i, e := range exploits {
		if i > 0 {
			e = "   " + e
		}
		if i > 0 && utf8.RuneCountInString(e) > l.room {
			return
		}
		l.put(plain, e)
	}
}

var blocks = []rune("▁▂▃▄▅▆▇█")

// Spark draws a history in so many columns, between low and high; a gap is where there
// is no figure. A longer history is averaged.
func Spark(history []float64, width int, low, high float64) string {
	n := len(history)
	var b strings.Builder
	for i := range min(n, width) {
		from, to := i*n/min(n, width), (i+1)*n/min(n, width)
		sum, count := 0.0, 0
		for _, x := range history[from:to] {
			if !math.IsNaN(x) && !math.IsInf(x, 0) {
				sum, count = sum+x, count+1
			}
		}
		switch {
		case count == 0:
			b.WriteByte(' ')
		case high <= low:
			b.WriteRune(blocks[len(blocks)/2])
		default:
			level := (sum/float64(count) - low) / (high - low) * float64(len(blocks)-1)
			b.WriteRune(blocks[int(math.Min(math.Max(level+0.5, 0), float64(len(blocks)-1)))])
		}
	}
	return b.String()
}

// History keeps the course of a figure over a whole run in bounded memory: where it is
// full, neighbours are averaged and each point stands for twice as much.
type History struct {
	points []float64
	// each point stands for so many figures; sum and known gather the next one.
	each, got int
	sum       float64
	known     int
}

// maxHistory is how many points are kept; at least half of them are there once it was
// full.
const maxHistory = 4 * SparkWidth

// Add adds a figure; NaN: there is none.
func (h *History) Add(x float64) {
	h.each = max(h.each, 1)
	if !math.IsNaN(x) {
		h.sum, h.known = h.sum+x, h.known+1
	}
	if h.got++; h.got < h.each {
		return
	}
	h.points = append(h.points, mean(h.sum, h.known))
	h.got, h.sum, h.known = 0, 0, 0
	if len(h.points) < maxHistory {
		return
	}
	for i := range maxHistory / 2 {
		sum, known := 0.0, 0
		for _, x := range h.points[2*i : 2*i+2] {
			if !math.IsNaN(x) {
				sum, known = sum+x, known+1
			}
		}
		h.points[i] = mean(sum, known)
	}
	h.points, h.each = h.points[:maxHistory/2], 2*h.each
}

// Points are the course so far.
func (h *History) Points() []float64 { return h.points }

func mean(sum float64, n int) float64 {
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

// Height is how many rows lines take that were drawn on a terminal which may have
// become narrower since: it breaks them.
func Height(lines []Line, columns int) (rows int) {
	for _, l := range lines {
		rows += max(1, (l.Width+columns-1)/max(columns, 1))
	}
	return rows
}
