//go:build cuda

package cuda

import (
	"unsafe"

	"gorgonia.org/cu"
)

// Stream is a queue of work for the device. Its operations run in order, and
// beside those of other streams; none waits for the default stream.
type Stream struct {
	ctx    *Context
	handle cu.Stream
	args   argumentBuffer
	recent recentKernels
	// staging is made by the first copy of memory that is not pinned.
	staging *staging
	// capture is what operations are captured into; nil outside a capture.
	capture *capture
}

// NewStream makes a stream.
func (c *Context) NewStream() (*Stream, error) {
	const op = "making a stream"
	if err := c.check(op); err != nil {
		return nil, err
	}
	handle, err := cu.MakeStream(cu.NonBlocking)
	if err != nil {
		return nil, c.result(op, resultOf(err))
	}
	s := &Stream{ctx: c, handle: handle}
	c.own(s)
	return s, nil
}

// Close waits for nothing: the driver finishes the stream's work by itself. It may
// be called again.
func (s *Stream) Close() error {
	if err := s.ctx.check("closing a stream"); err != nil {
		return err
	}
	if s.staging != nil {
		if err := s.staging.close(); err != nil {
			return err
		}
		s.staging = nil
	}
	return s.ctx.disown(s)
}

func (s *Stream) release() (string, int) {
	s.args.free()
	return "closing a stream", resultOf(s.handle.Destroy())
}

// Synchronize waits until all work of the stream is done.
func (s *Stream) Synchronize() error {
	const op = "waiting for a stream"
	if err := s.check(op); err != nil {
		return err
	}
	return s.result(op, resultOf(s.handle.Synchronize()))
}

// Wait lets the stream's later work wait for what was recorded in the event,
// which may be of another context. An event recorded in a capture draws the stream
// into that capture.
func (s *Stream) Wait(e *Event) error {
	const op = "letting a stream wait for an event"
	if err := s.check(op); err != nil {
		return err
	}
	if err := s.result(op, resultOf(s.handle.Wait(e.handle, 0))); err != nil {
		return err
	}
	if e.capture != nil && s.capture == nil {
		s.capture = e.capture
		s.capture.streams = append(s.capture.streams, s)
	}
	return nil
}

// check is Context.check, and refuses a closed stream, whose handle would mean the
// default stream.
func (s *Stream) check(op string) error {
	if err := s.ctx.check(op); err != nil {
		return err
	}
	if s.handle == cu.NoStream {
		return &Error{Op: op, Device: s.ctx.device.Ordinal, Cause: ErrClosed}
	}
	return nil
}

// result is Context.result; a fault names this stream's kernels.
func (s *Stream) result(op string, code int) error {
	if code == success {
		return nil
	}
	e := newError(op, s.ctx.device.Ordinal, code)
	s.ctx.noteFault(e, s)
	return e
}

// recentKernels are the names of the kernels launched last on a stream.
type recentKernels struct {
	names [8]string
	count int
}

func (r *recentKernels) add(name string) {
	r.names[r.count%len(r.names)] = name
	r.count++
}

// list gives the names, the latest last.
func (r *recentKernels) list() []string {
	var names []string
	for i := max(0, r.count-len(r.names)); i < r.count; i++ {
		names = append(names, r.names[i%len(r.names)])
	}
	return names
}

// capture is a capture of one or more streams into a graph.
type capture struct {
	// streams are those in it, first the one it began on.
	streams []*Stream
	kernels []graphKernel
	// copied is what the captured copies transfer at each launch of the graph.
	copied Transfers
}

// graphKernel is a launch in a graph.
type graphKernel struct {
	name string
	// node is nil where the driver cannot say, with its result in code.
	node unsafe.Pointer
	code int
}
