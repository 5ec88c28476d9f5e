package ckpt

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"brood/tensor"
)

// runVersion is the format of run.ckpt.
const runVersion = "run_v1"

// RunState is what a run must remember beside its members.
type RunState struct {
	// EnvSteps is the number of environment steps of the whole population.
	EnvSteps int64
	// Seconds is the time trained so far, over all starts of the run.
	Seconds float64
	// Exploits is the number of exploits so far.
	Exploits int64
	// Config is the run's complete configuration as YAML text.
	Config string
	// Scheduler is the scheduler's state, in a form of its own.
	Scheduler []byte
	// Digest is [tensor.Digest] of all members.
	Digest [sha256.Size]byte
}

// encodeRun writes run.ckpt: the run's state and the SHA-256 of each member
// file, so that files of another set are told from those of this one.
func encodeRun(s *Draft, members [][sha256.Size]byte) (Encoded, error) {
	w := newWriter(4096 + len(s.Run.Config) + len(s.Run.Scheduler) + 40*len(members))
	w.mapLen(10)
	w.str(keyVersion)
	w.str(runVersion)
	w.str("update")
	w.int(s.Update)
	w.str("env_steps")
	w.int(s.Run.EnvSteps)
	w.str("seconds")
	w.float64(s.Run.Seconds)
	w.str("exploits")
	w.int(s.Run.Exploits)
	w.str(keyConfig)
	w.str(s.Run.Config)
	w.str("scheduler")
	w.bin(s.Run.Scheduler)
	w.str("digest")
	w.bin(s.Run.Digest[:])
	w.str("members")
	w.arrayLen(len(members))
	for i := range members {
		w.bin(members[i][:])
	}
	return w.finish()
}

// decodeRun reads run.ckpt; the sums are those of the member files.
func decodeRun(data []byte) (s *Set, sums [][sha256.Size]byte, err error) {
	if s, sums, err = decodeRunFile(data); errors.Is(err, ErrDamaged) {
		err = located(err, runDeviation(data))
	}
	if err != nil {
		return nil, nil, err
	}
	return s, sums, nil
}

// runKeys are the keys of run.ckpt, in the order in which they are written.
var runKeys = []string{keyVersion, "update", "env_steps", "seconds", "exploits", keyConfig, "scheduler", "digest", "members", keyFileSum}

func decodeRunFile(data []byte) (s *Set, sums [][sha256.Size]byte, err error) {
	s = &Set{}
	var defect string
	r := newReader(data)
	err = r.keys(map[string]func(*reader) error{
		keyVersion: func(r *reader) error {
			v, err := r.str()
			if err == nil && v != runVersion {
				err = fmt.Errorf("%w: %s is %.80q, not %q", ErrVersion, keyVersion, v, runVersion)
			}
			return err
		},
		"update":    func(r *reader) (err error) { s.Update, err = r.int(0); return },
		"env_steps": func(r *reader) (err error) { s.Run.EnvSteps, err = r.int(0); return },
		"seconds":   func(r *reader) (err error) { s.Run.Seconds, err = r.float(); return },
		"exploits":  func(r *reader) (err error) { s.Run.Exploits, err = r.int(0); return },
		keyConfig:   func(r *reader) (err error) { s.Run.Config, err = r.str(); return },
		"scheduler": func(r *reader) (err error) { s.Run.Scheduler, err = r.bin(); return },
		"digest":    func(r *reader) (err error) { s.Run.Digest, err = r.sum(); return },
		"members":   func(r *reader) (err error) { sums, err = r.sums(); return },
		keyFileSum:  func(r *reader) (err error) { defect, err = r.checkSum(); return },
	})
	if err == nil {
		err = r.finished()
	}
	if err == nil && defect != "" {
		err = fmt.Errorf("%w: it can be read, and yet something in %s is not as it was written: %s",
			ErrDamaged, strings.Join(runKeys[1:len(runKeys)-1], ", "), defect)
	}
	return s, sums, err
}

// ReadRun reads what the set at path says about the run; the members are not looked
// at.
func ReadRun(fsys ReadFS, path string) (*RunState, error) {
	s, _, err := readRun(fsys, path)
	if err != nil {
		return nil, fmt.Errorf("ckpt: read %s: %w", filepath.Join(path, RunFile), err)
	}
	return &s.Run, nil
}

func (r *reader) sum() (sum [sha256.Size]byte, err error) {
	b, err := r.bin()
	if err == nil && len(b) != len(sum) {
		err = r.errorf("a SHA-256 has %d bytes, not %d", len(sum), len(b))
	}
	copy(sum[:], b)
	return sum, err
}

func (r *reader) sums() ([][sha256.Size]byte, error) {
	n, err := r.arrayLen()
	if err != nil {
		return nil, err
	}
	list := make([][sha256.Size]byte, 0, min(n, r.left()/sumSize))
	for range n {
		sum, err := r.sum()
		if err != nil {
			return nil, err
		}
		list = append(list, sum)
	}
	return list, nil
}

// CheckDigest reports whether the members, restored from the set, are in the
// state in which they were checkpointed.
func (s *Set) CheckDigest(members ...tensor.Member) error {
	if have := tensor.Digest(members...); have != s.Run.Digest {
		return fmt.Errorf("ckpt: %w: the digest of the %d restored members is %x, the run's was %x",
			ErrDamaged, len(members), have, s.Run.Digest)
	}
	return nil
}

func (r *RunState) validate() error {
	if r.EnvSteps < 0 || r.Exploits < 0 || r.Seconds < 0 || math.IsNaN(r.Seconds) {
		return fmt.Errorf("env_steps %d, exploits %d and seconds %v must not be negative", r.EnvSteps, r.Exploits, r.Seconds)
	}
	return nil
}
