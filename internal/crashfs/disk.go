// Package crashfs is a file system in memory that forgets what a disk may forget when
// the power fails. Tests run on it, stop the machine in the middle of any operation,
// and go on with what the restart finds.
//
// What is certain after a crash is only what was asked for. The content of a file is
// durable once the file was synced; of what was written since, any part may be on the
// disk: nothing, all, some of the writes and not the ones before them, a write torn at
// any byte or with some of its sectors missing, or the new size with zeros for the
// data. A name (of what was made, renamed or removed) is durable once its folder was
// synced; until then every name has, independently of all others, one of the values it
// had since: after a rename the old name, the new one, both, or neither may be there.
// An operation that fails has done half, and a sync that fails has lost what it was to
// make durable, though a program that reads the file still sees it.
//
// The model is that of T. S. Pillai et al., "All File Systems Are Not Created Equal: On
// the Complexity of Crafting Crash-Consistent Applications", OSDI 2014. What a failed
// sync loses is from A. Rebello et al., "Can Applications Recover from fsync Failures?",
// USENIX ATC 2020.
package crashfs

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"brood/ckpt"
)

// Disk is a file system and the machine it is in. It is safe for concurrent use.
type Disk struct {
	mu   sync.Mutex
	root *folder
	// locked are the folders with a writer.
	locked map[*folder]bool
	faults
}

var _ ckpt.FS = (*Disk)(nil)

// New is an empty disk that works.
func New() *Disk { return &Disk{root: newFolder(), locked: map[*folder]bool{}} }

// node is a *file or a *folder; nil: nothing.
type node any

type folder struct {
	// now are the names that programs see, durable those that are certain.
	now, durable map[string]node
	// pending are the changes since the folder was synced, in their order.
	pending []nameChange
}

// nameChange is a name that was given to a node, or to none.
type nameChange struct {
	name string
	node node
}

func newFolder() *folder { return &folder{now: map[string]node{}, durable: map[string]node{}} }

// set changes what a name stands for.
func (f *folder) set(name string, n node) {
	if n == nil {
		delete(f.now, name)
	} else {
		f.now[name] = n
	}
	f.pending = append(f.pending, nameChange{name, n})
}

// sync makes the first n pending changes durable.
func (f *folder) sync(n int) {
	for _, c := range f.pending[:n] {
		if c.node == nil {
			delete(f.durable, c.name)
		} else {
			f.durable[c.name] = c.node
		}
	}
	f.pending = slices.Clone(f.pending[n:])
}

func pathError(op, path string, err error) error {
	return &os.PathError{Op: op, Path: path, Err: err}
}

// find returns what is at a path.
func (d *Disk) find(op, path string) (node, error) {
	var at node = d.root
	for _, name := range split(path) {
		f, ok := at.(*folder)
		if !ok {
			return nil, pathError(op, path, syscall.ENOTDIR)
		}
		if at, ok = f.now[name]; !ok {
			return nil, pathError(op, path, fs.ErrNotExist)
		}
	}
	return at, nil
}

func split(path string) []string {
	return strings.FieldsFunc(filepath.ToSlash(filepath.Clean(path)), func(r rune) bool { return r == '/' })
}

func (d *Disk) findFolder(op, path string) (*folder, error) {
	n, err := d.find(op, path)
	if err != nil {
		return nil, err
	}
	f, ok := n.(*folder)
	if !ok {
		return nil, pathError(op, path, syscall.ENOTDIR)
	}
	return f, nil
}

// parent returns the folder a path is in, and its name there.
func (d *Disk) parent(op, path string) (*folder, string, error) {
	path = filepath.Clean(path)
	f, err := d.findFolder(op, filepath.Dir(path))
	return f, filepath.Base(path), err
}

// openFile returns the file at a path, made if it is not there.
func (d *Disk) openFile(op, path string) (*file, error) {
	dir, name, err := d.parent(op, path)
	if err != nil {
		return nil, err
	}
	switch n := dir.now[name].(type) {
	case *file:
		return n, nil
	case *folder:
		return nil, pathError(op, path, syscall.EISDIR)
	}
	f := &file{}
	dir.set(name, f)
	return f, nil
}

func (d *Disk) Create(path string) (ckpt.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.operation("create", path); err != nil && !d.reaches(err) {
		return nil, err
	} else if f, e := d.openFile("create", path); e != nil {
		return nil, e
	} else {
		f.change(change{truncate: true})
		return &handle{disk: d, file: f, path: path}, err
	}
}

