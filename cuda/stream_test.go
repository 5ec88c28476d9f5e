//go:build cuda

package cuda

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func (r *rig) stream() *Stream {
	r.t.Helper()
	s, err := r.NewStream()
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) event() *Event {
	r.t.Helper()
	e, err := r.NewEvent()
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// TestStreamsWait lets a second stream take over what a first one computes.
func TestStreamsWait(t *testing.T) {
	r := newRig(t)
	got := make([]byte, 1<<16)
	r.do(func() error {
		s, e := r.stream(), r.event()
		a, b := r.alloc("a", int64(len(got))), r.alloc("b", int64(len(got)))
		return errors.Join(
			r.s.Memset(a.Ptr, 42, a.Bytes),
			e.Record(r.s),
			s.Wait(e),
			s.CopyOnDevice(b.Ptr, a.Ptr, a.Bytes),
			s.CopyToHost(got, b.Ptr),
		)
	})
	for i, v := range got {
		if v != 42 {
			t.Fatalf("byte %d is %d", i, v)
		}
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t)
	r.do(func() error {
		before, after := r.event(), r.event()
		x := r.alloc("x", 1<<20)
		if err := errors.Join(before.Record(r.s), r.s.Memset(x.Ptr, 1, x.Bytes), after.Record(r.s)); err != nil {
			return err
		}
		if _, err := after.Query(); err != nil { // whether it is done yet is the driver's affair
			t.Error(err)
		}
		if err := after.Synchronize(); err != nil {
			return err
		}
		if done, err := after.Query(); !done || err != nil {
			t.Errorf("after Synchronize, Query gives %v, %v", done, err)
		}
		if d, err := after.Elapsed(before); d < 0 || err != nil {
			t.Errorf("Elapsed gives %v, %v", d, err)
		}
		if err := errors.Join(after.Close(), after.Close()); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		_, queried := after.Query()
		_, elapsed := before.Elapsed(after)
		for _, err := range []error{after.Record(r.s), after.Synchronize(), queried, elapsed} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("use of a closed event: %v", err)
			}
		}
		return nil
	})
}

func TestStreamClose(t *testing.T) {
	r := newRig(t)
	r.do(func() error {
		s, x := r.stream(), r.alloc("x", 100)
		made := len(r.owned)
		err := errors.Join(
			s.CopyToDevice(x.Ptr, make([]byte, 100)), // makes the staging buffers
			s.Launch(r.kernel("affine"), one(1), &affineParams{}),
			s.Synchronize())
		if err != nil {
			return err
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if len(r.owned) != made-1 || s.args.memory != nil {
			t.Errorf("closing a stream leaves %d things, and arguments: %v", len(r.owned)-made+1, s.args.memory != nil)
		}
		for _, err := range []error{s.Synchronize(), s.Memset(x.Ptr, 0, 1), s.Launch(r.kernel("affine"), one(1), &affineParams{}), s.BeginCapture()} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("use of a closed stream: %v", err)
			}
		}
		return nil
	})
}

func TestGraph(t *testing.T) {
	r := newRig(t)
	y := make([]float32, 4)
	r.do(func() error {
		dx, dy, host := r.alloc("x", 16), r.alloc("y", 16), r.pinned(16)
		affine := r.kernel("affine")
		p := affineParams{Y: dy.Ptr, X: dx.Ptr, Offset: 1, N: 4}
		if err := errors.Join(r.s.Memset(dx.Ptr, 0, 16), r.s.Memset(dy.Ptr, 0, 16)); err != nil {
			return err
		}
		g, err := r.s.Capture(func() error {
			return errors.Join(
				r.s.Launch(affine, one(4), &p),
				r.s.Launch(affine, one(4), &p),
				r.s.CopyToHost(host.Bytes(), dy.Ptr),
			)
		})
		if err != nil {
			return err
		}
		p.Offset = 100 // the captured arguments stay
		if names := g.Kernels(); !slices.Equal(names, []string{"affine", "affine"}) {
			t.Errorf("the graph's kernels are %v", names)
		}
		if got := r.Transfers(); got != (Transfers{}) {
			t.Errorf("a capture copies %+v", got)
		}
		for range 3 {
			if err := g.Launch(r.s); err != nil {
				return err
			}
		}
		if err := r.s.Synchronize(); err != nil {
			return err
		}
		copy(BytesOf(y), host.Bytes())
		if got := r.Transfers(); got != (Transfers{ToHost: 48}) {
			t.Errorf("three launches of the graph copy %+v", got)
		}
		if err := errors.Join(g.Close(), g.Close()); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if err := g.Launch(r.s); !errors.Is(err, ErrClosed) {
			t.Errorf("launching a closed graph: %v", err)
		}
		return nil
	})
	if !slices.Equal(y, []float32{6, 6, 6, 6}) {
		t.Errorf("y is %v, want 6s", y)
	}
}

