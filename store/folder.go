package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// folder is a store in a folder. Every operation opens the folder anew, as an
// os.Root, so that symbolic links cannot lead out of it, and a file system that
// was mounted again is found.
type folder struct {
	path   string
	policy policy

	// mu keeps a folder that Put makes or found from being removed, as empty,
	// before its file is in it.
	mu sync.Mutex
	// durable are the folders whose own names were synced.
	durable map[string]bool
}

// staleAfter is the age from which a temporary file cannot be one being written.
const staleAfter = time.Hour

func openFolder(ctx context.Context, dir string) (*folder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store: open the folder %s: %w", dir, err)
	}
	f := &folder{path: abs, policy: patient, durable: map[string]bool{}}
	if err := f.prepare(ctx); err != nil {
		return nil, fmt.Errorf("store: open the folder %s: %w", abs, err)
	}
	return f, nil
}

// prepare makes the folder, and a file in it to see that it can be written.
func (f *folder) prepare(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := os.Mkdir(f.path, 0o755)
	switch {
	case err == nil:
		if err := syncPath(filepath.Dir(f.path)); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("its parent is not there; make it, or mount its file system: %w", err)
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return err
	}
	defer root.Close()
	tmp, file, err := createTemp(root, ".")
	if err != nil {
		return fmt.Errorf("it must take files: %w", err)
	}
	return errors.Join(file.Close(), root.Remove(tmp))
}

func (f *folder) String() string { return f.path }

// in runs an operation on the opened folder, again after transient failures.
func (f *folder) in(ctx context.Context, operation string, do func(*os.Root) error) error {
	err := f.policy.do(ctx, transientFile, func(int) error {
		root, err := os.OpenRoot(f.path)
		if err != nil {
			return err
		}
		defer root.Close()
		return do(root)
	})
	if err != nil {
		return fmt.Errorf("store: %s in the folder %s: %w", operation, f.path, err)
	}
	return nil
}

// transientFile says whether a file operation can succeed when it is tried again:
// network file systems fail so while their server is away.
func transientFile(err error) bool {
	for _, e := range []syscall.Errno{syscall.ESTALE, syscall.ETIMEDOUT, syscall.EAGAIN, syscall.EINTR, syscall.EBUSY, syscall.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (f *folder) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	if err := checkPut(name, size); err != nil {
		return fmt.Errorf("store: put in the folder %s: %w", f.path, err)
	}
	return f.in(ctx, "put "+name, func(root *os.Root) error { return f.put(ctx, root, name, r, size) })
}

func checkPut(name string, size int64) error {
	if err := checkName(name); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("%s: its size is %d bytes; it must be at least 0", name, size)
	}
	return nil
}

// put writes under a temporary name in the same folder, makes that durable, reads
// it back and renames it.
func (f *folder) put(ctx context.Context, root *os.Root, name string, r io.ReaderAt, size int64) error {
	tmp, file, err := f.create(root, name)
	if err != nil {
		return err
	}
	if err = writeAndCompare(ctx, root, tmp, file, r, size); err == nil {
		err = root.Rename(tmp, name)
	}
	if err != nil {
		// The error that counts is the first; Remove finds a leftover later.
		_ = root.Remove(tmp)
		return err
	}
	if err := syncDir(root, path.Dir(name)); err != nil {
		return fmt.Errorf("make its name durable: %w", err)
	}
	return nil
}

// create makes the temporary file, and the folders above it, for a name.
func (f *folder) create(root *os.Root, name string) (string, *os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, _ := splitName(name)
	for i := range len(dir) + 1 {
		if i == len(dir) && i > 0 || i < len(dir) && dir[i] == '/' {
			if err := f.makeDir(root, dir[:i]); err != nil {
				return "", nil, err
			}
		}
	}
	return createTemp(root, dir)
}

// makeDir makes a folder whose parent is there, and its name durable, once.
func (f *folder) makeDir(root *os.Root, dir string) error {
	err := root.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		if f.durable[dir] {
			return nil
		}
		// Another process can have made it and not have synced it yet.
		err = nil
	}
	if err == nil {
		err = syncDir(root, path.Dir(dir))
	}
	if err == nil {
		f.durable[dir] = true
	}
	return err
}

// createTemp makes a file with a name of its own in dir.
func createTemp(root *os.Root, dir string) (string, *os.File, error) {
	for {
		tmp := path.Join(dir, fmt.Sprintf("%s%016x", tmpPrefix, rand.Uint64()))
		file, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, fs.ErrExist) {
			return tmp, file, err
		}
	}
}

