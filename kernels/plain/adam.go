package plain

import (
	"math"

	"brood/kernels/host"
)

// adam applies one step of Adam to the n = len(theta) elements of a tensor.
func adam(theta, m, v, gradient []float32, s *host.AdamStep) {
	for i := range theta {
		g := s.GradScale * gradient[i]
		m[i] = s.Beta1*m[i] + (1-s.Beta1)*g
		v[i] = s.Beta2*v[i] + (1-s.Beta2)*g*g
		root := float32(math.Sqrt(float64(v[i])))
		theta[i] = s.Decay*theta[i] - s.StepSize*m[i]/(root*s.InvSqrtBias2+s.Eps)
	}
}
