package bandit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// reference are ten observations, one of them cut as an outlier.
func reference() []Observation {
	times := []float64{1, 1, 1, 2, 2, 2, 3, 3, 3, 4}
	x := [][]float64{{.1, .9}, {.4, .2}, {.8, .5}, {.3, .3}, {.6, .1}, {.9, .95}, {.25, .6}, {.5, .45}, {.7, .75}, {.05, .15}}
	changes := []float64{1.2, .4, -.3, .7, .1, -9, .9, .2, -.2, .5}
	data := make([]Observation, len(times))
	for i := range data {
		data[i] = Observation{times[i], x[i], changes[i]}
	}
	return data
}

// The numbers are of scikit-learn 1.9.1, numpy 2.4.6 (python 3), with T, X, C
// the observations of reference, L = -2/log(1-eps) and big = 1e12:
//
//	y = clip((C - C.mean()) / C.std(), -2, 2)
//	A = (1-eps)**(|t-t'|/2) * exp(-|x-x'|**2/(2*l*l)) + noise*I; s2 = y @ solve(A, y) / n
//	k = ConstantKernel(s2) * RBF([big, l, l]) * Matern([L, big, big], nu=.5)
//	g = GaussianProcessRegressor(k, alpha=s2*noise, optimizer=None).fit([T X], y)
//	lml = g.log_marginal_likelihood_value_ + n/2*(log(2*pi) + 1)
//	mean, std = g.predict([now Q], return_std=True)
//
// and, for the variance with pending points P, alpha [s2*noise; 0] and
// fit([T X; now P], [y 0]).
func TestPosteriorOfScikitLearn(t *testing.T) {
	h := hyperparameters{lengthscale: .35, noise: .2, epsilon: .15}
	points := reference()
	y := standardise(points)
	require.InDeltaSlice(t, []float64{0.613732923667, 0.333169301419, 0.087676131952, 0.438380659762,
		0.227957943076, -2, 0.508521565324, 0.263028395857, 0.122746584733, 0.3682397542}, y, 1e-11)

	value, signal := newLikelihood(points, y).at(h)
	require.InDelta(t, 3.9584069209612274, value, 1e-10)
	require.InDelta(t, 0.5668773919109168, signal, 1e-12)

	m := condition(points, y, 5, h)
	alone, err := m.pend(nil)
	require.NoError(t, err)
	pending, err := m.pend([][]float64{{.25, .65}, {.9, .1}})
	require.NoError(t, err)
	for i, want := range []struct {
		x                     []float64
		mean, variance, after float64
	}{
		{[]float64{.2, .7}, 0.455883410905, 0.225197920987, 0.01279313848},
		{[]float64{.55, .4}, 0.307052787218, 0.209794559903, 0.158552356445},
		{[]float64{1, 0}, 0.065256397732, 0.476509976573, 0.072277303474},
	} {
		mean, variance := alone.at(want.x)
		require.InDelta(t, want.mean, mean, 1e-10, "point %d", i)
		require.InDelta(t, want.variance, variance, 1e-10, "point %d", i)
		mean, variance = pending.at(want.x)
		require.InDelta(t, want.mean, mean, 1e-10, "point %d: pending points move no mean", i)
		require.InDelta(t, want.after, variance, 1e-10, "point %d", i)
	}
}

// observations draws n of the same dimensions at times up to 10.
func observations(t *rapid.T, n int) []Observation {
	dimensions := rapid.IntRange(1, 4).Draw(t, "dimensions")
	unit := rapid.SliceOfN(rapid.Float64Range(0, 1), dimensions, dimensions)
	data := make([]Observation, n)
	for i := range data {
		data[i] = Observation{
			Time:   float64(rapid.IntRange(0, 10).Draw(t, "time")),
			X:      unit.Draw(t, "x"),
			Change: rapid.Float64Range(-5, 5).Draw(t, "change"),
		}
	}
	return data
}

