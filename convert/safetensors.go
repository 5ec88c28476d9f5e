package convert

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
)

// The format of safetensors: 8 bytes with the length of a header, the header, which
// is a JSON object of tensors by name, and their bytes. This reader is our own, because
// github.com/nlpodyssey/safetensors reads the header into a map, where of a name that
// is there twice the last one silently counts.

// safetensorsTypes gives NumPy's code of the element types that are read.
var safetensorsTypes = map[string]string{"F32": "<f4", "F64": "<f8", "I64": "<i8"}

// field is an entry of a JSON object.
type field struct {
	key   string
	value json.RawMessage
}

// fields reads a JSON object in its order and refuses keys that repeat.
func fields(text []byte) ([]field, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, damaged("want a JSON object, got %.40q", text)
	}
	var list []field
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, damaged("JSON: %v", err)
		}
		f := field{key: token.(string)} // the decoder lets nothing else be a key
		if seen[f.key] {
			return nil, damaged("the key %.80q is there twice", f.key)
		}
		seen[f.key] = true
		if err := decoder.Decode(&f.value); err != nil {
			return nil, damaged("JSON, the value of %.80q: %v", f.key, err)
		}
		list = append(list, f)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, damaged("JSON: %v", err)
	}
	if rest := bytes.TrimRight(text[decoder.InputOffset():], " \n\r\t\x00"); len(rest) > 0 {
		return nil, damaged("%d bytes follow the JSON object", len(rest))
	}
	return list, nil
}

// placed is a tensor with its range of the data.
type placed struct {
	named
	begin, end int64
}

// safetensors gives the tensors of a file in the order of their places, and its
// metadata.
func safetensors(data []byte) ([]named, map[string]string, error) {
	if len(data) < 8 {
		return nil, nil, damaged("%d bytes are neither a zip archive (Stable-Baselines3, torch.save) nor safetensors, which has at least 8", len(data))
	}
	length := binary.LittleEndian.Uint64(data)
	if length > uint64(len(data)-8) {
		return nil, nil, damaged("neither a zip archive (Stable-Baselines3, torch.save) nor safetensors: a header of %d bytes is announced and %d are left", length, len(data)-8)
	}
	header, content := data[8:8+length], data[8+length:]
	list, err := fields(header)
	if err != nil {
		return nil, nil, fmt.Errorf("the header of safetensors: %w", err)
	}
	var metadata map[string]string
	var found []placed
	for _, f := range list {
		if f.key == "__metadata__" {
			if err := json.Unmarshal(f.value, &metadata); err != nil {
				return nil, nil, damaged("the header's __metadata__ must be texts: %v", err)
			}
			continue
		}
		p, err := place(f, content)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %.80q: %w", f.key, err)
		}
		found = append(found, p)
	}
	slices.SortStableFunc(found, func(a, b placed) int { return cmp.Compare(a.begin, b.begin) })
	tensors, at := make([]named, 0, len(found)), int64(0)
	for _, p := range found {
		if p.begin != at {
			return nil, nil, damaged("tensor %.80q begins at byte %d of the data and the one before it ends at %d; want them side by side", p.name, p.begin, at)
		}
		at = p.end
		tensors = append(tensors, p.named)
	}
	if at != int64(len(content)) {
		return nil, nil, damaged("the tensors end at byte %d of the data, which has %d", at, len(content))
	}
	return tensors, metadata, nil
}

// place reads {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}.
func place(f field, content []byte) (placed, error) {
	p := placed{named: named{name: f.key}}
	list, err := fields(f.value)
	if err != nil {
		return p, err
	}
	var dtype string
	var shape []int
	var offsets []int64
	targets := map[string]any{"dtype": &dtype, "shape": &shape, "data_offsets": &offsets}
	for _, entry := range list {
		target := targets[entry.key]
		if target == nil {
			return p, damaged("the key %.40q; valid are dtype, shape and data_offsets", entry.key)
		}
		if err := json.Unmarshal(entry.value, target); err != nil {
			return p, damaged("%s: %v", entry.key, err)
		}
	}
	if len(list) != len(targets) || shape == nil || len(offsets) != 2 {
		return p, damaged("it has %d of dtype, shape and two data_offsets", len(list))
	}
	p.code = safetensorsTypes[dtype]
	if p.code == "" {
		return p, fmt.Errorf("%w: its type is %.20q; read are F32, F64 and I64 (in PyTorch: model.float())", ErrRefused, dtype)
	}
	p.begin, p.end = offsets[0], offsets[1]
	if p.begin < 0 || p.begin > p.end || p.end > int64(len(content)) {
		return p, damaged("data_offsets are %v; the data has %d bytes", offsets, len(content))
	}
	p.shape, p.data = shape, content[p.begin:p.end]
	size := elementSizes[p.code]
	count, err := product(shape, len(p.data)/size)
	if err != nil {
		return p, err
	}
	if count*size != len(p.data) {
		return p, damaged("shape %v of %s does not match %d bytes", shape, dtype, len(p.data))
	}
	return p, nil
}
