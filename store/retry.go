package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// policy says how often and how patiently an operation is tried.
type policy struct {
	// attempts is how often in all; at least 1.
	attempts int
	// base is the longest wait before the second attempt; it doubles with each.
	base time.Duration
	// limit bounds every wait.
	limit time.Duration
}

// patient outlasts a server that starts anew: about 20 s of waiting on average, 40
// at most, beside what the attempts take.
var patient = policy{attempts: 9, base: 200 * time.Millisecond, limit: 15 * time.Second}

// brisk is for a command that somebody waits for: 2 s of waiting at most.
var brisk = policy{attempts: 4, base: 300 * time.Millisecond, limit: time.Second}

// do runs f until it succeeds, fails for good, has used up its attempts, or ctx
// ends. f gets the number of the attempt, from 1.
func (p policy) do(ctx context.Context, transient func(error) bool, f func(attempt int) error) error {
	for attempt := 1; ; attempt++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := f(attempt)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ended(ctx, err)
		}
		if !transient(err) {
			return err
		}
		if attempt >= p.attempts {
			return fmt.Errorf("given up after %d attempts: %w", attempt, err)
		}
		if !pause(ctx, p.wait(attempt)) {
			return ended(ctx, err)
		}
	}
}

// ended is the error of an operation that ctx ended, with what failed last.
func ended(ctx context.Context, last error) error {
	return fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
}

// wait is the time before the attempt that follows. Half of it is random, so that
// many clients which failed together do not come back together.
func (p policy) wait(attempt int) time.Duration {
	d := p.limit
	if shift := attempt - 1; shift < 30 && p.base<<shift < p.limit {
		d = p.base << shift
	}
	return d/2 + rand.N(d/2+1)
}

// pause waits; it returns false where ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
