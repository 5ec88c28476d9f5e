package ckpt

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// holdVariable makes the test binary take a folder's lock and wait.
const holdVariable = "BROOD_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdVariable); dir != "" {
		if _, err := OS.Lock(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed or left alone
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holder starts a process that holds the lock of a folder.
func holder(t *testing.T, dir string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), holdVariable+"="+dir)
	_, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	return c
}

func TestLockOfALivingAndOfADeadProcess(t *testing.T) {
	dir := t.TempDir()
	c := holder(t, dir)
	_, err := OS.Lock(dir)
	var held *HeldError
	require.ErrorAs(t, err, &held)
	require.ErrorIs(t, err, ErrLocked)
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, c.Process.Pid, held.Holder.PID)
	require.Equal(t, host, held.Holder.Host)
	require.ErrorContains(t, held, fmt.Sprintf("process %d on host %s", c.Process.Pid, host))

	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	require.FileExists(t, filepath.Join(dir, LockFile), "the dead process has left it")
	release, err := OS.Lock(dir)
	require.NoError(t, err)
	_, err = OS.Lock(dir)
	require.ErrorContains(t, err, fmt.Sprintf("process %d on host", os.Getpid()), "the same process is no other writer")
	require.NoError(t, release())
	require.NoError(t, release())
	require.NoFileExists(t, filepath.Join(dir, LockFile))

	again, err := OS.Lock(dir)
	require.NoError(t, err)
	require.NoError(t, again())
	_, err = OS.Lock(filepath.Join(dir, "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A holder that gives the lock back between another's opening and locking its file
// leaves that one with a lock of nothing; it must not count.
func TestLockOfAFileThatWasRemoved(t *testing.T) {
	dir := t.TempDir()
	first, err := OS.Lock(dir)
	require.NoError(t, err)
	tries := 0
	release, err := lock(dir, func(f *os.File) (bool, error) {
		if tries++; tries == 1 {
			require.NoError(t, first())
		}
		return flock(f)
	})
	require.NoError(t, err)
	require.Equal(t, 2, tries)
	require.FileExists(t, filepath.Join(dir, LockFile))
	require.NoError(t, release())
}

// Where the file system has no locks, the lock file's content decides.
func TestLockWithoutLocks(t *testing.T) {
	none := func(*os.File) (bool, error) { return false, errNoLocks }
	dir := t.TempDir()
	release, err := lock(dir, none)
	require.NoError(t, err)
	_, err = lock(dir, none)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "remove "+filepath.Join(dir, LockFile))
	require.NoError(t, release())

	c := exec.Command(os.Args[0], "-test.run=^$")
	require.NoError(t, c.Run())
	host, err := os.Hostname()
	require.NoError(t, err)
	write := func(pid int, host string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, LockFile), fmt.Appendf(nil, `{"pid":%d,"host":%q}`, pid, host), 0o644))
	}
	write(c.Process.Pid, host) // it is gone
	release, err = lock(dir, none)
	require.NoError(t, err)
	require.NoError(t, release())
	write(c.Process.Pid, "elsewhere")
	_, err = lock(dir, none)
	require.ErrorIs(t, err, ErrLocked, "who can tell?")
	require.ErrorContains(t, err, "on host elsewhere")
}
