package gym

import (
	"os/exec"
	"syscall"
)

// prepareCommand puts the process into a group of its own, which a Ctrl-C in the
// terminal does not reach, and has it killed when this process dies.
func prepareCommand(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
