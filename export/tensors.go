package export

import (
	"encoding/binary"
	"math"

	"brood/kernels"
	"brood/ppo"
)

// array is a tensor as files of tensors have it.
type array struct {
	name  string
	shape []int
	// double says that the elements are float64, else float32.
	double bool
	data   []byte // little endian, C order
}

func (t *array) entry() Entry {
	e := Entry{Name: t.name, Type: "float32", Shape: append([]int{}, t.shape...)}
	if t.double {
		e.Type = "float64"
	}
	return e
}

// arrays lists the tensors of an agent: those of the policy in the layout's order,
// and the statistics of its observations exactly where it sees normalised ones.
func arrays(a *ppo.Agent) []array {
	var list []array
	for _, t := range a.Tensors {
		list = append(list, array{name: t.Name, shape: t.Shape, data: littleEndian(t.Data)})
	}
	if n := a.Normalization; n != nil {
		section := kernels.SectionObservationNorm + "."
		list = append(list, array{name: section + "mean", shape: []int{len(n.Mean)}, data: littleEndian(n.Mean)},
			array{name: section + "var", shape: []int{len(n.Var)}, data: littleEndian(n.Var)},
			array{name: section + "count", double: true, data: binary.LittleEndian.AppendUint64(nil, math.Float64bits(n.Count))})
	}
	return list
}

func littleEndian(list []float32) []byte {
	data := make([]byte, 0, 4*len(list))
	for _, v := range list {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}
