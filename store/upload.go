package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
)

const (
	// maxParts is how many parts an object can have.
	maxParts = 10_000
	// partsAtOnce is how many parts of an object are on their way at a time.
	partsAtOnce = 4
)

// putParts stores an object in parts. It becomes visible when the last request
// completes it; where anything fails before, the parts are removed.
func (b *bucket) putParts(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	upload, err := b.begin(ctx, key)
	if err != nil {
		return err
	}
	parts, err := b.sendParts(ctx, key, upload, r, size)
	if err == nil {
		err = b.complete(ctx, key, upload, parts)
	}
	if err != nil {
		return errors.Join(err, b.abort(ctx, key, upload))
	}
	return nil
}

// begin starts an upload. An attempt that failed may have started one all the same
// whose answer was lost; a name has one writer, so what others there are since
// then are such ones.
func (b *bucket) begin(ctx context.Context, key string) (upload string, err error) {
	attempts := 0
	err = b.try(ctx, func(attempt int) (err error) {
		attempts = attempt
		upload, err = b.core.NewMultipartUpload(ctx, b.location.bucket, key, minio.PutObjectOptions{})
		return err
	})
	if attempts > 1 {
		err = errors.Join(err, b.abortLost(ctx, key, upload))
	}
	return upload, err
}

// abortLost aborts the uploads of a key but one.
func (b *bucket) abortLost(ctx context.Context, key, keep string) error {
	listing, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	found, err := b.core.ListMultipartUploads(listing, b.location.bucket, key, "", "", "", 1000)
	if err != nil {
		// Listing uploads is a permission of its own, and the upload can go on
		// without: what is left is invisible.
		return nil
	}
	for _, u := range found.Uploads {
		if u.Key == key && u.UploadID != keep {
			err = errors.Join(err, b.abort(ctx, key, u.UploadID))
		}
	}
	return err
}

// abort removes the parts of an upload.
func (b *bucket) abort(ctx context.Context, key, upload string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	err := b.try(ctx, func(int) error { return b.core.AbortMultipartUpload(ctx, b.location.bucket, key, upload) })
	if err != nil && code(err) != "NoSuchUpload" {
		return fmt.Errorf("the parts of upload %s may be left in the bucket: abort: %w", upload, err)
	}
	return nil
}

// sizeOfParts is the size in bytes of all parts but the last.
func sizeOfParts(size, least int64) int64 {
	return max(least, (size+maxParts-1)/maxParts)
}

// sendParts uploads the parts, some at a time. A part that fails is sent again
// alone.
func (b *bucket) sendParts(ctx context.Context, key, upload string, r io.ReaderAt, size int64) ([]minio.CompletePart, error) {
	length := sizeOfParts(size, b.partSize)
	parts := make([]minio.CompletePart, (size+length-1)/length)
	err := each(ctx, len(parts), partsAtOnce, func(ctx context.Context, i int) error {
		offset := int64(i) * length
		n := min(length, size-offset)
		sum, err := hashSource(ctx, r, offset, n)
		if err != nil {
			return err
		}
		return b.try(ctx, func(int) error {
			options := minio.PutObjectPartOptions{Sha256Hex: fmt.Sprintf("%x", sum)}
			part, err := b.core.PutObjectPart(ctx, b.location.bucket, key, upload, i+1, io.NewSectionReader(r, offset, n), n, options)
			if err != nil {
				return fmt.Errorf("part %d of %d: %w", i+1, len(parts), err)
			}
			parts[i] = minio.CompletePart{PartNumber: i + 1, ETag: part.ETag}
			return nil
		})
	})
	return parts, err
}

// complete makes an object of the parts. Where the answer to a first request was
// lost, the server knows no such upload when it is asked again; whether the object
// is there then shows when it is read back.
func (b *bucket) complete(ctx context.Context, key, upload string, parts []minio.CompletePart) error {
	return b.try(ctx, func(attempt int) error {
		_, err := b.core.CompleteMultipartUpload(ctx, b.location.bucket, key, upload, parts, minio.PutObjectOptions{})
		if attempt > 1 && code(err) == "NoSuchUpload" {
			return nil
		}
		return err
	})
}
