package lineage

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"brood/kernels"
	"brood/pbt"
	"brood/train"
)

const (
	decisionsFile = "decisions.jsonl"
	metricsFile   = "metrics.jsonl"
)

// Read reads the family of a run folder. A run that goes on can be read: a last line
// of decisions.jsonl that is not whole yet is left out, and Warnings say so. A
// damaged line is an error that names the file and the line.
func Read(dir string) (*Tree, error) {
	// The family does not depend on the device, which this build may lack.
	cfg, err := train.ReadRun(dir, train.Setting{Origin: "lineage", Key: "run.device", Value: train.DeviceCPU},
		train.Setting{Origin: "lineage", Key: "run.precision", Value: string(kernels.Float32)})
	if err != nil {
		return nil, err
	}
	t := &Tree{Run: dir, Env: cfg.Env.ID, Updates: cfg.TotalUpdates(), Start: cfg.PBT.PopulationSize}
	if len(cfg.Run.Earlier) > 0 {
		t.Start = cfg.Run.Earlier[0].PopulationSize
	}
	t.Population = t.Start
	if err := t.begin(cfg); err != nil {
		return nil, err
	}
	// Looked at first: a line that becomes whole in between is read, and a line that
	// is begun in between is not there yet for whoever looks.
	cut, err := endsInLine(filepath.Join(dir, decisionsFile))
	if err != nil {
		return nil, err
	}
	lines, err := train.ReadDecisions(dir)
	if err != nil {
		return nil, err
	}
	if cut {
		t.warn("%s ends in the middle of a line, which is left out: the run goes on, or was killed", filepath.Join(dir, decisionsFile))
	}
	return t, t.addExploits(lines, changesOf(cfg))
}

func (t *Tree) warn(format string, args ...any) {
	t.Warnings = append(t.Warnings, fmt.Sprintf(format, args...))
}

// endsInLine says whether a file's last line lacks its end.
func endsInLine(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("lineage: the run's exploits: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil {
		return false, fmt.Errorf("lineage: the run's exploits: %w", err)
	}
	return last[0] != '\n', nil
}

// begin makes the lives that the run starts with.
func (t *Tree) begin(cfg train.Config) error {
	engine, err := cfg.EngineConfig()
	if err != nil {
		return err
	}
	for _, h := range cfg.PBT.Hyperparameters {
		t.Names = append(t.Names, h.Name)
	}
	t.evolved = len(t.Names)
	t.schedule = slices.Clone(cfg.Run.Schedule)
	slices.SortStableFunc(t.schedule, func(a, b train.ScheduledValue) int { return cmp.Compare(a.Update, b.Update) })
	for _, s := range t.schedule {
		if !slices.Contains(t.Names, s.Name) {
			t.Names = append(t.Names, s.Name)
		}
	}
	// Members draw their own values, also where they never copy each other.
	first := cfg.PBT
	first.PopulationSize = t.Start
	scheduler, err := pbt.NewScheduler(first, cfg.Run.Seed)
	if err != nil {
		return err
	}
	for _, m := range scheduler.Population() {
		values := m.Hyperparameters
		for _, name := range t.Names[t.evolved:] {
			index, ok := kernels.HyperparameterOf(engine.Env.Spec(), name)
			if !ok {
				return fmt.Errorf("lineage: run.schedule of %s names %q, which is not a hyperparameter", t.Run, name)
			}
			values[name] = float64(engine.Hyperparameters[index])
		}
		t.Lives = append(t.Lives, Life{ID: m.ID, Member: m.ID, Ended: None, Parent: None, Hyperparameters: values})
		t.Current = append(t.Current, m.ID)
	}
	return t.checkStart()
}

// maxMetricsLine bounds what a line of metrics.jsonl may take in memory.
const maxMetricsLine = 1 << 20