func (d *Disk) OpenLog(path string) (ckpt.LogFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.operation("openlog", path); err != nil && !d.reaches(err) {
		return nil, err
	} else if f, e := d.openFile("openlog", path); e != nil {
		return nil, e
	} else {
		return &handle{disk: d, file: f, path: path}, err
	}
}

func (d *Disk) MkdirAll(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.operation("mkdir", path)
	if err != nil && !d.reaches(err) {
		return err
	}
	at := d.root
	for _, name := range split(path) {
		switch n := at.now[name].(type) {
		case *folder:
			at = n
		case *file:
			return pathError("mkdir", path, syscall.ENOTDIR)
		default:
			made := newFolder()
			at.set(name, made)
			at = made
		}
	}
	return err
}

func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.operation("rename", from, to)
	if err != nil && !d.reaches(err) {
		return err
	}
	n, e := d.find("rename", from)
	if e != nil {
		return e
	}
	source, old, e := d.parent("rename", from)
	if e != nil {
		return e
	}
	target, name, e := d.parent("rename", to)
	if e != nil {
		return e
	}
	moved, isFolder := n.(*folder)
	switch there := target.now[name].(type) {
	case *folder:
		if !isFolder || there != moved && len(there.now) > 0 {
			return pathError("rename", to, syscall.ENOTEMPTY)
		}
	case *file:
		if isFolder {
			return pathError("rename", to, syscall.ENOTDIR)
		}
	}
	target.set(name, n)
	source.set(old, nil)
	return err
}

// removal is a name to be removed from a folder.
type removal struct {
	folder *folder
	name   string
}

// removals lists what has to go, what is in a folder before the folder.
func removals(dir *folder, name string) (list []removal) {
	if f, ok := dir.now[name].(*folder); ok {
		for _, inner := range slices.Sorted(maps.Keys(f.now)) {
			list = append(list, removals(f, inner)...)
		}
	}
	return append(list, removal{dir, name})
}

// RemoveAll that fails has removed half, but at least one name.
func (d *Disk) RemoveAll(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.operation("remove", path)
	if err != nil && !d.hit(err) {
		return err
	}
	dir, name, e := d.parent("remove", path)
	if e != nil || dir.now[name] == nil {
		return err // there is nothing, which is no error
	}
	list := removals(dir, name)
	if err != nil {
		list = list[:(len(list)+1)/2]
	}
	for _, r := range list {
		r.folder.set(r.name, nil)
	}
	return err
}

// SyncDir during which the machine stops has made half durable.
func (d *Disk) SyncDir(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.operation("syncdir", path)
	if err != nil && !d.reaches(err) {
		return err
	}
	f, e := d.findFolder("syncdir", path)
	if e != nil {
		return e
	}
	n := len(f.pending)
	if err != nil {
		n /= 2
	}
	f.sync(n)
	return err
}

func (d *Disk) ReadDir(path string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.reading("readdir", path); err != nil {
		return nil, err
	}
	f, err := d.findFolder("readdir", path)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(f.now)), nil
}

func (d *Disk) ReadFile(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.reading("read", path); err != nil {
		return nil, err
	}
	n, err := d.find("read", path)
	if err != nil {
		return nil, err
	}
	f, ok := n.(*file)
	if !ok {
		return nil, pathError("read", path, syscall.EISDIR)
	}
	return slices.Clone(f.now), nil
}

// Lock is in memory and ends with the process: its file may survive a crash and means
// nothing then.
func (d *Disk) Lock(dir string) (release func() error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.operation("lock", dir); err != nil {
		return nil, err
	}
	f, err := d.findFolder("lock", dir)
	if err != nil {
		return nil, err
	}
	if d.locked[f] {
		return nil, &ckpt.HeldError{Dir: dir}
	}
	if _, err := d.openFile("lock", filepath.Join(dir, ckpt.LockFile)); err != nil {
		return nil, err
	}
	d.locked[f] = true
	return func() error { return d.release(dir, f) }, nil
}

// release gives a lock back, once; where its file cannot be removed it is free anyway.
func (d *Disk) release(dir string, f *folder) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.locked[f] {
		return nil
	}
	delete(d.locked, f)
	if err := d.operation("unlock", dir); err != nil {
		return err
	}
	f.set(ckpt.LockFile, nil)
	return nil
}
