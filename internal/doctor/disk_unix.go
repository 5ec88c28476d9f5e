//go:build unix

package doctor

import "golang.org/x/sys/unix"

// freeBytes is what this user may still write to the disk of a folder.
func freeBytes(folder string) (float64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return float64(s.Bavail) * float64(s.Bsize), nil
}
