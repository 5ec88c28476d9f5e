package crashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"brood/ckpt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// choices are the extreme ones and many random ones.
func choices(n int) []Choice {
	list := []Choice{Nothing, Everything}
	for seed := range n {
		list = append(list, Random(uint64(seed)))
	}
	return list
}

// put writes a file, synced or not.
func put(t *testing.T, d *Disk, path, content string, synced bool) {
	t.Helper()
	f, err := d.Create(path)
	require.NoError(t, err)
	_, err = f.Write([]byte(content))
	require.NoError(t, err)
	if synced {
		require.NoError(t, f.Sync())
	}
	require.NoError(t, f.Close())
}

// get is the content of a file, or that it is not there.
func get(t *testing.T, d *Disk, path string) string {
	t.Helper()
	data, err := d.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	require.NoError(t, err)
	return string(data)
}

// outcomes counts what a path holds over all choices.
func outcomes(t *testing.T, d *Disk, paths ...string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, c := range choices(300) {
		after := d.Crash(c)
		var parts []string
		for _, p := range paths {
			parts = append(parts, get(t, after, p))
		}
		seen[strings.Join(parts, " ")]++
	}
	return seen
}

func durableFolder(t *testing.T) *Disk {
	t.Helper()
	d := New()
	require.NoError(t, d.MkdirAll("/a"))
	require.NoError(t, d.SyncDir("/"))
	return d
}

func TestWhatWasSyncedIsNeverLost(t *testing.T) {
	d := durableFolder(t)
	put(t, d, "/a/x", "content", true)
	require.NoError(t, d.SyncDir("/a"))
	assert.Equal(t, map[string]int{"content": 302}, outcomes(t, d, "/a/x"))
}

func TestANameNeedsItsFolderSynced(t *testing.T) {
	d := durableFolder(t)
	put(t, d, "/a/x", "content", true)
	seen := outcomes(t, d, "/a/x")
	assert.Len(t, seen, 2)
	assert.Positive(t, seen["(none)"])
	assert.Positive(t, seen["content"])
	assert.Equal(t, "(none)", get(t, d.Crash(Nothing), "/a/x"))
	assert.Equal(t, "content", get(t, d.Crash(Everything), "/a/x"))
}

func TestContentNeedsItsFileSynced(t *testing.T) {
	d := durableFolder(t)
	put(t, d, "/a/x", "content", false)
	require.NoError(t, d.SyncDir("/a"))
	seen := outcomes(t, d, "/a/x")
	zeros := string(make([]byte, len("content")))
	for _, want := range []string{"", "content", "cont", zeros} {
		assert.Positive(t, seen[want], "%q of %q", want, seen)
	}
	for got := range seen {
		assert.True(t, got == zeros || strings.HasPrefix("content", got), "%q", got)
	}
}

// A later write may be on the disk without the one before.
func TestWritesAreReordered(t *testing.T) {
	d := durableFolder(t)
	f, err := d.OpenLog("/a/log")
	require.NoError(t, err)
	require.NoError(t, d.SyncDir("/a"))
	for i, text := range []string{"one", "two"} {
		_, err := f.WriteAt([]byte(text), int64(3*i))
		require.NoError(t, err)
	}
	seen := outcomes(t, d, "/a/log")
	for _, want := range []string{"onetwo", "one", "\x00\x00\x00two", "one\x00\x00\x00", ""} {
		assert.Positive(t, seen[want], "%q of %q", want, seen)
	}
}

func TestSectorsAreTorn(t *testing.T) {
	d := durableFolder(t)
	put(t, d, "/a/x", strings.Repeat("a", 3*sector), true)
	require.NoError(t, d.SyncDir("/a"))
	f, err := d.OpenLog("/a/x")
	require.NoError(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte("b"), 3*sector), 0)
	require.NoError(t, err)
	seen := outcomes(t, d, "/a/x")
	for i := range 8 {
		want := ""
		for s := range 3 {
			want += strings.Repeat(string("ab"[i>>s&1]), sector)
		}
		assert.Positive(t, seen[want], "sectors %03b", i)
	}
	for got := range seen {
		assert.NotContains(t, got, "\x00", "what was there is old or new")
	}
}

