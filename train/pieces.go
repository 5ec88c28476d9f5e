package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"brood/ckpt"
	"brood/store"
)

// A mirror holds a log in pieces, each named by the first byte that it has of the
// log and the first that it has not. The end of decisions.jsonl may still be
// rewritten, when the outcome of an exploit becomes known; so what is not settled
// at a checkpoint is its tail, which goes with the checkpoint.

// logSize is how long a log is at a checkpoint.
type logSize struct {
	// size in bytes; what is before settled will not be rewritten.
	size, settled int64
}

// logSizes are the logs as they are now, by the file's name.
func (r *Run) logSizes() map[string]logSize {
	settled := r.decisions.end()
	for _, p := range r.outcomes.Pending {
		settled = min(settled, p.Offset)
	}
	return map[string]logSize{
		metricsFile:   {r.metrics.end(), r.metrics.end()},
		decisionsFile: {r.decisions.end(), settled},
	}
}

// pieceSize bounds a piece.
const pieceSize = 64 << 20

func pieceName(log string, from, to int64) string {
	return fmt.Sprintf("%s/%s/%016d-%016d", logsDir, log, from, to)
}

func tailPrefix(update int64) string {
	return fmt.Sprintf("%s/tails/%s/", logsDir, ckpt.SetName(update))
}

// tailName is that of a checkpoint's tail of a log, which begins at a byte.
func tailName(log string, update, from int64) string {
	return fmt.Sprintf("%s%s-%016d", tailPrefix(update), log, from)
}

// putLog puts what a log has grown by, and the tail of a checkpoint.
func (m *mirror) putLog(log string, update int64, size logSize) error {
	data, err := m.readLog(log, m.logged[log], size.size)
	if err != nil {
		return err
	}
	for m.logged[log] < size.settled {
		from := m.logged[log]
		piece := data[:min(size.settled-from, pieceSize)]
		if err := m.put(pieceName(log, from, from+int64(len(piece))), piece); err != nil {
			return err
		}
		m.logged[log] += int64(len(piece))
		data = data[len(piece):]
	}
	if len(data) == 0 {
		return nil
	}
	return m.put(tailName(log, update, m.logged[log]), data)
}

// readLog reads bytes of a log of the run folder.
func (m *mirror) readLog(log string, from, to int64) ([]byte, error) {
	if to <= from {
		return nil, nil
	}
	f, err := m.fs.OpenLog(filepath.Join(m.dir, log))
	if err != nil {
		return nil, err
	}
	data := make([]byte, to-from)
	if _, err := io.ReadFull(io.NewSectionReader(f, from, to-from), data); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", log, err), f.Close())
	}
	return data, f.Close()
}

// trim removes the pieces of a log beyond what is settled now, which an interrupted
// process wrote, and those that do not join.
func (m *mirror) trim(log string, settled int64) error {
	joined, end, err := pieces(m.ctx, m.store, log, settled)
	if err != nil {
		return err
	}
	m.logged[log] = end
	entries, err := m.store.List(m.ctx, logsDir+"/"+log+"/")
	if err != nil {
		return err
	}
	var stale []string
	for _, e := range entries {
		if !slices.Contains(joined, e.Name) {
			stale = append(stale, e.Name)
		}
	}
	return m.store.Remove(m.ctx, stale...)
}

// pieces lists the pieces of a log that join from the start to at most size bytes,
// and where they end.
func pieces(ctx context.Context, s store.Store, log string, size int64) (names []string, end int64, err error) {
	entries, err := s.List(ctx, logsDir+"/"+log+"/")
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		var from, to int64
		if n, err := fmt.Sscanf(e.Name, logsDir+"/"+log+"/%d-%d", &from, &to); err != nil || n != 2 || e.Name != pieceName(log, from, to) {
			continue
		}
		if from == end && to > from && to <= size && e.Size == to-from {
			names, end = append(names, e.Name), to
		}
	}
	return names, end, nil
}

// parts lists what a log of size bytes at a checkpoint is made of in the store, and
// how many bytes that is: fewer where something is missing.
func parts(ctx context.Context, s store.Store, log string, update, size int64) (names []string, bytes int64, err error) {
	names, bytes, err = pieces(ctx, s, log, size)
	if err != nil || bytes == size {
		return names, bytes, err
	}
	tails, err := s.List(ctx, tailPrefix(update)+log+"-")
	if err != nil {
		return nil, 0, err
	}
	for _, e := range tails {
		var from int64
		if n, err := fmt.Sscanf(e.Name, tailPrefix(update)+log+"-%d", &from); err != nil || n != 1 || e.Name != tailName(log, update, from) || from+e.Size != size {
			continue
		}
		joined, end, err := pieces(ctx, s, log, from)
		if err != nil {
			return nil, 0, err
		}
		if end == from {
			return append(joined, e.Name), size, nil
		}
	}
	return names, bytes, nil
}

// fetchLog joins a log of size bytes, as it was at a checkpoint, in a new file, and
// returns how many bytes of it are missing at its end.
func fetchLog(ctx context.Context, s store.Store, dir, log string, update, size int64) (missing int64, err error) {
	names, bytes, err := parts(ctx, s, log, update, size)
	if err != nil {
		return 0, err
	}
	f, err := ckpt.OS.OpenLog(filepath.Join(dir, log))
	if err != nil {
		return 0, err
	}
	at := int64(0)
	for _, name := range names {
		data, err := readStored(ctx, s, name)
		if err == nil {
			_, err = f.WriteAt(data, at)
		}
		if err != nil {
			return 0, errors.Join(err, f.Close())
		}
		at += int64(len(data))
	}
	return size - bytes, errors.Join(f.Sync(), f.Close())
}
