package ckpt

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
)

// Newest reads the newest sound set within dir and returns its path. Each newer one
// that is damaged is passed over and given to damaged. The error is an
// [ErrNoCheckpoint] where there is no set at all, and an [ErrDamaged] where none is
// sound.
func Newest(fsys ReadFS, dir string, damaged func(path string, err error)) (*Set, string, error) {
	sets, err := List(fsys, dir)
	if err != nil {
		return nil, "", fmt.Errorf("ckpt: find the newest checkpoint: %w", err)
	}
	if len(sets) == 0 {
		return nil, "", fmt.Errorf("ckpt: %w in %s", ErrNoCheckpoint, dir)
	}
	for _, update := range slices.Backward(sets) {
		path := filepath.Join(dir, SetName(update))
		s, err := ReadSet(fsys, path)
		if err == nil {
			return s, path, nil
		}
		if !unusable(err) {
			return nil, "", err
		}
		damaged(path, err)
	}
	return nil, "", fmt.Errorf("ckpt: %w: none of the %d checkpoints in %s is sound", ErrDamaged, len(sets), dir)
}

// unusable says whether an error is one of this very set: its bytes are wrong, or
// the disk cannot read them.
func unusable(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, syscall.EIO) }

// Report is what [CheckSet] found.
type Report struct {
	// Members is the population by run.ckpt; 0 where that is damaged.
	Members int
	// Problems are the defects, at most one per file; each names its file.
	Problems []error
}

// CheckSet reads and verifies every file of the set at path.
func CheckSet(fsys ReadFS, path string) Report {
	var r Report
	problem := func(name string, err error) {
		r.Problems = append(r.Problems, fmt.Errorf("%s: %w", filepath.Join(path, name), err))
	}
	s, sums, err := readRun(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: it is missing, the set is not complete", ErrDamaged)
	}
	if err != nil {
		problem(RunFile, err)
	}
	r.Members = len(sums)
	names, err := fsys.ReadDir(path)
	if err != nil {
		problem("", err)
		return r
	}
	for i, sum := range sums {
		names = slices.DeleteFunc(names, func(n string) bool { return n == MemberFile(i) })
		data, err := readMember(fsys, path, i, len(sums), sum)
		if err == nil {
			var c *Checkpoint
			if c, err = decode(data); err == nil && c.Step != s.Update {
				err = fmt.Errorf("%w: it is of update %d", ErrDamaged, c.Step)
			}
		}
		if err != nil {
			problem(MemberFile(i), err)
		}
	}
	for _, name := range names {
		if name == RunFile {
			continue
		}
		// Without run.ckpt a member file is all there is to judge by.
		var err error = fmt.Errorf("%w: it does not belong to this set", ErrDamaged)
		if s == nil {
			_, err = ReadFile(fsys, filepath.Join(path, name))
		}
		if err != nil {
			problem(name, err)
		}
	}
	return r
}

// readRun reads run.ckpt of the set at path; s is nil on an error.
func readRun(fsys ReadFS, path string) (s *Set, sums [][32]byte, err error) {
	data, err := fsys.ReadFile(filepath.Join(path, RunFile))
	if err != nil {
		return nil, nil, err
	}
	s, sums, err = decodeRun(data)
	if err != nil {
		return nil, nil, err
	}
	if n, ok := setUpdate(filepath.Base(path)); ok && n != s.Update {
		return nil, nil, fmt.Errorf("%w: it is of update %d", ErrDamaged, s.Update)
	}
	return s, sums, nil
}
