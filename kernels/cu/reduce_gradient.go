package cu

import "math"

// PlainReduceGradient is reduce_gradient.cu for one member, but for the groups
// that the kernel sums in: gradient [PolicySize] becomes the sum over the parts
// [Splits][PolicySize] within the chunks, and 0 in the padding between them.
func PlainReduceGradient(gradient []float32, parts [][]float32, chunks []Chunk) {
	clear(gradient)
	for _, c := range chunks {
		for i := c.Offset; i < c.Offset+c.Len; i++ {
			for _, part := range parts {
				gradient[i] += part[i]
			}
		}
	}
}

// PlainChunkSums returns the sums of |g|, g and g^2 over a chunk of a gradient.
func PlainChunkSums(gradient []float32, c Chunk) (sums [3]float64) {
	for _, v := range gradient[c.Offset : c.Offset+c.Len] {
		g := float64(v)
		sums[0] += math.Abs(g)
		sums[1] += g
		sums[2] += g * g
	}
	return sums
}
