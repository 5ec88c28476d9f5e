//go:build unix && !linux

package gym

import (
	"os/exec"
	"syscall"
)

// prepareCommand puts the process into a group of its own, which a Ctrl-C in the
// terminal does not reach. It ends when its requests do, which they do with this
// process.
func prepareCommand(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
