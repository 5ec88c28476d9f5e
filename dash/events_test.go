package dash

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// message is one of the event stream.
type message struct{ kind, id, data string }

// stream is a page that listens.
type stream struct {
	t        testing.TB
	body     *bufio.Reader
	messages chan message
	close    func() error
}

func listenTo(t testing.TB, url string, headers ...string) *stream {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := (&http.Transport{}).RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, "text/event-stream", answer.Header.Get("Content-Type"))
	s := &stream{t: t, body: bufio.NewReader(answer.Body), messages: make(chan message, 1000), close: answer.Body.Close}
	t.Cleanup(func() { _ = s.close() })
	go s.read()
	return s
}

func (s *stream) read() {
	defer close(s.messages)
	var m message
	for {
		line, err := s.body.ReadString('\n')
		if err != nil {
			return
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "event":
			m.kind = value
		case "id":
			m.id = value
		case "data":
			m.data = value
		case "":
			if m.kind != "" {
				s.messages <- m
			}
			m = message{}
		}
	}
}

// next waits for a message of a kind.
func (s *stream) next(kind string) message {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case m, open := <-s.messages:
			require.True(s.t, open, "the stream ended before %q", kind)
			if m.kind == kind {
				return m
			}
		case <-deadline:
			s.t.Fatalf("no message %q", kind)
		}
	}
}

type rows struct {
	From, To int64
	Metrics  []string
	Best     []*float64
	Values   [][][]*float64
}

func (s *stream) rows() rows {
	s.t.Helper()
	var r rows
	require.NoError(s.t, json.Unmarshal([]byte(s.next("rows").data), &r))
	return r
}

// growing is a folder with a run of one member whose metrics a test writes.
func growing(t testing.TB) (dir string, grow func(from, to int)) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "run")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "checkpoints"), 0o755))
	text, err := configOf(t, smallRun, "pbt.population_size=2", "run.total_steps=100000000").YAML()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), text, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "decisions.jsonl"), nil, 0o644))
	path := filepath.Join(dir, "metrics.jsonl")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	return dir, func(from, to int) {
		var text []byte
		for u := from; u <= to; u++ {
			for m := range 2 {
				text = append(text, metricLine(u, m, fmt.Sprint(u*10+m), "")...)
			}
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.Write(text)
		}
		if err != nil {
			panic(err)
		}
		if err := f.Close(); err != nil {
			panic(err)
		}
	}
}

// A page is sent what it lacks and nothing twice, also when it comes back.
func TestEventsGoOnWhereAPageLeft(t *testing.T) {
	dir, grow := growing(t)
	grow(1, 3)
	s := serve(t, Options{Dirs: []string{dir}})
	d := getHistory(t, s)
	require.EqualValues(t, 3, d.Updates)
	page := listenTo(t, fmt.Sprintf("%s/api/events?run=0&from=%d-%d", s.base(), d.Generation, d.Updates))
	page.next("status")
	grow(4, 5)
	r := page.rows()
	assert.EqualValues(t, 4, r.From)
	assert.EqualValues(t, 5, r.To)
	assert.Equal(t, []string{"train_return", "entropy"}, r.Metrics)
	assert.InDelta(t, 41, *r.Best[0], 0)
	assert.InDelta(t, 50, *r.Values[0][1][0], 0, "metric, update, member")
	grow(6, 6)
	last := page.next("rows")
	require.NoError(t, json.Unmarshal([]byte(last.data), &r))
	assert.EqualValues(t, 6, r.From, "nothing comes twice")
	require.NoError(t, page.close())

	grow(7, 9)
	require.Eventually(t, func() bool { return getHistory(t, s).Updates == 9 }, 10*time.Second, time.Millisecond)
	page = listenTo(t, s.base()+"/api/events?run=0&from=1-1", "Last-Event-ID", last.id)
	r = page.rows()
	assert.EqualValues(t, 7, r.From, "the id of the last message counts, not where the page began")
	assert.EqualValues(t, 9, r.To)
}

func getHistory(t testing.TB, s *Server) decoded {
	t.Helper()
	answer, body := ask(t, "GET", s.base()+"/api/runs/0/history?metrics=train_return")
	require.Equal(t, http.StatusOK, answer.StatusCode, body)
	return decodeHistory(t.(*testing.T), []byte(body))
}

