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
)

// runFile is the file of a set that tells about the run. It is written last.
const runFile = "run.ckpt"

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

// WriteSet writes the set as the folder NNNNNNNN within dir, whole or not at
// all, and returns its path: the files are written and synced in a folder of
// another name, which is then renamed. Leftovers of attempts that were cut short
// are removed first; a folder of sets has one writer.
//
// Where a sound set of that update with the same members is there, it stays as
// it is; with other members it is an error. A damaged one is replaced.
func WriteSet(fsys FS, dir string, s Set) (string, error) {
	path := filepath.Join(dir, SetName(s.Update))
	if err := writeSet(fsys, dir, path, &s); err != nil {
		return "", fmt.Errorf("ckpt: write the set %s: %w", path, err)
	}
	return path, nil
}

func writeSet(fsys FS, dir, path string, s *Set) error {
	if len(s.Members) == 0 || len(s.Members) > maxMembers || s.Update < 0 {
		return fmt.Errorf("%d members at update %d; want 1 to %d members and an update from 0", len(s.Members), s.Update, maxMembers)
	}
	if err := s.Run.validate(); err != nil {
		return err
	}
	run, err := encodeRun(s)
	if err != nil {
		return err
	}
	if err := prepare(fsys, dir); err != nil {
		return err
	}
	done, replace, err := settle(fsys, path, s)
	if done || err != nil {
		return err
	}
	tmp := filepath.Join(dir, tmpPrefix+SetName(s.Update))
	if err := fill(fsys, tmp, s.Members, run); err != nil {
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
	if errors.Is(err, fs.ErrNotExist) {
		if err := fsys.MkdirAll(dir); err != nil {
			return err
		}
		return fsys.SyncDir(filepath.Dir(dir))
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, tmpPrefix) {
			if err := fsys.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle looks for a set that is already at path. Done: it is the same; replace:
// it is damaged.
func settle(fsys FS, path string, s *Set) (done, replace bool, err error) {
	if _, err := fsys.ReadDir(path); errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	old, err := ReadSet(fsys, path)
	switch {
	case errors.Is(err, ErrDamaged), errors.Is(err, fs.ErrNotExist):
		return false, true, nil
	case err != nil:
		return false, false, err
	case old.Run.Digest != s.Run.Digest:
		return false, false, fmt.Errorf("%w: it holds other members (digest %x, not %x)", ErrExists, old.Run.Digest, s.Run.Digest)
	}
	return true, false, nil
}

// fill writes and syncs the files of a set into a new folder.
func fill(fsys FS, tmp string, members [][]byte, run []byte) error {
	if err := fsys.MkdirAll(tmp); err != nil {
		return err
	}
	for i, data := range members {
		if err := writeDurable(fsys, filepath.Join(tmp, MemberFile(i)), data); err != nil {
			return err
		}
	}
	if err := writeDurable(fsys, filepath.Join(tmp, runFile), run); err != nil {
		return err
	}
	return fsys.SyncDir(tmp)
}

// discard removes a set. It is renamed first, so that no reader can see half.
func discard(fsys FS, path string) error {
	dir, name := filepath.Split(path)
	tmp := filepath.Join(dir, tmpPrefix+"old-"+name)
	if err := fsys.RemoveAll(tmp); err != nil {
		return err
	}
	if err := fsys.Rename(path, tmp); err != nil {
		return err
	}
	return fsys.RemoveAll(tmp)
}

// ReadSet reads the set at path. Every member file is held against the SHA-256
// that run.ckpt has of it, so that damaged, missing, swapped and foreign files
// are found; [Decode] and [Checkpoint.Restore] the members next.
func ReadSet(fsys FS, path string) (*Set, error) {
	s, err := readSet(fsys, path)
	if err != nil {
		return nil, fmt.Errorf("ckpt: read the set %s: %w", path, err)
	}
	return s, nil
}

func readSet(fsys FS, path string) (*Set, error) {
	data, err := fsys.ReadFile(filepath.Join(path, runFile))
	if err != nil {
		return nil, err
	}
	s, sums, err := decodeRun(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", runFile, err)
	}
	if n, ok := setUpdate(filepath.Base(path)); ok && n != s.Update {
		return nil, fmt.Errorf("%w: %s is of update %d", ErrDamaged, runFile, s.Update)
	}
	for i, sum := range sums {
		name := MemberFile(i)
		member, err := fsys.ReadFile(filepath.Join(path, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s of %d members is missing: %w", ErrDamaged, name, len(sums), err)
		}
		if err != nil {
			return nil, err
		}
		if have := sha256.Sum256(member); have != sum {
			return nil, fmt.Errorf("%s: %w", name, memberDefect(member, have, sum))
		}
		s.Members = append(s.Members, member)
	}
	return s, nil
}

// memberDefect says what is wrong with a member file whose SHA-256 is not the
// one in run.ckpt: the tensor that is damaged, or that it is another file.
func memberDefect(data []byte, have, want [sha256.Size]byte) error {
	if _, err := decode(data); errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: the file is sound but not the one of this set: its SHA-256 is %x, %s says %x", ErrDamaged, have, runFile, want)
}

// Latest returns the path of the newest complete set within dir, or an error
// that is [ErrNoCheckpoint]. A set is complete where it has its run.ckpt;
// temporary folders are passed over. [ReadSet] then verifies it.
func Latest(fsys FS, dir string) (string, error) {
	sets, err := List(fsys, dir)
	if err != nil {
		return "", fmt.Errorf("ckpt: find the newest checkpoint: %w", err)
	}
	if len(sets) == 0 {
		return "", fmt.Errorf("ckpt: %w in %s", ErrNoCheckpoint, dir)
	}
	return filepath.Join(dir, SetName(sets[len(sets)-1])), nil
}

// List returns the updates of the complete sets within dir, ascending; none where
// there is no such folder.
func List(fsys FS, dir string) ([]int64, error) {
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

func hasRun(fsys FS, path string) (bool, error) {
	names, err := fsys.ReadDir(path)
	return slices.Contains(names, runFile), err
}

// Prune removes all but the newest keep complete sets within dir.
func Prune(fsys FS, dir string, keep int) error {
	if keep < 1 {
		return fmt.Errorf("ckpt: prune %s: keep is %d; at least the newest set must stay", dir, keep)
	}
	sets, err := List(fsys, dir)
	for i := 0; err == nil && i < len(sets)-keep; i++ {
		err = discard(fsys, filepath.Join(dir, SetName(sets[i])))
	}
	if err != nil {
		return fmt.Errorf("ckpt: prune %s: %w", dir, err)
	}
	return nil
}