// checkStart compares the drawn values with those that the first lines of
// metrics.jsonl show. They differ where a resumed run was given other ranges, from
// which it did not draw; then what was there counts.
func (t *Tree) checkStart() error {
	path := filepath.Join(t.Run, metricsFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lineage: the run's metrics: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, maxMetricsLine)
	changed := false
	for number := 1; number <= t.Start; number++ {
		text, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break // the run has just begun
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%s:%d: a line of more than %d bytes", path, number, maxMetricsLine)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
		var line map[string]*float64
		if err := json.Unmarshal(text, &line); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
		if line["update"] == nil || *line["update"] != 1 || line["member"] == nil || *line["member"] != float64(number-1) {
			return fmt.Errorf("%s:%d: is not of update 1 and member %d", path, number, number-1)
		}
		values := t.Lives[number-1].Hyperparameters
		for _, name := range t.Names[:t.evolved] {
			if shown := line[name]; shown != nil && float32(*shown) != float32(values[name]) {
				values[name], changed = *shown, true
			}
		}
	}
	if changed {
		t.warn("the members of %s did not start with what its configuration draws now, as the run was resumed with another one: their first values are taken from %s",
			t.Run, metricsFile)
	}
	return nil
}

// addExploits adds the lives that were born by copying, and carries out the changes
// of the number of members. The exploits of one update happen at once: every source is
// the life that its member had before. A change comes after the exploits of its update.
func (t *Tree) addExploits(lines []train.DecisionLine, changes []Change) error {
	a := &adding{tree: t, path: filepath.Join(t.Run, decisionsFile)}
	for len(lines) > 0 || len(changes) > 0 {
		n := together(lines)
		if len(changes) > 0 && (n == 0 || changes[0].Update < lines[0].Update || changes[0].Update == lines[0].Update && lines[0].Operation != "") {
			if n > 0 && changes[0].Update != lines[0].Update {
				n = 0
			}
			whole, err := a.change(changes[0], lines[:n], len(lines) == n)
			if err != nil {
				return err
			}
			if !whole {
				break
			}
			changes = changes[1:]
		} else if lines[0].Operation != "" {
			return fmt.Errorf("%s:%d: operation %q at update %d, at which run.earlier of the configuration has no change of the number of members",
				a.path, a.line+1, lines[0].Operation, lines[0].Update)
		} else if err := a.exploits(lines[:n]); err != nil {
			return err
		}
		lines = lines[n:]
	}
	if a.contradictions > 1 {
		t.warn("%d more lines of %s show values other than the lines before them", a.contradictions-1, a.path)
	}
	return nil
}

// together is the number of lines, from the first, that happened at once.
func together(lines []train.DecisionLine) int {
	n := 0
	for n < len(lines) && lines[n].Update == lines[0].Update && (lines[n].Operation == "") == (lines[0].Operation == "") {
		n++
	}
	return n
}

// adding is a family on its way from the lines of decisions.jsonl.
type adding struct {
	tree           *Tree
	path           string
	line           int // lines that were added
	contradictions int
}

// exploits adds lines that happened at once.
func (a *adding) exploits(lines []train.DecisionLine) error {
	t := a.tree
	before := slices.Clone(t.Current)
	for i := range lines {
		d := &lines[i]
		a.line++
		if err := t.checkExploit(d, before); err != nil {
			return fmt.Errorf("%s:%d: %w", a.path, a.line, err)
		}
		if what := t.contradiction(d, before); what != "" {
			if a.contradictions++; a.contradictions == 1 {
				t.warn("%s:%d: %s", a.path, a.line, what)
			}
		}
		if t.Current[d.Member] != None {
			t.Lives[t.Current[d.Member]].Ended = d.Update
		}
		t.Current[d.Member] = len(t.Lives)
		t.Lives = append(t.Lives, t.child(d, before[d.Source]))
	}
	return nil
}

func (t *Tree) child(d *train.DecisionLine, parent int) Life {
	values := t.valuesAt(parent, d.Update-1)
	for _, name := range t.Names[:t.evolved] {
		values[name] = d.Hyperparameters[name].After
	}
	return Life{ID: len(t.Lives), Member: d.Member, Born: d.Update, Ended: None, Parent: parent, Exploit: d, Hyperparameters: values}
}

// checkExploit says what of a line cannot be. before are the lives by member before
// the update's exploits.
func (t *Tree) checkExploit(d *train.DecisionLine, before []int) error {
	for _, m := range []int{d.Member, d.Source} {
		if m >= len(before) {
			return fmt.Errorf("member %d, but the population has members 0 to %d", m, len(before)-1)
		}
	}
	if before[d.Source] == None {
		return fmt.Errorf("member %d copies member %d, which is not there yet", d.Member, d.Source)
	}
	if (d.Operation == train.OperationFill) != (before[d.Member] == None) || d.Operation == train.OperationMove && d.Member >= t.Population {
		return fmt.Errorf("operation %q of member %d, which does not fit a population of %d", d.Operation, d.Member, t.Population)
	}
	if t.Current[d.Member] != before[d.Member] {
		return fmt.Errorf("member %d copies a second time at update %d", d.Member, d.Update)
	}
	for _, name := range t.Names[:t.evolved] {
		if _, ok := d.Hyperparameters[name]; !ok {
			return fmt.Errorf("the hyperparameter %s is missing, which the configuration evolves", name)
		}
	}
	return nil
}

// contradiction says where a line shows other values of its member or source than
// the lines before it do; empty: nowhere.
func (t *Tree) contradiction(d *train.DecisionLine, before []int) string {
	for _, name := range t.Names[:t.evolved] {
		h := d.Hyperparameters[name]
		for _, x := range []struct {
			member int
			shown  float64
		}{{d.Member, h.Before}, {d.Source, h.Source}} {
			if before[x.member] == None {
				continue // there was no such member
			}
			// Values of the first lives may come from the metrics, in single precision.
			had := t.Lives[before[x.member]].Hyperparameters[name]
			if float32(had) != float32(x.shown) {
				return fmt.Sprintf("member %d has %s %g, but %g by the lines before", x.member, name, x.shown, had)
			}
		}
	}
	return ""
}
