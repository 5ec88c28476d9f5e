package bandit

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// hyperparameters are those of the kernel but for the signal's variance.
type hyperparameters struct {
	// lengthscale l, in the unit of X.
	lengthscale float64
	// noise is the noise's variance over the signal's.
	noise float64
	// epsilon is how much of the function is forgotten in one interval.
	epsilon float64
}

// box is where the hyperparameters are searched.
type box struct{ low, high hyperparameters }

// defaults serve where the data say nothing. The lengthscale and epsilon are
// those at which Ray starts (it writes exp(-r^2/l) with l = 1).
func defaults(dimensions int) hyperparameters {
	return hyperparameters{lengthscale: math.Sqrt(float64(dimensions) / 2), noise: 0.1, epsilon: 0.1}
}

// searched is the box of Fit, which keeps few or noisy observations from being
// explained by the extremes. A lengthscale above the cube's diameter makes the
// model linear and its suggestions corners. An epsilon of 1e-4 forgets 5% in
// 1,000 intervals, one of 0.9 nearly all in two. On simulated bowls of 1 to 4
// dimensions with little and much noise, this box lost no more than one of noise
// from 1e-4 to 100 and lengthscales from 0.05, and up to 30% less.
func searched(dimensions int) box {
	return box{
		low:  hyperparameters{lengthscale: 0.1, noise: 1e-3, epsilon: 1e-4},
		high: hyperparameters{lengthscale: math.Sqrt(float64(dimensions)), noise: 10, epsilon: 0.9},
	}
}

const (
	// coarseObservations is how many observations, spread evenly over the kept
	// ones, the grid is evaluated on.
	coarseObservations = 64
	// refinements is how often the likelihood of all kept observations is
	// evaluated after the grid.
	refinements = 24
)

// search returns the hyperparameters of the highest likelihood it finds: a grid
// over a part of the observations, which finds the right one of several maxima,
// then a compass search over all of them. Both are of fixed order and length.
// Of equal likelihoods the first is kept, which starts at the defaults.
func search(points []Observation, y []float64, within box) hyperparameters {
	coarse := newLikelihood(spread(points, y, coarseObservations))
	best := within.clip(defaults(len(points[0].X)))
	value, _ := coarse.at(best)
	try := func(l *likelihood, h hyperparameters) bool {
		h = within.clip(h)
		v, _ := l.at(h)
		if v > value {
			best, value = h, v
			return true
		}
		return false
	}
	for _, length := range []float64{0.1, 0.2, 0.4, 0.8} {
		for _, noise := range []float64{0.001, 0.01, 0.1, 1, 10} {
			for _, epsilon := range []float64{0.001, 0.01, 0.05, 0.2, 0.5} {
				length := length * math.Sqrt(float64(len(points[0].X)))
				try(coarse, hyperparameters{length, noise, epsilon})
			}
		}
	}
	full := newLikelihood(points, y)
	value, _ = full.at(best)
	compass(refinements, func(axis int, up bool, scale float64) bool {
		return try(full, best.step(axis, up, scale))
	})
	return best
}

// compass walks the three axes, up and then down, and halves the scale after a
// round without progress. It calls try at most budget times.
func compass(budget int, try func(axis int, up bool, scale float64) bool) {
	for scale := 1.0; ; scale /= 2 {
		for progress := true; progress; {
			progress = false
			for axis := range 3 {
				for _, up := range []bool{true, false} {
					if budget--; budget < 0 {
						return
					}
					if try(axis, up, scale) {
						progress = true
						break
					}
				}
			}
		}
	}
}

// step multiplies or divides one hyperparameter. At scale 1 the factors are half
// the grid's.
func (h hyperparameters) step(axis int, up bool, scale float64) hyperparameters {
	if !up {
		scale = -scale
	}
	switch axis {
	case 0:
		h.lengthscale *= math.Pow(math.Sqrt2, scale)
	case 1:
		h.noise *= math.Pow(3, scale)
	default:
		h.epsilon *= math.Pow(2, scale)
	}
	return h
}

