package dash

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brood/ckpt"
	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func getJSON[T any](t testing.TB, url string) T {
	t.Helper()
	answer, body := ask(t, "GET", url)
	require.Equal(t, http.StatusOK, answer.StatusCode, body)
	var v T
	require.NoError(t, json.Unmarshal([]byte(body), &v), body)
	return v
}

func TestRunsHistoryAndFamily(t *testing.T) {
	dir := trained(t)
	s := serve(t, Options{Dirs: []string{dir}})
	runs := getJSON[[]about](t, s.base()+"/api/runs")
	require.Len(t, runs, 1)
	r := runs[0]
	assert.Equal(t, "CartPole-v1", r.Env)
	assert.Equal(t, stateFinished, r.State)
	assert.EqualValues(t, 40, r.Update)
	assert.EqualValues(t, 40, r.Updates)
	assert.EqualValues(t, 4*32*4, r.StepsUpdate)
	assert.Contains(t, r.Metrics, "clip_range")
	require.Len(t, r.Hyperparameters, 2)
	assert.True(t, r.Hyperparameters[0].Log)
	assert.EqualValues(t, 40, r.Checkpoint.Update)
	assert.Nil(t, r.Here, "the run is not of this process")
	require.NotNil(t, r.StepsPerSecond)

	answer, body := ask(t, "GET", s.base()+"/api/runs/0/history?metrics=train_return,learning_rate&buckets=10")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	d := decodeHistory(t, []byte(body))
	assert.Equal(t, 20, d.Points)
	assert.Equal(t, []int{0, 1, 2, 3}, d.Members)

	f := getJSON[family](t, s.base()+"/api/runs/0/family")
	assert.Equal(t, r.Exploits, len(f.Lives)-4)
	require.Positive(t, r.Exploits)
	assert.Equal(t, []string{"learning_rate", "clip_range"}, f.Names)
	total := 0
	for _, o := range f.Outcomes {
		assert.Equal(t, "reset", o.Name)
		total += o.Exploits
	}
	assert.Equal(t, r.Exploits, total)
	var summary struct {
		Strategies []struct {
			Judged, Successes int
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &summary))
	assert.Equal(t, summary.Strategies[0].Judged, f.Outcomes[0].Judged)
	assert.Equal(t, summary.Strategies[0].Successes, f.Outcomes[0].Successes)

	e := getJSON[struct {
		Env    string
		Update int64
		States [][]float32
	}](t, s.base()+"/api/runs/0/episode?member=1&episode=0")
	assert.Equal(t, "CartPole-v1", e.Env)
	assert.EqualValues(t, 40, e.Update)
	assert.Greater(t, len(e.States), 5)
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}})
	for path, want := range map[string]int{
		"/api/runs/1/history":                               http.StatusNotFound,
		"/api/runs/x/history":                               http.StatusNotFound,
		"/api/runs/..%2f..%2fetc/history":                   http.StatusNotFound,
		"/api/runs/0/history?metrics=nothing":               http.StatusBadRequest,
		"/api/runs/0/history?buckets=0":                     http.StatusBadRequest,
		"/api/runs/0/history?buckets=1000000":               http.StatusBadRequest,
		"/api/runs/0/history?from=-1":                       http.StatusBadRequest,
		"/api/runs/0/episode?member=4&episode=0":            http.StatusNotFound,
		"/api/runs/0/episode?member=../x&episode=0":         http.StatusNotFound,
		"/api/runs/0/episode?member=1&episode=-1":           http.StatusBadRequest,
		"/api/events?run=7":                                 http.StatusBadRequest,
		"/api/events?run=0&from=x":                          http.StatusBadRequest,
		"/../../../etc/passwd":                              http.StatusTemporaryRedirect,
		"/etc/passwd":                                       http.StatusNotFound,
		"/static/app.js":                                    http.StatusNotFound,
		"/api/runs/0/history?to=" + strings.Repeat("9", 30): http.StatusBadRequest,
	} {
		answer, body := ask(t, "GET", s.base()+path)
		assert.Equal(t, want, answer.StatusCode, "%s: %s", path, body)
		assert.NotEmpty(t, body)
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}})
	for _, path := range []string{"/", "/app.js", "/app.css", "/api/runs", "/nothing"} {
		answer, body := ask(t, "GET", s.base()+path)
		h := answer.Header
		assert.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
		assert.NotContains(t, h.Get("Content-Security-Policy"), "unsafe")
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
		assert.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
		assert.Empty(t, h.Get("Access-Control-Allow-Origin"))
		assert.Empty(t, h.Get("Set-Cookie"))
		if path == "/" {
			assert.NotContains(t, body, "://", "nothing comes from elsewhere")
			assert.NotContains(t, body, "style=")
			assert.NotRegexp(t, `<script>|\son\w+=`, body, "nothing is inline")
		}
	}
}

