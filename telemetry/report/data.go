// Package report makes one HTML file of run folders: charts, the family, what exploits
// came to, the configuration. The file needs nothing else, and can be mailed.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"brood/lineage"
	"brood/telemetry/table"
	"brood/train"
)

const (
	// maxMembers have lines of their own; best and median are of all members.
	maxMembers = 256
	// maxBuckets is how many points a series keeps; at least half of them are there
	// once a run has as many updates.
	maxBuckets = 600
	// smallBuckets is that of the small charts.
	smallBuckets = 150
)

// figures of metrics.jsonl that have a chart, train_return first.
var figures = []struct{ name, title string }{{"train_return", "Return"}, {"policy_loss", "Policy loss"}, {"value_loss", "Value loss"},
	{"entropy", "Entropy (nats)"}, {"approx_kl", "KL divergence"}, {"explained_variance", "Explained variance"}, {"clip_fraction", "Clipped share"}}

// run is what a page shows of a run folder.
type run struct {
	dir     string
	cfg     train.Config
	config  string
	tree    *lineage.Tree
	summary *train.Summary // nil: the run has not ended or been interrupted
	// updates are done, by metrics.jsonl.
	updates, exploits int64
	// members that have lines, of population.
	members, population int
	series              *buckets
	last                []float64 // [members], the last train_return; NaN: none
	warnings            []string
}

// buckets average every figure over so many updates. Where the updates are more than
// there is room for, neighbours are merged.
type buckets struct {
	each int64 // updates
	used int
	// sums and counts by member, figure and bucket; the last members are best and median.
	sums   [][][]float64
	counts [][][]float64
}

func newBuckets(members, figures int) *buckets {
	b := &buckets{each: 1}
	for range members {
		sums, counts := make([][]float64, figures), make([][]float64, figures)
		for f := range figures {
			sums[f], counts[f] = make([]float64, maxBuckets), make([]float64, maxBuckets)
		}
		b.sums, b.counts = append(b.sums, sums), append(b.counts, counts)
	}
	return b
}

func (b *buckets) add(member, figure int, update int64, x float64) {
	for (update-1)/b.each >= maxBuckets {
		b.merge()
	}
	i := int((update - 1) / b.each)
	b.used = max(b.used, i+1)
	b.sums[member][figure][i] += x
	b.counts[member][figure][i]++
}

func (b *buckets) merge() {
	half := func(rows [][][]float64) {
		for _, figures := range rows {
			for _, row := range figures {
				for i := range maxBuckets / 2 {
					row[i] = row[2*i] + row[2*i+1]
				}
				clear(row[maxBuckets/2:])
			}
		}
	}
	half(b.sums)
	half(b.counts)
	b.each, b.used = 2*b.each, (b.used+1)/2
}

// points are a series' averages; NaN where there was no figure. With limit they are
// merged to at most so many.
func (b *buckets) points(member, figure, limit int) (updates []int64, values []float64) {
	step := max((b.used+limit-1)/limit, 1)
	for from := 0; from < b.used; {
		sum, n := 0.0, 0.0
		to := min(from+step, b.used)
		if b.used-to < (step+1)/2 {
			to = b.used // an average of few at the end would stand out by its noise alone
		}
		for i := from; i < to; i++ {
			sum, n = sum+b.sums[member][figure][i], n+b.counts[member][figure][i]
		}
		updates, values = append(updates, int64(to)*b.each), append(values, sum/n)
		from = to
	}
	return updates, values
}

// read gathers all of a run.
func read(dir string) (*run, error) {
	r := &run{dir: dir}
	var err error
	if r.cfg, _, err = table.Evolved(dir); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	if err != nil {
		return nil, err
	}
	r.config = string(text)
	if r.tree, err = lineage.Read(dir); err != nil {
		return nil, err
	}
	r.warnings = append(r.warnings, r.tree.Warnings...)
	r.exploits = int64(r.tree.Summary().Exploits)
	if err := r.readSummary(); err != nil {
		return nil, err
	}
	return r, r.readMetrics()
}