func (b box) clip(h hyperparameters) hyperparameters {
	clip := func(low, v, high float64) float64 { return min(max(v, low), high) }
	return hyperparameters{
		lengthscale: clip(b.low.lengthscale, h.lengthscale, b.high.lengthscale),
		noise:       clip(b.low.noise, h.noise, b.high.noise),
		epsilon:     clip(b.low.epsilon, h.epsilon, b.high.epsilon),
	}
}

// spread returns at most n of the observations, evenly over their order.
func spread(points []Observation, y []float64, n int) ([]Observation, []float64) {
	if len(points) <= n {
		return points, y
	}
	p, v := make([]Observation, n), make([]float64, n)
	for i := range n {
		p[i], v[i] = points[i*len(points)/n], y[i*len(points)/n]
	}
	return p, v
}

// cut is where standardised changes are cut, in standard deviations (Ray).
const cut = 2

// standardise returns the changes with mean 0 and standard deviation 1, cut, or
// zeros where all are equal. It scales them to [-1, 1] and then to [0, 1] first,
// so that no finite changes overflow or vanish in a difference, sum or square.
func standardise(points []Observation) []float64 {
	y := make([]float64, len(points))
	largest := 0.0
	for i := range points {
		y[i] = points[i].Change
		largest = max(largest, math.Abs(y[i]))
	}
	if largest > 0 {
		divide(y, largest)
	}
	floats.AddConst(-floats.Min(y), y)
	width := floats.Max(y)
	if width == 0 {
		return y
	}
	divide(y, width)
	floats.AddConst(-floats.Sum(y)/float64(len(y)), y)
	divide(y, floats.Norm(y, 2)/math.Sqrt(float64(len(y))))
	for i := range y {
		y[i] = min(max(y[i], -cut), cut)
	}
	return y
}

// divide divides and does not multiply by 1/by, which overflows for tiny ones.
func divide(y []float64, by float64) {
	for i := range y {
		y[i] /= by
	}
}

// likelihood is the marginal likelihood of observations [n] by hyperparameters.
type likelihood struct {
	n        int
	distance []float64 // [n*(n+1)/2] |x-x'|^2 of the lower triangle, row by row
	lag      []float64 // [n*(n+1)/2] |t-t'|, likewise
	y        []float64 // [n] standardised changes
	gram     []float64 // [n, n] overwritten
	solved   []float64 // [n] overwritten
}

func newLikelihood(points []Observation, y []float64) *likelihood {
	n := len(points)
	l := &likelihood{n: n, y: y, gram: make([]float64, n*n), solved: make([]float64, n)}
	for i := range points {
		for j := range i + 1 {
			l.distance = append(l.distance, squaredDistance(points[i].X, points[j].X))
			l.lag = append(l.lag, math.Abs(points[i].Time-points[j].Time))
		}
	}
	return l
}

// at returns the logarithm of the marginal likelihood up to a constant, with the
// signal's variance at its own maximum y' (K + noise I)^-1 y / n, which it also
// returns (Rasmussen and Williams 2006, equation 5.8, and its derivative by s^2):
//
//	-n/2 log s^2 - 1/2 log det(K + noise I)
//
// Where all changes are equal every s^2 fits and it is taken as 1.
func (l *likelihood) at(h hyperparameters) (value, signal float64) {
	f := l.factor(h)
	copy(l.solved, l.y)
	f.forward(l.solved)
	signal = floats.Dot(l.solved, l.solved) / float64(l.n)
	if signal == 0 {
		return 0, 1
	}
	return -float64(l.n)/2*math.Log(signal) - f.logDiagonal(), signal
}

// factor returns the Cholesky factor of K + noise I, which is valid until the
// next call.
func (l *likelihood) factor(h hyperparameters) *triangle {
	space, time := -0.5/(h.lengthscale*h.lengthscale), 0.5*math.Log1p(-h.epsilon)
	fill := func() {
		k := 0
		for i := range l.n {
			row := l.gram[i*l.n:]
			for j := range i + 1 {
				row[j] = math.Exp(space*l.distance[k] + time*l.lag[k])
				k++
			}
			row[i] += h.noise
		}
	}
	return factorise(l.gram, l.n, fill)
}

// squaredDistance returns |a-b|^2.
func squaredDistance(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += (v - b[i]) * (v - b[i])
	}
	return sum
}