// A run that was resumed from a checkpoint has lost updates: the page has to ask anew.
func TestEventsOfARunThatWentBack(t *testing.T) {
	dir, grow := growing(t)
	grow(1, 5)
	s := serve(t, Options{Dirs: []string{dir}})
	d := getHistory(t, s)
	page := listenTo(t, fmt.Sprintf("%s/api/events?run=0&from=%d-5", s.base(), d.Generation))
	page.next("status")
	require.NoError(t, os.Truncate(filepath.Join(dir, "metrics.jsonl"), 0))
	grow(1, 2)
	m := page.next("resync")
	assert.NotEqual(t, fmt.Sprintf("%d-5", d.Generation), m.id)
	again := getHistory(t, s)
	assert.Greater(t, again.Generation, d.Generation)
	assert.EqualValues(t, 2, again.Updates)
}

// A page that knows nothing, or is far behind, is told to ask for the history.
func TestEventsOfAPageFarBehind(t *testing.T) {
	dir, grow := growing(t)
	grow(1, maxBehind/4+2)
	s := serve(t, Options{Dirs: []string{dir}})
	d := getHistory(t, s)
	assert.Equal(t, fmt.Sprintf("%d-%d", d.Generation, d.Updates), listenTo(t, s.base()+"/api/events?run=0").next("resync").id)
	listenTo(t, fmt.Sprintf("%s/api/events?run=0&from=%d-1", s.base(), d.Generation)).next("resync")
}

// A viewer that reads nothing costs neither memory nor the run's time: the run goes
// on to its end, other pages see all of it, and the slow one catches up by a resync.
func TestSlowViewer(t *testing.T) {
	dir, grow := growing(t)
	s := serve(t, Options{Dirs: []string{dir}, Interval: time.Millisecond})
	d := getHistory(t, s)
	slow, err := net.Dial("tcp", s.listener.Addr().String())
	require.NoError(t, err)
	defer slow.Close()
	require.NoError(t, slow.(*net.TCPConn).SetReadBuffer(32<<10))
	fmt.Fprintf(slow, "GET /api/events?run=0&from=%d-0 HTTP/1.1\r\nHost: %s\r\n\r\n", d.Generation, s.listener.Addr())
	quick := listenTo(t, fmt.Sprintf("%s/api/events?run=0&from=%d-0", s.base(), d.Generation))

	const updates, batch = 240_000, 24_000
	for u := 1; u <= updates; u += batch {
		grow(u, u+batch-1)
		// The server reads on while a viewer does not.
		require.Eventually(t, func() bool { return getStatus(s).Update == int64(u+batch-1) }, 20*time.Second, time.Millisecond)
		quick.next("rows")
	}
	// What the slow one was sent while it slept fits in buffers of the system; it hears
	// of the newest update without all those between.
	body := bufio.NewReader(slow)
	want := fmt.Sprintf("id: %d-%d", d.Generation, updates)
	read, sent := 0, 0
	require.NoError(t, slow.SetReadDeadline(time.Now().Add(60*time.Second)))
	for {
		line, err := body.ReadString('\n')
		require.NoError(t, err)
		read += len(line)
		if strings.HasPrefix(line, "event: rows") {
			sent++
		}
		if strings.HasPrefix(line, want) {
			break
		}
	}
	assert.Less(t, sent, updates/batch, "messages were left out (%d bytes came)", read)
}

func getStatus(s *Server) status {
	s.runs[0].mu.RLock()
	defer s.runs[0].mu.RUnlock()
	return s.runs[0].status
}

// Training does not wait for a server that is busy with its folder: with the folder's
// lock held by somebody else, updates go on.
func TestTrainingDoesNotWaitForThePage(t *testing.T) {
	r := runHere(t)
	r.server.runs[0].mu.Lock()
	defer r.server.runs[0].mu.Unlock()
	r.until(t, 30)
}

func TestEndIsTold(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}})
	page := listenTo(t, s.base()+"/api/events?run=0")
	var st status
	require.NoError(t, json.Unmarshal([]byte(page.next("status").data), &st))
	assert.Equal(t, stateFinished, st.State)
	require.NoError(t, s.Close())
	page.next("end")
	_, open := <-page.messages
	assert.False(t, open)
}

func TestNumbersInEvents(t *testing.T) {
	nan := float32(math.NaN())
	assert.Equal(t, "[1,null,-0.5,1e-07,null]", string(appendArray(nil, []float32{1, nan, -0.5, 1e-7, float32(math.Inf(1))})))
}
