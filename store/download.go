package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
)

// download reads an object, and goes on where it stopped when the connection is
// lost.
type download struct {
	ctx    context.Context
	b      *bucket
	key    string
	etag   string
	size   int64
	offset int64
	body   io.ReadCloser // nil between connections
	// lost counts connections that were lost without a byte in between.
	lost int
	err  error
}

// open starts the download of an object.
func (b *bucket) open(ctx context.Context, key string) (*download, error) {
	d := &download{ctx: ctx, b: b, key: key}
	err := b.try(ctx, func(int) error {
		body, info, _, err := b.core.GetObject(ctx, b.location.bucket, key, minio.GetObjectOptions{})
		if err != nil {
			return absent(err)
		}
		d.body, d.size, d.etag = body, info.Size, info.ETag
		return nil
	})
	if err != nil {
		return nil, err
	}
	if d.size < 0 {
		d.body.Close()
		return nil, errors.New("the server does not say how many bytes it has")
	}
	return d, nil
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.err != nil {
			return 0, d.err
		}
		if d.offset == d.size {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		if d.body == nil {
			if err := d.resume(); err != nil {
				d.err = d.failed(err)
				continue
			}
		}
		n, err := d.body.Read(p[:min(int64(len(p)), d.size-d.offset)])
		d.offset += int64(n)
		if n > 0 {
			d.lost = 0
		}
		if err != nil && d.offset < d.size {
			d.hangUp(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

// hangUp ends a connection that failed before the last byte; the next Read makes
// another.
func (d *download) hangUp(err error) {
	d.body.Close()
	d.body = nil
	if d.lost++; d.lost >= d.b.policy.attempts {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		d.err = d.failed(fmt.Errorf("given up after %d connections: %w", d.lost, err))
	}
}

func (d *download) failed(err error) error {
	return d.b.failed("read "+d.key, fmt.Errorf("at byte %d of %d: %w", d.offset, d.size, err))
}

// resume opens the rest of the object, as long as it is the same one.
func (d *download) resume() error {
	if d.lost > 1 && !pause(d.ctx, d.b.policy.wait(d.lost)) {
		return context.Cause(d.ctx)
	}
	return d.b.try(d.ctx, func(int) error {
		options := minio.GetObjectOptions{}
		if err := options.SetRange(d.offset, d.size-1); err != nil {
			return err
		}
		body, info, _, err := d.b.core.GetObject(d.ctx, d.b.location.bucket, d.key, options)
		if err != nil {
			return absent(err)
		}
		switch {
		case info.ETag != d.etag:
			err = errors.New("it was replaced while it was read; get it again")
		case info.Size != d.size-d.offset:
			err = fmt.Errorf("asked for the last %d bytes, the server sends %d", d.size-d.offset, info.Size)
		}
		if err != nil {
			body.Close()
			return err
		}
		d.body = body
		return nil
	})
}

// Close ends the download. Closing it before its end costs a connection.
func (d *download) Close() error {
	if d.body == nil {
		return nil
	}
	body := d.body
	d.body = nil
	if d.err == nil {
		d.err = errors.New("store: read after close")
	}
	return body.Close()
}