func TestTruncateMayBeLost(t *testing.T) {
	d := durableFolder(t)
	put(t, d, "/a/x", "content", true)
	require.NoError(t, d.SyncDir("/a"))
	f, err := d.OpenLog("/a/x")
	require.NoError(t, err)
	require.NoError(t, f.Truncate(3))
	size, err := f.Size()
	require.NoError(t, err)
	require.EqualValues(t, 3, size)
	seen := outcomes(t, d, "/a/x")
	assert.Len(t, seen, 2)
	assert.Positive(t, seen["con"])
	assert.Positive(t, seen["content"])
	require.ErrorIs(t, f.Sync(), ErrStopped)
	assert.Equal(t, seen, outcomes(t, d, "/a/x"), "a machine that has stopped does nothing any more")
}

func TestRenameIsOldNewBothOrNeither(t *testing.T) {
	d := durableFolder(t)
	put(t, d, "/a/old", "content", true)
	require.NoError(t, d.SyncDir("/a"))
	require.NoError(t, d.Rename("/a/old", "/a/new"))
	require.Equal(t, "(none)", get(t, d, "/a/old"))
	seen := outcomes(t, d, "/a/old", "/a/new")
	assert.Len(t, seen, 4)
	for _, want := range []string{"content (none)", "(none) content", "content content", "(none) (none)"} {
		assert.Positive(t, seen[want], want)
	}
	// Both names are of one file.
	for _, c := range choices(50) {
		if after := d.Crash(c); get(t, after, "/a/old") == get(t, after, "/a/new") && get(t, after, "/a/new") != "(none)" {
			put(t, after, "/a/old", "changed", true)
			assert.Equal(t, "changed", get(t, after, "/a/new"))
		}
	}
}

func TestRenameOverAFileKeepsOneOfThem(t *testing.T) {
	d := durableFolder(t)
	put(t, d, "/a/x", "first", true)
	require.NoError(t, d.SyncDir("/a"))
	put(t, d, "/a/tmp", "second", true)
	require.NoError(t, d.Rename("/a/tmp", "/a/x"))
	seen := outcomes(t, d, "/a/x")
	assert.Len(t, seen, 2)
	assert.Positive(t, seen["first"])
	assert.Positive(t, seen["second"])
}

func TestRemovedFolderMayComeBackInPart(t *testing.T) {
	d := durableFolder(t)
	require.NoError(t, d.MkdirAll("/a/b"))
	require.NoError(t, d.SyncDir("/a"))
	put(t, d, "/a/b/x", "x", true)
	put(t, d, "/a/b/y", "y", true)
	require.NoError(t, d.SyncDir("/a/b"))
	require.NoError(t, d.RemoveAll("/a/b"))
	require.NoError(t, d.RemoveAll("/a/b"), "what is not there is no error")
	seen := outcomes(t, d, "/a/b/x", "/a/b/y")
	for _, want := range []string{"x y", "x (none)", "(none) y", "(none) (none)"} {
		assert.Positive(t, seen[want], want)
	}
}

func TestSameChoiceSameDisk(t *testing.T) {
	d := durableFolder(t)
	for i := range 20 {
		put(t, d, fmt.Sprintf("/a/%d", i), strings.Repeat("x", 100*i), false)
	}
	read := func(d *Disk) (all string) {
		names, err := d.ReadDir("/a")
		require.NoError(t, err)
		for _, n := range names {
			all += n + get(t, d, filepath.Join("/a", n))
		}
		return all
	}
	assert.Equal(t, read(d.Crash(Random(7))), read(d.Crash(Random(7))))
	assert.NotEqual(t, read(d.Crash(Random(7))), read(d.Crash(Random(8))))
}

// A process that is killed loses nothing; the next crash may take what it left.
func TestKillKeepsWhatIsNotDurable(t *testing.T) {
	d := durableFolder(t)
	put(t, d, "/a/x", "content", false)
	_, err := d.Lock("/a")
	require.NoError(t, err)
	_, err = d.Lock("/a")
	require.ErrorIs(t, err, ckpt.ErrLocked)
	next := d.Kill()
	require.Equal(t, "content", get(t, next, "/a/x"))
	require.ErrorIs(t, d.MkdirAll("/b"), ErrStopped, "the dead process does nothing any more")
	release, err := next.Lock("/a")
	require.NoError(t, err, "the lock died with its process")
	require.NoError(t, release())
	require.NoError(t, release())
	assert.Equal(t, "(none)", get(t, next, "/a/lock"))
	assert.Equal(t, "(none)", get(t, next.Crash(Nothing), "/a/x"))
}