// The posterior is compared with the inverse of the whole matrix.
func TestPosteriorIsTheDenseFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := observations(t, rapid.IntRange(2, 20).Draw(t, "n"))
		h := hyperparameters{
			lengthscale: rapid.Float64Range(.1, 1).Draw(t, "lengthscale"),
			noise:       rapid.Float64Range(.01, 1).Draw(t, "noise"),
			epsilon:     rapid.Float64Range(0, .5).Draw(t, "epsilon"),
		}
		x := points[0].X
		y := standardise(points)
		kernel := func(a, b Observation) float64 {
			square := 0.0
			for i := range a.X {
				square += math.Pow(a.X[i]-b.X[i], 2)
			}
			return math.Pow(1-h.epsilon, math.Abs(a.Time-b.Time)/2) * math.Exp(-square/2/h.lengthscale/h.lengthscale)
		}
		n := len(points)
		gram, k := mat.NewDense(n, n, nil), mat.NewVecDense(n, nil)
		query := Observation{Time: 11, X: x}
		for i := range n {
			for j := range n {
				gram.Set(i, j, kernel(points[i], points[j]))
			}
			gram.Set(i, i, 1+h.noise)
			k.SetVec(i, kernel(points[i], query))
		}
		var inverse mat.Dense
		require.NoError(t, inverse.Inverse(gram))
		targets := mat.NewVecDense(n, y)
		signal := mat.Inner(targets, &inverse, targets) / float64(n)
		if mat.Norm(targets, 1) == 0 {
			signal = 1
		}
		logDeterminant, _ := mat.LogDet(gram)

		m := condition(points, y, query.Time, h)
		b, err := m.pend(nil)
		require.NoError(t, err)
		mean, variance := b.at(x)
		require.InDelta(t, mat.Inner(k, &inverse, targets), mean, 1e-8)
		require.InDelta(t, signal*(1-mat.Inner(k, &inverse, k)), variance, 1e-8)
		if value, _ := newLikelihood(points, y).at(h); value != 0 {
			require.InDelta(t, -float64(n)/2*math.Log(signal)-logDeterminant/2, value, 1e-6)
		}
	})
}

func TestKappa(t *testing.T) {
	require.Zero(t, kappa(1), "beta below zero is taken as zero")
	require.InDelta(t, math.Sqrt(0.2*math.Log(0.4*100)), kappa(100), 1e-15)
	require.Positive(t, kappa(MinObservations))
}

// Rounding may make a matrix indefinite; one of equal points without noise is.
func TestFactoriseAddsJitter(t *testing.T) {
	matrix := make([]float64, 9)
	f := factorise(matrix, 3, func() {
		for i := range matrix {
			matrix[i] = 1
		}
		matrix[8] = 1 - 1e-9
	})
	v := []float64{1, 1, 1}
	f.forward(v)
	f.backward(v)
	sum := 0.0
	for _, x := range v {
		require.False(t, math.IsNaN(x) || math.IsInf(x, 0))
		sum += x
	}
	require.InDelta(t, 1, sum, 1e-2)
}

// A pending point equal to all observations leaves no variance but rounding.
func TestExtendedKeepsAPositiveDiagonal(t *testing.T) {
	f := &triangle{rows: [][]float64{{1}}}
	for range 3 {
		row := make([]float64, len(f.rows))
		for i := range row {
			row[i] = 1 + 1e-12
		}
		f = f.extended(row, 1)
	}
	v := []float64{1, 1, 1, 1}
	f.forward(v)
	for _, x := range v {
		require.False(t, math.IsNaN(x) || math.IsInf(x, 0))
	}
}

func TestSearchFindsTheTruth(t *testing.T) {
	// A function drawn from the prior at given hyperparameters, then seen again.
	truth := hyperparameters{lengthscale: .25, noise: .05, epsilon: .05}
	points := history()[:64*4]
	for i := range points {
		points[i].X, points[i].Time = points[i].X[:2], float64(i/8)
	}
	l := newLikelihood(points, make([]float64, len(points)))
	f := l.factor(truth)
	normal := normals(5, len(points))
	y := make([]float64, len(points))
	for i, row := range f.rows {
		for j, v := range row {
			y[i] += v * normal[j]
		}
	}
	found := search(points, y, searched(2))
	require.InEpsilon(t, truth.lengthscale, found.lengthscale, .4)
	require.InDelta(t, math.Log(truth.noise), math.Log(found.noise), math.Log(2.5))
	require.InDelta(t, math.Log(truth.epsilon), math.Log(found.epsilon), math.Log(2.5))

	full := newLikelihood(points, y)
	at, _ := full.at(truth)
	best, _ := full.at(found)
	require.Greater(t, best, at-2, "the search comes near the truth's likelihood or beats it")
}
