//go:build cuda

package cuda

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"unsafe"

	"gorgonia.org/cu"
)

// Ptr is an address in a device's memory.
type Ptr = uint64

// Buffer is an allocation in a device's memory.
type Buffer struct {
	Name  string
	Ptr   Ptr
	Bytes int64
}

// allocation is a Buffer as the context keeps it.
type allocation struct{ Buffer }

func (a *allocation) release() (string, int) {
	return fmt.Sprintf("freeing %q", a.Name), resultOf(cu.MemFree(cu.DevicePtr(a.Ptr)))
}

// Alloc allocates device memory, which is not cleared. The name is for errors.
func (c *Context) Alloc(name string, bytes int64) (Buffer, error) {
	op := fmt.Sprintf("allocating %q (%s)", name, sizeText(bytes))
	if err := c.check(op); err != nil {
		return Buffer{}, err
	}
	if bytes <= 0 {
		return Buffer{}, &Error{Op: op, Device: c.device.Ordinal, Cause: fmt.Errorf("the size must be positive, not %d", bytes)}
	}
	p, err := cu.MemAlloc(bytes)
	if err != nil {
		return Buffer{}, c.allocationError(op, resultOf(err))
	}
	a := &allocation{Buffer{name, uint64(p), bytes}}
	c.buffers[a.Ptr] = a
	c.own(a)
	return a.Buffer, nil
}

// allocationError adds to the driver's error, where memory ran out, how much is
// free and taken.
func (c *Context) allocationError(op string, code int) error {
	err := c.result(op, code)
	free, total, infoErr := cu.MemInfo()
	if code != outOfMemory || infoErr != nil {
		return err
	}
	var own int64
	for _, a := range c.buffers {
		own += a.Bytes
	}
	return WithHint(err, fmt.Sprintf("%s of the device's %s are free; this context holds %s in %d buffers, the rest is others'",
		sizeText(free), sizeText(total), sizeText(own), len(c.buffers)))
}

// Free frees a buffer. The driver first waits for the device.
func (c *Context) Free(b Buffer) error {
	op := fmt.Sprintf("freeing %q", b.Name)
	if err := c.check(op); err != nil {
		return err
	}
	a, ok := c.buffers[b.Ptr]
	if !ok {
		return &Error{Op: op, Device: c.device.Ordinal, Cause: fmt.Errorf("%#x is no buffer of this context, or was freed before", b.Ptr)}
	}
	delete(c.buffers, b.Ptr)
	return c.disown(a)
}

// Pinned is page-locked memory of the host, which the device copies from and to
// directly and asynchronously, from streams of any context.
type Pinned struct {
	name  string
	ctx   *Context
	bytes []byte
}

// AllocPinned allocates page-locked memory, which is not cleared. The name is for
// errors.
func (c *Context) AllocPinned(name string, bytes int64) (*Pinned, error) {
	op := fmt.Sprintf("allocating pinned %q (%s)", name, sizeText(bytes))
	if err := c.check(op); err != nil {
		return nil, err
	}
	if bytes <= 0 {
		return nil, &Error{Op: op, Device: c.device.Ordinal, Cause: fmt.Errorf("the size must be positive, not %d", bytes)}
	}
	memory, code := allocPinned(bytes)
	if code != success {
		err := c.result(op, code)
		if code == outOfMemory {
			err = WithHint(err, "pinned memory is the host's: see free memory and ulimit -l")
		}
		return nil, err
	}
	p := &Pinned{name, c, unsafe.Slice((*byte)(memory), bytes)}
	pinnedMemory.add(p.bytes)
	c.own(p)
	return p, nil
}

// Bytes is the memory. It must not be used after Free or the context's Close.
func (p *Pinned) Bytes() []byte { return p.bytes }

// Free frees the memory, which no operation on a stream may still use. It may be
// called again.
func (p *Pinned) Free() error {
	if err := p.ctx.check(fmt.Sprintf("freeing pinned %q", p.name)); err != nil {
		return err
	}
	return p.ctx.disown(p)
}

func (p *Pinned) release() (string, int) {
	pinnedMemory.remove(p.bytes)
	memory := unsafe.Pointer(unsafe.SliceData(p.bytes))
	p.bytes = nil
	return fmt.Sprintf("freeing pinned %q", p.name), resultOf(cu.MemFreeHost(memory))
}

// pinnedMemory knows the page-locked memory of all contexts, so that copies can
// tell it from Go's.
var pinnedMemory ranges

// ranges is a set of disjoint ranges of addresses.
type ranges struct {
	mu sync.RWMutex
	// sorted by start.
	sorted []addressRange
}

type addressRange struct{ start, end uintptr }

func rangeOf(b []byte) addressRange {
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return addressRange{start, start + uintptr(len(b))}
}

// after is the index of the first range that starts behind the address.
func (r *ranges) after(address uintptr) int {
	return sort.Search(len(r.sorted), func(i int) bool { return r.sorted[i].start > address })
}

func (r *ranges) add(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	added := rangeOf(b)
	i := r.after(added.start)
	r.sorted = append(r.sorted, addressRange{})
	copy(r.sorted[i+1:], r.sorted[i:])
	r.sorted[i] = added
}

func (r *ranges) remove(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.after(rangeOf(b).start) - 1
	r.sorted = append(r.sorted[:i], r.sorted[i+1:]...)
}

// contains reports whether b lies within one range.
func (r *ranges) contains(b []byte) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	asked := rangeOf(b)
	i := r.after(asked.start) - 1
	return i >= 0 && asked.end <= r.sorted[i].end
}

// Transfers counts the bytes that were copied since Open.
type Transfers struct {
	// ToDevice and ToHost are copies from and to the host's memory, OnDevice
	// within the device's, Peer from one device to another.
	ToDevice, ToHost, OnDevice, Peer int64
}

// Transfers gives the bytes copied by the context's streams since Open, those of
// graphs at each launch. It may be called anywhere.
func (c *Context) Transfers() Transfers {
	t := &c.transfers
	return Transfers{t.toDevice.Load(), t.toHost.Load(), t.onDevice.Load(), t.peer.Load()}
}

type transfers struct{ toDevice, toHost, onDevice, peer atomic.Int64 }

func (t *transfers) add(more Transfers) {
	t.toDevice.Add(more.ToDevice)
	t.toHost.Add(more.ToHost)
	t.onDevice.Add(more.OnDevice)
	t.peer.Add(more.Peer)
}

// sizeText gives a size as people write it.
func sizeText(bytes int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}
