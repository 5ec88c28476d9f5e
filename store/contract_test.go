package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestContract is what every store does.
func TestContract(t *testing.T) {
	t.Run("folder", func(t *testing.T) {
		contract(t, func(t *testing.T) Store { return open(t, t.TempDir()) })
	})
	t.Run("bucket", func(t *testing.T) {
		address := serverAddress(t)
		contract(t, func(t *testing.T) Store { return open(t, testURL(address)) })
	})
	// Not a skip: nobody misses a server that nobody named.
	if other := os.Getenv(otherBucket); other != "" {
		t.Run("other", func(t *testing.T) {
			contract(t, func(t *testing.T) Store {
				u, err := url.Parse(other)
				require.NoError(t, err)
				u.Path += fmt.Sprintf("/%016x", rand.Uint64())
				s := open(t, u.String())
				t.Cleanup(func() { removeAll(t, s) })
				return s
			})
		})
	}
}

// removeAll removes all that a test left in a bucket which outlives it.
func removeAll(t *testing.T, s Store) {
	entries, err := s.List(context.Background(), "")
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	require.NoError(t, s.Remove(context.Background(), names...))
}

func open(t testing.TB, url string) Store {
	t.Helper()
	s, err := Open(t.Context(), url)
	require.NoError(t, err)
	return s
}

func put(t testing.TB, s Store, name string, data []byte) {
	t.Helper()
	require.NoError(t, s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))))
}

func get(t testing.TB, s Store, name string) []byte {
	t.Helper()
	content, size, err := s.Get(t.Context(), name)
	require.NoError(t, err)
	defer content.Close()
	data, err := io.ReadAll(content)
	require.NoError(t, err)
	require.EqualValues(t, size, len(data))
	return data
}

func names(t testing.TB, s Store, prefix string) []string {
	t.Helper()
	entries, err := s.List(t.Context(), prefix)
	require.NoError(t, err)
	found := []string{}
	for _, e := range entries {
		found = append(found, e.Name)
	}
	return found
}

