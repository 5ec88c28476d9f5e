package gym

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"brood/env"
)

// laneDone is set by the bridge in the outcome of a lane whose command it carried out.
const laneDone = 8

// maxFailures of one environment without an episode that ended between them end the
// run: what is the matter then does not go away.
const maxFailures = 3

// failure is what the bridge says of an environment that raised an exception.
type failure struct {
	Lane      int    `json:"lane"`
	Error     string `json:"error"`
	Traceback string `json:"traceback"`
}

// collect reads a worker's reply for a region that was begun, and returns the lanes
// whose environments must begin anew.
func (s *session) collect(w *worker, region int) (anew []int, err error) {
	if w.lost[region] {
		return s.abandon(w, region, nil), nil
	}
	failures, err := s.reply(w, region)
	if err != nil {
		return s.revive(w, region, nil, err)
	}
	for _, f := range failures {
		if err := s.blame(f.Lane, f.Error, f.Traceback); err != nil {
			return nil, err
		}
		anew = append(anew, f.Lane)
		s.cut(f.Lane)
	}
	for lane := w.regions[region][0]; lane < w.regions[region][1]; lane++ {
		if s.todo[lane] == env.LaneIdle || s.lanes.Outcome[lane]&env.LaneFailed != 0 {
			continue
		}
		if what := s.notFinite(lane); what != "" {
			if err := s.blame(lane, what, ""); err != nil {
				return nil, err
			}
			s.lanes.Outcome[lane] |= env.LaneFailed
			anew = append(anew, lane)
			s.cut(lane)
		}
	}
	return anew, nil
}

// reply waits for a worker's reply for a region.
func (s *session) reply(w *worker, region int) ([]failure, error) {
	answer, early := w.early[region]
	for !early {
		var err error
		if answer, err = w.process.reply(s.options.timeout()); err != nil {
			return nil, err
		}
		if answer.region == region {
			break
		}
		w.early[answer.region] = answer
	}
	delete(w.early, region)
	if answer.kind == replyDone {
		return nil, nil
	}
	var failures []failure
	if err := json.Unmarshal(answer.body, &failures); err != nil {
		return nil, fmt.Errorf("the reply %.200q: %w", answer.body, err)
	}
	return failures, nil
}

// cut settles what a step gave whose environment failed: an episode that ended before
// that stands, any other is truncated at the last observation that is sound.
func (s *session) cut(lane int) {
	if s.todo[lane] == env.LaneReset {
		s.lanes.Outcome[lane] = 0
		return
	}
	final := s.observation(s.lanes.Final, lane)
	outcome := s.lanes.Outcome[lane]
	ended := outcome&env.LaneTerminated != 0 || outcome&env.LaneTruncated != 0 && env.FirstNotFinite(final) < 0
	if ended && env.FirstNotFinite(s.lanes.Reward[lane:lane+1]) < 0 {
		s.lanes.Outcome[lane] &^= env.LaneFailed
		return
	}
	if outcome&laneDone != 0 && s.notFinite(lane) == "" {
		// It took the step, and its process died afterwards.
		copy(final, s.observation(s.lanes.Obs, lane))
	} else {
		copy(final, s.observation(s.previous, lane))
		s.lanes.Reward[lane] = 0
	}
	s.lanes.Outcome[lane] = env.LaneTruncated | env.LaneFailed
}

// abandon cuts off what was under way in a worker's environments of a region, which
// are gone, but for the lanes that were before, and returns those with a command.
func (s *session) abandon(w *worker, region int, before []int) (anew []int) {
	known := make(map[int]bool, len(before))
	for _, lane := range before {
		known[lane] = true
	}
	for lane := w.regions[region][0]; lane < w.regions[region][1]; lane++ {
		if s.todo[lane] == env.LaneIdle {
			continue
		}
		if !known[lane] {
			s.cut(lane)
		}
		anew = append(anew, lane)
	}
	return anew
}

