package export

import (
	"encoding/binary"
	"fmt"
	"math"

	"brood/kernels"
	"brood/kernels/host"
	"brood/ppo"
)

// An ONNX model is a message of Protocol Buffers by
// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. What is used of it is small
// and fixed, so it is written here field by field, without a generated package.

// opset is the version of ONNX's operators that the model is written for, and
// irVersion that of the file format which came with it. Every later runtime takes
// them.
const (
	opset     = 13
	irVersion = 7
)

// maxONNX bounds a model in bytes: messages of Protocol Buffers have less than 2 GiB.
const maxONNX = math.MaxInt32

// Element types of ONNX.
const (
	onnxFloat = 1
	onnxInt64 = 7
)

// batchSize is the name of the models' only unknown dimension.
const batchSize = "batch"

// graph collects a model's parts.
type graph struct {
	nodes, initializers []message
	inputs, outputs     []message
	report              *Report
}

// node adds an operator; inputs and outputs are names of tensors.
func (g *graph) node(op, output string, inputs []string, attributes ...message) {
	var m message
	for _, name := range inputs {
		m = m.text(1, name)
	}
	m = m.text(2, output).text(3, op+"_"+output).text(4, op)
	for _, a := range attributes {
		m = m.bytes(5, a)
	}
	g.nodes = append(g.nodes, m)
}

// integerAttribute is an attribute of an operator, and integersAttribute a list of one.
func integerAttribute(name string, v int64) message {
	return message{}.text(1, name).integer(3, v).integer(20, 2)
}

func integersAttribute(name string, v int64) message {
	return message{}.text(1, name).integer(8, v).integer(20, 7)
}

// constant adds an array of the model's own and returns its name.
func (g *graph) constant(name string, kind int64, shape []int, data []byte) string {
	var m message
	for _, d := range shape {
		m = m.integer(1, int64(d))
	}
	g.initializers = append(g.initializers, m.integer(2, kind).text(8, name).bytes(9, data))
	return name
}

func (g *graph) floats(name string, shape []int, data []float32) string {
	return g.constant(name, onnxFloat, shape, littleEndian(data))
}

// value describes an input or output, the first of whose dimensions is the batch.
func value(name string, kind int64, rest ...int) (message, Entry) {
	shape := message{}.bytes(1, message{}.text(2, batchSize))
	entry := Entry{Name: name, Type: map[int64]string{onnxFloat: "float32", onnxInt64: "int64"}[kind], Shape: []int{-1}}
	for _, d := range rest {
		shape = shape.bytes(1, message{}.integer(1, int64(d)))
		entry.Shape = append(entry.Shape, d)
	}
	tensor := message{}.integer(1, kind).bytes(2, shape)
	return message{}.text(1, name).bytes(2, message{}.bytes(1, tensor)), entry
}

func (g *graph) input(name string, kind int64, rest ...int) {
	m, entry := value(name, kind, rest...)
	g.inputs, g.report.Inputs = append(g.inputs, m), append(g.report.Inputs, entry)
}

func (g *graph) output(name string, kind int64, rest ...int) {
	m, entry := value(name, kind, rest...)
	g.outputs, g.report.Outputs = append(g.outputs, m), append(g.report.Outputs, entry)
}

// encodeONNX writes the model of an agent, of less than limit bytes.
func encodeONNX(a *ppo.Agent, r *Report, limit int64) ([]byte, error) {
	if weights := 4 * int64(r.Parameters); weights >= limit {
		return nil, fmt.Errorf("onnx: %w: the networks have %d bytes of weights; an ONNX file has less than %d (safetensors and npz have no such bound)", ErrTooLarge, weights, limit)
	}
	g := &graph{report: r}
	g.input("observation", onnxFloat, a.Env.ObsDim)
	seen := g.normalize(a)
	g.act(a, g.network(a, "actor", seen))
	g.value(a, g.network(a, "critic", seen))

	var body message
	for _, m := range g.nodes {
		body = body.bytes(1, m)
	}
	body = body.text(2, "agent")
	for _, m := range g.initializers {
		body = body.bytes(5, m)
	}
	for _, m := range g.inputs {
		body = body.bytes(11, m)
	}
	for _, m := range g.outputs {
		body = body.bytes(12, m)
	}
	m := message{}.integer(1, irVersion).text(2, "brood").text(3, version()).bytes(7, body)
	m = m.bytes(8, message{}.integer(2, opset)) // of the standard operators, whose domain has no name
	for _, p := range metadata(a) {
		m = m.bytes(14, message{}.text(1, p.key).text(2, p.value))
	}
	if int64(len(m)) >= limit {
		return nil, fmt.Errorf("onnx: %w: the model has %d bytes; an ONNX file has less than %d (safetensors and npz have no such bound)", ErrTooLarge, len(m), limit)
	}
	return m, nil
}

