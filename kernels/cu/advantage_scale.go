package cu

import "math"

// PlainAdvantageScale is advantage_scale.cu for one minibatch: the mean and
// 1/(std + 1e-8) of its rows' advantages, std with n-1; 0 and 1 where advantages
// are not normalised.
func PlainAdvantageScale(normalize bool, advantages []float32, rows []int32) (mean, scale float32) {
	if !normalize {
		return 0, 1
	}
	sum, squares, n := 0.0, 0.0, float64(len(rows))
	for _, i := range rows {
		sum += float64(advantages[i])
	}
	for _, i := range rows {
		d := float64(advantages[i]) - sum/n
		squares += d * d
	}
	return float32(sum / n), float32(1 / (math.Sqrt(squares/(n-1)) + 1e-8))
}