func TestGraphUpdate(t *testing.T) {
	r := newRig(t)
	y := make([]float32, 4)
	r.do(func() error {
		dx, dy := r.alloc("x", 16), r.alloc("y", 16)
		affine := r.kernel("affine")
		p := affineParams{Y: dy.Ptr, X: dx.Ptr, Offset: 1, N: 4}
		if err := errors.Join(r.s.Memset(dx.Ptr, 0, 16), r.s.Memset(dy.Ptr, 0, 16)); err != nil {
			return err
		}
		g, err := r.s.Capture(func() error {
			q := p
			q.Offset = 10
			return errors.Join(r.s.Launch(affine, one(4), &p), r.s.Launch(affine, one(4), &q))
		})
		if err != nil {
			return err
		}
		p.Offset = 100
		if err := errors.Join(g.Update(1, affine, one(2), &p), g.Launch(r.s), r.s.CopyToHost(BytesOf(y), dy.Ptr)); err != nil {
			return err
		}
		for _, c := range []struct {
			i    int
			arg  any
			want string
		}{{2, &p, "no kernel 2 in a graph of 2"}, {-1, &p, "no kernel -1"}, {0, "x", "argument 0: string"}} {
			if err := g.Update(c.i, affine, one(1), c.arg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("updating kernel %d with %v: %v", c.i, c.arg, err)
			}
		}
		return nil
	})
	if !slices.Equal(y, []float32{101, 101, 1, 1}) {
		t.Errorf("y is %v, want 101 101 1 1", y)
	}
}

// TestCaptureStreams captures a fork to a second stream and the join.
func TestCaptureStreams(t *testing.T) {
	r := newRig(t)
	y := make([]float32, 4)
	r.do(func() error {
		s, fork, join := r.stream(), r.event(), r.event()
		dx, dy := r.alloc("x", 16), r.alloc("y", 16)
		p := affineParams{Y: dy.Ptr, X: dx.Ptr, Offset: 1, N: 4}
		affine := r.kernel("affine")
		g, err := r.s.Capture(func() error {
			return errors.Join(
				r.s.Memset(dx.Ptr, 0, 16), r.s.Memset(dy.Ptr, 0, 16),
				fork.Record(r.s), s.Wait(fork),
				s.Launch(affine, one(4), &p),
				join.Record(s), r.s.Wait(join),
				r.s.Launch(affine, one(4), &p),
			)
		})
		if err != nil {
			return err
		}
		if s.capture != nil || r.s.capture != nil {
			t.Error("a stream is still in the capture")
		}
		if len(g.Kernels()) != 2 {
			t.Errorf("the graph's kernels are %v", g.Kernels())
		}
		return errors.Join(g.Launch(r.s), r.s.CopyToHost(BytesOf(y), dy.Ptr))
	})
	if !slices.Equal(y, []float32{2, 2, 2, 2}) {
		t.Errorf("y is %v, want 2s", y)
	}
}

func TestCaptureRefuses(t *testing.T) {
	r := newRig(t)
	r.do(func() error {
		x := r.alloc("x", 100)
		if _, err := r.s.EndCapture(); err == nil || !strings.Contains(err.Error(), "no capture began") {
			t.Errorf("an end without a beginning: %v", err)
		}
		_, err := r.s.Capture(func() error { return r.s.CopyToDevice(x.Ptr, make([]byte, 100)) })
		if !errors.Is(err, errCaptured) {
			t.Errorf("a captured copy of Go's memory: %v", err)
		}
		_, err = r.s.Capture(func() error { return r.s.Synchronize() })
		if err == nil || !strings.Contains(err.Error(), captureHint) {
			t.Errorf("a captured wait: %v", err)
		}
		return errors.Join(r.s.CopyToDevice(x.Ptr, make([]byte, 100)), r.s.Synchronize()) // the captures are over
	})
}
