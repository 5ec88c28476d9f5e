package convert

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
)

// archive is a zip archive whose entries are views of its bytes: only entries that
// are stored as they are can be opened, so that nothing is ever inflated.
type archive struct {
	data  []byte
	files map[string]*zip.File
	names []string
	// left is how many bytes of entries may still be opened: entries of a sound
	// archive do not overlap, so that all of them have fewer bytes than the archive.
	left int
}

func openArchive(data []byte) (*archive, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%w: read it as a zip archive: %w", ErrDamaged, err)
	}
	z := &archive{data: data, files: make(map[string]*zip.File, len(r.File)), left: len(data)}
	for _, f := range r.File {
		if z.files[f.Name] != nil {
			return nil, fmt.Errorf("%w: the zip archive has the entry %.80q twice", ErrDamaged, f.Name)
		}
		z.files[f.Name] = f
		z.names = append(z.names, f.Name)
	}
	return z, nil
}

func (z *archive) has(name string) bool { return z.files[name] != nil }

// entry returns the bytes of an entry, a view of the archive.
func (z *archive) entry(name string) ([]byte, error) {
	f := z.files[name]
	if f == nil {
		return nil, fmt.Errorf("%w: the zip archive lacks the entry %.80q; it has %s", ErrDamaged, name, listed(z.names))
	}
	size := f.UncompressedSize64
	if f.Method != zip.Store || f.CompressedSize64 != size {
		return nil, fmt.Errorf("%w: the zip archive's entry %.80q is compressed (%d bytes to %d); PyTorch and Stable-Baselines3 store entries as they are (zip -0)",
			ErrRefused, name, f.CompressedSize64, size)
	}
	offset, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("%w: the zip archive's entry %.80q: %w", ErrDamaged, name, err)
	}
	if offset < 0 || offset > int64(len(z.data)) || size > uint64(int64(len(z.data))-offset) {
		return nil, fmt.Errorf("%w: the zip archive's entry %.80q has %d bytes at byte %d, and the archive ends at %d", ErrDamaged, name, size, offset, len(z.data))
	}
	if size > uint64(z.left) {
		return nil, fmt.Errorf("%w: the zip archive's entries overlap: with %.80q they have more bytes than the archive", ErrDamaged, name)
	}
	z.left -= int(size)
	content := z.data[offset : offset+int64(size) : offset+int64(size)]
	if sum := crc32.ChecksumIEEE(content); sum != f.CRC32 {
		return nil, fmt.Errorf("%w: the zip archive's entry %.80q has the checksum %08x, not %08x", ErrDamaged, name, sum, f.CRC32)
	}
	return content, nil
}

// pickleName is the entry of torch.save's archives that says what is in them.
const pickleName = "data.pkl"

// torchFolder is the folder of a torch.save archive with a slash at its end; empty
// where this is none.
func (z *archive) torchFolder() string {
	for _, name := range z.names {
		if folder, isPickle := strings.CutSuffix(name, pickleName); isPickle && strings.Count(folder, "/") == 1 && strings.HasSuffix(folder, "/") {
			return folder
		}
	}
	return ""
}

// listed names a few of the names of a file, which may be of any length.
func listed(names []string) string {
	const shown = 12
	if len(names) == 0 {
		return "nothing"
	}
	var b strings.Builder
	for i, name := range names {
		if i == shown {
			fmt.Fprintf(&b, " and %d more", len(names)-shown)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.80q", name)
	}
	return b.String()
}
