package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
)

// bufferSize is what is hashed or copied at a time, in bytes.
const bufferSize = 128 << 10

// hashSource is the SHA-256 of n bytes of r from an offset. That they can be read
// is known afterwards, so that a later failure of an upload is the network's.
func hashSource(ctx context.Context, r io.ReaderAt, offset, n int64) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	read, err := io.CopyBuffer(h, &whileContext{ctx, io.NewSectionReader(r, offset, n)}, make([]byte, min(bufferSize, n+1)))
	if err == nil && read < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return sum, fmt.Errorf("read what is to be stored, at byte %d: %w", offset+read, err)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// compare reads content to its end and holds it against what was sent. Its error
// is ErrDamaged where content is something else.
func compare(content io.Reader, size int64, sum [sha256.Size]byte) error {
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{content}, make([]byte, bufferSize))
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if have := [sha256.Size]byte(h.Sum(nil)); n != size || have != sum {
		return fmt.Errorf("%w: read back, it has %d bytes with SHA-256 %x; %d bytes with %x were sent", ErrDamaged, n, have, size, sum)
	}
	return nil
}

// whileContext reads until its context ends.
type whileContext struct {
	ctx context.Context
	io.Reader
}

func (r *whileContext) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
