package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// settings are what tests choose otherwise; zero values mean the usual.
type settings struct {
	policy policy
	// opening is the policy of the check in Open.
	opening policy
	// partSize is the size in bytes of the parts that larger objects go in.
	partSize int64
	// idle ends a connection on which nothing moves.
	idle time.Duration
	// wrap puts something between the client and the network.
	wrap func(http.RoundTripper) http.RoundTripper
}

func (s settings) withDefaults() settings {
	if s.policy.attempts == 0 {
		s.policy = patient
	}
	if s.opening.attempts == 0 {
		s.opening = brisk
	}
	s.partSize = cmp.Or(s.partSize, 16<<20)
	s.idle = cmp.Or(s.idle, time.Minute)
	return s
}

// bucket is a store in a bucket of an S3-compatible server.
type bucket struct {
	settings
	location bucketLocation
	core     *minio.Core
	// signer tells where the credentials are from.
	signer *chain
}

// tidyTime bounds what is done to leave nothing behind after a failure, when the
// caller's context may have ended.
const tidyTime = 20 * time.Second

// removals is how many objects are removed at a time.
const removals = 8

func openBucket(ctx context.Context, loc bucketLocation, s settings) (*bucket, error) {
	if err := loc.fromEnvironment(); err != nil {
		return nil, err
	}
	b := &bucket{settings: s.withDefaults(), location: loc, signer: &chain{region: loc.region}}
	if err := b.connect(ctx); err != nil {
		return nil, fmt.Errorf("store: open %s: %w", b, b.explain(err))
	}
	return b, nil
}

// connect makes the client and lists at most one object: unlike the cheaper HEAD
// of a bucket, a refused list tells why.
func (b *bucket) connect(ctx context.Context) error {
	transport, err := newTransport(b.idle)
	if err != nil {
		return err
	}
	var trip http.RoundTripper = transport
	if b.wrap != nil {
		trip = b.wrap(transport)
	}
	lookup := minio.BucketLookupAuto
	if b.location.pathStyle != nil {
		lookup = minio.BucketLookupDNS
		if *b.location.pathStyle {
			lookup = minio.BucketLookupPath
		}
	}
	credentials, err := b.signer.credentials()
	if err != nil {
		return err
	}
	b.core, err = minio.NewCore(b.location.endpoint, &minio.Options{
		Creds: credentials, Secure: !b.location.plain, Region: b.location.region, BucketLookup: lookup, Transport: trip,
		// This package retries: it sees which part of an operation failed.
		MaxRetries: 1,
	})
	if err != nil {
		return err
	}
	err = b.opening.do(ctx, transientAnswer, func(int) error {
		_, err := b.page(ctx, "", "", 1)
		return err
	})
	if err != nil {
		// Nothing else will use the connections.
		transport.CloseIdleConnections()
	}
	return err
}

func (b *bucket) String() string { return b.location.String() }

// key is the object's key of a name.
func (b *bucket) key(name string) string {
	if b.location.prefix == "" {
		return name
	}
	return b.location.prefix + "/" + name
}

// try retries f by the policy.
func (b *bucket) try(ctx context.Context, f func(attempt int) error) error {
	return b.policy.do(ctx, transientAnswer, f)
}

// failed is an operation's error.
func (b *bucket) failed(operation string, err error) error {
	return fmt.Errorf("store: %s in %s: %w", operation, b, b.explain(err))
}

func (b *bucket) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	if err := checkPut(name, size); err != nil {
		return b.failed("put", err)
	}
	if err := b.put(ctx, b.key(name), r, size); err != nil {
		return b.failed("put "+name, err)
	}
	return nil
}

func (b *bucket) put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	sum, err := hashSource(ctx, r, 0, size)
	if err != nil {
		return err
	}
	if size > b.partSize {
		err = b.putParts(ctx, key, r, size)
	} else {
		err = b.putWhole(ctx, key, r, size, sum)
	}
	if err != nil {
		return err
	}
	// A second look tells what is damaged in the store from what was damaged on
	// the way back.
	if err = b.verify(ctx, key, size, sum); errors.Is(err, ErrDamaged) {
		err = b.verify(ctx, key, size, sum)
	}
	if errors.Is(err, ErrDamaged) {
		return errors.Join(err, b.withdraw(ctx, key))
	}
	return err
}

