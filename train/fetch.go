package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"brood/ckpt"
	"brood/store"
)

// storeFS reads a store as a file system.
type storeFS struct {
	ctx   context.Context
	store store.Store
}

// ReadFile reads what is stored under a name.
func (s storeFS) ReadFile(name string) ([]byte, error) {
	return readStored(s.ctx, s.store, filepath.ToSlash(name))
}

// ReadDir lists the names below a name; fs.ErrNotExist where there are none.
func (s storeFS) ReadDir(name string) ([]string, error) {
	prefix := filepath.ToSlash(name) + "/"
	if name == "." || name == "" {
		prefix = ""
	}
	entries, err := s.store.List(s.ctx, prefix)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		first, _, _ := strings.Cut(strings.TrimPrefix(e.Name, prefix), "/")
		names = append(names, first)
	}
	if len(names) == 0 {
		return nil, &fs.PathError{Op: "list", Path: name, Err: fs.ErrNotExist}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// readStored reads all of what is stored under a name, and no more than the store
// says that there is.
func readStored(ctx context.Context, s store.Store, name string) ([]byte, error) {
	content, size, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(content, size))
	if err = errors.Join(err, content.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) != size {
		return nil, fmt.Errorf("%s in %s: %w", name, s, io.ErrUnexpectedEOF)
	}
	return data, nil
}

// Fetch makes a run folder from what checkpoint.url of a run on another machine
// holds: its newest sound checkpoint, its configuration and its logs up to there.
// dir must be new or empty; [Resume] it next. Newer checkpoints that are damaged are
// passed over, and warn is told.
func Fetch(ctx context.Context, url, dir string, warn func(string)) error {
	s, err := store.Open(ctx, url)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if _, err := readStored(ctx, s, ownerFile); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w in %s: it has no %s, so it is not the checkpoint.url of a run; a run folder is resumed where it is, without --out", ErrNoCheckpoint, s, ownerFile)
	} else if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	set, from, err := ckpt.Newest(storeFS{ctx, s}, checkpointsDir, func(_ string, err error) {
		warn(fmt.Sprintf("%s: %v", s, err))
	})
	if errors.Is(err, ckpt.ErrNoCheckpoint) {
		return fmt.Errorf("%w in %s", ErrNoCheckpoint, s)
	}
	if err != nil {
		return fmt.Errorf("train: %s: %w", s, err)
	}
	if err := fetchInto(ctx, s, dir, set, warn); err != nil {
		return fmt.Errorf("train: fetch %s from %s: %w", from, s, err)
	}
	return nil
}

// fetchInto makes and locks the folder. Where it fails nothing is left, so that the
// same command may be tried again.
func fetchInto(ctx context.Context, s store.Store, dir string, set *ckpt.Set, warn func(string)) error {
	state, err := decodeState(&set.Run)
	if err != nil {
		return err
	}
	if err := CheckNewFolder(dir); err != nil {
		return err
	}
	if err := ckpt.MakeDir(ckpt.OS, dir); err != nil {
		return err
	}
	release, err := ckpt.OS.Lock(dir)
	if err != nil {
		return err
	}
	if err = CheckNewFolder(dir); err != nil {
		return errors.Join(err, release())
	}
	if err = fetch(ctx, s, dir, set, state, warn); err != nil {
		for _, name := range []string{metricsFile, decisionsFile, checkpointsDir} {
			err = errors.Join(err, ckpt.OS.RemoveAll(filepath.Join(dir, name)))
		}
	}
	return errors.Join(err, release())
}

// fetch fills a new folder. The configuration, which makes it a run, is the last.
func fetch(ctx context.Context, s store.Store, dir string, set *ckpt.Set, state *runState, warn func(string)) error {
	for log, size := range map[string]int64{metricsFile: state.MetricsBytes, decisionsFile: state.DecisionsBytes} {
		missing, err := fetchLog(ctx, s, dir, log, set.Update, size)
		if err != nil {
			return err
		}
		if missing > 0 {
			warn(fmt.Sprintf("%s in %s lacks its last %d bytes", log, s, missing))
		}
	}
	if _, err := ckpt.WriteSet(ckpt.OS, filepath.Join(dir, checkpointsDir), set.Draft()); err != nil {
		return err
	}
	return ckpt.WriteFile(ckpt.OS, filepath.Join(dir, configFile), []byte(set.Run.Config))
}
