package main

import (
	"bufio"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withPage starts a command that serves a page, and returns the page's address and
// what waits for the command's exit code.
func withPage(t *testing.T, dir string, args ...string) (url string, cmd *exec.Cmd, wait func() int) {
	t.Helper()
	cmd = exec.Command(binary, args...)
	cmd.Dir = dir
	out, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	lines := make(chan string, 1000)
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		_ = cmd.Wait() // the exit code is asked for below
	}()
	wait = func() int {
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Fatal("the command does not end")
		}
		return cmd.ProcessState.ExitCode()
	}
	deadline := time.After(30 * time.Second)
	for {
		select {
		case line := <-lines:
			if address, ok := strings.CutPrefix(line, "dashboard  "); ok {
				return address, cmd, wait
			}
		case <-ended:
			t.Fatal("the command ended without a page")
		case <-deadline:
			t.Fatal("no page's address is printed")
		}
	}
}

// pageRequest asks the page for something and returns the status and the body.
func pageRequest(t *testing.T, method, url, origin string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

// The page of a run stops it as Ctrl-C does; `brood dashboard` shows it afterwards.
func TestDashboardOfARunAndAfterwards(t *testing.T) {
	dir := workplace(t)
	url, _, wait := withPage(t, dir, "train", "small.yaml", "--out", "run", "--quiet", "--set", "run.total_steps=1e9", "--dashboard=127.0.0.1:0")
	code, body := pageRequest(t, "GET", url, "")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, "/app.js")
	code, body = pageRequest(t, "POST", url+"api/runs/0/stop", strings.TrimSuffix(url, "/"))
	require.Equal(t, http.StatusNoContent, code, body)
	assert.Equal(t, exitInterrupted, wait())

	_, stderr, exit := brood(t, dir, "resume", "run", "--quiet", "--dashboard=nowhere")
	assert.Equal(t, exitUsage, exit)
	assert.Contains(t, stderr, "127.0.0.1:8642", "what would be valid is told")

	url, cmd, wait := withPage(t, dir, "dashboard", "run", "--listen", "127.0.0.1:0")
	code, body = pageRequest(t, "GET", url+"api/runs", "")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, `"state":"interrupted"`)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	assert.Equal(t, exitDone, wait())
}

// Without an address the usual port is taken, or a free one; the run goes to its end.
func TestDashboardWithoutAnAddress(t *testing.T) {
	dir := workplace(t)
	url, _, wait := withPage(t, dir, "train", "small.yaml", "--out", "run", "--quiet", "--dashboard")
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+/$`, url)
	assert.Equal(t, exitDone, wait())
	assert.FileExists(t, filepath.Join(dir, "run", "best.ckpt"))
}

func TestDashboardOfNoRun(t *testing.T) {
	dir := workplace(t)
	_, stderr, code := brood(t, dir, "dashboard")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "one run folder or several")
	_, stderr, code = brood(t, dir, "dashboard", ".")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "config.yaml")
	_, stderr, code = brood(t, dir, "train", "small.yaml", "--out", "run", "--dashboard=:8642")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "not an address to listen on")
	assert.NoDirExists(t, filepath.Join(dir, "run"), "nothing was begun")
}
