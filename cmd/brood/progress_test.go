package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// paper is a terminal that understands what progress sends: lines, going up, and
// clearing to the end. Anything else is an error.
type paper struct {
	t        *testing.T
	rows     []string
	row, col int
}

var sequence = regexp.MustCompile(`^\x1b\[(\d*)([A-Za-z])`)

func (p *paper) Write(data []byte) (int, error) {
	for s := string(data); s != ""; {
		if m := sequence.FindStringSubmatch(s); m != nil {
			s = s[len(m[0]):]
			switch n, _ := strconv.Atoi(m[1]); m[2] {
			case "A":
				p.row -= n
				require.GreaterOrEqual(p.t, p.row, 0, "above the first row")
			case "J":
				require.Zero(p.t, p.col)
				p.rows = p.rows[:p.row]
			default:
				require.Equal(p.t, "m", m[2])
			}
			continue
		}
		c := []rune(s)[0]
		s = s[len(string(c)):]
		switch c {
		case '\r':
			p.col = 0
		case '\n':
			p.row, p.col = p.row+1, 0
		default:
			for len(p.rows) <= p.row {
				p.rows = append(p.rows, "")
			}
			p.rows[p.row] += string(c)
			p.col++
		}
	}
	return len(data), nil
}

// watched trains a small run in memory and calls each after every update.
func watched(t *testing.T, each func(p *train.Progress)) {
	t.Helper()
	cfg, err := train.Load("small", []byte(smallYAML+"telemetry: {tensorboard: false}\n"), nil)
	require.NoError(t, err)
	run, err := train.New(cfg, train.Options{InMemory: true, Progress: each})
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(t.Context())
	require.NoError(t, err)
}

// Whatever is said meanwhile stays above, in its order and once; below stands one view,
// the newest.
func TestTheTerminalShowsOneViewBelowWhatWasSaid(t *testing.T) {
	for _, colour := range []bool{false, true} {
		out := &paper{t: t}
		p := &progress{out: out, terminal: true, colour: colour, size: func() (int, int) { return 100, 30 }}
		p.note("begun")
		watched(t, func(s *train.Progress) {
			p.last = p.last.Add(-2 * redraw)
			p.update(s)
			switch s.Update {
			case 4:
				p.warn("something")
			case 8:
				p.interrupted("stopping")
			}
		})
		p.finish()
		p.finish()
		require.Equal(t, []string{"note: begun", "warning: something", "stopping"}, out.rows[:3], "colour: %v", colour)
		all := strings.Join(out.rows, "\n")
		assert.Equal(t, 1, strings.Count(all, "100%  3.07k steps"), all)
		assert.Equal(t, 1, strings.Count(all, "update 12 of 12"), all)
		assert.Equal(t, 1, strings.Count(all, "member   return  so far"), all)
		assert.Regexp(t, `(?m)^     \d +\d+\.\d  [▁▂▃▄▅▆▇█]{12} `, all, "every update is in the course of the returns")
		assert.Regexp(t, `exploits  \d: \d copied \d \(reset\)`, all)
		assert.NotContains(t, all, "\x1b")
	}
}

func TestLinesWhereThereIsNoTerminal(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, size: func() (int, int) { return 80, 24 }}
	watched(t, func(s *train.Progress) { p.last = p.last.Add(-2 * linePause); p.update(s) })
	p.finish()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, 12)
	for _, line := range lines {
		require.Regexp(t, `^ *\d+%  [0-9.k]+ steps  [0-9.kMG]+/s  [0-9.ms]+ left  best \S+  median \S+  exploits \d+$`, line)
	}

	out.Reset()
	p = &progress{out: &out, quiet: true, size: p.size}
	watched(t, p.update)
	p.warn("heard anyway")
	p.finish()
	require.Equal(t, "warning: heard anyway\n", out.String())
}

func TestCompareScores(t *testing.T) {
	scores := []float64{math.NaN(), 1, 3, math.NaN(), 2}
	slices.SortStableFunc(scores, func(a, b float64) int { return compareScores(a, b, false) })
	require.Equal(t, "[3 2 1 NaN NaN]", fmt.Sprint(scores))
	slices.SortStableFunc(scores, func(a, b float64) int { return compareScores(a, b, true) })
	require.Equal(t, "[1 2 3 NaN NaN]", fmt.Sprint(scores))
}
