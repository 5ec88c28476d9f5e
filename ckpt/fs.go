package ckpt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ReadFS is the file operations that reading checkpoints needs.
type ReadFS interface {
	// ReadFile reads a regular file; anything else, such as a device, is an error.
	ReadFile(path string) ([]byte, error)
	// ReadDir lists the names in a folder, sorted.
	ReadDir(path string) ([]string, error)
}

// FS is the file operations that a run and its checkpoints need. Tests put one in
// its place that fails where they say, or forgets what was not synced.
type FS interface {
	ReadFS
	// Create makes or truncates a file for writing.
	Create(path string) (File, error)
	// OpenLog opens a file that grows and whose past may be rewritten; it makes one
	// that is not there.
	OpenLog(path string) (LogFile, error)
	// MkdirAll makes a folder and its parents; it is no error if it is there.
	MkdirAll(path string) error
	// Rename replaces a file, or moves a folder to a name that is free.
	Rename(from, to string) error
	// RemoveAll removes a file or a folder with all in it, if it is there.
	RemoveAll(path string) error
	// SyncDir makes the names in a folder durable.
	SyncDir(path string) error
	// Lock makes the caller the one writer of a folder that is there, until release.
	// A [*HeldError] says that another one is.
	Lock(dir string) (release func() error, err error)
}

// File is a file being written.
type File interface {
	io.Writer
	// Sync makes the content durable.
	Sync() error
	Close() error
}

// LogFile is a file that is written, and read back, at offsets.
type LogFile interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the content durable.
	Sync() error
	Close() error
}

// OS is the operating system's file system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Create(path string) (File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
}
func (osFS) MkdirAll(path string) error   { return os.MkdirAll(path, 0o755) }
func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) RemoveAll(path string) error  { return os.RemoveAll(path) }

func (osFS) OpenLog(path string) (LogFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return logFile{f}, nil
}

type logFile struct{ *os.File }

func (f logFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ReadFile looks at what it would read first: opening a pipe waits for a writer, and
// a device has no end.
func (osFS) ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is no regular file (%v)", info.Mode().Type())}
	}
	return os.ReadFile(path)
}

func (osFS) ReadDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return err
	}
	return d.Close()
}

// tmpPrefix marks what is not complete. Readers pass over such names.
const tmpPrefix = ".tmp-"

// IsTemporary says whether a name is that of something not complete: being written,
// or left by a crash.
func IsTemporary(name string) bool { return strings.HasPrefix(name, tmpPrefix) }

// MakeDir makes a folder and its parents, where they are not there, and their names
// durable. The name of one that is there may not be: who made it may have been killed
// before that.
func MakeDir(fsys FS, path string) error {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	if _, err := fsys.ReadDir(path); err == nil {
		err = fsys.SyncDir(parent)
		if errors.Is(err, fs.ErrPermission) {
			return nil // who may not read the parent has not made this folder
		}
		return err
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if parent != path {
		if err := MakeDir(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(path); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// WriteFile replaces the file at path by data, whole or not at all: it writes
// under a temporary name in the same folder, makes that durable and renames it.
// Where it fails before the rename, the old file is intact; where making the
// rename durable fails, the new file is complete but may be gone after a crash.
func WriteFile(fsys FS, path string, data []byte) error {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	tmp := filepath.Join(dir, tmpPrefix+name)
	// After a crash in the middle of a rename both names may be there, of one file:
	// writing to the one would destroy the other.
	err := fsys.RemoveAll(tmp)
	if err == nil {
		err = writeDurable(fsys, tmp, data)
	}
	if err == nil {
		err = fsys.Rename(tmp, path)
	}
	if err != nil {
		// The error that counts is the first; a leftover is overwritten later.
		_ = fsys.RemoveAll(tmp)
		return fmt.Errorf("ckpt: write %s: %w", path, err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("ckpt: write %s: make its name durable: %w", path, err)
	}
	return nil
}

// writeDurable writes a file and syncs it.
func writeDurable(fsys FS, path string, data []byte) error {
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	n, err := f.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// ReadFile reads and verifies the member file at path.
func ReadFile(fsys ReadFS, path string) (*Checkpoint, error) {
	data, err := fsys.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ckpt: read: %w", err)
	}
	c, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("ckpt: read %s: %w", path, err)
	}
	return c, nil
}
