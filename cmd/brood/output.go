package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"brood/train"
)

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printSummary says what a run came to: every member, the best one first, and
// what to type next.
func printSummary(w io.Writer, s *train.Summary) {
	fmt.Fprintf(w, "%s  %s env steps in %s  %s steps/s  %s updates, %s  %s\n\n", s.Env, thousands(s.EnvSteps), duration(s.Seconds),
		thousands(int64(s.EnvStepsPerSecond)), thousands(s.Updates), plural(s.Exploits, "exploit"), s.Device)
	printMembers(w, s)
	switch {
	case s.Best == nil:
		fmt.Fprintln(w, "\nno member has finished an episode yet")
	case s.Stopped != nil:
		fmt.Fprintf(w, "\nbest so far  member %d, mean return %.1f in training\ncheckpoint   %s\n", s.Best.Member, s.Best.MeanReturn, s.Best.Checkpoint)
	default:
		over := "in training"
		if p := s.Members[s.Best.Member].Selection; p != nil {
			over = "over " + plural(int64(p.Episodes), "episode")
		}
		fmt.Fprintf(w, "\nbest        member %d, mean return %.1f %s\ncheckpoint  %s\nnext        brood eval %s\n", s.Best.Member, s.Best.MeanReturn, over,
			s.Best.Checkpoint, s.Run)
	}
}

// printMembers prints a table of the members, the best at the top.
func printMembers(w io.Writer, s *train.Summary) {
	names := make([]string, 0)
	for name := range s.Members[0].Hyperparameters {
		names = append(names, name)
	}
	slices.Sort(names)
	rows := [][]string{append([]string{"member", "mean return", "std", "in training"}, names...)}
	for _, index := range s.Ranking() {
		m := s.Members[index]
		mean, std := "-", "-"
		if m.Selection != nil {
			mean, std = fmt.Sprintf("%.1f", m.Selection.MeanReturn), fmt.Sprintf("%.1f", m.Selection.StdReturn)
		}
		row := []string{strconv.Itoa(m.Member), mean, std, score(m.Score)}
		for _, name := range names {
			row = append(row, strconv.FormatFloat(m.Hyperparameters[name], 'g', 3, 64))
		}
		rows = append(rows, row)
	}
	printTable(w, rows)
}

// printTable prints right-aligned columns.
func printTable(w io.Writer, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			fmt.Fprintf(&line, "%*s", width[i], cell)
		}
		fmt.Fprintln(w, line.String())
	}
}

func score(x *float64) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *x)
}

// thousands groups the digits of n by threes.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short writes a count in three or four characters: 950, 12.3k, 4.00M.
func short(n float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= unit.size {
			v := n / unit.size
			decimals := max(0, 2-int(math.Log10(v)))
			return strconv.FormatFloat(v, 'f', decimals, 64) + unit.name
		}
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

// duration writes seconds as 8.1s, 2m05s or 1h02m.
func duration(seconds float64) string {
	switch s := int64(seconds + 0.5); {
	case seconds < 60:
		return fmt.Sprintf("%.1fs", seconds)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	default:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	}
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(n) + " " + what + "s"
}
