package dash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brood/train"

	"github.com/stretchr/testify/require"
)

// smallRun is a run of 4 members and 40 updates that exploits at every fourth.
const smallRun = `
env: {id: CartPole-v1, count: 4}
policy: {hidden: [16]}
critic: {type: scalar}
ppo: {steps: 32, epochs: 2, minibatches: 2, learning_rate: 1e-3}
pbt:
  population_size: 4
  perturbation_interval: 4
  ready_percentage: 0.5
  telemetry_episodes: 2
  hyperparameters:
    - {name: learning_rate, min: 1e-4, max: 1e-2, log_scale: true}
    - {name: clip_range, min: 0.05, max: 0.4}
checkpoint: {every: 10, keep: 2}
run: {total_steps: 20480, seed: 7, selection_episodes: 3, device: cpu}
`

func configOf(t testing.TB, text string, set ...string) train.Config {
	t.Helper()
	settings, err := train.ParseSettings(set)
	require.NoError(t, err)
	cfg, err := train.Load("test", []byte(text), settings)
	require.NoError(t, err)
	return cfg
}

// trainedIn trains a small run to its end.
func trainedIn(t testing.TB, dir string, set ...string) string {
	t.Helper()
	run, err := train.New(configOf(t, smallRun, set...), train.Options{Dir: dir})
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(context.Background())
	require.NoError(t, err)
	require.NoError(t, run.Close())
	return dir
}

func trained(t testing.TB, set ...string) string {
	t.Helper()
	return trainedIn(t, filepath.Join(t.TempDir(), "run"), set...)
}

// serve starts a server on a free port and closes it after the test.
func serve(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Interval == 0 {
		o.Interval = 20 * time.Millisecond
	}
	s, err := Start(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// running is a run of this process with its page.
type running struct {
	*train.Run
	live   *Live
	server *Server
	dir    string
	// ended gets what Train came to.
	ended chan error
	// updates gets every update; whoever does not read holds the run up.
	updates chan int64
	cancel  context.CancelFunc
}

// runHere trains a run that waits after each update until somebody has taken it from
// updates.
func runHere(t testing.TB, set ...string) *running {
	t.Helper()
	r := &running{live: &Live{}, dir: filepath.Join(t.TempDir(), "run"), ended: make(chan error, 1), updates: make(chan int64)}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	var err error
	r.Run, err = train.New(configOf(t, smallRun, set...), train.Options{Dir: r.dir, Progress: func(p *train.Progress) {
		r.live.Progress(p)
		select {
		case r.updates <- p.Update:
		case <-ctx.Done():
		}
	}})
	require.NoError(t, err)
	r.live.Attach(r.Run, r.cancel)
	r.server = serve(t, Options{Dirs: []string{r.dir}, Live: r.live})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := r.Train(ctx)
		r.live.Ended()
		r.ended <- errors.Join(err, r.Close())
	}()
	t.Cleanup(func() { r.cancel(); <-done })
	return r
}

// update lets the run go on to an update.
func (r *running) until(t testing.TB, update int64) {
	t.Helper()
	for {
		select {
		case u := <-r.updates:
			if u == update {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the run does not come to update %d", update)
		}
	}
}

func (r *running) finish(t testing.TB) {
	t.Helper()
	for {
		select {
		case <-r.updates:
		case err := <-r.ended:
			require.NoError(t, err)
			return
		case <-time.After(20 * time.Second):
			t.Fatal("the run does not end")
		}
	}
}

// ask sends a request with headers (name, value, ...).
func ask(t testing.TB, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer, string(body)
}

// base is the address of the page without a slash at its end.
func (s *Server) base() string { return "http://" + s.listener.Addr().String() }

// local is an address of the page on this machine, whatever it listens on.
func (s *Server) local(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", s.listener.Addr().(*net.TCPAddr).Port, path)
}

func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
}

func lineCount(text string) int { return strings.Count(text, "\n") }