func contract(t *testing.T, fresh func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"RoundTrip":  contractRoundTrip,
		"Missing":    contractMissing,
		"List":       contractList,
		"Many":       contractMany,
		"Remove":     contractRemove,
		"Names":      contractNames,
		"Concurrent": contractConcurrent,
		"Cancelled":  contractCancelled,
		"Big":        contractBig,
		"Source":     contractSource,
		"Reopened":   contractReopened,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func contractRoundTrip(t *testing.T, s Store) {
	for i, size := range []int{0, 1, 1000, bufferSize, bufferSize + 1, 3_000_001} {
		name := fmt.Sprintf("checkpoints/%08d/member-000.ckpt", size)
		data := random(size, uint64(i))
		put(t, s, name, data)
		assert.True(t, bytes.Equal(data, get(t, s, name)), "%d bytes come back as other ones", size)
	}
	// A replacement that is shorter leaves nothing of what was there.
	put(t, s, "best.ckpt", []byte("the first"))
	put(t, s, "best.ckpt", []byte("second"))
	assert.Equal(t, "second", string(get(t, s, "best.ckpt")))
	// Names are bytes; signing and escaping must agree about them.
	for _, name := range []string{"a b/+%20&=?#é~'(1)*!$;:,@.x", "日本/語", strings.Repeat("n", maxPart)} {
		put(t, s, name, []byte(name))
		assert.Equal(t, name, string(get(t, s, name)))
	}
	assert.Contains(t, names(t, s, ""), "a b/+%20&=?#é~'(1)*!$;:,@.x")
}

func contractMissing(t *testing.T, s Store) {
	put(t, s, "a/b", []byte("x"))
	for _, name := range []string{"nothing", "a", "a/c", "a/b/c", "d/e"} {
		_, _, err := s.Get(t.Context(), name)
		// A folder says of a/b/c that a/b is no folder.
		if name == "a/b/c" {
			require.Error(t, err)
			continue
		}
		require.ErrorIs(t, err, fs.ErrNotExist, name)
		assert.ErrorContains(t, err, name)
	}
	assert.Empty(t, names(t, s, "nothing/there"))
}

func contractList(t *testing.T, s Store) {
	assert.Empty(t, names(t, s, ""))
	all := []string{"a", "a-b", "a.b/c", "b/00000100/run.ckpt", "b/00000050/run.ckpt", "b/00000050/member-000.ckpt", "b0", "é"}
	before := time.Now().Add(-time.Minute)
	for i, name := range all {
		put(t, s, name, random(i, 1))
	}
	sorted := slices.Sorted(slices.Values(all))
	assert.Equal(t, sorted, names(t, s, ""))
	assert.Equal(t, []string{"b/00000050/member-000.ckpt", "b/00000050/run.ckpt", "b/00000100/run.ckpt"}, names(t, s, "b/"))
	assert.Equal(t, []string{"b/00000050/member-000.ckpt"}, names(t, s, "b/00000050/mem"))
	assert.Equal(t, []string{"b/00000050/member-000.ckpt", "b/00000050/run.ckpt", "b/00000100/run.ckpt", "b0"}, names(t, s, "b"))
	assert.Empty(t, names(t, s, "b/00000050/member-000.ckpt/"))

	entries, err := s.List(t.Context(), "b/00000050/run")
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.EqualValues(t, 4, entries[0].Size)
	assert.WithinRange(t, entries[0].Modified, before, time.Now().Add(time.Minute))
}

func contractMany(t *testing.T, s Store) {
	// More than two pages of a bucket's listing, the last of one. A folder has no
	// pages, and syncs every file.
	n := 2*pageSize + 1
	if _, ok := s.(*folder); ok {
		n = 201
	}
	want := make([]string, n)
	require.NoError(t, each(t.Context(), n, 16, func(ctx context.Context, i int) error {
		want[i] = fmt.Sprintf("many/%04d", i)
		return s.Put(ctx, want[i], strings.NewReader("x"), 1)
	}))
	assert.Equal(t, want, names(t, s, ""))
	assert.ElementsMatch(t, want[min(1000, n):min(2000, n)], names(t, s, "many/1"), "exactly one page of a bucket's")
	require.NoError(t, s.Remove(t.Context(), want[1:]...))
	assert.Equal(t, want[:1], names(t, s, "many"))
}

func contractRemove(t *testing.T, s Store) {
	for _, name := range []string{"set/1", "set/2", "set/deep/3", "set2"} {
		put(t, s, name, []byte("x"))
	}
	require.NoError(t, s.Remove(t.Context()))
	require.NoError(t, s.Remove(t.Context(), "nothing", "set", "set/deep", "set/1/2", "set/none/none", "set/1", "set/1"))
	assert.Equal(t, []string{"set/2", "set/deep/3", "set2"}, names(t, s, ""))
	_, _, err := s.Get(t.Context(), "set/1")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, s.Remove(t.Context(), "set/deep/3", "set/2"))
	assert.Equal(t, []string{"set2"}, names(t, s, ""))
	// A name can be of what was the folder of others.
	put(t, s, "set", []byte("now a file"))
	require.NoError(t, s.Remove(t.Context(), "set"))
	put(t, s, "set/1", []byte("and a folder again"))
	assert.Equal(t, []string{"set/1", "set2"}, names(t, s, ""))
}

func contractNames(t *testing.T, s Store) {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a/.", `a\b`, "a\x00b", "a\nb", "a\x7f", "\xff", ".tmp-a", "a/.tmp-b",
		"a/.tmp-b/c", strings.Repeat("n", maxPart+1), strings.Repeat("n/", maxName/2) + "nn",
	} {
		require.ErrorIs(t, s.Put(t.Context(), name, strings.NewReader("x"), 1), ErrName, "%q", name)
		_, _, err := s.Get(t.Context(), name)
		require.ErrorIs(t, err, ErrName, "%q", name)
		require.ErrorIs(t, s.Remove(t.Context(), "fine", name), ErrName, "%q", name)
		if !slices.Contains([]string{"", ".", "..", "a/..", "a/.", ".tmp-a", "a/.tmp-b", "a/"}, name) && len(name) != maxPart+1 {
			_, err = s.List(t.Context(), name)
			require.ErrorIs(t, err, ErrName, "%q", name)
		}
	}
	assert.Empty(t, names(t, s, ""))
	assert.ErrorContains(t, s.Put(t.Context(), "a", strings.NewReader(""), -1), "size is -1")
}

