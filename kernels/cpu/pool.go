package cpu

import (
	"runtime"
	"sync/atomic"
	"time"

	"brood/kernels"
)

// The work of an iteration is a task per member. A worker owns a member for the
// whole task; inside it splits what is large enough (a slice of the environments,
// a chunk of a minibatch) and works through the parts, and workers without a
// member of their own help. How the work is cut into parts depends on the
// configuration alone wherever sums are involved, so that neither the number of
// threads nor who does what changes a bit.

// part is a kind of work a member's task is split into.
type part int

const (
	collectPart  part = iota // a slice of the environments, all steps
	gradientPart             // a chunk of the minibatch's rows
)

// worker is one thread of the engine.
type worker struct {
	engine *Engine
	owned  context // of the member it owns
	rows   rowBuffers
	tile   *tile
	wake   chan struct{}

	// work is generation<<32 | parts<<16 | next part. A helper that moves next
	// forward has taken a part of that generation, and the owner waits for it
	// before it begins another: so kind is stable while parts are outstanding.
	work       atomic.Uint64
	done       atomic.Int64
	generation uint64
	kind       part

	profile [kernels.NumPhases]int64 // nanoseconds
}

// split runs n parts of the owned member's task, with whoever helps, and
// returns when all are done.
func (w *worker) split(kind part, n int) {
	if n == 1 || len(w.engine.workers) == 1 {
		for i := range n {
			w.runPart(w, kind, i)
		}
		return
	}
	w.kind = kind
	w.done.Store(0)
	w.generation++
	w.work.Store(w.generation<<32 | uint64(n)<<16)
	w.help(w)
	for spins := 0; w.done.Load() < int64(n); spins++ {
		relax(spins)
	}
}

// help takes parts of owner's split until none is left, and says whether it got
// any.
func (w *worker) help(owner *worker) (helped bool) {
	for {
		s := owner.work.Load()
		if next := s & 0xffff; next >= s>>16&0xffff {
			return helped
		} else if owner.work.CompareAndSwap(s, s+1) {
			w.runPart(owner, owner.kind, int(next))
			owner.done.Add(1)
			helped = true
		}
	}
}

// relax is what a waiting worker does between two looks. Waits are microseconds
// where every worker has a processor; a longer one means that what is waited for
// has lost its own, to more workers than processors or to other programs, and
// spinning would only keep it from getting one.
func relax(spins int) {
	switch {
	case spins > 20000:
		time.Sleep(20 * time.Microsecond)
	case spins > 100:
		runtime.Gosched()
	}
}

func (w *worker) runPart(owner *worker, kind part, i int) {
	switch kind {
	case collectPart:
		w.collectSlice(&owner.owned, i)
	case gradientPart:
		w.gradientChunk(&owner.owned, i)
	}
}

// task is what each does for every member.
type task func(w *worker)

// each runs the task for every member on all workers.
func (e *Engine) each(t task) {
	e.task = t
	e.next.Store(0)
	e.unfinished.Store(int64(len(e.members)))
	e.running.Add(len(e.workers) - 1)
	for _, w := range e.workers[1:] {
		w.wake <- struct{}{}
	}
	e.workers[0].drain()
	e.running.Wait()
}

// drain runs members' tasks until none is left, then helps the others.
func (w *worker) drain() {
	e := w.engine
	for {
		i := int(e.next.Add(1)) - 1
		if i >= len(e.members) {
			break
		}
		w.owned.take(e.members[i])
		e.task(w)
		e.unfinished.Add(-1)
	}
	for spins := 0; e.unfinished.Load() > 0; spins++ {
		for _, o := range e.workers {
			if w.help(o) {
				spins = 0
			}
		}
		relax(spins)
	}
}

// loop is a worker's goroutine; it ends when wake is closed.
func (w *worker) loop() {
	for range w.wake {
		w.drain()
		w.engine.running.Done()
	}
}

// clock is a point in time for profiles, cheaper than a time.Time.
func (e *Engine) clock() int64 { return int64(time.Since(e.start)) }

// lap adds the time since from to a phase and returns the present.
func (w *worker) lap(p kernels.Phase, from int64) int64 {
	now := w.engine.clock()
	w.profile[p] += now - from
	return now
}
