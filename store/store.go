// Package store keeps copies of files, a run's checkpoints above all, in a place
// beside the run folder: a folder, such as a network mount, or an S3-compatible
// bucket. Whatever is stored is whole, and was read back and compared before a
// Put says that it is there.
package store

import (
	"context"
	"errors"
	"io"
	"time"
)

// Store keeps files by slash-separated names such as
// "checkpoints/00000050/member-000.ckpt". Its methods may be called concurrently.
// A name has one writer at a time: of two that write different content under one
// name at once, either can win, and the other's Put can fail as damaged.
//
// Names are UTF-8, at most 800 bytes and 255 per part, without empty parts, ".",
// "..", backslashes and control characters; no part begins with ".tmp-". Errors
// about other names are [ErrName].
type Store interface {
	// Put stores the size bytes of r under name, whole or not at all, replacing
	// what is there. It returns nil only once what is stored was read back and has
	// the same SHA-256; otherwise the error is [ErrDamaged], and what a bucket
	// stored is removed again. Transient failures are retried until ctx ends or
	// the attempts are used up. r is read more than once, from several goroutines.
	Put(ctx context.Context, name string, r io.ReaderAt, size int64) error
	// Get opens what is stored; an error that is fs.ErrNotExist where there is
	// nothing of that name. size is its length in bytes. A read error in the middle
	// of a download is retried from where it stopped or returned, never a silent
	// short read; one that was replaced in the meantime is an error. ctx holds for
	// the reading, too. The caller closes content.
	Get(ctx context.Context, name string) (content io.ReadCloser, size int64, err error)
	// List returns what is stored under names that begin with prefix, sorted by
	// name. Names that no Put could have made are passed over.
	List(ctx context.Context, prefix string) ([]Entry, error)
	// Remove removes what is there of the names; one that is not there is no error.
	Remove(ctx context.Context, names ...string) error
	// String is the URL, or the folder's absolute path, without credentials.
	String() string
}

// Entry is what a store has under a name.
type Entry struct {
	Name string
	// Size is the length in bytes.
	Size int64
	// Modified is when it was stored, by the clock of the store.
	Modified time.Time
}

// The kinds of failure a caller may want to tell apart, beside fs.ErrNotExist.
var (
	// ErrName: the name is not one that a store takes.
	ErrName = errors.New("not a name of a store")
	// ErrURL: the text names no store.
	ErrURL = errors.New("not the URL of a store")
	// ErrDamaged: what is stored is not what was sent.
	ErrDamaged = errors.New("damaged in the store")
	// ErrAccess: there are no credentials, or the server refuses them.
	ErrAccess = errors.New("no access")
)

// Open opens the store that a URL or a folder's path means, and checks that it can
// be reached. [Check] tells what url can be.
//
// A folder is made where it is absent, but not its parent, which would hide that
// a file system is not mounted; it must take files. A bucket must exist, and the
// credentials must allow to list it. They are found as AWS's tools do: in the
// environment, in the shared files' profile, or from the machine's role.
func Open(ctx context.Context, url string) (Store, error) {
	loc, err := parse(url)
	if err != nil {
		return nil, err
	}
	if loc.folder != "" {
		return openFolder(ctx, loc.folder)
	}
	return openBucket(ctx, loc.bucket, settings{})
}

// Check validates the text of a URL without touching the network or a disk; its
// errors are [ErrURL]. These are valid:
//
//	folder/path or file:///absolute/path
//	s3://BUCKET[/PREFIX][?endpoint=HOST:PORT&region=REGION&path_style=true]
//
// endpoint is https unless it says http://, and left out means AWS_ENDPOINT_URL_S3,
// AWS_ENDPOINT_URL or Amazon's. region left out means AWS_REGION,
// AWS_DEFAULT_REGION or what the server says. path_style (true or false) puts the
// bucket in the path instead of the host's name; left out, it is true for every
// endpoint that is not Amazon's or Google's.
func Check(url string) error {
	_, err := parse(url)
	return err
}
