package table

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"brood/train"
)

// WriteMetrics writes a run's metrics as CSV: the names of metrics.jsonl in its order,
// then the hyperparameters. Figures are written as they stand there, and nothing for
// null. cut says that the last line was not whole and was left out.
func WriteMetrics(w io.Writer, dir string) (cut bool, err error) {
	_, evolved, err := Evolved(dir)
	if err != nil {
		return false, err
	}
	columns := train.MetricNames()
	for _, name := range evolved {
		if !slices.Contains(columns, name) { // learning_rate is a metric
			columns = append(columns, name)
		}
	}
	place := make(map[string]int, len(columns))
	for i, name := range columns {
		place[name] = i
	}
	// No figure and no name needs quotes: the cells are joined as they are.
	out := bufio.NewWriterSize(w, 1<<16)
	fmt.Fprintln(out, strings.Join(columns, ","))
	cells := make([][]byte, len(columns))
	cut, err = Metrics(dir, func(fields []Field) error {
		clear(cells)
		for _, f := range fields {
			i, ok := place[string(f.Name)]
			if !ok {
				return fmt.Errorf("the figure %q is not one of this version and configuration; valid: %s", f.Name, strings.Join(columns, ", "))
			}
			if !f.Null() {
				cells[i] = f.Text
			}
		}
		for i, cell := range cells {
			if i > 0 {
				_ = out.WriteByte(',') // what fails is told by Flush
			}
			_, _ = out.Write(cell)
		}
		return out.WriteByte('\n')
	})
	if err != nil {
		return false, err
	}
	return cut, out.Flush()
}

// WriteDecisions writes a run's exploits as CSV: a line of decisions.jsonl is a row, and
// each hyperparameter and what was measured after it are columns of their own.
func WriteDecisions(w io.Writer, dir string) (cut bool, err error) {
	cfg, _, err := Evolved(dir)
	if err != nil {
		return false, err
	}
	columns := []string{"update", "env_steps", "interval", "operation", "member", "source", "member_score", "source_score", "optimizer_strategy",
		"configured_strategy", "scale_momentum", "quarantined", "member_reevaluated", "source_reevaluated"}
	for _, h := range cfg.PBT.Hyperparameters {
		columns = append(columns, h.Name+"_before", h.Name+"_source", h.Name+"_operation", h.Name+"_after")
	}
	columns = append(columns, "outcome_source_return")
	for _, n := range train.OutcomeUpdates() {
		columns = append(columns, fmt.Sprintf("outcome_return_after_%d", n))
	}
	columns = append(columns, "outcome_success")
	out := csv.NewWriter(w)
	if err := out.Write(columns); err != nil {
		return false, err
	}
	cut, err = eachLine(filepath.Join(dir, decisionsFile), func(text []byte) error {
		var l train.DecisionLine
		if err := json.Unmarshal(text, &l); err != nil {
			return err
		}
		row := []string{strconv.FormatInt(l.Update, 10), strconv.FormatInt(l.EnvSteps, 10), strconv.Itoa(l.Interval), l.Operation, strconv.Itoa(l.Member),
			strconv.Itoa(l.Source), number(l.MemberScore), number(l.SourceScore), string(l.OptimizerStrategy), string(l.ConfiguredStrategy),
			strconv.FormatBool(l.ScaleMomentum), strconv.FormatBool(l.Quarantined), number(l.MemberReevaluated), number(l.SourceReevaluated)}
		for _, h := range cfg.PBT.Hyperparameters {
			c, ok := l.Hyperparameters[h.Name]
			if !ok {
				return fmt.Errorf("the hyperparameter %s is missing, which the configuration evolves", h.Name)
			}
			row = append(row, number(&c.Before), number(&c.Source), c.Operation, number(&c.After))
		}
		return out.Write(append(row, outcome(l.Outcome)...))
	})
	out.Flush()
	if err != nil {
		return false, err
	}
	return cut, out.Error()
}

// outcome are the cells of what was measured; empty where it was not.
func outcome(o *train.Outcome) []string {
	updates := train.OutcomeUpdates()
	cells := make([]string, len(updates)+2)
	if o == nil {
		return cells
	}
	cells[0] = number(&o.SourceReturn)
	for _, a := range o.After {
		if i := slices.Index(updates, a.Updates); i >= 0 {
			cells[1+i] = number(a.Mean)
		}
	}
	if o.Success != nil {
		cells[len(cells)-1] = strconv.FormatBool(*o.Success)
	}
	return cells
}

func number(x *float64) string {
	if x == nil || math.IsNaN(*x) {
		return ""
	}
	return strconv.FormatFloat(*x, 'g', -1, 64)
}
