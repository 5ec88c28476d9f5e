//go:build unix

package gym

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// killGroup kills a process and all that it started. Of one that is gone nothing is
// left to kill.
func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// sharedMemory makes a file in memory, where there is room in such a place, and maps
// it. The file has no name any more when this returns, so that nothing of it stays
// behind however the process ends.
func sharedMemory(size int) (*os.File, []byte, error) {
	var errs []error
	for _, dir := range []string{"/dev/shm", os.TempDir()} {
		f, memory, err := mapFile(dir, size)
		if err == nil {
			return f, memory, nil
		}
		errs = append(errs, err)
	}
	return nil, nil, fmt.Errorf("gym: %d bytes of memory to share with Python: %w", size, errors.Join(errs...))
}

func mapFile(dir string, size int) (*os.File, []byte, error) {
	f, err := os.CreateTemp(dir, "brood-*")
	if err != nil {
		return nil, nil, err
	}
	err = os.Remove(f.Name())
	// Written and not only made longer: where there is no room, this is an error, and
	// the first use of a page that is not there would end the process.
	zeros := make([]byte, min(size, 1<<20))
	for at := 0; at < size && err == nil; at += len(zeros) {
		_, err = f.Write(zeros[:min(len(zeros), size-at)])
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("map %s: %w", f.Name(), err), f.Close())
	}
	return f, memory, nil
}

func unmap(memory []byte) error { return syscall.Munmap(memory) }
