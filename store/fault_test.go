package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trip is a RoundTripper that a test puts before the network.
type trip func(r *http.Request, next http.RoundTripper) (*http.Response, error)

// faulty opens a bucket whose requests go through f once it is open.
func faulty(t *testing.T, s settings, f trip) *bucket {
	t.Helper()
	var armed atomic.Bool
	s.wrap = func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if !armed.Load() {
				return next.RoundTrip(r)
			}
			return f(r, next)
		})
	}
	b := openTest(t, testURL(serverAddress(t)), s)
	armed.Store(true)
	return b
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answerWith is a server's refusal.
func answerWith(r *http.Request, status int, code string) *http.Response {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	body := fmt.Sprintf("<Error><Code>%s</Code><Message>as the test wants</Message></Error>", code)
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/xml"}}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
}

// kind is what a request is for.
func kind(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "part"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "begin"
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "complete"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "abort"
	case r.Method == http.MethodGet && q.Has("list-type"):
		return "list"
	case r.Method == http.MethodGet && q.Has("uploads"):
		return "uploads"
	}
	return strings.ToLower(r.Method)
}

const part = 5 << 20 // the least that servers take

// leftovers are the uploads that were begun and neither completed nor aborted.
func leftovers(t *testing.T, b *bucket) int {
	t.Helper()
	found, err := b.core.ListMultipartUploads(t.Context(), b.location.bucket, b.location.prefix, "", "", "", 1000)
	require.NoError(t, err)
	return len(found.Uploads)
}

// TestTransient makes every kind of request fail in every transient way, and then
// succeed on the last attempt there is.
func TestTransient(t *testing.T) {
	failures := map[string]func(*http.Request) (*http.Response, error){
		"503":     func(r *http.Request) (*http.Response, error) { return answerWith(r, 503, "SlowDown"), nil },
		"500":     func(r *http.Request) (*http.Response, error) { return answerWith(r, 500, "InternalError"), nil },
		"429":     func(r *http.Request) (*http.Response, error) { return answerWith(r, 429, ""), nil },
		"timeout": func(r *http.Request) (*http.Response, error) { return answerWith(r, 400, "RequestTimeout"), nil },
		"refused": func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED },
		"reset":   func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET },
		"eof":     func(*http.Request) (*http.Response, error) { return nil, io.EOF },
	}
	data := random(2*part+5, 1)
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			counts := map[string]int{}
			b := faulty(t, settings{partSize: part}, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				what := kind(r)
				key := what + r.URL.Query().Get("partNumber")
				mu.Lock()
				counts[key]++
				n := counts[key]
				mu.Unlock()
				if n < impatient.attempts && what != "uploads" {
					return fail(r)
				}
				return next.RoundTrip(r)
			})
			put(t, b, "big", data)
			for _, what := range []string{"begin", "part1", "part2", "part3", "complete", "get"} {
				assert.Equal(t, impatient.attempts, counts[what], "attempts of %s", what)
			}
			clear(counts)
			put(t, b, "small", data[:1000])
			assert.Equal(t, impatient.attempts, counts["put"])
			clear(counts)
			assert.Equal(t, []string{"big", "small"}, names(t, b, ""))
			assert.Equal(t, impatient.attempts, counts["list"])
			require.NoError(t, b.Remove(t.Context(), "small"))
			assert.Equal(t, impatient.attempts, counts["delete"])
			assert.True(t, bytes.Equal(data, get(t, b, "big")))
			assert.Zero(t, leftovers(t, b))
		})
	}
}

