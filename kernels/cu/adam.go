package cu

import "math"

// PlainAdam is adam.cu for the elements of a chunk: weights theta, moments m and
// v, gradient g.
func PlainAdam(theta, m, v, g []float32, c *Coefficients) {
	for i := range theta {
		scaled := c.GradScale * g[i]
		m[i] = c.Beta1*m[i] + (1-c.Beta1)*scaled
		v[i] = c.Beta2*v[i] + (1-c.Beta2)*scaled*scaled
		root := float32(math.Sqrt(float64(v[i])))
		theta[i] = c.Decay*theta[i] - c.StepSize*m[i]/(root*c.InvSqrtBias2+c.Eps)
	}
}
