package dash

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"runtime/metrics"
	"strconv"
	"sync"
	"time"

	"brood/kernels"
	"brood/train"
)

// Live is a run of this process: what its training goroutine tells, and what a page
// can ask of it.
type Live struct {
	mu   sync.Mutex
	run  *train.Run
	stop context.CancelFunc
	// stopping is true once a page has asked for the end.
	stopping bool
	// ended is set by Ended.
	ended   bool
	last    time.Time
	figures figures
}

// figures are what a run told of itself.
type figures struct {
	stepsPerSecond float64
	seconds        float64
	update         int64
	profile        kernels.Profile
	known          bool
}

// here is what is known of a run of this process only.
type here struct {
	// Phases are shares of the engine's time, by name.
	Phases []phase `json:"phases"`
	// Memory is what the process has of the machine's, in bytes; Heap of that is
	// Go's objects.
	Memory   int64   `json:"memory"`
	Heap     int64   `json:"heap"`
	Seconds  float64 `json:"seconds"`
	Stopping bool    `json:"stopping"`
	speed    *float64
}

type phase struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
}

func (h *here) stepsPerSecond() *float64 { return h.speed }

// progressInterval is how often figures are taken, so that training does not feel it.
const progressInterval = 250 * time.Millisecond

// Attach gives the run that the page shows and what ends it. Before it, Progress has
// no effect.
func (l *Live) Attach(run *train.Run, stop context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run, l.stop = run, stop
}

// Progress takes the figures of an update; it is called by [train.Options.Progress].
// It never waits for a page.
func (l *Live) Progress(p *train.Progress) {
	if time.Since(l.last) < progressInterval && p.Update < p.Updates { // last is the training goroutine's
		return
	}
	l.last = time.Now()
	profile := p.Profile()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.figures = figures{profile: profile, seconds: p.SecondsThisProcess, update: p.Update, known: true,
		stepsPerSecond: float64(p.StepsThisProcess) / max(p.SecondsThisProcess, 1e-9)}
}

// Ended says that the run is no longer trained: from then on its folder tells how it
// ended, and nothing can be asked of it.
func (l *Live) Ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// state of the run; false: its folder has to tell.
func (l *Live) state() (string, bool) {
	l.mu.Lock()
	run, ended := l.run, l.ended
	l.mu.Unlock()
	if run == nil || ended {
		return "", false
	}
	switch asked, still := run.Paused(); {
	case still:
		return statePaused, true
	case asked:
		return statePausing, true
	}
	return stateRunning, true
}

func (l *Live) here() *here {
	l.mu.Lock()
	f, stopping := l.figures, l.stopping
	l.mu.Unlock()
	h := &here{Memory: residentMemory(), Heap: heapMemory(), Stopping: stopping, Seconds: f.seconds}
	if !f.known {
		return h
	}
	h.speed = &f.stepsPerSecond
	total := time.Duration(0)
	for _, d := range f.profile {
		total += d
	}
	for p := range kernels.NumPhases {
		if d := f.profile[p]; d > 0 {
			h.Phases = append(h.Phases, phase{p.String(), float64(d) / float64(total)})
		}
	}
	return h
}

// command carries out what a page asked for; false: the run has ended.
func (l *Live) command(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run == nil || l.ended {
		return false
	}
	switch name {
	case "checkpoint":
		l.run.RequestCheckpoint()
	case "pause":
		l.run.Pause()
	case "continue":
		l.run.Continue()
	case "stop":
		l.stopping = true
		l.stop()
	}
	return true
}

// residentMemory is VmRSS of the process; where the system does not tell it, all that
// Go has of it.
func residentMemory() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			fields := bytes.Fields(lines.Bytes())
			if len(fields) == 3 && string(fields[0]) == "VmRSS:" {
				if kb, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
					return kb << 10
				}
			}
		}
	}
	return runtimeMetric("/memory/classes/total:bytes")
}

func heapMemory() int64 { return runtimeMetric("/memory/classes/heap/objects:bytes") }

func runtimeMetric(name string) int64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}