// TestGivenUp is about a failure that does not end: the attempts are used up, the
// error says so, what was there is there, and no part is left behind.
func TestGivenUp(t *testing.T) {
	data := random(2*part+5, 1)
	for _, what := range []string{"begin", "part", "complete", "put"} {
		t.Run(what, func(t *testing.T) {
			var broken atomic.Bool
			var n atomic.Int32
			b := faulty(t, settings{partSize: part}, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				if !broken.Load() || kind(r) != what {
					return next.RoundTrip(r)
				}
				n.Add(1)
				return answerWith(r, 503, "SlowDown"), nil
			})
			put(t, b, "name", []byte("old"))
			broken.Store(true)
			size := len(data)
			if what == "put" {
				size = 1000
			}
			err := b.Put(t.Context(), "name", bytes.NewReader(data), int64(size))
			require.ErrorContains(t, err, "given up after 5 attempts")
			assert.ErrorContains(t, err, "put name in s3://"+testBucket)
			assert.ErrorContains(t, err, "SlowDown")
			assert.GreaterOrEqual(t, int(n.Load()), impatient.attempts)
			assert.Equal(t, "old", string(get(t, b, "name")))
			assert.Zero(t, leftovers(t, b))
		})
	}
}

// TestRefused is about answers that trying again does not change.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   string
		is     error
	}{
		{403, "AccessDenied", "s3:PutObject", ErrAccess},
		{403, "RequestTimeTooSkewed", "clock", ErrAccess},
		{400, "InvalidRequest", "400 InvalidRequest", nil},
		{404, "NoSuchBucket", `there is no bucket "brood-test"`, nil},
		{501, "NotImplemented", "501 NotImplemented", nil},
		{301, "PermanentRedirect", "another region", nil},
	} {
		t.Run(c.code, func(t *testing.T) {
			var n atomic.Int32
			b := faulty(t, settings{partSize: part}, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				if what := kind(r); what == "abort" || what == "uploads" {
					return next.RoundTrip(r)
				}
				n.Add(1)
				return answerWith(r, c.status, c.code), nil
			})
			err := b.Put(t.Context(), "name", strings.NewReader("x"), 1)
			require.ErrorContains(t, err, c.want)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			assert.NotErrorIs(t, err, fs.ErrNotExist)
			assert.EqualValues(t, 1, n.Load(), "requests")
			assert.NotContains(t, err.Error(), testSecret)
			_, _, err = b.Get(t.Context(), "name")
			require.ErrorContains(t, err, "get name in s3://")
			assert.NotErrorIs(t, err, fs.ErrNotExist, "that there is no bucket is not that there is no file")
			_, err = b.List(t.Context(), "")
			require.Error(t, err)
			require.Error(t, b.Remove(t.Context(), "name"))
			assert.EqualValues(t, 4, n.Load(), "requests")
		})
	}
	t.Run("a part", func(t *testing.T) {
		b := faulty(t, settings{partSize: part}, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if r.URL.Query().Get("partNumber") == "2" {
				return answerWith(r, 403, "AccessDenied"), nil
			}
			return next.RoundTrip(r)
		})
		err := b.Put(t.Context(), "name", bytes.NewReader(make([]byte, 2*part+1)), 2*part+1)
		require.ErrorIs(t, err, ErrAccess)
		assert.ErrorContains(t, err, "part 2 of 3")
		assert.Zero(t, leftovers(t, b))
		assert.Empty(t, names(t, b, ""))
	})
}

// TestLostAnswers is about requests that the server carried out and whose answers
// did not arrive: nothing is done twice that shows.
func TestLostAnswers(t *testing.T) {
	data := random(2*part+5, 2)
	for _, what := range []string{"begin", "part", "complete", "put", "delete"} {
		t.Run(what, func(t *testing.T) {
			var lost atomic.Int32
			b := faulty(t, settings{partSize: part}, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				response, err := next.RoundTrip(r)
				if err == nil && kind(r) == what && lost.Add(1) <= 2 {
					response.Body.Close()
					return nil, syscall.ECONNRESET
				}
				return response, err
			})
			put(t, b, "big", data)
			put(t, b, "small", data[:10])
			assert.True(t, bytes.Equal(data, get(t, b, "big")))
			require.NoError(t, b.Remove(t.Context(), "small", "big"))
			assert.GreaterOrEqual(t, int(lost.Load()), 2)
			assert.Zero(t, leftovers(t, b))
			assert.Empty(t, names(t, b, ""))
		})
	}
}