func contractConcurrent(t *testing.T, s Store) {
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			name := fmt.Sprintf("checkpoints/%d/member-%03d.ckpt", i%3, i)
			data := random(110_000, uint64(i))
			assert.NoError(t, s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))))
			// Removing the last file of a folder must not take it from under another.
			other := fmt.Sprintf("checkpoints/%d/gone-%03d", i%3, i)
			assert.NoError(t, s.Put(t.Context(), other, strings.NewReader("x"), 1))
			assert.NoError(t, s.Remove(t.Context(), other))
			content, _, err := s.Get(t.Context(), name)
			if assert.NoError(t, err) {
				have, err := io.ReadAll(content)
				assert.NoError(t, err)
				assert.True(t, bytes.Equal(data, have))
				content.Close()
			}
		})
	}
	wg.Wait()
	assert.Len(t, names(t, s, "checkpoints/"), 64)
}

func contractCancelled(t *testing.T, s Store) {
	put(t, s, "old", []byte("old"))
	ctx, cancel := context.WithCancel(t.Context())
	content, _, err := s.Get(ctx, "old")
	require.NoError(t, err)
	defer content.Close()
	cancel()
	_, err = content.Read(make([]byte, 1))
	if err != nil { // What has arrived may be read.
		require.ErrorIs(t, err, context.Canceled)
	}
	require.ErrorIs(t, s.Put(ctx, "old", strings.NewReader("new"), 3), context.Canceled)
	_, _, err = s.Get(ctx, "old")
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.List(ctx, "")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Remove(ctx, "old"), context.Canceled)
	assert.Equal(t, "old", string(get(t, s, "old")))

	// In the middle of one.
	ctx, cancel = context.WithCancel(t.Context())
	after := 30 << 20 // A bucket reads the source first, to hash it.
	if _, ok := s.(*folder); ok {
		after = 10 << 20
	}
	big := &slowReader{Reader: bytes.NewReader(random(20<<20, 7)), after: after, do: cancel}
	require.ErrorIs(t, s.Put(ctx, "old", big, 20<<20), context.Canceled)
	assert.Equal(t, "old", string(get(t, s, "old")))
	assert.Equal(t, []string{"old"}, names(t, s, ""))
}

// slowReader calls do when more than after bytes were read.
type slowReader struct {
	*bytes.Reader
	mu    sync.Mutex
	after int
	do    func()
}

func (r *slowReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.Reader.ReadAt(p, off)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.after -= n; r.after < 0 {
		r.do()
	}
	return n, err
}

func contractBig(t *testing.T, s Store) {
	// Three parts, the last a short one.
	data := random(40<<20, 3)
	put(t, s, "big", []byte("old"))
	put(t, s, "big", data)
	assert.True(t, bytes.Equal(data, get(t, s, "big")))
	entries, err := s.List(t.Context(), "big")
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.EqualValues(t, len(data), entries[0].Size)
}

func contractSource(t *testing.T, s Store) {
	put(t, s, "name", []byte("old"))
	err := s.Put(t.Context(), "name", strings.NewReader("short"), 6)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.ErrorContains(t, err, "name")
	require.ErrorIs(t, s.Put(t.Context(), "name", brokenReader{}, 6), fs.ErrPermission)
	assert.Equal(t, "old", string(get(t, s, "name")))
	// What is longer than was said is cut, as the section of a file would be.
	require.NoError(t, s.Put(t.Context(), "name", strings.NewReader("longer"), 4))
	assert.Equal(t, "long", string(get(t, s, "name")))
}

type brokenReader struct{}

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, fs.ErrPermission }

func contractReopened(t *testing.T, s Store) {
	put(t, s, "a/b", []byte("kept"))
	require.NoError(t, Check(s.String()))
	assert.Equal(t, "kept", string(get(t, open(t, s.String()), "a/b")))
}
