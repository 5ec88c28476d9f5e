package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"brood/telemetry/screen"
	"brood/train"

	"golang.org/x/term"
)

const (
	// redraw keeps a terminal calm and the cost of drawing out of the training.
	redraw = 100 * time.Millisecond
	// linePause is how often a log file gets a line.
	linePause = 5 * time.Second
	// maxRows is how many members the table has at most.
	maxRows = 10
	// maxColumns bounds the hyperparameters of the table.
	maxColumns = 4
)

// progress shows how far a run has come: some lines that are redrawn on a terminal, a
// plain line every few seconds elsewhere.
//
// The terminal stays in its own mode and on its own screen, and the cursor stays
// visible: however the process ends, there is nothing to restore, Ctrl-C is a signal
// as without the lines, and what was shown last stays in the scrollback.
type progress struct {
	out      io.Writer
	quiet    bool
	terminal bool
	colour   bool
	// size of the terminal in columns and rows; nil where there is none.
	size func() (columns, rows int)

	mu        sync.Mutex
	last      time.Time
	drawn     []screen.Line // on the terminal, the cursor in the row below
	scores    []float64
	ordered   []float64
	histories []screen.History // of the members
	exploited []train.RecentExploit
}

func newProgress(out *os.File, quiet bool) *progress {
	p := &progress{out: out, quiet: quiet}
	p.terminal = term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"
	p.colour = p.terminal && os.Getenv("NO_COLOR") == ""
	p.size = func() (columns, rows int) {
		columns, rows, err := term.GetSize(int(out.Fd()))
		if err != nil || columns < 1 || rows < 1 {
			return 80, 24
		}
		return columns, rows
	}
	return p
}

func (p *progress) start(dir string, run *train.Run) {
	if p.quiet {
		return
	}
	c := run.Config()
	from := ""
	if done, total := run.Updates(); done > 0 {
		from = fmt.Sprintf(", from update %d of %d", done, total)
	}
	fmt.Fprintf(p.out, "%s  %d members x %d environments  %s  %s%s\n", c.Env.ID, c.PBT.PopulationSize, c.Env.Count, run.EngineName(), dir, from)
	p.last = time.Now()
}

// warn shows a message that must not be lost, quiet or not.
func (p *progress) warn(message string) { p.say("warning: " + message) }

// note shows what was done because it was asked for, quiet or not.
func (p *progress) note(message string) { p.say("note: " + message) }

// interrupted shows what follows a first Ctrl-C, whose echo is in the way elsewhere.
func (p *progress) interrupted(message string) {
	if !p.terminal {
		message = "\n" + message
	}
	p.say(message)
}

// say shows a message above what is redrawn.
func (p *progress) say(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	columns, _ := p.size()
	fmt.Fprint(p.out, p.erasure(columns)+message+"\n")
	p.drawn = nil
}

func (p *progress) update(s *train.Progress) {
	pause := linePause
	if p.terminal {
		pause = redraw
	}
	if p.quiet || time.Since(p.last) < pause && s.Update < s.Updates {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	if !p.terminal {
		fmt.Fprintln(p.out, p.describe(s))
		return
	}
	columns, rows := p.size()
	lines := screen.Draw(p.view(s), columns, rows, p.colour)
	var frame strings.Builder
	frame.WriteString(p.erasure(columns))
	for _, l := range lines {
		frame.WriteString(l.Text + "\n")
	}
	fmt.Fprint(p.out, frame.String()) // in one piece, so that nothing flickers
	p.drawn = lines
}

// erasure brings the cursor to where the lines began and clears everything below.
func (p *progress) erasure(columns int) string {
	if len(p.drawn) == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[J", screen.Height(p.drawn, columns))
}

// figures are those of the first line of a view and of a plain line.
func (p *progress) figures(s *train.Progress) (summary string, best, median float64) {
	rate := float64(s.StepsThisProcess) / math.Max(s.SecondsThisProcess, 1e-9)
	left := float64(s.TotalSteps-s.EnvSteps) / math.Max(rate, 1e-9)
	p.scores = s.Scores(p.scores[:0])
	p.ordered = append(p.ordered[:0], p.scores...)
	best, median = train.BestAndMedian(p.ordered, s.LowerIsBetter())
	return fmt.Sprintf("%3.0f%%  %s steps  %s/s  %s left", 100*float64(s.EnvSteps)/float64(s.TotalSteps), short(float64(s.EnvSteps)), short(rate), duration(left)),
		best, median
}

// describe is a plain line, in ASCII.
func (p *progress) describe(s *train.Progress) string {
	summary, best, median := p.figures(s)
	return fmt.Sprintf("%s  best %s  median %s  exploits %d", summary, orDash(best), orDash(median), s.Exploits)
}

func orDash(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.1f", x)
}

// view gathers what the terminal shows.
func (p *progress) view(s *train.Progress) *screen.View {
	summary, best, median := p.figures(s)
	v := &screen.View{Done: float64(s.EnvSteps) / float64(s.TotalSteps), Summary: summary}
	v.State = fmt.Sprintf("update %d of %d  best %s  median %s  exploits %d", s.Update, s.Updates, orDash(best), orDash(median), s.Exploits)
	if c := s.Checkpoints(); !c.At.IsZero() {
		v.State += "  checkpoint " + time.Since(c.At).Truncate(time.Second).String() + " ago"
	}
	if n := len(p.scores); len(p.histories) != n {
		p.histories = make([]screen.History, n)
	}
	ranking := make([]int, len(p.scores))
	for m, x := range p.scores {
		p.histories[m].Add(x)
		ranking[m] = m
	}
	slices.SortStableFunc(ranking, func(a, b int) int { return compareScores(p.scores[a], p.scores[b], s.LowerIsBetter()) })
	v.Names = s.Evolved()
	v.Names = v.Names[:min(len(v.Names), maxColumns)]
	for _, m := range ranking[:min(len(ranking), maxRows)] {
		f := s.Member(m)
		v.Members = append(v.Members, screen.Member{Index: m, Return: f.Return, History: p.histories[m].Points(), Values: f.Hyperparameters[:len(v.Names)],
			Quarantined: f.Quarantined})
	}
	v.More = len(ranking) - len(v.Members)
	p.exploited = s.Exploited(p.exploited[:0])
	for _, e := range slices.Backward(p.exploited) {
		v.Exploits = append(v.Exploits, fmt.Sprintf("%d: %d copied %d (%s)", e.Update, e.Member, e.Source, e.Strategy))
	}
	return v
}

// compareScores orders the better score first, and those that do not exist last.
func compareScores(a, b float64, lowerIsBetter bool) int {
	switch {
	case math.IsNaN(a) || math.IsNaN(b):
		return cmp.Compare(map[bool]int{true: 1}[math.IsNaN(a)], map[bool]int{true: 1}[math.IsNaN(b)])
	case lowerIsBetter:
		return cmp.Compare(a, b)
	}
	return cmp.Compare(b, a)
}

// finish leaves the last lines standing.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.drawn) > 0 {
		fmt.Fprintln(p.out)
		p.drawn = nil
	}
}
