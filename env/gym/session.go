package gym

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"
	"unsafe"

	"brood/env"
)

// maxRegions: a request is a byte.
const maxRegions = 255

// session is an env.Session: environments spread over Python processes. Which worker
// has an environment depends on the number of workers, what it computes does not.
type session struct {
	options Options
	spec    env.Spec
	python  string
	warn    func(string)

	file    *os.File
	memory  []byte
	offsets map[string]int
	lanes   env.Lanes
	present []int32 // [workers], the environment that each is at; -1: none

	regions [][2]int // first and end
	workers []*worker

	todo     []env.Command // [L], the commands that were begun
	previous []float32     // [L][D], the observations before the step
	// failures of each environment since it last ended an episode.
	failures []int
	closed   bool
}

// worker is one process and the environments that are its own.
type worker struct {
	index   int
	process *process
	regions [][2]int
	// lost says of each region that the worker died since its environments were made:
	// there are none in the new process.
	lost []bool
	// early are replies that came before the one that was waited for, by region: what
	// was begun while another region was under way is done after that.
	early map[int]reply
}

// Open starts the workers.
func (e *Env) Open(regions []int, warn func(string)) (env.Session, error) {
	if len(regions) > maxRegions {
		return nil, fmt.Errorf("gym: %d regions; there can be %d", len(regions), maxRegions)
	}
	python, err := Interpreter(e.options.Python)
	if err != nil {
		return nil, err
	}
	if warn == nil {
		warn = func(string) {}
	}
	s := &session{options: e.options, spec: e.spec, python: python, warn: warn}
	most, at := 0, 0
	for _, n := range regions {
		s.regions = append(s.regions, [2]int{at, at + n})
		at, most = at+n, max(most, n)
	}
	workers := e.options.workers(most)
	if err := s.allocate(at, workers); err != nil {
		return nil, err
	}
	for i := range workers {
		w := &worker{index: i, lost: make([]bool, len(regions)), early: map[int]reply{}}
		for _, r := range s.regions {
			n := r[1] - r[0]
			w.regions = append(w.regions, [2]int{r[0] + n*i/workers, r[0] + n*(i+1)/workers})
		}
		s.workers = append(s.workers, w)
	}
	if err := s.startAll(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// startAll starts every worker and then waits for each: importing Gymnasium takes long.
func (s *session) startAll() error {
	for _, w := range s.workers {
		if err := s.start(w); err != nil {
			return err
		}
	}
	for _, w := range s.workers {
		if _, err := w.process.ready(s.options, s.python); err != nil {
			return err
		}
	}
	return nil
}

// start starts a worker's process, which has no environments yet.
func (s *session) start(w *worker) error {
	c := s.options.bridgeConfig()
	c.Worker, c.Size, c.Lanes = w.index, len(s.memory), len(s.todo)
	c.Observations, c.Width = s.spec.ObsDim, s.spec.Action.Width()
	c.Offsets, c.Regions = s.offsets, w.regions
	c.Kind = fmt.Sprintf("%d observations and actions of %d numbers", s.spec.ObsDim, s.spec.Action.N)
	if choices := s.spec.Action.Choices(); choices != nil {
		c.Kind = fmt.Sprintf("%d observations and %s choices", s.spec.ObsDim, strings.Trim(fmt.Sprint(choices), "[]"))
	}
	text, err := c.encode()
	if err != nil {
		return err
	}
	s.present[w.index] = -1
	p, err := startProcess(s.python, text, s.file)
	if err != nil {
		return &OptionError{"python", err.Error()}
	}
	w.process = p
	return nil
}

// allocate makes the shared memory of n lanes.
func (s *session) allocate(n, workers int) (err error) {
	d, width := s.spec.ObsDim, s.spec.Action.Width()
	s.offsets = map[string]int{}
	size := 0
	for _, part := range []struct {
		name  string
		bytes int
	}{{"obs", 4 * n * d}, {"final", 4 * n * d}, {"action", 4 * n * width}, {"reward", 4 * n}, {"seed", 4 * n},
		{"present", 4 * workers}, {"command", n}, {"outcome", n}} {
		s.offsets[part.name] = size
		size += (part.bytes + 63) &^ 63
	}
	if s.file, s.memory, err = sharedMemory(size); err != nil {
		return err
	}
	floats := func(name string, n int) []float32 {
		return unsafe.Slice((*float32)(unsafe.Pointer(&s.memory[s.offsets[name]])), n)
	}
	s.lanes = env.Lanes{
		Command: s.memory[s.offsets["command"]:][:n:n], Outcome: s.memory[s.offsets["outcome"]:][:n:n],
		Seed:   unsafe.Slice((*uint32)(unsafe.Pointer(&s.memory[s.offsets["seed"]])), n),
		Action: floats("action", n*width), Reward: floats("reward", n),
		Obs: floats("obs", n*d), Final: floats("final", n*d),
	}
	s.present = unsafe.Slice((*int32)(unsafe.Pointer(&s.memory[s.offsets["present"]])), workers)
	s.todo, s.previous, s.failures = make([]env.Command, n), make([]float32, n*d), make([]int, n)
	return nil
}

// Lanes is the shared memory.
func (s *session) Lanes() *env.Lanes { return &s.lanes }

// Begin sends a region to every worker that has a part of it.
func (s *session) Begin(region int) error {
	if s.closed {
		return errors.New("gym: the session is closed")
	}
	first, end, d := s.regions[region][0], s.regions[region][1], s.spec.ObsDim
	copy(s.todo[first:end], s.lanes.Command[first:end])
	copy(s.previous[first*d:end*d], s.lanes.Obs[first*d:end*d])
	clear(s.lanes.Outcome[first:end])
	for _, w := range s.workers {
		// Where its environments are lost, Wait begins all anew.
		if r := w.regions[region]; r[0] < r[1] && !w.lost[region] {
			w.process.request(region)
		}
	}
	return nil
}

// Wait waits for every worker that has a part of the region, and deals with what
// failed.
func (s *session) Wait(region int) error {
	for _, w := range s.workers {
		if w.regions[region][0] == w.regions[region][1] {
			continue
		}
		anew, err := s.collect(w, region)
		for len(anew) > 0 && err == nil {
			anew, err = s.beginAnew(w, region, anew)
		}
		if err != nil {
			return err
		}
	}
	s.endRegion(region)
	return nil
}

// endRegion leaves the outcomes as a caller expects them, and forgets the failures of
// environments that have ended an episode.
func (s *session) endRegion(region int) {
	for lane := s.regions[region][0]; lane < s.regions[region][1]; lane++ {
		s.lanes.Outcome[lane] &^= laneDone
		s.lanes.Command[lane] = s.todo[lane]
		if o := s.lanes.Outcome[lane]; o != 0 && o&env.LaneFailed == 0 {
			s.failures[lane] = 0
		}
	}
}

// observation is a lane's row of a matrix of observations.
func (s *session) observation(matrix []float32, lane int) []float32 {
	d := s.spec.ObsDim
	return matrix[lane*d : (lane+1)*d]
}

// notFinite says which number that a lane gave is NaN or infinite; "" where none is.
func (s *session) notFinite(lane int) string {
	if i := env.FirstNotFinite(s.observation(s.lanes.Obs, lane)); i >= 0 {
		return fmt.Sprintf("observation %d is %v", i, s.observation(s.lanes.Obs, lane)[i])
	}
	if s.lanes.Outcome[lane]&env.LaneTruncated != 0 {
		if i := env.FirstNotFinite(s.observation(s.lanes.Final, lane)); i >= 0 {
			return fmt.Sprintf("observation %d, the episode's last, is %v", i, s.observation(s.lanes.Final, lane)[i])
		}
	}
	if r := float64(s.lanes.Reward[lane]); math.IsNaN(r) || math.IsInf(r, 0) {
		return fmt.Sprintf("the reward is %v", r)
	}
	return ""
}

// patience is how long a worker may take to close its environments.
const patience = 5 * time.Second

// Close lets the workers close their environments and gives the memory back.
func (s *session) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	for _, w := range s.workers {
		if w.process != nil {
			w.process.requests.Close() // all at once
		}
	}
	for _, w := range s.workers {
		if w.process != nil {
			w.process.stop(patience)
		}
	}
	memory := s.memory
	s.memory, s.lanes, s.present = nil, env.Lanes{}, nil
	return errors.Join(unmap(memory), s.file.Close())
}
