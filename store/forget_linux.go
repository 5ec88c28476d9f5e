package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// forget drops what the page cache has of a synced file, so that reading it back
// asks the disk or the server. The kernel may decline, which is no failure.
func forget(f *os.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)

}
