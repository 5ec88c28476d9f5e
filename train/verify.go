package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"brood/ckpt"
)

// Verdict is what was found of one file, or of the files of one checkpoint.
type Verdict struct {
	Path string
	// Members of a checkpoint folder; 0 for a single file.
	Members int
	// SetAside is true for a checkpoint that a resume found damaged and renamed: it
	// is not read again, and counts no more.
	SetAside bool
	// Problems are the defects; none: it is sound.
	Problems []error
}

// Sound says whether nothing is wrong that would matter to a resume.
func (v *Verdict) Sound() bool { return v.SetAside || len(v.Problems) == 0 }

// Verify reads every byte of what a path means, a file, a checkpoint, a folder of
// them or a run folder, and says of each checkpoint and file whether it is sound.
// It changes nothing.
func Verify(path string) ([]Verdict, error) {
	names, err := ckpt.OS.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return []Verdict{verifyFile(path)}, nil
	case slices.Contains(names, ckpt.RunFile):
		return []Verdict{verifySet(path)}, nil
	case slices.Contains(names, configFile):
		return verifyRun(path, names)
	}
	verdicts := verifySets(path, names)
	if len(verdicts) == 0 {
		return nil, fmt.Errorf("%w: %s is neither a run folder (with %s), a checkpoint folder nor a member file", ErrNoCheckpoint, path, configFile)
	}
	return verdicts, nil
}

func verifyFile(path string) Verdict {
	var err error
	if filepath.Base(path) == ckpt.RunFile {
		_, err = ckpt.ReadRun(ckpt.OS, filepath.Dir(path))
	} else {
		_, err = ckpt.ReadFile(ckpt.OS, path)
	}
	return verdict(path, err)
}

func verdict(path string, problems ...error) Verdict {
	return Verdict{Path: path, Problems: slices.DeleteFunc(problems, func(err error) bool { return err == nil })}
}

func verifySet(path string) Verdict {
	r := ckpt.CheckSet(ckpt.OS, path)
	return Verdict{Path: path, Members: r.Members, SetAside: ckpt.IsSetAside(filepath.Base(path)), Problems: r.Problems}
}

// verifySets looks at the checkpoints of a folder of them, given the names in it. What a
// run that trains on has removed meanwhile is left out.
func verifySets(dir string, names []string) (verdicts []Verdict) {
	for _, name := range names {
		if !ckpt.IsSet(name) && !ckpt.IsSetAside(name) {
			continue
		}
		path := filepath.Join(dir, name)
		if v := verifySet(path); len(v.Problems) == 0 || !gone(path) {
			verdicts = append(verdicts, v)
		}
	}
	return verdicts
}

func verifyRun(dir string, names []string) ([]Verdict, error) {
	verdicts := []Verdict{verdict(filepath.Join(dir, configFile), verifyConfig(filepath.Join(dir, configFile)))}
	sets := filepath.Join(dir, checkpointsDir)
	inside, err := ckpt.OS.ReadDir(sets)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	verdicts = append(verdicts, verifySets(sets, inside)...)
	logs, err := verifyLogs(dir)
	if err != nil {
		return nil, err
	}
	verdicts = append(verdicts, logs...)
	if slices.Contains(names, bestFile) {
		verdicts = append(verdicts, verifyFile(filepath.Join(dir, bestFile)))
	}
	return verdicts, nil
}

func verifyConfig(path string) error {
	text, err := ckpt.OS.ReadFile(path)
	if err == nil {
		_, err = loadStored(path, string(text))
	}
	return err
}

// verifyLogs holds the sizes of the logs against those that the newest checkpoint
// names.
func verifyLogs(dir string) ([]Verdict, error) {
	newest := ""
	state, err := readNewest(dir, func(path string) (*runState, error) {
		newest = path
		return readState(ckpt.OS, path)
	})
	switch {
	case newest == "" && errors.Is(err, ErrNoCheckpoint):
		return nil, nil
	case newest == "":
		return nil, err
	case err != nil:
		return nil, nil // its verdict says so already
	}
	var verdicts []Verdict
	for _, l := range []struct {
		name string
		want int64
	}{{metricsFile, state.MetricsBytes}, {decisionsFile, state.DecisionsBytes}} {
		path := filepath.Join(dir, l.name)
		have, err := sizeOf(path)
		if err == nil && have < l.want {
			err = fmt.Errorf("%s: it has %d bytes, and had %d at the checkpoint %s", path, have, l.want, newest)
		}
		verdicts = append(verdicts, verdict(path, err))
	}
	return verdicts, nil
}

// sizeOf is the size of a file; 0 where it is not there.
func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Problem is a defect without the path that the verdict has already named.
func (v *Verdict) Problem(err error) string {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "ckpt: read "), v.Path)
	return strings.TrimLeft(text, ": "+string(filepath.Separator))
}
