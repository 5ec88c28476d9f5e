package ckpt

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// RunFile is the name of the file of a set that tells about the run. It is written last.
const RunFile = "run.ckpt"

// maxMembers is the population's limit, set by the random numbers' addresses.
const maxMembers = 1 << 16

// Set is the checkpoint of a run: all members at one update.
type Set struct {
	// Update is the number of updates done.
	Update int64
	// Members are the member files' contents, by index; see [Encode].
	Members [][]byte
	Run     RunState
}

// MemberFile is the name of a member's file within a set.
func MemberFile(member int) string { return fmt.Sprintf("member-%03d.ckpt", member) }

// SetName is the name of the folder of an update's set.
func SetName(update int64) string { return fmt.Sprintf("%08d", update) }

// setUpdate is SetName's inverse.
func setUpdate(name string) (int64, bool) {
	n, err := strconv.ParseInt(name, 10, 64)
	return n, err == nil && n >= 0 && SetName(n) == name
}

// Draft is a set to be written.
type Draft struct {
	// Update is the number of updates done.
	Update int64
	// Population is the number of members, and Member gives a member's file, as
	// [EncodeFile] returns it. Only so many files as are written at a time are in
	// memory.
	Population int
	Member     func(i int) (Encoded, error)
	// Parallel is how many files are written at a time, Member being called from as
	// many goroutines; 0: one.
	Parallel int
	// Run is what the set says about the run. Its Digest may be left to the function
	// of that name, which is called beside the writing of the members.
	Run    RunState
	Digest func() [sha256.Size]byte
}

// digest is that of all members, computed once.
func (d *Draft) digest() ([sha256.Size]byte, error) {
	none := [sha256.Size]byte{}
	if d.Run.Digest == none && d.Digest != nil {
		d.Run.Digest = d.Digest()
	}
	if d.Run.Digest == none {
		return none, fmt.Errorf("the run's digest is not set")
	}
	return d.Run.Digest, nil
}

// Draft is the set as it would be written.
func (s *Set) Draft() Draft {
	return Draft{Update: s.Update, Population: len(s.Members), Run: s.Run, Member: func(i int) (Encoded, error) {
		return Encoded{s.Members[i], sha256.Sum256(s.Members[i])}, nil
	}}
}

// IsSet says whether a name is that of a set's folder.
func IsSet(name string) bool {
	_, ok := setUpdate(name)
	return ok
}

// asideSuffix marks a set that is not to be used.
const asideSuffix = ".damaged"

// IsSetAside says whether a name is that of a set which [SetAside] renamed.
func IsSetAside(name string) bool {
	update, ok := strings.CutSuffix(name, asideSuffix)
	return ok && IsSet(update)
}

// WriteSet writes the set as the folder NNNNNNNN within dir, whole or not at
// all, and returns its path: the files are written and synced in a folder of
// another name, which is then renamed. Leftovers of attempts that were cut short
// are removed first; a folder of sets has one writer.
//
// Where a sound set of that update with the same members is there, it stays as
// it is; with other members it is an error. A damaged one is replaced.
func WriteSet(fsys FS, dir string, d Draft) (string, error) {
	path := filepath.Join(dir, SetName(d.Update))
	if err := writeSet(fsys, dir, path, &d); err != nil {
		return "", fmt.Errorf("ckpt: write the set %s: %w", path, err)
	}
	return path, nil
}

func writeSet(fsys FS, dir, path string, d *Draft) error {
	if d.Population < 1 || d.Population > maxMembers || d.Update < 0 {
		return fmt.Errorf("%d members at update %d; want 1 to %d members and an update from 0", d.Population, d.Update, maxMembers)
	}
	if err := d.Run.validate(); err != nil {
		return err
	}
	if err := prepare(fsys, dir); err != nil {
		return err
	}
	done, replace, err := settle(fsys, path, d)
	if err != nil {
		return err
	}
	if done {
		// The attempt that wrote it may have failed to make its name durable.
		return fsys.SyncDir(dir)
	}
	tmp := filepath.Join(dir, tmpPrefix+SetName(d.Update))
	if err := fill(fsys, tmp, d); err != nil {
		return withoutLeftover(fsys, tmp, err)
	}
	if replace {
		err = discard(fsys, path)
	}
	if err == nil {
		err = fsys.Rename(tmp, path)
	}
	if err != nil {
		return withoutLeftover(fsys, tmp, err)
	}
	return fsys.SyncDir(dir)
}