// revive starts a worker anew whose process is dead, or is killed because it does not
// answer, and returns the region's lanes, all of which must begin anew.
func (s *session) revive(w *worker, region int, before []int, cause error) ([]int, error) {
	how := ""
	if errors.Is(cause, os.ErrDeadlineExceeded) {
		how = fmt.Sprintf("did not answer within %v (env.timeout)", s.options.timeout())
	} else {
		how = "died: " + w.process.epitaph(cause)
	}
	lane := int(s.present[w.index])
	w.process.kill()
	for r := range w.lost {
		w.lost[r] = r != region
	}
	clear(w.early) // of steps whose environments are gone
	anew := s.abandon(w, region, before)
	at := fmt.Sprintf("in environment %d", lane)
	if lane < 0 {
		// One is to blame all the same, so that this cannot go on for ever.
		lane, at = w.regions[region][0], "between two environments"
	}
	how = fmt.Sprintf("worker %d, %s, %s", w.index, at, how)
	if err := s.count(lane, how, ""); err != nil {
		return nil, err
	}
	s.warn(fmt.Sprintf("%s: the episodes under way in one of %d workers are cut off, it is started again: %s", s.options.ID, len(s.workers), how))
	if err := s.start(w); err != nil {
		return nil, err
	}
	if _, err := w.process.ready(s.options, s.python); err != nil {
		return nil, err
	}
	return anew, nil
}

// beginAnew resets lanes whose environments failed, and returns those that fail again.
func (s *session) beginAnew(w *worker, region int, anew []int) ([]int, error) {
	first, end := w.regions[region][0], w.regions[region][1]
	if w.lost[region] { // a new process, with no environment of this region
		w.lost[region] = false
	}
	clear(s.lanes.Command[first:end])
	for _, lane := range anew {
		s.lanes.Command[lane] = env.LaneReset
		s.lanes.Seed[lane] = reseed(s.lanes.Seed[lane])
	}
	// Resetting writes to these, and what the step gave is to stay.
	outcomes, rewards := make([]uint8, len(anew)), make([]float32, len(anew))
	for i, lane := range anew {
		outcomes[i], rewards[i] = s.lanes.Outcome[lane], s.lanes.Reward[lane]
	}
	w.process.request(region)
	failures, err := s.reply(w, region)
	var again []int
	for _, f := range failures {
		if err := s.blame(f.Lane, f.Error, f.Traceback); err != nil {
			return nil, err
		}
		again = append(again, f.Lane)
	}
	failed := make(map[int]bool, len(again))
	for _, lane := range again {
		failed[lane] = true
	}
	for i, lane := range anew {
		s.lanes.Outcome[lane], s.lanes.Reward[lane] = outcomes[i], rewards[i]
		if err != nil || failed[lane] {
			continue
		}
		if i := env.FirstNotFinite(s.observation(s.lanes.Obs, lane)); i >= 0 {
			if err := s.blame(lane, fmt.Sprintf("observation %d of a new episode is %v", i, s.observation(s.lanes.Obs, lane)[i]), ""); err != nil {
				return nil, err
			}
			again = append(again, lane)
		}
	}
	if err != nil {
		return s.revive(w, region, anew, err)
	}
	return again, nil
}

// reseed is the seed after one whose environment failed: the step of a full-period
// congruential generator on 31 bits.
func reseed(seed uint32) uint32 { return (seed*1103515245 + 12345) & 0x7fffffff }

// blame counts a failure of an environment and tells the user of it.
func (s *session) blame(lane int, what, traceback string) error {
	if err := s.count(lane, what, traceback); err != nil {
		return err
	}
	s.warn(fmt.Sprintf("%s: environment %d begins anew, its episode is cut off: %s", s.options.ID, lane, what))
	return nil
}

// count counts a failure of an environment; where it fails again and again it is an
// error.
func (s *session) count(lane int, what, traceback string) error {
	s.failures[lane]++
	if s.failures[lane] < maxFailures {
		return nil
	}
	if traceback = strings.TrimSpace(traceback); traceback != "" {
		what += "\n" + traceback
	}
	return fmt.Errorf("%s: environment %d failed %d times without an episode that ended in between, the last time so: %s", s.options.ID, lane, s.failures[lane], what)
}
