package bandit

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// triangle is a lower triangular matrix that rows can be added to.
type triangle struct {
	rows [][]float64 // row i has i+1 values
}

// smallestPivot is the least variance a row is added with: what a point that is
// already in the matrix without noise has left is rounding.
const smallestPivot = 1e-10

// factorise returns the Cholesky factor of the matrix [n, n] whose lower
// triangle fill writes. The factor lies in the matrix. Where the matrix is not
// positive definite by rounding, growing multiples of the identity are added;
// the entries of a kernel are at most 1, so the last one always suffices.
func factorise(matrix []float64, n int, fill func()) *triangle {
	for jitter := 0.0; ; jitter = max(1e-10, jitter*10) {
		fill()
		for i := range n {
			matrix[i*n+i] += jitter
		}
		_, ok := lapack64.Potrf(blas64.Symmetric{Uplo: blas.Lower, N: n, Stride: n, Data: matrix})
		if !ok {
			continue
		}
		t := &triangle{rows: make([][]float64, n)}
		for i := range n {
			t.rows[i] = matrix[i*n : i*n+i+1]
		}
		return t
	}
}

// forward solves T z = v for the first len(v) rows in place.
func (t *triangle) forward(v []float64) {
	for i := range v {
		row := t.rows[i]
		v[i] = (v[i] - floats.Dot(row[:i], v[:i])) / row[i]
	}
}

// backward solves T' z = v in place.
func (t *triangle) backward(v []float64) {
	for i := len(v) - 1; i >= 0; i-- {
		row := t.rows[i]
		v[i] /= row[i]
		floats.AddScaled(v[:i], -v[i], row[:i])
	}
}

// extended returns the factor of the matrix with one more row and column: the
// covariances [n] and the diagonal. t stays as it is.
func (t *triangle) extended(covariances []float64, diagonal float64) *triangle {
	row := append(append(make([]float64, 0, len(covariances)+1), covariances...), 0)
	last := len(row) - 1
	t.forward(row[:last])
	rest := diagonal - floats.Dot(row[:last], row[:last])
	row[last] = math.Sqrt(max(rest, smallestPivot))
	return &triangle{rows: append(append(make([][]float64, 0, len(row)), t.rows...), row)}
}

// logDiagonal returns half the logarithm of the determinant of T T'.
func (t *triangle) logDiagonal() float64 {
	sum := 0.0
	for i, row := range t.rows {
		sum += math.Log(row[i])
	}
	return sum
}
