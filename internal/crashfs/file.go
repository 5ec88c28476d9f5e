package crashfs

import (
	"io"
	"os"
	"slices"
)

// file is the content of a file, which names lead to.
type file struct {
	// now is what programs see, durable what is certain.
	now, durable []byte
	// pending are the changes since the file was synced, in their order.
	pending []change
}

// change is bytes written at an offset, or a new size.
type change struct {
	offset   int64
	data     []byte
	truncate bool // to offset bytes
}

// apply returns the content after the change.
func (c change) apply(content []byte) []byte {
	end := c.offset + int64(len(c.data))
	if grow := end - int64(len(content)); grow > 0 {
		content = append(content, make([]byte, grow)...)
	}
	if c.truncate {
		return content[:end]
	}
	copy(content[c.offset:], c.data)
	return content
}

func (f *file) change(c change) {
	f.now = c.apply(f.now)
	f.pending = append(f.pending, c)
}

// sync makes the first n pending changes durable.
func (f *file) sync(n int) {
	for _, c := range f.pending[:n] {
		f.durable = c.apply(f.durable)
	}
	f.pending = slices.Clone(f.pending[n:])
}

// handle is an open file.
type handle struct {
	disk   *Disk
	file   *file
	path   string
	offset int64 // of the next Write
	closed bool
}

func (h *handle) Write(b []byte) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	n, err := h.write("write", b, h.offset)
	h.offset += int64(n)
	return n, err
}

func (h *handle) WriteAt(b []byte, offset int64) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.write("writeat", b, offset)
}

// write that fails has written half.
func (h *handle) write(op string, b []byte, offset int64) (int, error) {
	err := h.operation(op)
	switch {
	case err == nil:
	case h.disk.hit(err):
		b = b[:len(b)/2]
	default:
		return 0, err
	}
	h.file.change(change{offset: offset, data: slices.Clone(b)})
	return len(b), err
}

func (h *handle) ReadAt(b []byte, offset int64) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.reading("readat", h.path); err != nil {
		return 0, err
	}
	n := copy(b, h.file.now[min(offset, int64(len(h.file.now))):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) Truncate(size int64) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	err := h.operation("truncate")
	if err != nil && !h.disk.reaches(err) {
		return err
	}
	h.file.change(change{offset: size, truncate: true})
	return err
}

// Sync that fails has lost the changes; if the machine stops, half are durable.
func (h *handle) Sync() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	err := h.operation("sync")
	n := len(h.file.pending)
	switch {
	case err == nil:
		h.file.sync(n)
	case h.disk.reaches(err):
		h.file.sync(n / 2)
	case h.disk.hit(err):
		h.file.pending = nil
	}
	return err
}

func (h *handle) Size() (int64, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.reading("size", h.path); err != nil {
		return 0, err
	}
	return int64(len(h.file.now)), nil
}

func (h *handle) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	err := h.operation("close")
	h.closed = true
	return err
}

func (h *handle) operation(op string) error {
	if h.closed {
		return pathError(op, h.path, os.ErrClosed)
	}
	return h.disk.operation(op, h.path)
}