// normalize adds what the networks see of an observation, in the operations and
// roundings of [host.NormalizeObs], and returns its name.
func (g *graph) normalize(a *ppo.Agent) string {
	if a.Normalization == nil {
		return "observation"
	}
	d := a.Env.ObsDim
	invStd := make([]float32, d)
	host.InvStds(invStd, a.Normalization.Var)
	g.node("Sub", "centered", []string{"observation", g.floats("observation_norm.mean", []int{d}, a.Normalization.Mean)})
	g.node("Mul", "scaled", []string{"centered", g.floats("observation_norm.inverse_std", []int{d}, invStd)})
	g.node("Clip", "normalized", []string{"scaled", g.floats("observation_norm.least", nil, []float32{-host.NormClip}),
		g.floats("observation_norm.largest", nil, []float32{host.NormClip})})
	return "normalized"
}

// network adds the layers of a network and returns the name of its results [batch, out].
func (g *graph) network(a *ppo.Agent, name, x string) string {
	activation := map[kernels.Activation]string{kernels.Tanh: "Tanh", kernels.ReLU: "Relu"}[a.Activation]
	tensors := map[string]ppo.AgentTensor{}
	for _, t := range a.Tensors {
		tensors[t.Name] = t
	}
	for i := range len(a.Hidden) + 1 {
		layer := fmt.Sprintf("%s.%d", name, 2*i)
		weight, bias := tensors[layer+".weight"], tensors[layer+".bias"]
		g.node("Gemm", layer, []string{x, g.floats(weight.Name, weight.Shape, weight.Data), g.floats(bias.Name, bias.Shape, bias.Data)},
			integerAttribute("transB", 1))
		if x = layer; i < len(a.Hidden) {
			x = fmt.Sprintf("%s.%d", name, 2*i+1)
			g.node(activation, x, []string{layer})
		}
	}
	return x
}

// act adds the deterministic action: the first of the most probable choices, of each
// component where there are several, or the mean within its bounds.
func (g *graph) act(a *ppo.Agent, results string) {
	n, space := a.Env.Action.N, a.Spec().Action
	if len(space.NVec) > 0 {
		g.actSeveral(space.NVec, results)
		return
	}
	if space.Discrete {
		g.node("ArgMax", "action", []string{results}, integerAttribute("axis", 1), integerAttribute("keepdims", 0), integerAttribute("select_last_index", 0))
		g.output("action", onnxInt64)
		return
	}
	g.node("Min", "below_high", []string{results, g.floats("action.high", []int{n}, a.Env.Action.High)})
	g.node("Max", "action", []string{"below_high", g.floats("action.low", []int{n}, a.Env.Action.Low)})
	g.output("action", onnxFloat, n)
}

// actSeveral is act for choices of several components.
func (g *graph) actSeveral(nvec []int, results string) {
	integers := func(name string, v int) string {
		return g.constant(name, onnxInt64, []int{1}, binary.LittleEndian.AppendUint64(nil, uint64(v)))
	}
	axis := integers("component.axis", 1)
	var parts []string
	first := 0
	for c, n := range nvec {
		name := fmt.Sprintf("component.%d", c)
		g.node("Slice", name+".logits", []string{results, integers(name+".first", first), integers(name+".end", first+n), axis})
		g.node("ArgMax", name, []string{name + ".logits"}, integerAttribute("axis", 1), integerAttribute("keepdims", 1), integerAttribute("select_last_index", 0))
		parts, first = append(parts, name), first+n
	}
	g.node("Concat", "action", parts, integerAttribute("axis", 1))
	g.output("action", onnxInt64, len(nvec))
}

// value adds the value: the critic's result, or the mean of its quantiles, which are
// an output, too.
func (g *graph) value(a *ppo.Agent, results string) {
	if a.Critic == kernels.QuantileCritic {
		g.node("Identity", "quantiles", []string{results})
		g.node("ReduceMean", "value", []string{results}, integersAttribute("axes", 1), integerAttribute("keepdims", 0))
		g.output("value", onnxFloat)
		g.output("quantiles", onnxFloat, a.Values)
		return
	}
	axis := g.constant("value.axis", onnxInt64, []int{1}, binary.LittleEndian.AppendUint64(nil, 1))
	g.node("Squeeze", "value", []string{results, axis})
	g.output("value", onnxFloat)
}
