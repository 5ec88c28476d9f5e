package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilInterrupted returns a context that ends with the first Ctrl-C or SIGTERM;
// the second ends the process at once. say is told what happens; it may be called from
// another goroutine. stop releases the signals.
func untilInterrupted(parent context.Context, say func(message string)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// Who asks for SIGPIPE is not ended by it: a run goes on when nobody reads its
	// progress any more.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	go func() {
		select {
		case <-signals:
		case <-done:
			return
		}
		cancel()
		say("stopping: finishing the update and writing a checkpoint (again to stop at once)")
		select {
		case <-signals:
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipes)
		close(done)
		cancel()
	}
}
