package train

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"brood/ckpt"
)

const (
	// flushBytes bounds what a reader of the file has to wait for.
	flushBytes = 256 << 10
	// flushInterval lets `tail -f` follow a slow run.
	flushInterval = time.Second
	// maxUnwritten is where a disk that stays full ends the run.
	maxUnwritten = 64 << 20
)

// appendLog is a file that only grows, such as metrics.jsonl. Lines wait in
// memory while the disk refuses them, and are written at a fixed offset, so that
// a write that failed half-way is simply repeated.
type appendLog struct {
	// file is nil for a run in memory: lines are forgotten.
	file ckpt.LogFile
	path string
	// buf holds what is not written yet; its memory is reused.
	buf []byte
	// written is the size of the file that is good.
	written int64
	last    time.Time
	// rewrites are bytes of the file to be replaced, by offset, that are not yet.
	rewrites map[int64][]byte
	// lost: the disk failed to make the file durable.
	lost atomic.Bool
}

// openLog opens the file and cuts it to size bytes, the point that a checkpoint
// recorded: what an interrupted run wrote after it will be written again. It
// returns how many bytes were missing.
func openLog(fs ckpt.FS, path string, size int64) (*appendLog, int64, error) {
	f, err := fs.OpenLog(path)
	if err != nil {
		return nil, 0, err
	}
	has, err := f.Size()
	if err == nil {
		err = f.Truncate(min(size, has))
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return &appendLog{file: f, path: path, written: min(size, has), last: time.Now()}, max(size-has, 0), nil
}

// end is the offset of the next line.
func (l *appendLog) end() int64 { return l.written + int64(len(l.buf)) }

// rewrite replaces bytes at an offset before end by as many others.
func (l *appendLog) rewrite(offset int64, text []byte) {
	if offset >= l.written {
		copy(l.buf[offset-l.written:], text)
		return
	}
	// A line lies in the file or in buf as a whole, but for a write that failed
	// half-way: what is in buf is put right there.
	inFile := min(int64(len(text)), l.written-offset)
	copy(l.buf, text[inFile:])
	if l.rewrites == nil {
		l.rewrites = make(map[int64][]byte)
	}
	l.rewrites[offset] = text[:inFile]
}

// endUpdate writes what has gathered once it is much or old. Only a backlog
// that memory should not hold is an error.
func (l *appendLog) endUpdate() error {
	if len(l.buf) < flushBytes && time.Since(l.last) < flushInterval {
		return nil
	}
	if err := l.flush(); err != nil && len(l.buf) > maxUnwritten {
		return fmt.Errorf("%s: %d MB of lines could not be written: %w", l.path, len(l.buf)>>20, err)
	}
	return nil
}

func (l *appendLog) flush() error {
	l.last = time.Now()
	if l.file == nil {
		l.written += int64(len(l.buf))
		l.buf, l.rewrites = l.buf[:0], nil
		return nil
	}
	if l.lost.Load() {
		if err := l.writeAgain(); err != nil {
			return err
		}
		l.lost.Store(false)
	}
	for offset, text := range l.rewrites {
		if _, err := l.file.WriteAt(text, offset); err != nil {
			return err
		}
		delete(l.rewrites, offset)
	}
	if len(l.buf) == 0 {
		return nil
	}
	n, err := l.file.WriteAt(l.buf, l.written)
	l.written += int64(n)
	l.buf = l.buf[:copy(l.buf, l.buf[n:])]
	return err
}

// makeDurable makes what was flushed so far durable. It may be called while the log
// is written to.
func (l *appendLog) makeDurable() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Sync()
	if err != nil {
		l.lost.Store(true)
	}
	return err
}

// writeAgain writes all that is in the file once more. When a sync has failed, the
// system may take what it could not write for written: the next sync would succeed
// without it, although it can still be read.
func (l *appendLog) writeAgain() error {
	piece := make([]byte, 1<<20)
	for at := int64(0); at < l.written; {
		n, err := l.file.ReadAt(piece[:min(int64(len(piece)), l.written-at)], at)
		if n == 0 {
			return err
		}
		if _, err := l.file.WriteAt(piece[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

func (l *appendLog) close() error {
	err := l.flush()
	if l.file == nil {
		return err
	}
	if closeErr := l.file.Close(); err == nil {
		err = closeErr
	}
	return err
}
