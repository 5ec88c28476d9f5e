package screen

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

func view() *View {
	v := &View{Done: 0.5, Summary: " 50%  1.25M steps  371k/s  3.4s left", State: "update 76 of 153  best 500.0  median 210.0  exploits 4",
		Names: []string{"learning_rate", "entropy_coef"}, More: 3, Exploits: []string{"70: 3 copied 5 (reset)", "60: 1 copied 2 (reset)", "50: 1 copied 2 (reset)"}}
	for i := range 4 {
		v.Members = append(v.Members, Member{Index: 7 - i, Return: float64(500 - 100*i), History: []float64{0, 100, math.NaN(), 500 - 100*float64(i)},
			Values: []float64{0.00123456, 1e-5}})
	}
	v.Members[3].Return, v.Members[3].Quarantined = math.NaN(), true
	return v
}

func text(lines []Line) string {
	var rows []string
	for _, l := range lines {
		rows = append(rows, strings.TrimRight(l.Text, " "))
	}
	return strings.Join(rows, "\n")
}

func TestDraw(t *testing.T) {
	want := `
━━━━━━━━━━━━━━━───────────────   50%  1.25M steps  371k/s  3.4s left
update 76 of 153  best 500.0  median 210.0  exploits 4

member   return  so far                    learning_rate  entropy_coef  +3 more
     7    500.0  ▁▂ █                            0.00123         1e-05
     6    400.0  ▁▂ ▇                            0.00123         1e-05
     5    300.0  ▁▂ ▅                            0.00123         1e-05
     4        -  quarantined                     0.00123         1e-05
exploits  70: 3 copied 5 (reset)   60: 1 copied 2 (reset)`
	require.Equal(t, strings.TrimPrefix(want, "\n"), text(Draw(view(), 80, 24, false)))
}

func TestDrawOnALowTerminal(t *testing.T) {
	v := view()
	require.Len(t, Draw(v, 80, 3, false), 1, "the bar alone")
	low := text(Draw(v, 80, 8, false))
	assert.Contains(t, low, "\n     7    500.0")
	assert.Contains(t, low, "+5 more", "what has no room is counted")
	assert.NotContains(t, low, "     5    300.0")
}

// Whatever the size of the terminal: no line is too long, there is a row for the
// cursor, the width is what is seen, and without colour there is no escape sequence.
func TestDrawFitsEveryTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns, rows := rapid.IntRange(1, 200).Draw(t, "columns"), rapid.IntRange(1, 50).Draw(t, "rows")
		colour := rapid.Bool().Draw(t, "colour")
		v := view()
		v.Done = rapid.Float64Range(-1, 2).Draw(t, "done")
		v.Members = v.Members[:rapid.IntRange(0, 4).Draw(t, "members")]
		v.Exploits = v.Exploits[:rapid.IntRange(0, 3).Draw(t, "exploits")]
		lines := Draw(v, columns, rows, colour)
		require.LessOrEqual(t, len(lines), max(rows-1, 1))
		for _, l := range lines {
			seen := escape.ReplaceAllString(l.Text, "")
			require.Equal(t, utf8.RuneCountInString(seen), l.Width)
			require.LessOrEqual(t, l.Width, max(columns-1, 1))
			require.True(t, colour || seen == l.Text)
			require.NotContains(t, seen, "\x1b")
		}
		require.Equal(t, len(lines), Height(lines, columns))
	})
}

func TestHeightOfLinesThatTheTerminalBroke(t *testing.T) {
	lines := []Line{{Width: 79}, {Width: 0}, {Width: 40}, {Width: 41}}
	require.Equal(t, 2+1+1+2, Height(lines, 40))
	require.Equal(t, 4, Height(lines, 80))
}

// A history stands for the whole run, however long it was.
func TestHistory(t *testing.T) {
	var h History
	for i := range 100_000 {
		h.Add(float64(i))
		require.Less(t, len(h.Points()), maxHistory)
	}
	points := h.Points()
	require.GreaterOrEqual(t, len(points), maxHistory/2)
	for i := 1; i < len(points); i++ {
		require.Greater(t, points[i], points[i-1])
	}
	require.Less(t, points[0], 2100.0)
	require.Greater(t, points[len(points)-1], 95_000.0)

	h = History{}
	h.Add(math.NaN())
	h.Add(3)
	require.Equal(t, "[NaN 3]", fmt.Sprint(h.Points()))
	for range maxHistory {
		h.Add(math.NaN())
	}
	require.InDelta(t, 3, h.Points()[0], 0, "what is there counts, not what is not")
	require.Equal(t, "▅ ", Spark([]float64{3, math.NaN()}, 5, 3, 3))
	require.Equal(t, "▁█", Spark([]float64{0, 0, 9, 9}, 2, 0, 9), "a long one is averaged")
}
