package export

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"brood/ppo"
)

// metadataName is the name of the text in an archive, which has no place for any.
const metadataName = "metadata"

// encodeNPZ writes a zip archive of .npy files, stored as they are, which is what
// numpy.savez writes. The last one is a text, the metadata as JSON.
func encodeNPZ(a *ppo.Agent, r *Report) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, t := range arrays(a) {
		code := "<f4"
		if t.double {
			code = "<f8"
		}
		if err := addNPY(w, t.name, code, t.shape, t.data); err != nil {
			return nil, err
		}
		r.Tensors = append(r.Tensors, t.entry())
	}
	properties := map[string]string{}
	for _, p := range metadata(a) {
		properties[p.key] = p.value
	}
	text := jsonText(properties)
	var points []byte // NumPy's texts are of 4 bytes a character
	for _, c := range text {
		points = binary.LittleEndian.AppendUint32(points, uint32(c))
	}
	code := fmt.Sprintf("<U%d", utf8.RuneCountInString(text))
	if err := addNPY(w, metadataName, code, nil, points); err != nil {
		return nil, err
	}
	r.Tensors = append(r.Tensors, Entry{Name: metadataName, Type: "str", Shape: []int{}})
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("npz: %w", err)
	}
	return out.Bytes(), nil
}

// npyAlignment is what the header of a .npy file is padded to, in bytes.
const npyAlignment = 64

// addNPY adds an array in version 1.0 of NumPy's format: a magic number, the length
// of a header, the header, which is a Python literal, and the elements.
func addNPY(w *zip.Writer, name, code string, shape []int, data []byte) error {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = fmt.Sprint(d)
	}
	tuple := strings.Join(dims, ", ")
	if len(shape) == 1 {
		tuple += ","
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", code, tuple)
	const before = 10 // the magic number, the version and the length
	padding := npyAlignment - (before+len(header)+1)%npyAlignment
	header += strings.Repeat(" ", padding%npyAlignment) + "\n"
	file := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	file = append(append(file, header...), data...)
	entry, err := w.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
	if err != nil {
		return fmt.Errorf("npz: %s: %w", name, err)
	}
	if _, err := entry.Write(file); err != nil {
		return fmt.Errorf("npz: %s: %w", name, err)
	}
	return nil
}