func (r *run) readSummary() error {
	path := filepath.Join(r.dir, "summary.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		r.summary = &train.Summary{}
		err = json.Unmarshal(text, r.summary)
	}
	if err != nil {
		return fmt.Errorf("report: the summary: %s: %w", path, err)
	}
	return nil
}

// readMetrics reads metrics.jsonl, whose lines come by update and within it by member.
func (r *run) readMetrics() error {
	r.population = r.tree.Population
	for _, c := range r.tree.Changes {
		r.population = max(r.population, c.Before)
	}
	r.members = min(r.population, maxMembers)
	r.series = newBuckets(r.members+1, len(figures))
	r.last = slices.Repeat([]float64{math.NaN()}, r.members)
	place := map[string]int{}
	for i, f := range figures {
		place[f.name] = i
	}
	var returns []float64
	population := func(update int64) {
		best, median := train.BestAndMedian(returns, r.cfg.PBT.MetricMode == "min")
		if !math.IsNaN(best) {
			r.series.add(r.members, 0, update, best)
			r.series.add(r.members, 1, update, median)
		}
		returns = returns[:0]
	}
	cut, err := table.Metrics(r.dir, func(fields []table.Field) error {
		update, member := int64(0), -1
		for _, f := range fields {
			switch string(f.Name) {
			case "update":
				update, _ = strconv.ParseInt(string(f.Text), 10, 64)
			case "member":
				member, _ = strconv.Atoi(string(f.Text))
			}
		}
		if update < max(r.updates, 1) || member < 0 || member >= r.population {
			return fmt.Errorf("update %d of member %d is out of place: the run has %d members, and updates ascend", update, member, r.population)
		}
		if update > r.updates && r.updates > 0 {
			population(r.updates)
		}
		r.updates = update
		for _, f := range fields {
			i, ok := place[string(f.Name)]
			if !ok || f.Null() {
				continue
			}
			x, err := strconv.ParseFloat(string(f.Text), 64)
			if err != nil {
				return err
			}
			if i == 0 {
				returns = append(returns, x)
			}
			if member < r.members {
				r.series.add(member, i, update, x)
				if i == 0 {
					r.last[member] = x
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.updates > 0 {
		population(r.updates)
	}
	if cut {
		r.warnings = append(r.warnings, "metrics.jsonl ends in the middle of a line, which is left out: the run goes on, or was killed.")
	}
	if r.population > r.members {
		r.warnings = append(r.warnings, fmt.Sprintf("Lines are those of the first %d members of %d; best and median are of all.", r.members, r.population))
	}
	return nil
}

// leader is the member that is drawn as the best: the one that was chosen at the end, or
// the one with the best last return.
func (r *run) leader() int {
	if r.summary != nil && r.summary.Best != nil {
		return r.summary.Best.Member
	}
	best := 0
	for m, x := range r.last {
		if math.IsNaN(r.last[best]) || r.cfg.PBT.MetricMode == "min" && x < r.last[best] || r.cfg.PBT.MetricMode != "min" && x > r.last[best] {
			best = m
		}
	}
	return best
}

// roots are the lives at the start that each life descends from.
func (r *run) roots() []int {
	roots := make([]int, len(r.tree.Lives))
	for id := range r.tree.Lives {
		if p := r.tree.Lives[id].Parent; p != lineage.None {
			roots[id] = roots[p]
		} else {
			roots[id] = id
		}
	}
	return roots
}

// survivors are the roots with living descendants, the one with most first.
func (r *run) survivors() []int {
	living := r.tree.LivingDescendants()
	var roots []int
	for id := range r.tree.Lives {
		if r.tree.Lives[id].Parent == lineage.None && living[id] > 0 {
			roots = append(roots, id)
		}
	}
	slices.SortStableFunc(roots, func(a, b int) int { return living[b] - living[a] })
	return roots
}
