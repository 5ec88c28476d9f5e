package cu

// PlainMoments is moments.cu for one column of a chunk: the mean of x[i*stride],
// i < n, and the sum of squared deviations from it.
func PlainMoments(x []float32, n, stride int) (mean, m2 float64) {
	for i := range n {
		mean += float64(x[i*stride])
	}
	mean /= float64(n)
	for i := range n {
		d := float64(x[i*stride]) - mean
		m2 += d * d
	}
	return mean, m2
}
