package train

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"brood/ckpt"
	"brood/kernels"
	"brood/pbt"
	"brood/ppo"
	"brood/tensor"
)

// Stored is a member on disk.
type Stored struct {
	// Path of the member's file.
	Path string
	// AllowImports lets [Stored.Evaluate] import the Python modules that the file
	// names; see [Stored.Imports].
	AllowImports bool
	*ckpt.Checkpoint
}

// Find returns the member that a path means: a member file itself; of a
// checkpoint folder the best of its members; of a run folder best.ckpt, or the
// best of its newest checkpoint where that is newer.
func Find(path string) (*Stored, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return readMember(path)
	}
	if _, err := os.Stat(filepath.Join(path, configFile)); err != nil {
		return bestOfSet(path)
	}
	finished, err := readMember(filepath.Join(path, bestFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	sets, err := ckpt.List(ckpt.OS, filepath.Join(path, checkpointsDir))
	switch {
	case err != nil:
		return nil, err
	case finished != nil && (len(sets) == 0 || sets[len(sets)-1] <= finished.Step):
		return finished, nil
	}
	return readNewest(path, bestOfSet)
}

// readNewest reads the newest checkpoint of a run folder, whose folder read is given. A run
// that trains on may remove it meanwhile: then the one that is the newest by now is read.
func readNewest[T any](dir string, read func(path string) (T, error)) (T, error) {
	for {
		sets, err := ckpt.List(ckpt.OS, filepath.Join(dir, checkpointsDir))
		if err == nil && len(sets) == 0 {
			err = fmt.Errorf("%w in %s", ErrNoCheckpoint, dir)
		}
		if err != nil {
			var none T
			return none, err
		}
		path := newestPath(dir, sets)
		if found, err := read(path); err == nil || !gone(path) {
			return found, err
		}
	}
}

// gone says that there is nothing at path, or nothing any more.
func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// newestPath is the newest of a run folder's sets, which are given by update,
// ascending.
func newestPath(dir string, sets []int64) string {
	return filepath.Join(dir, checkpointsDir, ckpt.SetName(sets[len(sets)-1]))
}

func readMember(path string) (*Stored, error) {
	c, err := ckpt.ReadFile(ckpt.OS, path)
	if errors.Is(err, ckpt.ErrDamaged) {
		if what := noCheckpoint(path); what != "" {
			return nil, fmt.Errorf("%w: %s is %s, and not a member file such as member-000.ckpt", ErrNoCheckpoint, path, what)
		}
	}
	if err != nil {
		return nil, err
	}
	return &Stored{Path: path, Checkpoint: c}, nil
}

// noCheckpoint says what a file is that never was a checkpoint; empty where it may be
// one that is damaged.
func noCheckpoint(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	head = head[:n]
	switch {
	case errors.Is(err, io.EOF):
		return "empty"
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return ""
	}
	for n := range min(3, len(head)) { // a rune may be cut off at the end
		if utf8.Valid(head[:len(head)-n]) {
			head = head[:len(head)-n]
			break
		}
	}
	if !utf8.Valid(head) || bytes.ContainsFunc(head, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }) {
		return ""
	}
	return "a text"
}

// bestOfSet returns the member of a checkpoint with the best score in training,
// the first where none has one.
func bestOfSet(path string) (*Stored, error) {
	set, err := ckpt.ReadSet(ckpt.OS, path)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ckpt.ErrDamaged) {
		return nil, fmt.Errorf("%w: %s is neither a run folder (with %s), a checkpoint folder nor a member file", ErrNoCheckpoint, path, configFile)
	}
	if err != nil {
		return nil, err
	}
	cfg, err := loadStored(path, set.Run.Config)
	if err != nil {
		return nil, err
	}
	sign := 1.0
	if cfg.PBT.MetricMode == pbt.Min {
		sign = -1
	}
	var best *Stored
	score := math.Inf(-1)
	for m, data := range set.Members {
		c, err := ckpt.Decode(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(path, ckpt.MemberFile(m)), err)
		}
		if best == nil || sign*c.Performance > score {
			best = &Stored{Path: filepath.Join(path, ckpt.MemberFile(m)), Checkpoint: c}
			if !math.IsNaN(c.Performance) {
				score = sign * c.Performance
			}
		}
	}
	return best, nil
}

// loadStored reads the configuration in a checkpoint, whatever device it was
// trained on: this build may have no engine for that one. It does not ask Python what
// an environment of Gymnasium is: reading a file starts no program.
func loadStored(origin, text string) (Config, error) {
	return loadOver(undescribed(), origin, []byte(text), []Setting{
		{Origin: origin, Key: "run.device", Value: DeviceCPU},
		{Origin: origin, Key: "run.precision", Value: string(kernels.Float32)},
	})
}

