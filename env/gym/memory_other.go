//go:build !unix

package gym

import (
	"errors"
	"os"
	"os/exec"
)

var errUnsupported = errors.New("gym: environments of Gymnasium run on Linux and macOS; memory shared with Python is not written for this system")

func prepareCommand(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { cmd.Process.Kill() }

func sharedMemory(int) (*os.File, []byte, error) { return nil, nil, errUnsupported }

func unmap([]byte) error { return nil }
