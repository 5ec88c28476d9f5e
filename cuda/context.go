//go:build cuda

package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"gorgonia.org/cu"
)

// Context is a device's primary context, owned by a goroutine that is locked to
// its thread. Several contexts of one device share the driver's state, so that a
// fault of one loses the others; what each allocated is its own.
type Context struct {
	device Device
	handle cu.CUContext

	calls chan *call
	// closing is held while Close works, and done is closed at its end.
	closing sync.Mutex
	done    chan struct{}

	// The fields below belong to the owning goroutine.

	// owned is all that Close must release, with the order in which it was made.
	owned map[resource]uint64
	made  uint64
	// buffers are the device allocations by address; they are in owned too.
	buffers map[uint64]*allocation
	// peers are the contexts whose memory this one may access directly.
	peers map[cu.CUContext]bool
	// structs are the types of struct that Launch has found fit to be arguments.
	structs map[reflect.Type]bool
	closed  bool

	transfers transfers
	// lost is the first error after which the device was lost.
	lost atomic.Pointer[Error]
}

// resource is something of the driver's to be released. release is called once, on
// the owning goroutine.
type resource interface {
	release() (op string, code int)
}

// call is a function to run on the owning goroutine.
type call struct {
	f     func() error
	reply chan outcome
}

// outcome is how a call ended: by returning err, by a panic, or by runtime.Goexit
// (as testing's FailNow does).
type outcome struct {
	err    error
	panic  *Panic
	goexit bool
}

// Panic is what Do panics with if its function did.
type Panic struct {
	// Value is what the function panicked with.
	Value any
	// Stack is the stack of the goroutine that it ran on.
	Stack []byte
}

// Error gives the value and the stack.
func (p *Panic) Error() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack) }

// Unwrap returns the value if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Open opens a device. Close must be called in the end.
func Open(ordinal int) (*Context, error) {
	const op = "opening the device"
	version, err := startDriver(op)
	if err != nil {
		e := err.(*Error)
		e.Device = ordinal
		return nil, e
	}
	count, err := cu.NumDevices()
	if err != nil {
		return nil, newError(op, ordinal, resultOf(err))
	}
	if ordinal < 0 || ordinal >= count {
		e := newError(op, ordinal, noDevice)
		if count > 0 {
			e = &Error{Op: op, Device: ordinal, Cause: ErrNoDevice, Hint: fmt.Sprintf("the driver finds devices 0 to %d", count-1)}
		}
		return nil, e
	}
	device, err := describe(ordinal, version)
	if err != nil {
		return nil, err
	}
	handle, err := cu.Device(ordinal).RetainPrimaryCtx()
	if err != nil {
		return nil, newError(op, ordinal, resultOf(err))
	}
	c := &Context{
		device:  device,
		handle:  handle,
		calls:   make(chan *call),
		done:    make(chan struct{}),
		owned:   make(map[resource]uint64),
		buffers: make(map[uint64]*allocation),
		peers:   make(map[cu.CUContext]bool),
		structs: make(map[reflect.Type]bool),
	}
	started := make(chan error)
	go c.serve(started)
	if err := <-started; err != nil {
		release := resultOf(cu.Device(ordinal).ReleasePrimaryCtx())
		return nil, errors.Join(newError(op, ordinal, resultOf(err)), c.result("releasing the device", release))
	}
	return c, nil
}

// serve runs calls until the context is closed. It never unlocks the thread, which
// therefore ends with the goroutine. started, where not nil, receives the result of
// making the context current.
func (c *Context) serve(started chan<- error) {
	runtime.LockOSThread()
	err := cu.SetCurrentContext(c.handle)
	if started != nil {
		started <- err
		if err != nil {
			return
		}
	}
	setOwner(c.id())
	for {
		select {
		case next := <-c.calls:
			if !c.run(next) {
				return
			}
		case <-c.done:
			return
		}
	}
}

// run does one call and replies. It is false if the goroutine is ending.
func (c *Context) run(next *call) (alive bool) {
	result := outcome{goexit: true}
	defer func() {
		if value := recover(); value != nil {
			result = outcome{panic: &Panic{value, debug.Stack()}}
			alive = true
		}
		if result.goexit {
			go c.serve(nil) // this goroutine is ending: another takes over
		}
		next.reply <- result
	}()
	result = outcome{err: next.f()}
	return true
}

// id is what owner gives on the owning thread.
func (c *Context) id() uintptr { return uintptr(unsafe.Pointer(c)) }

