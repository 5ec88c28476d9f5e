// Package bandit chooses hyperparameters as PB2 does (Parker-Holder, Nguyen and
// Roberts 2020, "Provably Efficient Online Hyperparameter Optimization with
// Population-Based Bandits", arXiv:2002.02518): a Gaussian process over the
// improvements that the population's hyperparameters have led to, in which old
// observations count less, and the point with the highest upper confidence
// bound. It is pure: the same arguments give the same bits.
//
// The model, as in the paper and in Ray Tune's PB2 where the paper is silent:
//
//   - Kernel: s^2 * (1-eps)^(|t-t'|/2) * exp(-|x-x'|^2 / (2 l^2)), and
//     independent noise at every observation. Time is in intervals.
//   - Improvements are standardised and cut at two standard deviations (Ray).
//   - eps, l, the noise and s^2 maximise the marginal likelihood in a box.
//   - Acquisition: mean + sqrt(beta) * standard deviation with
//     beta = c1 log(c2 n), c1 = 0.2 and c2 = 0.4 (Ray), n the observations used.
//     The paper's bound has the standard deviation of the function without
//     noise; Ray multiplies by the variance with noise instead, which this
//     package does not follow.
//   - Points chosen in this interval already lower the variance, and leave the
//     mean as it is (GP-BUCB, Desautels, Krause and Burdick 2014, as in the
//     paper). They lower it as if seen without noise, which neither does: with
//     noisy scores all members would else be given the same point.
package bandit

import (
	"fmt"
	"math"
	"sort"
)

const (
	// MinObservations is how many observations Fit asks for. Below it beta is
	// close to zero or negative and a likelihood of three unknowns says nothing.
	MinObservations = 4
	// MaxObservations is how many observations Fit uses, the newest; older ones
	// never change a result and need not be kept. A fit is cubic in it: with 6
	// hyperparameters a decision takes 26 ms at 128, 42 to 58 ms at 256 and 70 ms
	// and more at 320 on one core, of which the fit is three quarters.
	MaxObservations = 256
)

// Observation is what a member's hyperparameters led to in one interval.
type Observation struct {
	// Time is the end of the interval, in intervals.
	Time float64 `json:"time" msgpack:"time"`
	// X [d] are the hyperparameters, each scaled to [0, 1].
	X []float64 `json:"x" msgpack:"x"`
	// Change is the improvement of the score over the interval, in any unit.
	Change float64 `json:"change" msgpack:"change"`
}

// Suggest fits a model to the data and returns its first suggestion. A caller
// with several decisions at one time calls [Fit] once instead.
func Suggest(data []Observation, time float64, pending [][]float64, draw func() float64) ([]float64, error) {
	model, err := Fit(data, time)
	if err != nil {
		return nil, err
	}
	return model.Suggest(pending, draw)
}

// newest checks the data and returns the MaxObservations newest, oldest first.
// Of equal times those further back in data are the newer ones.
func newest(data []Observation, time float64) ([]Observation, error) {
	if math.IsNaN(time) || math.IsInf(time, 0) {
		return nil, fmt.Errorf("bandit: time is %v: must be finite", time)
	}
	if len(data) < MinObservations {
		return nil, fmt.Errorf("%w: %d, need at least %d", ErrFewData, len(data), MinObservations)
	}
	for i := range data {
		if err := data[i].check(len(data[0].X), time); err != nil {
			return nil, fmt.Errorf("bandit: observation %d: %w", i, err)
		}
	}
	sorted := append([]Observation(nil), data...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Time < sorted[j].Time })
	return sorted[max(0, len(sorted)-MaxObservations):], nil
}

// check refuses what would make a model meaningless.
func (o *Observation) check(dimensions int, now float64) error {
	switch {
	case math.IsNaN(o.Time) || math.IsInf(o.Time, 0):
		return fmt.Errorf("time is %v: must be finite", o.Time)
	case o.Time > now:
		return fmt.Errorf("time %v is after %v, for which a suggestion is asked", o.Time, now)
	case math.IsNaN(o.Change) || math.IsInf(o.Change, 0):
		return fmt.Errorf("change is %v: must be finite", o.Change)
	}
	return checkPoint(o.X, dimensions)
}

// checkPoint refuses a point that is not in [0, 1]^dimensions.
func checkPoint(x []float64, dimensions int) error {
	if len(x) == 0 || len(x) != dimensions {
		return fmt.Errorf("x has %d dimensions: must be %d, at least 1", len(x), dimensions)
	}
	for i, v := range x {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("x[%d] is %v: must be in [0, 1]", i, v)
		}
	}
	return nil
}
