package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"brood/train"

	"golang.org/x/term"
)

const (
	// redraw keeps a terminal calm and the cost of drawing out of the training.
	redraw = 100 * time.Millisecond
	// linePause is how often a log file gets a line.
	linePause = 5 * time.Second
)

// progress shows how far a run has come: one line that is redrawn on a terminal,
// a plain line every few seconds elsewhere.
type progress struct {
	out      *os.File
	quiet    bool
	terminal bool
	colour   bool
	last     time.Time
	drawn    bool // a line on the terminal that the next one replaces
	scores   []float64
}

func newProgress(out *os.File, quiet bool) *progress {
	p := &progress{out: out, quiet: quiet}
	p.terminal = term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"
	p.colour = p.terminal && os.Getenv("NO_COLOR") == ""
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
func (p *progress) warn(message string) {
	p.clear()
	fmt.Fprintln(p.out, "warning: "+message)
}

// note shows what was done because it was asked for, quiet or not.
func (p *progress) note(message string) {
	p.clear()
	fmt.Fprintln(p.out, "note: "+message)
}

func (p *progress) update(s *train.Progress) {
	pause := linePause
	if p.terminal {
		pause = redraw
	}
	if p.quiet || time.Since(p.last) < pause && s.Update < s.Updates {
		return
	}
	p.last = time.Now()
	line := p.describe(s)
	if !p.terminal {
		fmt.Fprintln(p.out, line)
		return
	}
	width, _, err := term.GetSize(int(p.out.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	fraction := float64(s.EnvSteps) / float64(s.TotalSteps)
	bar := ""
	if room := min(width-len(line)-3, 30); room >= 8 {
		bar = p.bar(fraction, room) + "  "
	}
	if len(line) > width-1 {
		line = line[:width-1]
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s%s", bar, line)
	p.drawn = true
}

// describe is the line without the bar; it is plain ASCII.
func (p *progress) describe(s *train.Progress) string {
	rate := float64(s.StepsThisProcess) / math.Max(s.SecondsThisProcess, 1e-9)
	left := float64(s.TotalSteps-s.EnvSteps) / math.Max(rate, 1e-9)
	p.scores = s.Scores(p.scores[:0])
	best, median := "-", "-"
	if known := slices.DeleteFunc(p.scores, math.IsNaN); len(known) > 0 {
		slices.Sort(known)
		best = fmt.Sprintf("%.1f", known[len(known)-1])
		median = fmt.Sprintf("%.1f", (known[(len(known)-1)/2]+known[len(known)/2])/2)
	}
	return fmt.Sprintf("%3.0f%%  %s steps  %s/s  %s left  best %s  median %s  exploits %d",
		100*float64(s.EnvSteps)/float64(s.TotalSteps), short(float64(s.EnvSteps)), short(rate), duration(left), best, median, s.Exploits)
}

func (p *progress) bar(fraction float64, width int) string {
	full := int(fraction*float64(width) + 0.5)
	done, rest := strings.Repeat("━", full), strings.Repeat("─", width-full)
	if !p.colour {
		return done + rest
	}
	return "\x1b[32m" + done + "\x1b[0m\x1b[2m" + rest + "\x1b[0m"
}

// finish leaves the last line standing.
func (p *progress) finish() {
	if p.drawn {
		fmt.Fprint(p.out, "\n\n")
		p.drawn = false
	}
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}
