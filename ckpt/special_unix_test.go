//go:build unix

package ckpt

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A device has no end, and opening a pipe waits for a writer.
func TestSpecialFilesAreRefused(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "member-000.ckpt")
	require.NoError(t, syscall.Mkfifo(fifo, 0o644))
	for _, path := range []string{"/dev/zero", fifo, t.TempDir()} {
		done := make(chan error, 1)
		go func() {
			_, err := ReadFile(OS, path)
			done <- err
		}()
		select {
		case err := <-done:
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, "regular file")
		case <-time.After(5 * time.Second):
			t.Fatalf("%s is read without end", path)
		}
	}
}