func TestHostsAndOrigins(t *testing.T) {
	r := runHere(t)
	base, port := r.server.base(), strings.TrimPrefix(r.server.base(), "http://127.0.0.1")
	for name, c := range map[string]struct {
		method, path string
		headers      []string
		want         int
	}{
		"plain":                               {"GET", "/api/runs", nil, 200},
		"localhost":                           {"GET", "/api/runs", []string{"Host", "localhost" + port}, 200},
		"another port of a tunnel":            {"GET", "/api/runs", []string{"Host", "localhost:9000"}, 200},
		"a name that leads here":              {"GET", "/api/runs", []string{"Host", "evil.example" + port}, 421},
		"a number that is not this machine's": {"GET", "/api/runs", []string{"Host", "10.0.0.1" + port}, 421},
		"no name":                             {"GET", "/", []string{"Host", "evil.example"}, 421},
		"read from another page":              {"GET", "/api/runs", []string{"Origin", "http://evil.example"}, 403},
		"read as a part of another page":      {"GET", "/api/runs", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a link from another page":            {"GET", "/", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		"command by GET":                      {"GET", "/api/runs/0/checkpoint", []string{"Origin", base}, 404},
		"command of nobody":                   {"POST", "/api/runs/0/checkpoint", nil, 403},
		"command of another page":             {"POST", "/api/runs/0/stop", []string{"Origin", "http://evil.example"}, 403},
		"command of a sandboxed page":         {"POST", "/api/runs/0/stop", []string{"Origin", "null"}, 403},
		"command of another port":             {"POST", "/api/runs/0/stop", []string{"Origin", "http://127.0.0.1:1"}, 403},
		"no such command":                     {"POST", "/api/runs/0/delete", []string{"Origin", base}, 404},
		"command of the page":                 {"POST", "/api/runs/0/pause", []string{"Origin", base}, 204},
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := ask(t, c.method, base+c.path, c.headers...)
			assert.Equal(t, c.want, answer.StatusCode, body)
		})
	}
	asked, _ := r.Paused()
	assert.True(t, asked, "the page's command was carried out")
	assert.False(t, r.live.here().Stopping, "no other was")
}

// A run of another process has no buttons, and one that has ended none any more.
func TestCommandsWithoutARun(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}})
	answer, body := ask(t, "POST", s.base()+"/api/runs/0/pause", "Origin", s.base())
	assert.Equal(t, http.StatusConflict, answer.StatusCode)
	assert.Contains(t, body, "not of this process")

	r := runHere(t)
	r.finish(t)
	answer, body = ask(t, "POST", r.server.base()+"/api/runs/0/stop", "Origin", r.server.base())
	assert.Equal(t, http.StatusConflict, answer.StatusCode)
	assert.Contains(t, body, "has ended")
}

func TestToken(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}, Address: "0.0.0.0:0"})
	token := s.guard.token
	require.Len(t, token, 43, "256 bits")
	assert.Contains(t, s.URL(), "?token="+token)
	for _, path := range []string{"/", "/app.js", "/api/runs", "/api/events?run=0", "/?token=", "/?token=wrong", "/?token=" + token[:42], "/api/runs?token=" + token} {
		answer, body := ask(t, "GET", s.local(path))
		assert.Equal(t, http.StatusUnauthorized, answer.StatusCode, path)
		assert.NotContains(t, body, token)
	}
	answer, _ := ask(t, "GET", s.local("/?token="+token))
	require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	assert.Equal(t, "/", answer.Header.Get("Location"))
	cookies := answer.Cookies()
	require.Len(t, cookies, 1)
	assert.True(t, cookies[0].HttpOnly)
	assert.Equal(t, http.SameSiteStrictMode, cookies[0].SameSite)
	cookie := cookies[0].Name + "=" + cookies[0].Value
	answer, _ = ask(t, "GET", s.local("/api/runs"), "Cookie", cookie)
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	answer, _ = ask(t, "GET", s.local("/api/runs"), "Cookie", cookie[:len(cookie)-1])
	assert.Equal(t, http.StatusUnauthorized, answer.StatusCode)
	answer, _ = ask(t, "GET", s.local("/api/runs"), "Cookie", cookie, "Host", "10.1.2.3:80")
	assert.Equal(t, http.StatusOK, answer.StatusCode, "the machine may have any address")
	answer, _ = ask(t, "GET", s.local("/api/runs"), "Cookie", cookie, "Host", "evil.example")
	assert.Equal(t, http.StatusMisdirectedRequest, answer.StatusCode)
	answer, _ = ask(t, "POST", s.local("/api/runs/0/stop"), "Cookie", cookie, "Origin", "http://evil.example")
	assert.Equal(t, http.StatusForbidden, answer.StatusCode)

	other := serve(t, Options{Dirs: []string{trained(t)}, Address: "0.0.0.0:0"})
	assert.NotEqual(t, token, other.guard.token)
}

