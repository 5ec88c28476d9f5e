//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// errCaptured refuses what would wait for the device in a capture.
var errCaptured = errors.New("memory that is not pinned cannot be copied in a capture: use AllocPinned")

// CopyToDevice copies src to the device. From pinned memory it only enqueues the
// copy: src must stay as it is until the stream has done it. Other memory is copied
// aside first, and may be changed as soon as CopyToDevice returns.
func (s *Stream) CopyToDevice(dst Ptr, src []byte) error {
	const op = "copying to the device"
	if err := s.check(op); err != nil || len(src) == 0 {
		return err
	}
	if !pinnedMemory.contains(src) {
		return s.stageToDevice(op, dst, src)
	}
	return s.copyToDevice(op, dst, src)
}

// CopyToHost copies from the device to dst. To pinned memory it only enqueues the
// copy: dst is valid after the stream has done it. For other memory it waits for
// the stream: dst is valid when CopyToHost returns.
func (s *Stream) CopyToHost(dst []byte, src Ptr) error {
	const op = "copying to the host"
	if err := s.check(op); err != nil || len(dst) == 0 {
		return err
	}
	if !pinnedMemory.contains(dst) {
		return s.stageToHost(op, dst, src)
	}
	return s.copyToHost(op, dst, src)
}

// CopyOnDevice copies within the device's memory. The two must not overlap.
func (s *Stream) CopyOnDevice(dst, src Ptr, bytes int64) error {
	const op = "copying on the device"
	if err := s.checkBytes(op, bytes); err != nil || bytes == 0 {
		return err
	}
	code := resultOf(cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), bytes, s.handle))
	return s.copied(op, dst, bytes, code, Transfers{OnDevice: bytes})
}

// CopyPeer copies from the memory of one context's device to another's. The stream
// must be of one of the two. It waits for that stream alone: order it with the
// other context's work by events.
func (s *Stream) CopyPeer(dst Ptr, dstCtx *Context, src Ptr, srcCtx *Context, bytes int64) error {
	const op = "copying to another device"
	if dstCtx.handle == srcCtx.handle {
		return s.CopyOnDevice(dst, src, bytes)
	}
	if err := s.checkBytes(op, bytes); err != nil || bytes == 0 {
		return err
	}
	for _, c := range []*Context{dstCtx, srcCtx} {
		if err := s.ctx.enablePeer(c); err != nil {
			return err
		}
	}
	code := resultOf(cu.MemcpyPeerAsync(cu.DevicePtr(dst), dstCtx.handle, cu.DevicePtr(src), srcCtx.handle, bytes, s.handle))
	return s.copied(op, dst, bytes, code, Transfers{Peer: bytes})
}

// enablePeer lets the context access another's memory directly where the devices
// can; else the driver copies through the host.
func (c *Context) enablePeer(other *Context) error {
	const op = "enabling access to another device"
	if other.handle == c.handle || c.peers[other.handle] {
		return nil
	}
	able, err := cu.Device(c.device.Ordinal).CanAccessPeer(cu.Device(other.device.Ordinal))
	if err != nil {
		return c.result(op, resultOf(err))
	}
	if able != 0 {
		if code := enablePeer(other.handle); code != success && code != peerAccessAlreadyEnabled {
			return c.result(op, code)
		}
	}
	c.peers[other.handle] = true
	return nil
}

// Memset sets bytes of the device's memory to a value.
func (s *Stream) Memset(dst Ptr, value byte, bytes int64) error {
	const op = "setting memory"
	if err := s.checkBytes(op, bytes); err != nil || bytes == 0 {
		return err
	}
	code := resultOf(cu.MemsetD8Async(cu.DevicePtr(dst), value, bytes, s.handle))
	return s.copied(op, dst, bytes, code, Transfers{})
}

func (s *Stream) checkBytes(op string, bytes int64) error {
	if err := s.check(op); err != nil {
		return err
	}
	if bytes < 0 {
		return &Error{Op: op, Device: s.ctx.device.Ordinal, Cause: fmt.Errorf("the size is negative: %d", bytes)}
	}
	return nil
}

