package store

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFolderOpen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "new"))
	assert.Equal(t, filepath.Join(dir, "new"), s.String())
	open(t, "file://"+filepath.ToSlash(dir))
	_, err := Open(t.Context(), filepath.Join(dir, "not", "mounted"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "mount its file system")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	_, err = Open(t.Context(), filepath.Join(dir, "file"))
	require.Error(t, err)
	entries, err := os.ReadDir(filepath.Join(dir, "new"))
	require.NoError(t, err)
	assert.Empty(t, entries, "the probe is gone")
	// An unmounted file system is an error later, too, and not a folder made anew.
	require.NoError(t, os.Remove(filepath.Join(dir, "new")))
	require.ErrorIs(t, s.Put(t.Context(), "a", strings.NewReader("x"), 1), fs.ErrNotExist)
}

// TestFolderLinks is about symbolic links that lead out of the folder.
func TestFolderLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o644))
	s := open(t, dir)
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "link")))
	for _, name := range []string{"out/secret", "link"} {
		_, _, err := s.Get(t.Context(), name)
		require.Error(t, err, name)
	}
	require.Error(t, s.Put(t.Context(), "out/new", strings.NewReader("x"), 1))
	require.Error(t, s.Remove(t.Context(), "out/secret"))
	assert.Empty(t, names(t, s, ""))
	put(t, s, "link", []byte("replaced"))
	assert.Equal(t, "replaced", string(get(t, s, "link")))
	have, err := os.ReadFile(secret)
	require.NoError(t, err)
	assert.Equal(t, "secret", string(have))
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	assert.Len(t, entries, 1)

	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	_, _, err = s.Get(t.Context(), "pipe")
	require.ErrorIs(t, err, fs.ErrNotExist, "it does not wait for a writer")
}

// TestFolderLeftovers is about temporary files: none is left by a failure, none is
// listed, and old ones go with the folder they are in.
func TestFolderLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	require.Error(t, s.Put(t.Context(), "set/a", brokenReader{}, 10))
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, s.Put(ctx, "set/a", &slowReader{Reader: bytes.NewReader(make([]byte, 1<<20)), after: 1 << 19, do: cancel}, 1<<20), context.Canceled)
	entries, err := os.ReadDir(filepath.Join(dir, "set"))
	require.NoError(t, err)
	assert.Empty(t, entries)

	put(t, s, "set/a", []byte("x"))
	left := filepath.Join(dir, "set", tmpPrefix+"0123")
	require.NoError(t, os.WriteFile(left, nil, 0o644))
	assert.Equal(t, []string{"set/a"}, names(t, s, ""))
	require.NoError(t, s.Remove(t.Context(), "set/a"))
	assert.FileExists(t, left, "it can be one being written")
	old := time.Now().Add(-2 * staleAfter)
	require.NoError(t, os.Chtimes(left, old, old))
	require.NoError(t, s.Remove(t.Context(), "set/a"))
	assert.NoDirExists(t, filepath.Join(dir, "set"))
}

// TestFolderNeverHalf reads while another content is put, over and over.
func TestFolderNeverHalf(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, "a", bytes.Repeat([]byte{0}, 1<<20))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20 {
			assert.NoError(t, s.Put(t.Context(), "a", bytes.NewReader(bytes.Repeat([]byte{byte(i)}, 1<<20)), 1<<20))
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		data := get(t, s, "a")
		require.Len(t, data, 1<<20)
		require.Equal(t, len(data), bytes.Count(data, data[:1]))
	}
}

func TestFolderShrinks(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a", make([]byte, 1000))
	content, _, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	defer content.Close()
	require.NoError(t, os.Truncate(filepath.Join(dir, "a"), 10))
	var buffer bytes.Buffer
	_, err = buffer.ReadFrom(content)
	require.ErrorContains(t, err, "unexpected EOF at byte 10 of 1000")
}

func TestPutAll(t *testing.T) {
	local := t.TempDir()
	s := open(t, t.TempDir())
	var files []File
	for i := range 20 {
		path := filepath.Join(local, fmt.Sprint(i))
		require.NoError(t, os.WriteFile(path, random(1000, uint64(i)), 0o644))
		files = append(files, File{Name: fmt.Sprintf("set/%02d", i), Path: path})
	}
	require.NoError(t, PutAll(t.Context(), s, files, 4))
	for i, f := range files {
		assert.Equal(t, random(1000, uint64(i)), get(t, s, f.Name))
	}
	require.NoError(t, PutAll(t.Context(), s, nil, 4))
	require.ErrorContains(t, PutAll(t.Context(), s, files, 0), "at least 1")
	files[3].Path = filepath.Join(local, "none")
	err := PutAll(t.Context(), s, files, 4)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "set/03")
	files[3].Path = local
	require.ErrorContains(t, PutAll(t.Context(), s, files, 4), "not a regular file")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, PutAll(ctx, s, files, 4), context.Canceled)
}
