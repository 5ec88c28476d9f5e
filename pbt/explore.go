package pbt

import (
	"maps"
	"math"

	"brood/rng"
)

// Operations are what became of a hyperparameter in a [Decision].
const (
	OpPerturbUp   = "perturb up"
	OpPerturbDown = "perturb down"
	OpResample    = "resample"
	// OpPB2 is for what the bandit of pb2 suggested.
	OpPB2 = "pb2"
	// OpCustom is for what the function of [Scheduler.SetExplore] changed.
	OpCustom = "custom"
	// OpKeep is for hyperparameters that are copied and not explored: those a
	// member carries beside the config's.
	OpKeep = "keep"
)

// explore fills in what becomes of the hyperparameters and the optimizer in the
// decisions of an interval, one after the other. custom, if not nil, changes the
// hyperparameters of a decision once more.
func explore(c *Config, decisions []Decision, population []Member, observations []Observation, key rng.Key, custom func(*Decision) error) error {
	if len(decisions) == 0 {
		return nil
	}
	var suggest *suggester
	if c.ExploreMethod == PB2 {
		var err error
		if suggest, err = newSuggester(c, population, observations); err != nil {
			return err
		}
	}
	for i := range decisions {
		d := &decisions[i]
		if err := c.explore(d, suggest, key); err != nil {
			return err
		}
		c.resolve(d)
		if custom != nil {
			if err := custom(d); err != nil {
				return err
			}
			c.resolve(d)
		}
		suggest.took(d.After)
	}
	return nil
}

// explore fills in After and Operations. suggest is nil but under pb2.
func (c *Config) explore(d *Decision, suggest *suggester, key rng.Key) error {
	at := rng.Address{Time: uint32(d.Interval), Member: uint32(d.Member), Purpose: rng.Explore}
	d.After = maps.Clone(d.SourceValues)
	d.Operations = make(map[string]string, len(d.After))
	for name := range d.After {
		d.Operations[name] = OpKeep
	}
	suggested, err := suggest.values(key, at)
	if err != nil {
		return err
	}
	for i := range c.Hyperparameters {
		h := &c.Hyperparameters[i]
		if v, ok := suggested[h.Name]; ok {
			d.After[h.Name], d.Operations[h.Name] = v, OpPB2
			continue
		}
		r := key.Stream(uint32(i), at)
		d.After[h.Name], d.Operations[h.Name] = h.explore(c.ExploreMethod, d.SourceValues[h.Name], &r)
	}
	return nil
}

// explore returns what becomes of the source's value and the operation done.
func (h *Hyperparameter) explore(method ExploreMethod, value float64, r *rng.Stream) (float64, string) {
	switch {
	case method == Both && r.Float64() < h.resampleProbability():
		method = Resample
	case method == PB2 && h.Values == nil: // nothing to suggest from yet
		method = Resample
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
	return h.at(r.Float64())
}

// at is the value of a range at u in [0, 1], linearly or in the logarithm.
func (h *Hyperparameter) at(u float64) float64 {
	if h.LogScale {
		return h.clip(math.Exp(mix(math.Log(*h.Min), math.Log(*h.Max), u)))
	}
	return h.clip(mix(*h.Min, *h.Max, u))
}

// scaled is the inverse of at: where in the range a value lies, in [0, 1]. A value
// outside lies at the end.
func (h *Hyperparameter) scaled(value float64) float64 {
	x, low, high := h.clip(value), *h.Min, *h.Max
	if h.LogScale {
		x, low, high = math.Log(x), math.Log(low), math.Log(high)
	}
	// Halves, for high - low overflows for huge ranges.
	width := high/2 - low/2
	if width <= 0 { // neighbours have one logarithm
		return 0
	}
	return min(max((x/2-low/2)/width, 0), 1)
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
