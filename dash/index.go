package dash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// index is metrics.jsonl by columns: what a page asks for is one figure of all
// members over many updates. It reads what the file has gained since the last look.
// Whoever uses it holds the lock of its run.
type index struct {
	path       string
	population int
	// minimise is true where low scores are good.
	minimise bool

	// columns by name hold update-1 times population plus member; NaN: null.
	columns map[string][]float32
	names   []string // of columns, in the order of the file
	// best and median of train_return at each update.
	best, median []float32
	rows         int64 // lines read
	offset       int64 // bytes read, which end in a line
	// tail is the end of what was read: a file that was cut and has grown again, as
	// that of a resumed run, is known by it.
	tail []byte
	// generation counts how often reading began anew.
	generation int
}

const (
	trainReturn = "train_return"
	// tailBytes is how much of the end of what was read is compared.
	tailBytes = 256
	// blockBytes is how much one goroutine reads at a time.
	blockBytes = 4 << 20
	// maxLine is what a line may have.
	maxLine = 1 << 20
)

func newIndex(path string, population int, minimise bool) *index {
	x := &index{path: path, population: population, minimise: minimise}
	x.reset()
	return x
}

func (x *index) reset() {
	x.columns, x.names, x.best, x.median = map[string][]float32{}, nil, nil, nil
	x.rows, x.offset, x.tail = 0, 0, nil
	x.generation++
}

// updates is the number of updates of which every member's line was read.
func (x *index) updates() int64 { return x.rows / int64(x.population) }

