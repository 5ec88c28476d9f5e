package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

const (
	// firstPause is how long a run waits at its end before it tries again what the
	// disk refused; each pause is twice the one before, up to maxPause.
	firstPause = time.Second / 4
	maxPause   = 30 * time.Second
)

// insist writes what must not be missing at the end of a run. While training goes on,
// the next checkpoint makes up for one that the disk refused; here nothing comes after
// it. So it tries again, for Options.DiskWait or until ctx ends, and once at least.
func (r *Run) insist(ctx context.Context, what string, write func() error) error {
	err := write()
	if err == nil || !ofDisk(err) {
		return err
	}
	r.opts.Warn(fmt.Sprintf("%s could not be written: %v; trying again for %v, make room in %s", what, err, r.opts.DiskWait, r.opts.Dir))
	until := time.Now().Add(r.opts.DiskWait)
	for pause, last := firstPause, false; err != nil && !last; pause = min(2*pause, maxPause) {
		left := time.Until(until)
		last = left <= pause || ctx.Err() != nil
		select {
		case <-ctx.Done():
			last = true
		case <-time.After(min(pause, left)):
		}
		err = write()
	}
	return err
}

// ofDisk says whether an error is one that a disk with more room, or one that is back,
// would not have.
func ofDisk(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	var number syscall.Errno
	return errors.As(err, &path) || errors.As(err, &link) || errors.As(err, &number) || errors.Is(err, io.ErrShortWrite)
}

// whole adds to an error of the end of a run what is safe, and how to go on.
func (r *Run) whole(err error) error {
	if r.saved < 0 {
		return err
	}
	return fmt.Errorf("%w; the checkpoint of update %d is whole: `brood resume %s` goes on from there once there is room", err, r.saved, r.opts.Dir)
}
