package plain

import "brood/kernels"

// backward adds to gradient, laid out as theta, the gradient of the loss of the
// row last given to forward. dOutput is the gradient by the network's output.
func (n *network) backward(gradient, theta, dOutput []float32) {
	last := len(n.layers)
	copy(n.dx[last], dOutput)
	for i := last - 1; i >= 0; i-- {
		l := &n.layers[i]
		in, dIn, dOut := n.x[i], n.dx[i], n.dx[i+1]
		clear(dIn)
		for o, d := range dOut {
			w := theta[l.Weight+o*l.In : l.Weight+(o+1)*l.In]
			dw := gradient[l.Weight+o*l.In : l.Weight+(o+1)*l.In]
			for j := range in {
				dw[j] += d * in[j]
				dIn[j] += d * w[j]
			}
			gradient[l.Bias+o] += d
		}
		if i > 0 {
			n.deactivate(dIn, in)
		}
	}
}

// deactivate turns the gradient by the activations x into that by what went into
// the activation function.
func (n *network) deactivate(dx, x []float32) {
	for i, v := range x {
		if n.activation == kernels.Tanh {
			dx[i] *= 1 - v*v
		} else if v <= 0 {
			dx[i] = 0
		}
	}
}
