package plain

import (
	"math"

	"brood/kernels"
	"brood/kernels/host"
)

// network is the shape of one network with room for the activations of a row.
type network struct {
	layers     []host.Layer
	activation kernels.Activation
	// x[0] is the observation, x[l+1] what layer l gives: after the activation,
	// except for the last, which is linear.
	x [][]float32
	// dx[l] is the gradient of the loss by x[l].
	dx [][]float32
}

func newNetwork(layers []host.Layer, activation kernels.Activation) *network {
	n := &network{layers: layers, activation: activation}
	widths := []int{layers[0].In}
	for i := range layers {
		widths = append(widths, layers[i].Out)
	}
	for _, w := range widths {
		n.x = append(n.x, make([]float32, w))
		n.dx = append(n.dx, make([]float32, w))
	}
	return n
}

// forward computes the output of one observation [D]; it is valid until the next
// call. theta is the policy section.
func (n *network) forward(theta, obs []float32) []float32 {
	copy(n.x[0], obs)
	for i := range n.layers {
		l := &n.layers[i]
		in, out := n.x[i], n.x[i+1]
		for o := range out {
			w := theta[l.Weight+o*l.In : l.Weight+(o+1)*l.In]
			sum := theta[l.Bias+o]
			for j, x := range in {
				sum += w[j] * x
			}
			out[o] = sum
		}
		if i < len(n.layers)-1 {
			n.activate(out)
		}
	}
	return n.x[len(n.layers)]
}

func (n *network) activate(x []float32) {
	for i, v := range x {
		if n.activation == kernels.Tanh {
			x[i] = float32(math.Tanh(float64(v)))
		} else {
			x[i] = max(v, 0)
		}
	}
}

// value is the value the critic's output stands for: the mean of its quantiles,
// or its only number.
func value(output []float32) float32 {
	sum := 0.0
	for _, q := range output {
		sum += float64(q)
	}
	return float32(sum / float64(len(output)))
}
