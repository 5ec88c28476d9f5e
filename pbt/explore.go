package pbt

import (
	"math"

	"brood/rng"
)

// Operations are what became of a hyperparameter in a [Decision].
const (
	OpPerturbUp   = "perturb up"
	OpPerturbDown = "perturb down"
	OpResample    = "resample"
	// OpKeep is for hyperparameters that are copied and not explored: those a
	// member carries beside the config's.
	OpKeep = "keep"
)

// explore returns what becomes of the source's value and the operation done.
func (h *Hyperparameter) explore(method ExploreMethod, value float64, r *rng.Stream) (float64, string) {
	if method == Both {
		method = Perturb
		if r.Float64() < h.resampleProbability() {
			method = Resample
		}
	}
	if method == Resample {
		return h.sample(r), OpResample
	}
	if r.Uint32()>>31 == 0 {
		return h.perturb(value, true), OpPerturbUp
	}
	return h.perturb(value, false), OpPerturbDown
}

// sample draws from the range, uniformly or log-uniformly, or from the values.
func (h *Hyperparameter) sample(r *rng.Stream) float64 {
	if h.Values != nil {
		return h.Values[r.IntN(len(h.Values))]
	}
	u := r.Float64()
	if h.LogScale {
		return h.clip(math.Exp(mix(math.Log(*h.Min), math.Log(*h.Max), u)))
	}
	return h.clip(mix(*h.Min, *h.Max, u))
}

// mix interpolates without forming high - low, which overflows for huge ranges.
func mix(low, high, u float64) float64 { return low*(1-u) + high*u }

// perturb multiplies or divides by the factor and clips to the range, or takes
// one step along the values, held at their ends.
func (h *Hyperparameter) perturb(value float64, up bool) float64 {
	if h.Values != nil {
		step := -1
		if up {
			step = 1
		}
		return h.Values[min(max(h.nearest(value)+step, 0), len(h.Values)-1)]
	}
	if up {
		return h.clip(value * h.factor())
	}
	return h.clip(value / h.factor())
}

// nearest is the index of the value closest to x. It is x itself, unless the
// list was changed between a run and its continuation.
func (h *Hyperparameter) nearest(x float64) int {
	best := 0
	for i, v := range h.Values {
		if math.Abs(v-x) < math.Abs(h.Values[best]-x) {
			best = i
		}
	}
	return best
}

func (h *Hyperparameter) clip(x float64) float64 { return min(max(x, *h.Min), *h.Max) }
