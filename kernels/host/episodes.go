package host

import (
	"math"

	"brood/kernels"
)

// Truncated says whether the time limit ends an episode: it has a length of
// maxSteps (0: no limit) and did not end by the task's own rule.
func Truncated(terminated bool, length float32, maxSteps int) bool {
	return !terminated && maxSteps > 0 && length >= float32(maxSteps)
}

// Finished summarises the episodes that ended in an iteration. The zero value is
// ready.
type Finished struct {
	Count          int
	Sum, LengthSum float64
	Min, Max       float64
}

func (f *Finished) add(ret, length float32) {
	r := float64(ret)
	if f.Count == 0 {
		f.Min, f.Max = r, r
	}
	f.Count++
	f.Sum += r
	f.LengthSum += float64(length)
	f.Min, f.Max = min(f.Min, r), max(f.Max, r)
}

// RecordEpisode enters a finished episode into the member's window and interval
// and into f. Engines call it in the order of steps, then of environments.
func (s *State) RecordEpisode(f *Finished, ret, length float32) {
	s.Returns[*s.ReturnCount%kernels.EpisodeWindow] = ret
	*s.ReturnCount++
	*s.IntervalSum += float64(ret)
	*s.IntervalCount++
	*s.Episodes++
	f.add(ret, length)
}

// Score is the mean true return of the episodes finished since the last
// ClearInterval, or of the last EpisodeWindow where those are more, and how many
// these are; NaN and 0 without any.
func (s *State) Score() (mean float64, episodes int) {
	window := min(*s.ReturnCount, kernels.EpisodeWindow)
	if window <= 0 {
		return math.NaN(), 0
	}
	if *s.IntervalCount >= window {
		return *s.IntervalSum / float64(*s.IntervalCount), int(*s.IntervalCount)
	}
	sum := 0.0
	for _, r := range s.Returns[:window] {
		sum += float64(r)
	}
	return sum / float64(window), int(window)
}

// LastReturns appends the returns in the member's window to dst, oldest first.
func (s *State) LastReturns(dst []float64) []float64 {
	for i := max(0, *s.ReturnCount-kernels.EpisodeWindow); i < *s.ReturnCount; i++ {
		dst = append(dst, float64(s.Returns[i%kernels.EpisodeWindow]))
	}
	return dst
}

// ClearInterval begins a new interval for the member's score.
func (s *State) ClearInterval() { *s.IntervalSum, *s.IntervalCount = 0, 0 }

// EndIteration counts an iteration of rows environment steps.
func (s *State) EndIteration(rows int) {
	*s.EnvSteps += int64(rows)
	*s.Updates++
}
