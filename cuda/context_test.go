//go:build cuda

package cuda

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestDoOwnsThread(t *testing.T) {
	c := open(t)
	threads := make(chan int, 20)
	var wait sync.WaitGroup
	for range cap(threads) {
		wait.Go(func() {
			if err := c.Do(func() error { threads <- gettid(); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	first := <-threads
	for range cap(threads) - 1 {
		if thread := <-threads; thread != first {
			t.Fatalf("Do ran on threads %d and %d", first, thread)
		}
	}
}

func TestDoErrors(t *testing.T) {
	c := open(t)
	failure := errors.New("failure")
	if err := c.Do(func() error { return failure }); err != failure {
		t.Errorf("Do gives %v", err)
	}
	if err := c.Do(func() error { return c.Do(func() error { return failure }) }); err != failure {
		t.Errorf("Do in Do gives %v", err)
	}
	func() {
		defer func() {
			p, ok := recover().(*Panic)
			if !ok || p.Value != failure || !errors.Is(p, failure) || !strings.Contains(p.Error(), "TestDoErrors") {
				t.Errorf("a panic arrives as %v", p)
			}
		}()
		_ = c.Do(func() error { panic(failure) })
	}()
	ended := make(chan bool)
	go func() {
		defer close(ended)
		_ = c.Do(func() error { runtime.Goexit(); return nil })
		t.Error("Do returned after Goexit")
	}()
	<-ended
	// The context lives on.
	if err := c.Do(func() error { _, err := c.Alloc("x", 1); return err }); err != nil {
		t.Error(err)
	}
}

func TestOutsideDo(t *testing.T) {
	r := newRig(t)
	var x Buffer
	var e *Event
	r.do(func() error { x, e = r.alloc("x", 10), r.event(); return nil })
	_, alloc := r.Alloc("y", 1)
	_, load := r.LoadModule("m", nil)
	for what, err := range map[string]error{
		"Alloc":       alloc,
		"Free":        r.Free(x),
		"LoadModule":  load,
		"CopyToHost":  r.s.CopyToHost(make([]byte, 10), x.Ptr),
		"Synchronize": r.s.Synchronize(),
		"Record":      e.Record(r.s),
		"Launch":      r.s.Launch(nil, Launch{}),
	} {
		if !errors.Is(err, ErrOutsideDo) {
			t.Errorf("%s outside Do: %v", what, err)
		}
	}
	if err := r.Do(r.Close); err == nil || !strings.Contains(err.Error(), "within Context.Do") {
		t.Errorf("Close within Do: %v", err)
	}
}

func TestClose(t *testing.T) {
	r := newRig(t)
	other := open(t) // keeps the device's memory alive, to look at
	free := func() (free int64) {
		if err := other.Do(func() (err error) { free, _, err = other.Memory(); return err }); err != nil {
			t.Fatal(err)
		}
		return free
	}
	before := free()
	r.do(func() error {
		for range 3 {
			r.alloc("left", 8<<20)
		}
		r.pinned(100)
		r.event()
		x := r.alloc("x", 100)
		if err := r.s.CopyToDevice(x.Ptr, make([]byte, 100)); err != nil {
			return err
		}
		return r.s.BeginCapture() // and forgets to end it
	})
	if held := before - free(); held < 24<<20 {
		t.Fatalf("24 MiB of buffers take %d bytes", held)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if held := before - free(); held > 0 {
		t.Errorf("after Close, %d bytes are still allocated", held)
	}
	if len(pinnedMemory.sorted) != 0 {
		t.Errorf("after Close, %d pinned buffers are left", len(pinnedMemory.sorted))
	}
	if err := r.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Do after Close: %v", err)
	}
}

// TestPeer copies between two devices. The fake driver gives as many as it is told
// to, in a process of its own.
func TestPeer(t *testing.T) {
	a := newRig(t)
	b, err := Open(1)
	if errors.Is(err, ErrNoDevice) && !inChild() {
		if !isFake(a.Device()) {
			t.Skip(err)
		}
		child(t, "TestPeer", "SOFTCUDA_DEVICES=2")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	want, got := sequence(10000), make([]byte, 10000)
	var from Buffer
	a.do(func() error {
		from = a.alloc("from", 10000)
		return errors.Join(a.s.CopyToDevice(from.Ptr, want), a.s.Synchronize())
	})
	err = b.Do(func() error {
		to, err := b.Alloc("to", 10000)
		if err != nil {
			return err
		}
		s, err := b.NewStream()
		if err != nil {
			return err
		}
		return errors.Join(s.CopyPeer(to.Ptr, b, from.Ptr, a.Context, 10000), s.CopyToHost(got, to.Ptr))
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("the bytes came across changed")
	}
	if n := b.Transfers().Peer; n != 10000 {
		t.Errorf("counted %d bytes", n)
	}
	// Within one device it is a plain copy.
	a.do(func() error {
		to := a.alloc("to", 10000)
		return errors.Join(a.s.CopyPeer(to.Ptr, a.Context, from.Ptr, a.Context, 10000), a.s.CopyToHost(got, to.Ptr))
	})
	if n := a.Transfers(); n.Peer != 0 || n.OnDevice != 10000 {
		t.Errorf("counted %+v", n)
	}
}