// refresh reads what is new. A last line that is not whole yet is left for the next
// time. grown is true where there is anything new.
func (x *index) refresh() (grown bool, err error) {
	f, err := os.Open(x.path)
	if errors.Is(err, fs.ErrNotExist) {
		grown = x.rows > 0
		if grown {
			x.reset()
		}
		return grown, nil
	}
	if err != nil {
		return false, fmt.Errorf("dash: the run's metrics: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("dash: the run's metrics: %w", err)
	}
	same, err := x.continues(f, info.Size())
	if err != nil {
		return false, fmt.Errorf("dash: %s: %w", x.path, err)
	}
	if !same {
		x.reset()
	}
	before := x.rows
	if err := x.read(f, info.Size()); err != nil {
		return false, fmt.Errorf("dash: %s: %w", x.path, err)
	}
	return !same || x.rows > before, nil
}

// continues says whether the file still begins with what was read.
func (x *index) continues(f *os.File, size int64) (bool, error) {
	if size < x.offset {
		return false, nil
	}
	now := make([]byte, len(x.tail))
	if _, err := f.ReadAt(now, x.offset-int64(len(now))); err != nil && len(now) > 0 {
		return false, err
	}
	return bytes.Equal(now, x.tail), nil
}

// read reads the file from offset to its last whole line before size, in parts side
// by side.
func (x *index) read(f *os.File, size int64) error {
	cuts, err := x.cut(f, size)
	if err != nil || len(cuts) < 2 {
		return err
	}
	parts := make([]*part, len(cuts)-1)
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range parts {
		parts[i] = &part{population: x.population}
		group.Go(func() error { return parts[i].read(f, cuts[i], cuts[i+1]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	next := x.rows
	for _, p := range parts {
		if p.first != next {
			return fmt.Errorf("byte %d: update %d of member %d, want update %d of member %d: a run writes a line per member and update", p.offset,
				p.first/int64(x.population)+1, p.first%int64(x.population), next/int64(x.population)+1, next%int64(x.population))
		}
		next += p.rows
	}
	for _, p := range parts {
		x.take(p)
	}
	x.offset = cuts[len(cuts)-1]
	x.tail = make([]byte, min(tailBytes, x.offset))
	if _, err := f.ReadAt(x.tail, x.offset-int64(len(x.tail))); err != nil {
		return err
	}
	x.summarise()
	return nil
}

// cut divides what is new into parts that end with a line; the last place is the end
// of the last whole line.
func (x *index) cut(f *os.File, size int64) ([]int64, error) {
	cuts := []int64{x.offset}
	if size == x.offset {
		return cuts, nil
	}
	buf := make([]byte, maxLine)
	for at := x.offset; at < size; {
		// The last line end within the block that ends here.
		end := min(at+blockBytes, size)
		look := max(at, end-maxLine)
		n, err := f.ReadAt(buf[:end-look], look)
		if err != nil && !(errors.Is(err, io.EOF) && int64(n) == end-look) {
			return nil, err
		}
		last := bytes.LastIndexByte(buf[:n], '\n')
		if last < 0 && (end < size || end-at >= maxLine) {
			return nil, fmt.Errorf("byte %d: a line of more than %d bytes", look, maxLine)
		}
		if last < 0 {
			break // of a line that is being written
		}
		at = look + int64(last) + 1
		cuts = append(cuts, at)
		if end == size {
			break
		}
	}
	return cuts, nil
}

// take appends a part to the columns. A column that the part lacks, or the lines
// before it, has no values there.
func (x *index) take(p *part) {
	for i, name := range p.names {
		column, known := x.columns[name]
		if !known {
			x.names = append(x.names, name)
		}
		x.columns[name] = append(padded(column, x.rows), p.columns[i]...)
	}
	x.rows += p.rows
	for name, column := range x.columns {
		x.columns[name] = padded(column, x.rows)
	}
}

// padded brings a column to a number of rows with NaN.
func padded(column []float32, rows int64) []float32 {
	column = slices.Grow(column, int(rows)-len(column))
	for int64(len(column)) < rows {
		column = append(column, float32(math.NaN()))
	}
	return column
}

// summarise computes best and median of the updates that are new.
func (x *index) summarise() {
	column := x.columns[trainReturn]
	values := make([]float32, 0, x.population)
	for u := int64(len(x.best)); u < x.updates(); u++ {
		values = values[:0]
		for _, v := range column[u*int64(x.population) : (u+1)*int64(x.population)] {
			if v == v {
				values = append(values, v)
			}
		}
		if len(values) == 0 {
			x.best, x.median = append(x.best, float32(math.NaN())), append(x.median, float32(math.NaN()))
			continue
		}
		slices.Sort(values)
		best := values[len(values)-1]
		if x.minimise {
			best = values[0]
		}
		x.best, x.median = append(x.best, best), append(x.median, (values[(len(values)-1)/2]+values[len(values)/2])/2)
	}
}

// bestMember is the member with the best score after an update; false: none has one.
func (x *index) bestMember(update int64) (int, bool) {
	if update < 1 || update > x.updates() {
		return 0, false
	}
	p := int64(x.population)
	member, found := 0, false
	var best float32
	for m, v := range x.columns[trainReturn][(update-1)*p : update*p] {
		if v == v && (!found || v > best != x.minimise && v != best) {
			member, best, found = m, v, true
		}
	}
	return member, found
}

// part is a piece of the file that one goroutine reads.
type part struct {
	population int
	offset     int64 // of its start
	first      int64 // row of its first line
	rows       int64
	names      []string
	columns    [][]float32
	// of is the column of each number of the present line; nil: of update, env_steps
	// and member.
	of   []int
	scan scanner
}

func (p *part) read(f *os.File, from, to int64) error {
	p.offset = from
	text := make([]byte, to-from)
	if n, err := f.ReadAt(text, from); err != nil && !(errors.Is(err, io.EOF) && int64(n) == to-from) {
		return err
	}
	for at := 0; at < len(text); {
		end := at + bytes.IndexByte(text[at:], '\n')
		if err := p.line(text[at:end]); err != nil {
			return fmt.Errorf("byte %d: %w", from+int64(at), err)
		}
		at = end + 1
	}
	return nil
}

func (p *part) line(text []byte) error {
	same, err := p.scan.line(text)
	if err != nil {
		return err
	}
	values := p.scan.values
	update, member := values[0], values[2]
	if !(update >= 1 && update < 1<<40 && member >= 0 && member < float64(p.population)) {
		return fmt.Errorf("update %v of member %v: updates begin with 1, and the members are 0 to %d", update, member, p.population-1)
	}
	row := (int64(update)-1)*int64(p.population) + int64(member)
	if p.rows == 0 {
		p.first = row
	} else if row != p.first+p.rows {
		return fmt.Errorf("update %v of member %v does not follow the line before: a run writes a line per member and update", update, member)
	}
	if !same {
		p.match()
	}
	for i, c := range p.of {
		p.columns[c] = append(p.columns[c], float32(values[i+3]))
	}
	p.rows++
	if len(p.of) < len(p.columns) {
		for i := range p.columns {
			p.columns[i] = padded(p.columns[i], p.rows)
		}
	}
	return nil
}

// match finds the columns of the names that the scanner has just learnt.
func (p *part) match() {
	p.of = p.of[:0]
	for _, name := range p.scan.names[3:] {
		c := slices.Index(p.names, name)
		if c < 0 {
			c = len(p.names)
			p.names = append(p.names, name)
			// A line of the runs this is for has some 600 bytes.
			p.columns = append(p.columns, padded(make([]float32, 0, blockBytes/512), p.rows))
		}
		p.of = append(p.of, c)
	}
}
