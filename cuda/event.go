//go:build cuda

package cuda

import (
	"time"

	"gorgonia.org/cu"
)

// Event marks a point in a stream's work.
type Event struct {
	ctx    *Context
	handle cu.Event
	// stream is where it was last recorded, and capture the capture if it was
	// during one.
	stream  *Stream
	capture *capture
}

// NewEvent makes an event that also takes the time.
func (c *Context) NewEvent() (*Event, error) {
	const op = "making an event"
	if err := c.check(op); err != nil {
		return nil, err
	}
	handle, err := cu.MakeEvent(cu.DefaultEvent)
	if err != nil {
		return nil, c.result(op, resultOf(err))
	}
	e := &Event{ctx: c, handle: handle}
	c.own(e)
	return e, nil
}

// Close destroys the event. It may be called again.
func (e *Event) Close() error {
	if err := e.ctx.check("closing an event"); err != nil {
		return err
	}
	return e.ctx.disown(e)
}

func (e *Event) release() (string, int) {
	return "closing an event", resultOf(cu.DestroyEvent(&e.handle))
}

// Record marks the end of the stream's work so far.
func (e *Event) Record(s *Stream) error {
	const op = "recording an event"
	if err := s.check(op); err != nil {
		return err
	}
	if err := e.check(op); err != nil {
		return err
	}
	e.stream, e.capture = s, s.capture
	return s.result(op, resultOf(e.handle.Record(s.handle)))
}

// Synchronize waits until the work before the event is done.
func (e *Event) Synchronize() error {
	const op = "waiting for an event"
	if err := e.check(op); err != nil {
		return err
	}
	return e.result(op, resultOf(e.handle.Synchronize()))
}

// Query reports whether the work before the event is done.
func (e *Event) Query() (done bool, err error) {
	const op = "asking for an event"
	if err := e.check(op); err != nil {
		return false, err
	}
	code := resultOf(e.handle.Query())
	if code == notReady {
		return false, nil
	}
	return code == success, e.result(op, code)
}

// Elapsed gives the time from another event to this one. Both must be done.
func (e *Event) Elapsed(since *Event) (time.Duration, error) {
	const op = "measuring the time between events"
	for _, event := range []*Event{e, since} {
		if err := event.check(op); err != nil {
			return 0, err
		}
	}
	milliseconds, err := since.handle.Elapsed(e.handle)
	if err != nil {
		return 0, e.result(op, resultOf(err))
	}
	return time.Duration(milliseconds * float64(time.Millisecond)), nil
}

// check is Context.check, and refuses a closed event.
func (e *Event) check(op string) error {
	if err := e.ctx.check(op); err != nil {
		return err
	}
	if e.handle == (cu.Event{}) {
		return &Error{Op: op, Device: e.ctx.device.Ordinal, Cause: ErrClosed}
	}
	return nil
}

func (e *Event) result(op string, code int) error {
	if e.stream != nil {
		return e.stream.result(op, code)
	}
	return e.ctx.result(op, code)
}