// writeAndCompare fills file, closes it, and reads it back.
func writeAndCompare(ctx context.Context, root *os.Root, tmp string, file *os.File, r io.ReaderAt, size int64) error {
	h := sha256.New()
	source := &whileContext{ctx, io.NewSectionReader(r, 0, size)}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(file, h)}, source, make([]byte, bufferSize))
	if err == nil && n < size {
		err = fmt.Errorf("read what is to be stored, at byte %d of %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		forget(file)
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	back, err := root.Open(tmp)
	if err != nil {
		return err
	}
	defer back.Close()
	return compare(&whileContext{ctx, back}, size, [sha256.Size]byte(h.Sum(nil)))
}

func (f *folder) Get(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	if err := checkName(name); err != nil {
		return nil, 0, fmt.Errorf("store: get from the folder %s: %w", f.path, err)
	}
	var content *fileContent
	err := f.in(ctx, "get "+name, func(root *os.Root) error {
		info, err := root.Stat(name)
		if err != nil {
			return err
		}
		// Opening a pipe would wait for a writer.
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%w: it is a %s and not a file", fs.ErrNotExist, info.Mode().Type())
		}
		file, err := root.Open(name)
		if err != nil {
			return err
		}
		if info, err = file.Stat(); err != nil {
			file.Close()
			return err
		}
		content = &fileContent{ctx: ctx, file: file, size: info.Size()}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return content, content.size, nil
}

// fileContent reads a file to the length that it had when it was opened.
type fileContent struct {
	ctx          context.Context
	file         *os.File
	offset, size int64
}

func (c *fileContent) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	if c.offset == c.size {
		return 0, io.EOF
	}
	n, err := c.file.Read(p[:min(int64(len(p)), c.size-c.offset)])
	c.offset += int64(n)
	if err == io.EOF && c.offset < c.size {
		err = fmt.Errorf("store: read %s: %w at byte %d of %d", c.file.Name(), io.ErrUnexpectedEOF, c.offset, c.size)
	}
	return n, err
}

func (c *fileContent) Close() error { return c.file.Close() }

func (f *folder) List(ctx context.Context, prefix string) ([]Entry, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, fmt.Errorf("store: list the folder %s: %w", f.path, err)
	}
	var entries []Entry
	err := f.in(ctx, fmt.Sprintf("list %q", prefix), func(root *os.Root) (err error) {
		entries, err = list(ctx, root, prefix)
		return err
	})
	return entries, err
}

func list(ctx context.Context, root *os.Root, prefix string) ([]Entry, error) {
	var entries []Entry
	visit := func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// What is removed while the list is made is not in it.
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && checkName(name) != nil {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !strings.HasPrefix(name, prefix) || checkName(name) != nil {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			entries = append(entries, Entry{Name: name, Size: info.Size(), Modified: info.ModTime()})
		}
		return err
	}
	err := fs.WalkDir(root.FS(), path.Dir(prefix), visit)
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return entries, err
}

func (f *folder) Remove(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := checkName(name); err != nil {
			return fmt.Errorf("store: remove from the folder %s: %w", f.path, err)
		}
	}
	for _, name := range names {
		if err := f.in(ctx, "remove "+name, func(root *os.Root) error { return f.remove(root, name) }); err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) remove(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if err == nil && info.IsDir() {
		// A folder is only a part of names: nothing is stored under its own.
		return nil
	}
	if err == nil {
		err = root.Remove(name)
	}
	// ENOTDIR: what the name has for a folder is a file.
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if !sweep(root, dir) {
			break
		}
		delete(f.durable, dir)
	}
	return nil
}

// sweep removes a folder in which no file is left but temporary ones of attempts
// that ended long ago. It is tidying: where it cannot, the folder stays.
func sweep(root *os.Root, dir string) bool {
	// An empty folder goes with one call, and a full one is read only to see
	// whether all that fills it is stale.
	if root.Remove(dir) == nil {
		return true
	}
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), tmpPrefix) || !info.Mode().IsRegular() || time.Since(info.ModTime()) < staleAfter {
			return false
		}
	}
	for _, e := range entries {
		if root.Remove(path.Join(dir, e.Name())) != nil {
			return false
		}
	}
	return root.Remove(dir) == nil
}

func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return syncOpened(d)
}

func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return syncOpened(d)
}

// syncOpened makes the names in an open folder durable and closes it. Some network
// file systems have no such operation: their server keeps names as it sees fit.
func syncOpened(d *os.File) error {
	err := d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