// undescribed are the defaults for a configuration that is only read.
func undescribed() Config {
	c := DefaultConfig()
	c.Env.Described = ppo.Undescribed()
	return c
}

// engineConfig is that of an engine of one such member.
func (s *Stored) engineConfig() (*kernels.Config, error) {
	if s.FormatVersion != ckpt.V2 {
		return nil, fmt.Errorf("train: %s is %s: it holds weights alone and does not say for which environment and network; brood writes and plays %s",
			s.Path, s.FormatVersion, ckpt.V2)
	}
	cfg, err := loadStored(s.Path, s.Config)
	if err != nil {
		return nil, fmt.Errorf("train: the configuration in %s: %w", s.Path, err)
	}
	cfg.PBT.PopulationSize, cfg.Run.Threads = 1, 0
	// Playing an environment of Gymnasium imports what the file names, but runs no
	// program that it names: which Python that is, is this machine's business.
	described, err := s.Env.Spec()
	if err != nil {
		return nil, fmt.Errorf("train: %s: %w", s.Path, err)
	}
	cfg.Env.Described, cfg.Env.Python = &described, ""
	c, err := cfg.EngineConfig()
	if err != nil {
		return nil, err
	}
	return c, s.CheckEnv(ckpt.EnvOf(c.Env.Spec()))
}

// Imports are the Python modules beside Gymnasium's own that playing the member would
// import, because its file names them: those of an environment registered elsewhere
// and of wrappers.
func (s *Stored) Imports() ([]string, error) {
	cfg, err := loadStored(s.Path, s.Config)
	if err != nil {
		return nil, fmt.Errorf("train: the configuration in %s: %w", s.Path, err)
	}
	return cfg.Env.Imports(), nil
}

// Evaluate plays the member's deterministic policy for the given number of
// episodes, whose starting states are drawn from seed, on a device as in
// run.device. It returns the warnings of reading the checkpoint, too.
func (s *Stored) Evaluate(device string, episodes int, seed uint64) (Played, []string, error) {
	if episodes < 1 || episodes > MaxEpisodes {
		return Played{}, nil, configError([]error{&FieldError{Key: "episodes", Problem: formatProblem(episodes, fmt.Sprintf("must be 1 to %d", MaxEpisodes))}})
	}
	imports, err := s.Imports()
	if err != nil {
		return Played{}, nil, err
	}
	if len(imports) > 0 && !s.AllowImports {
		return Played{}, nil, fmt.Errorf("%w: %s names Python code to import (%s), which then runs; if you trust it, allow it: `brood eval --allow-imports`",
			ErrImports, s.Path, strings.Join(imports, ", "))
	}
	c, err := s.engineConfig()
	if err != nil {
		return Played{}, nil, err
	}
	if err := checkDevice(device); err != nil {
		return Played{}, nil, configError([]error{&FieldError{Key: "device", Problem: err.Error()}})
	}
	engine, err := NewEngine(device, c)
	if err != nil {
		return Played{}, nil, err
	}
	defer engine.Close()
	state := tensor.NewMember(engine.Layout())
	warnings, err := s.Restore(state)
	if err != nil {
		return Played{}, nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	if err := engine.Restore(0, state); err != nil {
		return Played{}, nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	played, err := evaluate(engine, []int{0}, episodes, seed, 0)
	if err != nil {
		return Played{}, nil, err
	}
	return played[0], warnings, nil
}

// Digest is the SHA-256 over all sections of the members that a path means: all
// of a run folder's newest checkpoint, all of a checkpoint folder, or the one
// member of a file. Runs of equal configuration and seed have equal digests.
func Digest(path string) ([sha256.Size]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	if !info.IsDir() {
		return fileDigest(path)
	}
	if _, err := os.Stat(filepath.Join(path, configFile)); err == nil {
		return readNewest(path, setDigest)
	}
	return setDigest(path)
}

func setDigest(path string) ([sha256.Size]byte, error) {
	set, err := ckpt.ReadSet(ckpt.OS, path)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return set.Run.Digest, nil
}

func fileDigest(path string) (sum [sha256.Size]byte, err error) {
	s, err := readMember(path)
	if err != nil {
		return sum, err
	}
	c, err := s.engineConfig()
	if err != nil {
		return sum, err
	}
	layout, err := kernels.NewLayout(c)
	if err != nil {
		return sum, err
	}
	state := tensor.NewMember(layout)
	if _, err := s.Restore(state); err != nil {
		return sum, fmt.Errorf("%s: %w", path, err)
	}
	return tensor.Digest(state), nil
}
