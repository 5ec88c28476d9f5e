package train

import (
	"context"
	"sync"
	"time"

	"brood/kernels"
)

// requests are what others ask of a run while it trains. The training goroutine
// looks at them where an update is done and none is begun.
type requests struct {
	mu sync.Mutex
	// checkpoint is asked for and not yet begun.
	checkpoint bool
	// resume is closed when a pause ends; nil: the run is not to pause.
	resume chan struct{}
	// waiting is true while the training goroutine stands still, and wake then tells
	// it of a checkpoint that is asked for.
	waiting bool
	wake    chan struct{}
}

// RequestCheckpoint asks for a checkpoint after the update that is going on. It
// returns at once and may be called from any goroutine. A checkpoint that cannot be
// written is reported as one that was due.
func (r *Run) RequestCheckpoint() {
	r.requests.mu.Lock()
	defer r.requests.mu.Unlock()
	r.requests.checkpoint = true
	select {
	case r.requests.wake <- struct{}{}:
	default: // it is told already
	}
}

// Pause makes the run stand still after the update that is going on, until Continue
// or the end of Train's context. It returns at once and may be called from any
// goroutine. What the run comes to does not depend on it; the time it stands still
// does not count as training.
func (r *Run) Pause() {
	r.requests.mu.Lock()
	defer r.requests.mu.Unlock()
	if r.requests.resume == nil {
		r.requests.resume = make(chan struct{})
	}
}

// Continue ends a pause. It may be called from any goroutine.
func (r *Run) Continue() {
	r.requests.mu.Lock()
	defer r.requests.mu.Unlock()
	if r.requests.resume != nil {
		close(r.requests.resume)
		r.requests.resume = nil
	}
}

// Paused says whether the run was asked to pause, and whether it stands still by now.
func (r *Run) Paused() (asked, still bool) {
	r.requests.mu.Lock()
	defer r.requests.mu.Unlock()
	return r.requests.resume != nil, r.requests.waiting
}

// requested says whether anything is asked for, for which no update may be begun
// ahead.
func (r *Run) requested() bool {
	r.requests.mu.Lock()
	defer r.requests.mu.Unlock()
	return r.requests.checkpoint || r.requests.resume != nil
}

// serve does what is asked for after an update. One that was begun ahead is finished
// first: a snapshot would be of the state after it. At the end of the run there is
// nothing to wait for, and a checkpoint is written anyway.
func (r *Run) serve(ctx context.Context) {
	if r.begun > r.updates || r.updates == r.total {
		return
	}
	r.serveCheckpoint()
	for ctx.Err() == nil {
		r.requests.mu.Lock()
		resume := r.requests.resume
		r.requests.waiting = resume != nil
		r.requests.mu.Unlock()
		if resume == nil {
			return
		}
		r.stand(ctx, resume)
	}
	r.requests.mu.Lock()
	r.requests.waiting = false
	r.requests.mu.Unlock()
}

// stand waits for the end of a pause. Checkpoints are written meanwhile, and what
// has gathered for the logs, so that readers see all of it.
func (r *Run) stand(ctx context.Context, resume chan struct{}) {
	began := time.Now()
	defer func() { r.started = r.started.Add(time.Since(began)) }()
	if err := r.metrics.flush(); err != nil {
		r.opts.Warn("while the run stands still: " + err.Error())
	}
	if err := r.decisions.flush(); err != nil {
		r.opts.Warn("while the run stands still: " + err.Error())
	}
	for {
		select {
		case <-resume:
			return
		case <-ctx.Done():
			return
		case <-r.requests.wake:
			r.serveCheckpoint()
		}
	}
}

func (r *Run) serveCheckpoint() {
	r.requests.mu.Lock()
	asked := r.requests.checkpoint
	r.requests.checkpoint = false
	r.requests.mu.Unlock()
	if asked {
		r.warnOfSave(r.updates, r.beginSaving())
	}
}

// Profile is the time the engine has spent by phase in this process, summed over its
// threads. It is for use within [Options.Progress].
func (p *Progress) Profile() kernels.Profile { return p.run.engine.Profile() }