func TestFailures(t *testing.T) {
	write := func(d *Disk) error { return ckpt.WriteFile(d, "/a/x", []byte("content")) }
	d := durableFolder(t)
	d.Break(Plan{})
	require.NoError(t, write(d))
	n, _ := d.Operations()
	require.Len(t, d.Log(), n)
	for k := 1; k <= n; k++ {
		d := durableFolder(t)
		d.Break(Plan{At: k, Err: syscall.ENOSPC})
		require.ErrorIs(t, write(d), syscall.ENOSPC, "operation %d", k)
		require.Len(t, d.Failed(), 1)
		require.NoError(t, write(d), "it failed once")
		require.Equal(t, "content", get(t, d, "/a/x"))

		d = durableFolder(t)
		d.Break(Plan{At: k, Err: syscall.EIO, For: Forever})
		require.ErrorIs(t, write(d), syscall.EIO)
		require.ErrorIs(t, write(d), syscall.EIO)
		d.Break(Plan{})
		require.NoError(t, write(d))

		d = durableFolder(t)
		d.Break(Plan{At: k, Stop: true})
		require.ErrorIs(t, write(d), ErrStopped)
		require.True(t, d.Stopped())
		_, err := d.ReadFile("/a/x")
		require.ErrorIs(t, err, ErrStopped)
		require.NoError(t, write(d.Crash(Random(uint64(k)))))
	}
	d.Break(Plan{At: 2, Reads: true, Err: syscall.EIO})
	require.Equal(t, "content", get(t, d, "/a/x"))
	_, err := d.ReadFile("/a/x")
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, "content", get(t, d, "/a/x"))
}

// A sync that fails has lost what was written, though it can still be read, and the
// next sync does not bring it back.
func TestFailedSyncLosesWhatWasWritten(t *testing.T) {
	d := durableFolder(t)
	f, err := d.OpenLog("/a/x")
	require.NoError(t, err)
	require.NoError(t, d.SyncDir("/a"))
	_, err = f.WriteAt([]byte("lost"), 0)
	require.NoError(t, err)
	d.Break(Plan{At: 1, Err: syscall.EIO})
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	_, err = f.WriteAt([]byte("kept"), 4)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.Equal(t, "lostkept", get(t, d, "/a/x"))
	assert.Equal(t, "\x00\x00\x00\x00kept", get(t, d.Crash(Everything), "/a/x"))
}

func TestManyGoroutines(t *testing.T) {
	d := durableFolder(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 20 {
				_ = ckpt.WriteFile(d, fmt.Sprintf("/a/%d-%d", i, j), []byte("content"))
				d.Crash(Random(uint64(j))) // stops the machine
			}
		})
	}
	group.Wait()
	require.True(t, d.Stopped())
}

func TestOneFileSystemErrors(t *testing.T) {
	d := durableFolder(t)
	put(t, d, "/a/x", "x", true)
	_, err := d.Create("/nowhere/x")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = d.ReadDir("/a/x")
	require.ErrorIs(t, err, syscall.ENOTDIR)
	_, err = d.ReadFile("/a")
	require.ErrorIs(t, err, syscall.EISDIR)
	require.ErrorIs(t, d.MkdirAll("/a/x/y"), syscall.ENOTDIR)
	require.ErrorIs(t, d.SyncDir("/b"), fs.ErrNotExist)
	require.NoError(t, d.MkdirAll("/b/c"))
	require.ErrorIs(t, d.Rename("/a", "/b"), syscall.ENOTEMPTY)
	require.NoError(t, d.Rename("/a", "/d"))
	require.Equal(t, "x", get(t, d, "/d/x"))
	f, err := d.Create("/d/x")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.ErrorIs(t, f.Sync(), fs.ErrClosed)
}
