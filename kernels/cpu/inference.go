package cpu

import (
	"fmt"
	"os"

	"brood/kernels"
	"brood/kernels/cpu/simd"
	"brood/kernels/host"
	"brood/tensor"
)

// InferenceRows is the largest number of rows of one [Inference.Forward].
const InferenceRows = tileRows

// Inference is one network outside an engine, with the forward pass that the engine
// has: the same weights give the same results to the bit, whatever the number of
// rows. It is not safe for concurrent use; see [Inference.Clone].
type Inference struct {
	path   *simd.Path
	net    network
	packed []float32 // shared by clones, never written again
	tile   *tile
}

// NewInference packs the weights of a network, which policy [any size] has at the
// layers' offsets, for the fastest inner loops of this processor or those that
// BROOD_CPU names; the error is of a name that is not one of them. policy is not
// kept.
func NewInference(layers []host.Layer, activation kernels.Activation, policy []float32) (*Inference, error) {
	path, err := simd.Select(os.Getenv(PathVariable))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", PathVariable, err)
	}
	n := &Inference{path: path}
	packed, grad := 0, 0
	n.net = plan(layers, activation, &packed, &grad)
	n.packed = tensor.AlignedFloats(packed)
	n.net.pack(path, policy, n.packed)
	n.tile = newTile(&n.net)
	return n, nil
}

// Clone returns the same network with buffers of its own, to be used at the same
// time as n from another goroutine.
func (n *Inference) Clone() *Inference {
	c := *n
	c.tile = newTile(&c.net)
	return &c
}

// Outputs is the number of results per row.
func (n *Inference) Outputs() int { return n.net.last().Out }

// Forward computes the results of x [rows][inputs], at most [InferenceRows] rows.
// They are component-major, output o of row r at [o*InferenceRows+r], and valid
// until the next call. Nothing is allocated.
func (n *Inference) Forward(x []float32, rows int) []float32 {
	n.net.forward(n.path, n.tile, n.packed, x, n.net.layers[0].In, rows)
	return n.tile.out
}

// Choose writes the most probable choice of each component of the actions of results
// that [Inference.Forward] gave, the first of equals, to actions [rows][len(choices)];
// choices are the components' numbers of choices.
func (n *Inference) Choose(actions, results []float32, choices []int, rows int) {
	for c, count := range choices {
		mostProbable(actions[c:], len(choices), results, count, rows)
		results = results[count*tileRows:]
	}
}
