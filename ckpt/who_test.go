package ckpt

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhoWrites(t *testing.T) {
	dir := t.TempDir()
	_, held, err := WhoWrites(dir)
	require.NoError(t, err)
	assert.False(t, held, "there is no lock file")

	release, err := OS.Lock(dir)
	require.NoError(t, err)
	h, held, err := WhoWrites(dir)
	require.NoError(t, err)
	assert.True(t, held)
	assert.Equal(t, os.Getpid(), h.PID)
	require.NoError(t, release())
	_, held, err = WhoWrites(dir)
	require.NoError(t, err)
	assert.False(t, held, "it was given back")

	left := fmt.Sprintf(`{"pid": %d, "host": %q}`, 1<<30, self().Host)
	require.NoError(t, os.WriteFile(filepath.Join(dir, LockFile), []byte(left), 0o644))
	_, held, err = WhoWrites(dir)
	require.NoError(t, err)
	assert.False(t, held, "no process has this number")
}
