// Package dash serves a page that shows runs while they train, and afterwards:
// returns, figures of learning, the family, hyperparameters, and episodes of the
// newest checkpoint. It reads run folders, so that a run of this process, of another
// and of last week look the same; a run of this process can be paused, stopped and
// asked for a checkpoint as well.
//
// A viewer never slows a run: pages are served from what was read of the folder, and
// each has a place in it of its own instead of a queue that somebody would have to
// fill.
package dash

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultAddress is where the page is served unless something else is asked for.
const DefaultAddress = "127.0.0.1:8642"

// Options of a server.
type Options struct {
	// Dirs are run folders.
	Dirs []string
	// Address is host:port to listen on, or a port alone. Empty: [DefaultAddress], or
	// a free port of the same host where that is taken.
	Address string
	// Live is the run of this process in Dirs[0]; nil: there is none.
	Live *Live
	// Interval is the time between two looks at the folders; 0: half a second.
	Interval time.Duration
}

// Server serves the page until it is closed.
type Server struct {
	runs     []*watched
	bell     *bell
	guard    *guard
	listener net.Listener
	http     *http.Server
	// closing is closed when the server is about to end: pages are told.
	closing chan struct{}
	// looked is closed once every folder was read.
	looked  chan struct{}
	stopped sync.WaitGroup
	once    sync.Once
}

// Start listens and serves. Close the server.
func Start(o Options) (*Server, error) {
	s := &Server{bell: newBell(), closing: make(chan struct{}), looked: make(chan struct{})}
	for i, name := range runNames(o.Dirs) {
		var live *Live
		if i == 0 {
			live = o.Live
		}
		w, err := watch(i, name, o.Dirs[i], live, s.bell)
		if err != nil {
			return nil, err
		}
		s.runs = append(s.runs, w)
	}
	listener, err := listen(o.Address)
	if err != nil {
		return nil, err
	}
	s.listener = listener
	if s.guard, err = newGuard(o.Address, listener.Addr().(*net.TCPAddr)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: log.New(discard{}, "", 0)} // what a viewer's connection does is no news of the run
	interval := o.Interval
	if interval == 0 {
		interval = 500 * time.Millisecond
	}
	s.stopped.Add(2)
	go s.watchAll(interval)
	go func() {
		defer s.stopped.Done()
		_ = s.http.Serve(listener) // ends with ErrServerClosed
	}()
	return s, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// listen opens the port, for no address given a free one where the usual one is taken.
func listen(address string) (net.Listener, error) {
	if address == "" {
		l, err := net.Listen("tcp", DefaultAddress)
		if errors.Is(err, syscall.EADDRINUSE) {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		if err != nil {
			return nil, fmt.Errorf("dash: listen: %w", err)
		}
		return l, nil
	}
	full, err := Address(address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", full)
	if err != nil {
		return nil, fmt.Errorf("dash: listen on %s: %w", address, err)
	}
	return l, nil
}

// ErrAddress is an address that nothing can listen on.
var ErrAddress = errors.New("not an address to listen on")

// Address completes what a user gives: a port, or host:port with a host of this machine.
func Address(given string) (string, error) {
	if given != "" && strings.Trim(given, "0123456789") == "" {
		given = "127.0.0.1:" + given
	}
	host, port, err := net.SplitHostPort(given)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || host == "" {
		return "", fmt.Errorf("%w: %q; want HOST:PORT such as 127.0.0.1:8642, or 0.0.0.0:8642 for all of this machine's addresses, or a port alone", ErrAddress, given)
	}
	return given, nil
}

// runNames are short names that differ.
func runNames(dirs []string) []string {
	names := make([]string, len(dirs))
	for i, dir := range dirs {
		full, err := filepath.Abs(dir)
		if err != nil {
			full = dir
		}
		names[i] = filepath.Base(full)
		if slices.Contains(names[:i], names[i]) {
			names[i] = filepath.Join(filepath.Base(filepath.Dir(full)), names[i])
		}
		for n, name := 2, names[i]; slices.Contains(names[:i], names[i]); n++ {
			names[i] = fmt.Sprintf("%s (%d)", name, n)
		}
	}
	return names
}

func (s *Server) watchAll(interval time.Duration) {
	defer s.stopped.Done()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for first := true; ; first = false {
		for _, w := range s.runs {
			w.look()
		}
		if first {
			close(s.looked)
		}
		select {
		case <-tick.C:
		case <-s.closing:
			return
		}
	}
}

// URL is where the page is. Where the address needs a token, the URL has it.
func (s *Server) URL() string { return s.guard.url(s.listener.Addr().(*net.TCPAddr)) }

// closeTime is how long pages get to hear of the end.
const closeTime = 2 * time.Second

// Close tells the pages how the runs stand and ends the server. It may be called
// twice.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		for _, w := range s.runs {
			w.look()
		}
		close(s.closing)
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if err = s.http.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
			err = s.http.Close() // a viewer that does not read is left
		}
		s.stopped.Wait()
	})
	return err
}
