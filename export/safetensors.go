package export

import (
	"encoding/binary"
	"slices"
	"strings"

	"brood/ppo"
)

// encodeSafetensors writes 8 bytes with the length of a header, the header, which is
// a JSON object of tensors by name, and their bytes side by side.
func encodeSafetensors(a *ppo.Agent, r *Report) ([]byte, error) {
	list := arrays(a)
	// Readers map the bytes as they lie: what has 8 bytes an element comes first, and
	// the header's length is a multiple of 8, so that each is aligned.
	slices.SortStableFunc(list, func(x, y array) int {
		switch {
		case x.double == y.double:
			return 0
		case x.double:
			return -1
		}
		return 1
	})
	properties := map[string]string{}
	for _, p := range metadata(a) {
		properties[p.key] = p.value
	}
	header := `{"__metadata__":` + jsonText(properties)
	size := 0
	for _, t := range list {
		dtype := "F32"
		if t.double {
			dtype = "F64"
		}
		header += "," + jsonText(t.name) + ":" + jsonText(struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{dtype, append([]int{}, t.shape...), [2]int{size, size + len(t.data)}})
		size += len(t.data)
		r.Tensors = append(r.Tensors, t.entry())
	}
	header += "}"
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	data := make([]byte, 0, 8+len(header)+size)
	data = binary.LittleEndian.AppendUint64(data, uint64(len(header)))
	data = append(data, header...)
	for _, t := range list {
		data = append(data, t.data...)
	}
	return data, nil
}
