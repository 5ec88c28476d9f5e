package report

import (
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// comparison is what the page shows of several runs together.
type comparison struct {
	Returns template.HTML
	// Runs are the lines' names, in the order of their colours.
	Runs []compared
	// Settings has a row for each key whose value differs, and a column for each run.
	Settings tableData
	Note     string
}

type compared struct{ ID, Name, Class, Best, Steps string }

// maxDiffering bounds the rows of settings that differ.
const maxDiffering = 40

// compare draws the returns of several runs over the steps of their populations.
func compare(runs []*run, sections []section) (c comparison, err error) {
	var all []float64
	steps := 0.0
	for _, r := range runs {
		for f := range 2 {
			_, ys := r.series.points(r.members, f, maxBuckets)
			all = append(all, ys...)
		}
		steps = max(steps, r.allSteps())
	}
	never := false
	drawn := newChart("Best and median return of each run over environment steps", wide, tall, steps, all, &never)
	for i, r := range runs {
		class := fmt.Sprintf("f%d", min(i, colours-1))
		us, best := r.series.points(r.members, 0, maxBuckets)
		_, median := r.series.points(r.members, 1, maxBuckets)
		drawn.line("compared "+class, r.dir+": best member at each time", drawn.path(r.steps(us), best, false))
		drawn.line("compared strong "+class, r.dir+": median of the members", drawn.path(r.steps(us), median, false))
		score := "–"
		if r.summary != nil && r.summary.Best != nil {
			score = figure(r.summary.Best.MeanReturn)
		}
		c.Runs = append(c.Runs, compared{sections[i].ID, r.dir, class, score, label(r.allSteps())})
	}
	if steps > 0 {
		c.Returns = template.HTML(drawn.svg())
	}
	c.Settings, err = differing(runs)
	if n := len(c.Settings.Rows); n > maxDiffering {
		c.Settings.Rows = c.Settings.Rows[:maxDiffering]
		c.Note = fmt.Sprintf("The first %d of %d settings that differ.", maxDiffering, n)
	}
	return c, err
}

// colours is the number of colours of lines; more runs share the last.
const colours = 9

// differing lists the configuration's keys whose values are not the same in all runs.
func differing(runs []*run) (tableData, error) {
	t := tableData{Head: []string{"setting"}}
	flat := make([]map[string]string, len(runs))
	keys := map[string]bool{}
	for i, r := range runs {
		var document any
		if err := yaml.Unmarshal([]byte(r.config), &document); err != nil {
			return t, fmt.Errorf("report: %s: config.yaml: %w", r.dir, err)
		}
		flat[i] = map[string]string{}
		flatten(flat[i], "", document)
		for key := range flat[i] {
			keys[key] = true
		}
		t.Head = append(t.Head, r.dir)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		cells := []string{key}
		same := true
		for _, values := range flat {
			value, there := values[key]
			if !there {
				value = "–"
			}
			cells = append(cells, value)
			same = same && value == cells[1]
		}
		if !same {
			t.Rows = append(t.Rows, row{Member: -1, Cells: cells})
		}
	}
	return t, nil
}

// flatten writes the values of a document by their paths, such as ppo.vgs.enabled.
func flatten(out map[string]string, path string, value any) {
	at := func(key string) string { return strings.TrimPrefix(path+"."+key, ".") }
	switch v := value.(type) {
	case map[string]any:
		for key, inside := range v {
			flatten(out, at(key), inside)
		}
	case []any:
		for i, inside := range v {
			flatten(out, at(strconv.Itoa(i)), inside)
		}
	default:
		out[path] = fmt.Sprint(v)
	}
}
