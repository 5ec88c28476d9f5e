// Package table reads the logs of a run folder line by line and writes them as CSV. A
// log of any length takes the memory of one line.
package table

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"brood/kernels"
	"brood/train"
)

// The logs of a run folder.
const (
	metricsFile   = "metrics.jsonl"
	decisionsFile = "decisions.jsonl"
)

// maxLine bounds what a line may take in memory.
const maxLine = 1 << 20

// eachLine calls each with every line of a file, without its end. A last line that has
// no end, of a run that was killed or goes on, is left out, and cut says so.
func eachLine(path string, each func(text []byte) error) (cut bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("the run's log: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, maxLine)
	for number := 1; ; number++ {
		text, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return len(text) > 0, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return false, fmt.Errorf("%s:%d: a line of more than %d bytes", path, number, maxLine)
		case err != nil:
			return false, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		if err := each(text[:len(text)-1]); err != nil {
			return false, fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
}

// Field is a figure of a line of metrics.jsonl as it stands there: a number or null.
type Field struct{ Name, Text []byte }

// Null says that the figure does not exist.
func (f Field) Null() bool { return f.Text[0] == 'n' }

// Metrics calls each with the fields of every line of a run's metrics.jsonl, which are
// valid during the call. cut says that the last line was not whole and was left out.
func Metrics(dir string, each func(fields []Field) error) (cut bool, err error) {
	var fields []Field
	return eachLine(filepath.Join(dir, metricsFile), func(text []byte) (err error) {
		if fields, err = split(text, fields[:0]); err != nil {
			return err
		}
		return each(fields)
	})
}

// split takes a line apart. The lines are flat objects of numbers and nulls; a general
// decoder would take ten times as long for the millions that a run can have.
func split(text []byte, fields []Field) ([]Field, error) {
	at := 0
	take := func(c byte) bool {
		if at < len(text) && text[at] == c {
			at++
			return true
		}
		return false
	}
	bad := func(want string) error { return fmt.Errorf("byte %d: want %s", at+1, want) }
	if !take('{') {
		return nil, bad("{ at the start of an object")
	}
	for {
		if !take('"') {
			return nil, bad(`the " of a name`)
		}
		start := at
		for at < len(text) && text[at] != '"' && text[at] != '\\' {
			at++
		}
		name := text[start:at]
		if !take('"') || !take(':') {
			return nil, bad(`": after a name`)
		}
		start = at
		for at < len(text) && text[at] != ',' && text[at] != '}' {
			at++
		}
		value := text[start:at]
		if !isNumber(value) && string(value) != "null" {
			at = start
			return nil, bad("a number or null")
		}
		fields = append(fields, Field{name, value})
		if take('}') {
			break
		}
		if !take(',') {
			return nil, bad(", or }")
		}
	}
	if at != len(text) {
		return nil, bad("nothing after the object")
	}
	return fields, nil
}

// isNumber says whether a text is made as JSON's numbers are.
func isNumber(b []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(b) && b[n] >= '0' && b[n] <= '9' {
			n++
		}
		b = b[n:]
		return n > 0
	}
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	if !digits() {
		return false
	}
	if len(b) > 0 && b[0] == '.' {
		if b = b[1:]; !digits() {
			return false
		}
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		b = b[1:]
		if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(b) == 0
}

// Evolved reads a run's configuration and names the hyperparameters that its lines
// have: those that pbt evolves, then those of run.schedule alone.
func Evolved(dir string) (train.Config, []string, error) {
	// What the logs hold does not depend on the device, which this build may lack.
	cfg, err := train.LoadRun(dir, train.Setting{Origin: "table", Key: "run.device", Value: train.DeviceCPU},
		train.Setting{Origin: "table", Key: "run.precision", Value: string(kernels.Float32)})
	if err != nil {
		return cfg, nil, err
	}
	var names []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name], names = true, append(names, name)
		}
	}
	for _, h := range cfg.PBT.Hyperparameters {
		add(h.Name)
	}
	for _, s := range cfg.Run.Schedule {
		add(s.Name)
	}
	return cfg, names, nil
}