// TestDamaged is about a server that keeps other bytes than it was sent: the test
// replaces what was stored, signed as everything else, by a copy with one bit flipped.
func TestDamaged(t *testing.T) {
	for what, size := range map[string]int{"put": 110_000, "complete": 2*part + 5} {
		t.Run(what, func(t *testing.T) {
			data := random(size, 3)
			damaged := bytes.Clone(data)
			damaged[size/2] ^= 0x10
			var b *bucket
			var once sync.Once
			b = faulty(t, settings{partSize: part}, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				response, err := next.RoundTrip(r)
				if err == nil && kind(r) == what {
					once.Do(func() { assert.NoError(t, b.putWhole(t.Context(), b.key("member"), bytes.NewReader(damaged), int64(size), sumOf(damaged))) })
				}
				return response, err
			})
			err := b.Put(t.Context(), "member", bytes.NewReader(data), int64(size))
			require.ErrorIs(t, err, ErrDamaged)
			assert.ErrorContains(t, err, "put member in s3://")
			assert.Empty(t, names(t, b, ""), "what is damaged is not left there")
		})
	}
	t.Run("on the way back, once", func(t *testing.T) {
		var once sync.Once
		b := faulty(t, settings{}, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			response, err := next.RoundTrip(r)
			if err == nil && kind(r) == "get" {
				once.Do(func() {
					body, _ := io.ReadAll(response.Body)
					response.Body.Close()
					body[0] ^= 1
					response.Body = io.NopCloser(bytes.NewReader(body))
				})
			}
			return response, err
		})
		put(t, b, "member", random(1000, 4))
	})
}

func sumOf(data []byte) [32]byte {
	sum, err := hashSource(context.Background(), bytes.NewReader(data), 0, int64(len(data)))
	if err != nil {
		panic(err)
	}
	return sum
}

// TestHangs is about a server that takes a connection and then says nothing.
func TestHangs(t *testing.T) {
	t.Run("the context ends it", func(t *testing.T) {
		b := openTest(t, testURL(proxy(t, hang)), settings{})
		b.location.endpoint = "" // Nothing below may depend on it.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, b.Put(ctx, "name", bytes.NewReader(random(1000, 1)), 1000), context.DeadlineExceeded)
		assert.Less(t, time.Since(began), 3*time.Second)
	})
	t.Run("the idle time ends it", func(t *testing.T) {
		p := policy{attempts: 2, base: time.Millisecond, limit: time.Millisecond}
		b := openTest(t, testURL(proxy(t, hang)), settings{policy: p, idle: 50 * time.Millisecond})
		err := b.Put(t.Context(), "name", bytes.NewReader(random(1000, 1)), 1000)
		require.ErrorContains(t, err, "given up after 2 attempts")
		assert.ErrorContains(t, err, "timeout")
	})
	t.Run("while it opens", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := openTestBucket(ctx, t, testURL(proxy(t, func(int) fault { return fault{hangAt: 1} })), settings{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// hang lets the request that opens the bucket pass.
func hang(connection int) fault { return fault{hangAt: 1000} }

// TestReplacedWhileRead never gives a mixture of two contents.
func TestReplacedWhileRead(t *testing.T) {
	size := 3 << 20
	var cut atomic.Bool
	cut.Store(true)
	b := faulty(t, settings{}, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil && kind(r) == "get" && cut.Load() {
			response.Body = &cutBody{response.Body, size / 2}
		}
		return response, err
	})
	cut.Store(false)
	put(t, b, "name", random(size, 1))
	cut.Store(true)
	content, _, err := b.Get(t.Context(), "name")
	require.NoError(t, err)
	defer content.Close()
	cut.Store(false)
	put(t, b, "name", random(size, 2))
	_, err = io.Copy(io.Discard, content)
	require.ErrorContains(t, err, "replaced while it was read")
	_, again := content.Read(make([]byte, 1))
	assert.Equal(t, err, again)
}

// cutBody ends after n bytes as a lost connection does.
type cutBody struct {
	io.ReadCloser
	n int
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.n == 0 {
		return 0, errors.New("the test cut this")
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.n)])
	c.n -= n
	return n, err
}
