package store

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fault is what a proxy does to a connection; zero values are never.
type fault struct {
	// cutUp and cutDown reset it after so many bytes to and from the server.
	cutUp, cutDown int64
	// hangAt stops passing on what comes from the server after so many bytes to it.
	hangAt int64
}

// proxy passes connections, counted from 0, on to the server with the faults that a
// test wants, and gives its own address.
func proxy(t *testing.T, faults func(connection int) fault) string {
	t.Helper()
	server := serverAddress(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for n := 0; ; n++ {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			mu.Lock()
			open = append(open, client, upstream)
			mu.Unlock()
			f := faults(n)
			var sent atomic.Int64
			wg.Go(func() { relay(upstream, client, f.cutUp, &sent, nil) })
			wg.Go(func() {
				relay(client, upstream, f.cutDown, new(atomic.Int64), func() bool { return f.hangAt == 0 || sent.Load() < f.hangAt })
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return listener.Addr().String()
}

// relay copies until either side ends, resets both after cut bytes, and swallows
// what comes while pass says so.
func relay(to, from net.Conn, cut int64, copied *atomic.Int64, pass func() bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if total := copied.Add(int64(n)); cut > 0 && total >= cut {
			for _, c := range []net.Conn{to, from} {
				_ = c.(*net.TCPConn).SetLinger(0)
			}
			return
		}
		if pass == nil || pass() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// TestCutConnections cuts the first connections in the middle of what they carry.
func TestCutConnections(t *testing.T) {
	data := random(3*part+5, 5)
	t.Run("upload", func(t *testing.T) {
		var cuts atomic.Int32
		b := openTest(t, testURL(proxy(t, func(n int) fault {
			if n > 8 {
				return fault{}
			}
			cuts.Add(1)
			return fault{cutUp: 2 << 20}
		})), settings{partSize: part, policy: policy{attempts: 12, base: time.Millisecond, limit: time.Millisecond}})
		put(t, b, "big", data)
		assert.Greater(t, int(cuts.Load()), 4)
		assert.True(t, bytes.Equal(data, get(t, b, "big")))
		assert.Zero(t, leftovers(t, b))
	})
	t.Run("upload for good", func(t *testing.T) {
		good := openTest(t, testURL(serverAddress(t)), settings{partSize: part})
		url := strings.Replace(good.String(), serverAddress(t), proxy(t, func(int) fault { return fault{cutUp: 2 << 20} }), 1)
		b := openTest(t, url, settings{partSize: part})
		put(t, good, "big", []byte("old"))
		err := b.Put(t.Context(), "big", bytes.NewReader(data), int64(len(data)))
		require.ErrorContains(t, err, "given up after 5 attempts")
		assert.Equal(t, "old", string(get(t, good, "big")))
		assert.Zero(t, leftovers(t, good))
	})
	t.Run("download", func(t *testing.T) {
		good := openTest(t, testURL(serverAddress(t)), settings{})
		put(t, good, "big", data)
		var connections atomic.Int32
		url := strings.Replace(good.String(), serverAddress(t), proxy(t, func(n int) fault {
			connections.Add(1)
			return fault{cutDown: 4 << 20}
		}), 1)
		b := openTest(t, url, settings{})
		assert.True(t, bytes.Equal(data, get(t, b, "big")), "every connection is cut after 4 MiB, and each goes on where the last stopped")
		assert.GreaterOrEqual(t, int(connections.Load()), 4)
	})
	t.Run("download for good", func(t *testing.T) {
		good := openTest(t, testURL(serverAddress(t)), settings{})
		put(t, good, "big", data)
		url := strings.Replace(good.String(), serverAddress(t), proxy(t, func(n int) fault {
			if n == 0 {
				return fault{cutDown: 2 << 20}
			}
			return fault{cutDown: 10}
		}), 1)
		b := openTest(t, url, settings{})
		content, size, err := b.Get(t.Context(), "big")
		require.NoError(t, err)
		defer content.Close()
		n, err := io.Copy(io.Discard, content)
		require.ErrorContains(t, err, "given up after")
		assert.ErrorContains(t, err, fmt.Sprintf("at byte %d of %d", n, size))
		assert.Less(t, n, size)
	})
}

// TestNoLeaks counts goroutines and open files before and after work that
// succeeds and fails.
func TestNoLeaks(t *testing.T) {
	address := serverAddress(t)
	work := func(s Store) {
		for i := range 20 {
			name := fmt.Sprint("a/", i)
			put(t, s, name, random(1000, 1))
			content, _, err := s.Get(t.Context(), name)
			require.NoError(t, err)
			_, err = content.Read(make([]byte, 10))
			require.NoError(t, err)
			require.NoError(t, content.Close())
			_, _, err = s.Get(t.Context(), "none")
			require.Error(t, err)
			require.Error(t, s.Put(t.Context(), name, brokenReader{}, 10))
			names(t, s, "")
		}
		put(t, s, "big", random(20<<20, 1))
		require.Error(t, s.Put(t.Context(), "big", &failsAt{bytes.NewReader(random(40<<20, 1)), 30 << 20}, 40<<20))
		require.NoError(t, s.Remove(t.Context(), "a/1", "a/2"))
	}
	b := openTest(t, testURL(address), settings{idle: 200 * time.Millisecond})
	f := open(t, t.TempDir())
	work(f)
	work(b)
	settle := func() (int, int) {
		time.Sleep(400 * time.Millisecond) // Idle connections end.
		runtime.GC()
		return runtime.NumGoroutine(), openFiles(t)
	}
	goroutines, files := settle()
	for range 3 {
		work(f)
		work(b)
		_, err := openTestBucket(t.Context(), t, strings.Replace(testURL(address), testBucket, "no-such-bucket", 1), settings{})
		require.Error(t, err)
	}
	afterGoroutines, afterFiles := settle()
	assert.LessOrEqual(t, afterGoroutines, goroutines, "goroutines")
	assert.LessOrEqual(t, afterFiles, files, "open files")
}

// failsAt cannot be read from an offset on.
type failsAt struct {
	*bytes.Reader
	offset int64
}

func (r *failsAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.offset {
		return 0, os.ErrPermission
	}
	return r.Reader.ReadAt(p, off)
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(entries)
}
