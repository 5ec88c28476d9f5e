package experiment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// resultsFile is the file of a result folder with a line per finished job.
const resultsFile = "results.jsonl"

// ErrChanged is a result folder of another experiment.
var ErrChanged = errors.New("the results are of another experiment")

// header is the first line of the results.
type header struct {
	Experiment string `json:"experiment"`
	// Digest is that of the file and its presets.
	Digest string `json:"digest"`
}

// Result is a line: what one job came to.
type Result struct {
	// Job is the job's name.
	Job      string `json:"job"`
	Workload string `json:"workload"`
	Seed     uint64 `json:"seed"`
	// Arm of a whole run; empty for a job of counterfactuals.
	Arm string `json:"arm,omitempty"`
	// Exploits that were lived, by a job of counterfactuals.
	Exploits []Exploit `json:"exploits,omitempty"`
	// Curve and Final are of a whole run: the best member's return in training over
	// the population's steps, and that of the member chosen at the end, in
	// deterministic episodes.
	Curve []Point  `json:"curve,omitempty"`
	Final *float64 `json:"final,omitempty"`
	// Begun and Ended are Unix times in seconds.
	Begun float64 `json:"begun"`
	Ended float64 `json:"ended"`
	// Engine, Processor and Version that made it.
	Engine    string `json:"engine"`
	Processor string `json:"processor"`
	Version   string `json:"version"`
}

// Exploit is one that was lived once per arm. Lists are in the order of [After] of
// the experiment's updates; null: not finite.
type Exploit struct {
	Update int64 `json:"update"`
	Member int   `json:"member"`
	Source int   `json:"source"`
	// Factor is [study.ChangeFactor]; null: infinite.
	Factor       *float64 `json:"factor"`
	SourceReturn *float64 `json:"source_return"`
	// Arms in the order of the experiment.
	Arms []Life `json:"arms"`
}

// Life is what became of the member in one arm.
type Life struct {
	// Difference is the mean return less the source's, Dropped whether it is below it
	// by more than 1.96 standard errors of the paired differences.
	Difference []*float64 `json:"difference"`
	Dropped    []bool     `json:"dropped"`
	Cosine     *float64   `json:"cosine"`
	FirstStep  *float64   `json:"first_step"`
}

// Point of a curve; Best is null before the first episode ended.
type Point struct {
	Steps int64    `json:"steps"`
	Best  *float64 `json:"best"`
}

// results is a result folder that is being written.
type results struct {
	mutex sync.Mutex
	file  *os.File
	size  int64 // of the whole lines
	done  map[string]bool
}

// openResults makes or continues the results of an experiment in a folder. What a
// killed process left of a line is cut off.
func (s *Spec) openResults(dir string) (*results, error) {
	digest, err := s.digest()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, resultsFile)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	r := &results{done: map[string]bool{}, size: int64(len(text))}
	if len(text) > 0 {
		list, err := s.parseResults(path, text, digest)
		if err != nil {
			return nil, err
		}
		for i := range list {
			r.done[list[i].Job] = true
		}
	}
	if r.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, err
	}
	if err := r.file.Truncate(r.size); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	if r.size == 0 {
		if err := r.append(header{Experiment: s.Name, Digest: digest}); err != nil {
			return nil, errors.Join(err, r.file.Close())
		}
	}
	return r, nil
}

// parseResults reads whole lines; text has at least one.
func (s *Spec) parseResults(path string, text []byte, digest string) ([]Result, error) {
	lines := bytes.Split(bytes.TrimSuffix(text, []byte{'\n'}), []byte{'\n'})
	var h header
	if err := json.Unmarshal(lines[0], &h); err != nil {
		return nil, fmt.Errorf("%s:1: %w", path, err)
	}
	if h.Digest != digest {
		return nil, fmt.Errorf("%w: %s was begun with another version of experiment %q, of its file or of the presets in this program; give another --out, or remove the folder",
			ErrChanged, path, h.Experiment)
	}
	var list []Result
	seen := map[string]bool{}
	for i, line := range lines[1:] {
		var r Result
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+2, err)
		}
		if !seen[r.Job] {
			list = append(list, r)
		}
		seen[r.Job] = true
	}
	return list, nil
}

// append writes a line and waits until it is on disk.
func (r *results) append(line any) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	n, err := r.file.WriteAt(append(text, '\n'), r.size)
	if err != nil {
		return err
	}
	r.size += int64(n)
	return r.file.Sync()
}