// Do runs f on the context's thread and returns its error. If f panics, Do panics
// with a [*Panic]; if f ends its goroutine, as testing's FailNow does, Do ends its
// caller's. Within f, Do just calls its function.
func (c *Context) Do(f func() error) error {
	if owner() == c.id() {
		return f()
	}
	next := &call{f: f, reply: make(chan outcome, 1)}
	select {
	case c.calls <- next:
	case <-c.done:
		return &Error{Op: "using the context", Device: c.device.Ordinal, Cause: ErrClosed}
	}
	result := <-next.reply
	if result.panic != nil {
		panic(result.panic)
	}
	if result.goexit {
		runtime.Goexit()
	}
	return result.err
}

// Device describes the context's device. It may be called anywhere.
func (c *Context) Device() Device { return c.device }

// Lost gives the error that lost the device, or nil. It may be called anywhere.
func (c *Context) Lost() error {
	if e := c.lost.Load(); e != nil {
		return e
	}
	return nil
}

// Synchronize waits until all work on the device's context is done.
func (c *Context) Synchronize() error {
	const op = "waiting for the device"
	if err := c.check(op); err != nil {
		return err
	}
	return c.result(op, resultOf(cu.Synchronize()))
}

// Memory gives the free and total bytes of the device's memory.
func (c *Context) Memory() (free, total int64, err error) {
	const op = "asking for the free memory"
	if err := c.check(op); err != nil {
		return 0, 0, err
	}
	free, total, err = cu.MemInfo()
	return free, total, c.result(op, resultOf(err))
}

// Close waits for the device, releases all that was made in the context, newest
// first, and ends its goroutine. Calls of Do wait until then and fail. It may be
// called again, and after the device is lost.
func (c *Context) Close() error {
	if owner() == c.id() {
		return &Error{Op: "closing the context", Device: c.device.Ordinal, Cause: errors.New("called within Context.Do")}
	}
	c.closing.Lock()
	defer c.closing.Unlock()
	select {
	case <-c.done:
		return nil
	default:
	}
	err := c.Do(c.releaseAll)
	close(c.done)
	return err
}

// releaseAll releases what is left, and the primary context. It goes on after an
// error and returns the first, unless the device was lost before: that was reported
// by the operation that found it.
func (c *Context) releaseAll() error {
	wasLost := c.lost.Load() != nil
	var first error
	note := func(op string, code int) {
		if err := c.result(op, code); err != nil && first == nil {
			first = err
		}
	}
	for r := range c.owned {
		if s, ok := r.(*Stream); ok {
			s.abandonCapture()
		}
	}
	note("waiting for the device", resultOf(cu.Synchronize()))
	order := slices.SortedFunc(maps.Keys(c.owned), func(a, b resource) int {
		return cmp.Compare(c.owned[b], c.owned[a])
	})
	for _, r := range order {
		note(r.release())
	}
	clear(c.owned)
	clear(c.buffers)
	note("releasing the device", resultOf(cu.Device(c.device.Ordinal).ReleasePrimaryCtx()))
	c.closed = true
	if wasLost {
		return nil
	}
	return first
}

// own notes a resource for Close.
func (c *Context) own(r resource) {
	c.made++
	c.owned[r] = c.made
}

// disown releases a resource before Close. It does nothing the second time.
func (c *Context) disown(r resource) error {
	if _, ok := c.owned[r]; !ok {
		return nil
	}
	delete(c.owned, r)
	op, code := r.release()
	return c.result(op, code)
}

// check is called first by every method that needs the thread. After the device was
// lost it repeats why, so that nothing more is asked of the driver.
func (c *Context) check(op string) error {
	if owner() != c.id() {
		return &Error{Op: op, Device: c.device.Ordinal, Cause: ErrOutsideDo}
	}
	if c.closed {
		return &Error{Op: op, Device: c.device.Ordinal, Cause: ErrClosed}
	}
	if e := c.lost.Load(); e != nil {
		return &Error{Op: op, Device: c.device.Ordinal, Code: e.Code, Name: e.Name,
			Cause: fmt.Errorf("%w: an earlier operation failed: %w", ErrLost, e)}
	}
	return nil
}

// result makes an error of the driver's result, or nil. It notes a fault.
func (c *Context) result(op string, code int) error {
	if code == success {
		return nil
	}
	e := newError(op, c.device.Ordinal, code)
	c.noteFault(e, nil)
	return e
}

// noteFault completes the error of a fault with the kernels launched last on the
// stream, or on all where it is nil, and notes that the device is lost.
func (c *Context) noteFault(e *Error, s *Stream) {
	if !faults[e.Code] {
		return
	}
	if s != nil {
		e.Recent = s.recent.list()
	} else {
		for r := range c.owned {
			if s, ok := r.(*Stream); ok {
				e.Recent = append(e.Recent, s.recent.list()...)
			}
		}
	}
	c.lost.CompareAndSwap(nil, e)
}