// putWhole stores an object with one request. Its SHA-256 is part of the request's
// signature, so that a server that checks it refuses what was damaged on the way.
func (b *bucket) putWhole(ctx context.Context, key string, r io.ReaderAt, size int64, sum [sha256.Size]byte) error {
	return b.try(ctx, func(int) error {
		_, err := b.core.PutObject(ctx, b.location.bucket, key, io.NewSectionReader(r, 0, size), size, "", fmt.Sprintf("%x", sum), minio.PutObjectOptions{})
		return err
	})
}

// verify reads an object back.
func (b *bucket) verify(ctx context.Context, key string, size int64, sum [sha256.Size]byte) error {
	content, err := b.open(ctx, key)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer content.Close()
	return compare(content, size, sum)
}

// withdraw removes a damaged object, so that nobody takes it for a good one.
func (b *bucket) withdraw(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	if err := b.removeKey(ctx, key); err != nil {
		return fmt.Errorf("it could not be removed and is still there: %w", err)
	}
	return nil
}

func (b *bucket) Get(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	if err := checkName(name); err != nil {
		return nil, 0, b.failed("get", err)
	}
	content, err := b.open(ctx, b.key(name))
	if err != nil {
		return nil, 0, b.failed("get "+name, err)
	}
	return content, content.size, nil
}

func (b *bucket) List(ctx context.Context, prefix string) ([]Entry, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, b.failed("list", err)
	}
	var entries []Entry
	after := ""
	for {
		var page []minio.ObjectInfo
		err := b.try(ctx, func(int) (err error) {
			page, err = b.page(ctx, prefix, after, pageSize)
			return err
		})
		if err != nil {
			return nil, b.failed(fmt.Sprintf("list %q", prefix), err)
		}
		for _, o := range page {
			name := strings.TrimPrefix(o.Key, b.key(""))
			if checkName(name) == nil {
				entries = append(entries, Entry{Name: name, Size: o.Size, Modified: o.LastModified})
			}
		}
		if len(page) < pageSize {
			slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
			return entries, nil
		}
		after = page[len(page)-1].Key
	}
}

// pageSize is how many objects are listed before what was listed is kept, so that
// a failure costs no more than that again.
const pageSize = 1000

// page lists up to n objects that follow the key after.
func (b *bucket) page(ctx context.Context, prefix, after string, n int) ([]minio.ObjectInfo, error) {
	// Ending the context ends the listing that runs in the background.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var page []minio.ObjectInfo
	options := minio.ListObjectsOptions{Prefix: b.key(prefix), StartAfter: after, Recursive: true, MaxKeys: n}
	for o := range b.core.ListObjectsIter(ctx, b.location.bucket, options) {
		if o.Err != nil {
			return nil, o.Err
		}
		if o.ETag == "" && o.LastModified.IsZero() {
			return nil, fmt.Errorf("the server lists the group %q in place of objects, which it was not asked for; it must take an empty delimiter for none", o.Key)
		}
		if page = append(page, o); len(page) == n {
			break
		}
	}
	// A listing that its context ended is not a complete one.
	return page, ctx.Err()
}

func (b *bucket) Remove(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := checkName(name); err != nil {
			return b.failed("remove", err)
		}
	}
	return each(ctx, len(names), removals, func(ctx context.Context, i int) error {
		if err := b.removeKey(ctx, b.key(names[i])); err != nil {
			return b.failed("remove "+names[i], err)
		}
		return nil
	})
}

func (b *bucket) removeKey(ctx context.Context, key string) error {
	err := b.try(ctx, func(int) error {
		return b.core.RemoveObject(ctx, b.location.bucket, key, minio.RemoveObjectOptions{})
	})
	if errors.Is(absent(err), fs.ErrNotExist) {
		return nil
	}
	return err
}