// withoutLeftover gives back what a failed attempt took of the disk. It can
// itself fail on a failing disk; then the next WriteSet does it, and err, the
// reason, is what the caller must see.
func withoutLeftover(fsys FS, tmp string, err error) error {
	_ = fsys.RemoveAll(tmp)
	return err
}

// prepare makes the folder of sets durable and empties it of leftovers.
func prepare(fsys FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
		return MakeDir(fsys, dir)
	}
	if err != nil {
		return err
	}
	return removeLeftovers(fsys, dir, names)
}

func removeLeftovers(fsys FS, dir string, names []string) error {
	for _, name := range names {
		if IsTemporary(name) {
			if err := fsys.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Settle makes a folder of sets what it would be if no process had been killed in the
// middle of writing to it: the sets that can be seen are durable, and what was left
// over is gone.
func Settle(fsys FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err == nil {
		err = removeLeftovers(fsys, dir, names)
	}
	if err != nil {
		return fmt.Errorf("ckpt: settle %s: %w", dir, err)
	}
	return nil
}

// settle looks for a set that is already at path. Done: it is the same; replace:
// it is damaged.
func settle(fsys FS, path string, d *Draft) (done, replace bool, err error) {
	if _, err := fsys.ReadDir(path); errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	old, err := ReadSet(fsys, path)
	switch {
	case errors.Is(err, ErrDamaged), errors.Is(err, fs.ErrNotExist):
		return false, true, nil
	case err != nil:
		return false, false, err
	}
	digest, err := d.digest()
	if err == nil && old.Run.Digest != digest {
		err = fmt.Errorf("%w: it holds other members (digest %x, not %x)", ErrExists, old.Run.Digest, digest)
	}
	return true, false, err
}

// fill writes and syncs the files of a set into a new folder. run.ckpt is the last:
// it names the sums of the others.
func fill(fsys FS, tmp string, d *Draft) error {
	if err := fsys.MkdirAll(tmp); err != nil {
		return err
	}
	sums := make([][sha256.Size]byte, d.Population)
	var files errgroup.Group
	files.SetLimit(max(d.Parallel, 1))
	var digest errgroup.Group
	digest.Go(func() error {
		_, err := d.digest()
		return err
	})
	var failed atomic.Bool
	for i := range d.Population {
		files.Go(func() (err error) {
			if failed.Load() {
				return nil // the error is another's
			}
			sums[i], err = fillMember(fsys, tmp, d, i)
			failed.CompareAndSwap(false, err != nil)
			return err
		})
	}
	// Both are waited for: nothing reads the members after an error was returned.
	if err := errors.Join(files.Wait(), digest.Wait()); err != nil {
		return err
	}
	run, err := encodeRun(d, sums)
	if err != nil {
		return err
	}
	if err := writeDurable(fsys, filepath.Join(tmp, RunFile), run.Data); err != nil {
		return err
	}
	return fsys.SyncDir(tmp)
}

func fillMember(fsys FS, tmp string, d *Draft, i int) (sum [sha256.Size]byte, err error) {
	f, err := d.Member(i)
	if err != nil {
		return sum, fmt.Errorf("member %d: %w", i, err)
	}
	return f.Sum, writeDurable(fsys, filepath.Join(tmp, MemberFile(i)), f.Data)
}

// discard removes a set. It is renamed first, so that no reader can see half, and
// that is made durable before anything in it goes: otherwise a crash could bring the
// name back with some of the files missing.
func discard(fsys FS, path string) error {
	dir, name := filepath.Split(path)
	tmp := filepath.Join(dir, tmpPrefix+"old-"+name)
	if err := fsys.RemoveAll(tmp); err != nil {
		return err
	}
	if err := fsys.Rename(path, tmp); err != nil {
		return err
	}
	if err := fsys.SyncDir(filepath.Clean(dir)); err != nil {
		return err
	}
	return fsys.RemoveAll(tmp)
}

// ReadSet reads the set at path. Every member file is held against the SHA-256
// that run.ckpt has of it, so that damaged, missing, swapped and foreign files
// are found; [Decode] and [Checkpoint.Restore] the members next. A set that is removed
// while it is read, as a run that trains on removes old ones, is no damaged one: the
// error is then fs.ErrNotExist.
func ReadSet(fsys ReadFS, path string) (*Set, error) {
	s, err := readSet(fsys, path)
	if errors.Is(err, fs.ErrNotExist) && s != nil {
		if _, gone := fsys.ReadDir(path); errors.Is(gone, fs.ErrNotExist) {
			err = fmt.Errorf("it was removed while it was read: %w", fs.ErrNotExist)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("ckpt: read the set %s: %w", path, err)
	}
	return s, nil
}

// readSet returns what it has read with an error of a member file.
func readSet(fsys ReadFS, path string) (*Set, error) {
	s, sums, err := readRun(fsys, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", RunFile, err)
	}
	for i, sum := range sums {
		member, err := readMember(fsys, path, i, len(sums), sum)
		if err != nil {
			return s, fmt.Errorf("%s: %w", MemberFile(i), err)
		}
		s.Members = append(s.Members, member)
	}
	return s, nil
}

// readMember reads the file of member i of n, which must have the sum.
func readMember(fsys ReadFS, path string, i, n int, sum [sha256.Size]byte) ([]byte, error) {
	data, err := fsys.ReadFile(filepath.Join(path, MemberFile(i)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the file of a member of %d is missing: %w", ErrDamaged, n, err)
	}
	if err != nil {
		return nil, err
	}
	if have := sha256.Sum256(data); have != sum {
		return nil, memberDefect(data, have, sum)
	}
	return data, nil
}

// memberDefect says what is wrong with a member file whose SHA-256 is not the
// one in run.ckpt: the tensor that is damaged, or that it is another file.
func memberDefect(data []byte, have, want [sha256.Size]byte) error {
	if _, err := decode(data); errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: the file is sound but not the one of this set: its SHA-256 is %x, %s says %x", ErrDamaged, have, RunFile, want)
}

// List returns the updates of the complete sets within dir, ascending; none where
// there is no such folder.
func List(fsys ReadFS, dir string) ([]int64, error) {
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var sets []int64
	for _, name := range names {
		update, ok := setUpdate(name)
		if !ok {
			continue
		}
		complete, err := hasRun(fsys, filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the run that writes here has just removed it
		}
		if err != nil {
			return nil, err
		}
		if complete {
			sets = append(sets, update)
		}
	}
	slices.Sort(sets)
	return sets, nil
}

func hasRun(fsys ReadFS, path string) (bool, error) {
	names, err := fsys.ReadDir(path)
	return slices.Contains(names, RunFile), err
}

// Prune removes the complete sets within dir that nothing keeps, the oldest first. The
// newest always stays.
func Prune(fsys FS, dir string, keep Retention) error {
	sets, err := List(fsys, dir)
	stays := keep.Keeps(sets)
	for i := 0; err == nil && i < len(sets)-1; i++ {
		if !stays(sets[i]) {
			err = discard(fsys, filepath.Join(dir, SetName(sets[i])))
		}
	}
	if err != nil {
		return fmt.Errorf("ckpt: prune %s: %w", dir, err)
	}
	return nil
}

// SetAside renames a set that is not to be used, so that no reader takes it for a
// checkpoint, and returns its new path. One that was set aside before goes.
func SetAside(fsys FS, path string) (string, error) {
	aside := path + asideSuffix
	err := fsys.RemoveAll(aside)
	if err == nil {
		err = fsys.Rename(path, aside)
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return "", fmt.Errorf("ckpt: set %s aside: %w", path, err)
	}
	return aside, nil
}