func TestAddresses(t *testing.T) {
	for given, want := range map[string]string{"8642": "127.0.0.1:8642", "127.0.0.1:0": "127.0.0.1:0", "[::1]:80": "[::1]:80", "0.0.0.0:8642": "0.0.0.0:8642"} {
		got, err := Address(given)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, given := range []string{"", "localhost", ":8642", "1.2.3.4:99999999", "http://x", "99999999"} {
		_, err := Address(given)
		assert.ErrorIs(t, err, ErrAddress, given)
		assert.ErrorContains(t, err, "127.0.0.1:8642")
	}
}

// Where nobody asked for a port, one that is taken is no reason not to train.
func TestUsualPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", DefaultAddress)
	if err == nil {
		defer l.Close()
	}
	s, err := Start(Options{Dirs: []string{trained(t)}})
	require.NoError(t, err)
	defer s.Close()
	assert.NotContains(t, s.URL(), ":8642")
	answer, _ := ask(t, "GET", s.URL())
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	_, err = Start(Options{Dirs: []string{trained(t)}, Address: s.listener.Addr().String()})
	assert.ErrorContains(t, err, "listen on")
}

func TestStatesOfARun(t *testing.T) {
	dir := trained(t)
	s := serve(t, Options{Dirs: []string{dir}})
	state := func() string { s.runs[0].look(); return getJSON[[]about](t, s.base()+"/api/runs")[0].State }
	assert.Equal(t, stateFinished, state())
	release, err := ckpt.OS.Lock(dir)
	require.NoError(t, err)
	assert.Equal(t, stateRunning, state(), "somebody trains in the folder")
	require.NoError(t, release())
	require.NoError(t, os.Remove(filepath.Join(dir, "summary.json")))
	assert.Equal(t, stateGone, state(), "it has no end")
	_, err = Start(Options{Dirs: []string{t.TempDir()}, Address: "127.0.0.1:0"})
	assert.ErrorContains(t, err, "no run folder")
}

// What is damaged is told on the page; the rest is shown.
func TestDamageIsTold(t *testing.T) {
	dir := trained(t)
	appendTo(t, filepath.Join(dir, "metrics.jsonl"), "hello\n")
	s := serve(t, Options{Dirs: []string{dir}})
	s.runs[0].look()
	s.runs[0].look()
	r := getJSON[[]about](t, s.base()+"/api/runs")[0]
	assert.Contains(t, r.Problem, "metrics.jsonl")
	assert.Contains(t, r.Problem, "want an object of numbers")
	assert.Positive(t, r.Exploits)
}

func TestRunNamesDiffer(t *testing.T) {
	assert.Equal(t, []string{"a", "b"}, runNames([]string{"runs/a", "runs/b"}))
	assert.Equal(t, []string{"a", "two/a", "a (2)"}[:2], runNames([]string{"one/a", "two/a"}))
	assert.Equal(t, []string{"a", "one/a", "one/a (2)"}, runNames([]string{"one/a", "one/a", "one/a"}))
}

// A run that has ended holds its folder until it is closed: the page's last word is
// how it ended all the same.
func TestEndOfARunThatHoldsItsFolder(t *testing.T) {
	dir, live := filepath.Join(t.TempDir(), "run"), &Live{}
	run, err := train.New(configOf(t, smallRun), train.Options{Dir: dir, Progress: live.Progress})
	require.NoError(t, err)
	defer run.Close()
	live.Attach(run, func() {})
	s := serve(t, Options{Dirs: []string{dir}, Live: live})
	_, err = run.Train(t.Context())
	require.NoError(t, err)
	live.Ended()
	s.runs[0].look()
	assert.Equal(t, stateFinished, getStatus(s).State)
}