// copied ends a copy: its bytes are counted, by the graph if it is captured.
func (s *Stream) copied(op string, at Ptr, bytes int64, code int, t Transfers) error {
	if code != success {
		return s.result(fmt.Sprintf("%s (%s at %#x)", op, sizeText(bytes), at), code)
	}
	if s.capture != nil {
		s.capture.copied.add(t)
	} else {
		s.ctx.transfers.add(t)
	}
	return nil
}

func (t *Transfers) add(more Transfers) {
	t.ToDevice += more.ToDevice
	t.ToHost += more.ToHost
	t.OnDevice += more.OnDevice
	t.Peer += more.Peer
}

// copyToDevice enqueues a copy from pinned memory.
func (s *Stream) copyToDevice(op string, dst Ptr, src []byte) error {
	n := int64(len(src))
	code := resultOf(cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(unsafe.SliceData(src)), n, s.handle))
	return s.copied(op, dst, n, code, Transfers{ToDevice: n})
}

// copyToHost enqueues a copy to pinned memory.
func (s *Stream) copyToHost(op string, dst []byte, src Ptr) error {
	n := int64(len(dst))
	code := resultOf(cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(dst)), cu.DevicePtr(src), n, s.handle))
	return s.copied(op, src, n, code, Transfers{ToHost: n})
}

// stagingBytes is the size of each of a stream's two staging buffers.
const stagingBytes = 1 << 20

// staging is pinned memory that a stream's copies of other memory go through, so
// that the driver never holds an address of Go's after a call has returned. Two
// buffers let one be filled or emptied while the device copies the other.
type staging struct {
	buffers [2]struct {
		memory *Pinned
		// done marks the last copy that used memory.
		done *Event
	}
	next int
}

func newStaging(c *Context) (*staging, error) {
	g := &staging{}
	for i := range g.buffers {
		b := &g.buffers[i]
		var err error
		if b.memory, err = c.AllocPinned("staging", stagingBytes); err == nil {
			b.done, err = c.NewEvent()
		}
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
	}
	return g, nil
}

func (g *staging) close() error {
	var errs []error
	for _, b := range g.buffers {
		if b.done != nil {
			errs = append(errs, b.done.Synchronize(), b.done.Close())
		}
		if b.memory != nil {
			errs = append(errs, b.memory.Free())
		}
	}
	return errors.Join(errs...)
}

// acquire gives the next staging buffer, whose last copy is done.
func (s *Stream) acquire(op string) (memory []byte, done *Event, err error) {
	if s.capture != nil {
		return nil, nil, &Error{Op: op, Device: s.ctx.device.Ordinal, Cause: errCaptured}
	}
	if s.staging == nil {
		if s.staging, err = newStaging(s.ctx); err != nil {
			return nil, nil, err
		}
	}
	b := &s.staging.buffers[s.staging.next]
	s.staging.next = 1 - s.staging.next
	return b.memory.Bytes(), b.done, b.done.Synchronize()
}

func (s *Stream) stageToDevice(op string, dst Ptr, src []byte) error {
	for len(src) > 0 {
		memory, done, err := s.acquire(op)
		if err != nil {
			return err
		}
		n := copy(memory, src)
		if err := s.copyToDevice(op, dst, memory[:n]); err != nil {
			return err
		}
		if err := done.Record(s); err != nil {
			return err
		}
		dst, src = dst+Ptr(n), src[n:]
	}
	return nil
}

func (s *Stream) stageToHost(op string, dst []byte, src Ptr) error {
	// finish moves the part before to where it belongs, once it has arrived.
	finish := func() error { return nil }
	for len(dst) > 0 {
		memory, done, err := s.acquire(op)
		if err != nil {
			return err
		}
		n := min(len(dst), len(memory))
		if err := s.copyToHost(op, memory[:n], src); err != nil {
			return err
		}
		if err := done.Record(s); err != nil {
			return err
		}
		if err := finish(); err != nil {
			return err
		}
		part := dst[:n]
		finish = func() error {
			if err := done.Synchronize(); err != nil {
				return err
			}
			copy(part, memory)
			return nil
		}
		dst, src = dst[n:], src+Ptr(n)
	}
	return finish()
}
