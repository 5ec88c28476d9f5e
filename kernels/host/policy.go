package host

import (
	"fmt"

	"brood/kernels"
	"brood/tensor"
)

// Layer is a linear layer y = W x + b with W [Out, In] row-major.
type Layer struct {
	In, Out int
	// Weight and Bias are offsets in floats within the policy section.
	Weight, Bias int
	// WeightName and BiasName are the tensors' names in the policy section.
	WeightName, BiasName string
}

// Span is a tensor of the policy section without its padding.
type Span struct {
	Name string
	// Offset in floats within the policy section, and number of elements.
	Offset, Len int
}

// PolicyIndex says where the parameters lie in the policy section. The same
// offsets hold in everything that has the section's size: the gradient, and
// Adam's moments ([State.ExpAvg], [State.ExpAvgSq]).
type PolicyIndex struct {
	// Actor and Critic are the layers from the observation to the output.
	Actor, Critic []Layer
	// LogStd is the offset of log_std [A]; -1 for discrete actions.
	LogStd int
	// Size is the section's size in floats, padding included; a multiple of 16.
	Size int
	// Tensors lists every tensor in the order of VGS's moving averages.
	Tensors []Span
}

// NewPolicyIndex reads the offsets from the layout of c.
func NewPolicyIndex(c *kernels.Config, l *tensor.Layout) *PolicyIndex {
	b := l.Section(kernels.SectionPolicy)
	p := &PolicyIndex{LogStd: -1, Size: b.Size / 4}
	offsets := make(map[string]int, len(b.Tensors))
	for i := range b.Tensors {
		t := &b.Tensors[i]
		offset := (t.Offset - b.Offset) / 4
		offsets[t.Name] = offset
		p.Tensors = append(p.Tensors, Span{Name: t.Name, Offset: offset, Len: t.Len})
	}
	network := func(name string, outputs int) []Layer {
		var layers []Layer
		in := c.Env.Spec().ObsDim
		for i := 0; i <= len(c.Hidden); i++ {
			out := outputs
			if i < len(c.Hidden) {
				out = c.Hidden[i]
			}
			weight, bias := fmt.Sprintf("%s.%d.weight", name, 2*i), fmt.Sprintf("%s.%d.bias", name, 2*i)
			layers = append(layers, Layer{In: in, Out: out,
				Weight: offsets[weight], Bias: offsets[bias], WeightName: weight, BiasName: bias})
			in = out
		}
		return layers
	}
	p.Actor = network("actor", c.Env.Spec().Action.N)
	p.Critic = network("critic", c.Critic.Outputs())
	if offset, ok := offsets["log_std"]; ok {
		p.LogStd = offset
	}
	return p
}
