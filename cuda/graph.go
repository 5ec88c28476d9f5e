//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"unsafe"
)

// Graph is a captured sequence of work that is launched as one.
type Graph struct {
	ctx         *Context
	graph, exec unsafe.Pointer
	kernels     []graphKernel
	copied      Transfers
	args        argumentBuffer
	// label names the graph among the kernels launched last.
	label string
}

// BeginCapture starts to capture what is enqueued on the stream instead of running
// it, also on streams that come to wait for it, until EndCapture. Arguments and
// addresses are captured as they are. Nothing may be allocated or waited for.
func (s *Stream) BeginCapture() error {
	const op = "beginning a capture"
	if err := s.check(op); err != nil {
		return err
	}
	if err := s.result(op, beginCapture(s.handle)); err != nil {
		return err
	}
	s.capture = &capture{streams: []*Stream{s}}
	return nil
}

// Capture captures what f enqueues on the stream and makes a graph of it. The
// capture is over when it returns, also after an error or panic of f.
func (s *Stream) Capture(f func() error) (*Graph, error) {
	if err := s.BeginCapture(); err != nil {
		return nil, err
	}
	defer s.abandonCapture()
	if err := f(); err != nil {
		return nil, err
	}
	return s.EndCapture()
}

// abandonCapture ends a capture that began on the stream, if one did. Whatever it
// held is dropped.
func (s *Stream) abandonCapture() {
	if s.capture == nil || s.capture.streams[0] != s {
		return
	}
	if graph, code := s.finishCapture(); code == success {
		destroyGraph(graph)
	}
}

// finishCapture ends the capture that began on the stream.
func (s *Stream) finishCapture() (graph unsafe.Pointer, code int) {
	for _, joined := range s.capture.streams {
		joined.capture = nil
	}
	return endCapture(s.handle)
}

// EndCapture ends the capture that began on this stream and makes a graph of it.
func (s *Stream) EndCapture() (*Graph, error) {
	const op = "ending a capture"
	if err := s.check(op); err != nil {
		return nil, err
	}
	if s.capture == nil || s.capture.streams[0] != s {
		return nil, &Error{Op: op, Device: s.ctx.device.Ordinal, Cause: errors.New("no capture began on this stream")}
	}
	captured := s.capture
	graph, code := s.finishCapture()
	if code != success {
		return nil, s.result(op, code)
	}
	exec, code := instantiate(graph)
	if code != success {
		err := s.result("making a graph", code)
		return nil, errors.Join(err, s.ctx.result("destroying a graph", destroyGraph(graph)))
	}
	g := &Graph{ctx: s.ctx, graph: graph, exec: exec, kernels: captured.kernels, copied: captured.copied, label: label(captured.kernels)}
	s.ctx.own(g)
	return g, nil
}

// label lists the ends of a graph's kernels, by which an error tells graphs apart.
func label(kernels []graphKernel) string {
	switch len(kernels) {
	case 0:
		return "a graph without kernels"
	case 1:
		return fmt.Sprintf("a graph of %s", kernels[0].name)
	}
	return fmt.Sprintf("a graph of %d kernels from %s to %s", len(kernels), kernels[0].name, kernels[len(kernels)-1].name)
}

// Launch enqueues the graph.
func (g *Graph) Launch(s *Stream) error {
	const op = "launching a graph"
	if err := s.check(op); err != nil {
		return err
	}
	if g.exec == nil {
		return &Error{Op: op, Device: g.ctx.device.Ordinal, Cause: ErrClosed}
	}
	if code := launchGraph(g.exec, s.handle); code != success {
		return s.result(op, code)
	}
	s.recent.add(g.label)
	if s.capture != nil {
		s.capture.copied.add(g.copied)
	} else {
		s.ctx.transfers.add(g.copied)
	}
	return nil
}

// Kernels are the names of the graph's kernels, in the order of their capture.
func (g *Graph) Kernels() []string {
	names := make([]string, len(g.kernels))
	for i, k := range g.kernels {
		names[i] = k.name
	}
	return names
}

// Update changes kernel i of Kernels: its shape and arguments, for launches of the
// graph from now on. The kernel must be of the same module.
func (g *Graph) Update(i int, k *Kernel, l Launch, args ...any) error {
	const op = "updating a graph"
	if err := g.ctx.check(op); err != nil {
		return err
	}
	fail := func(cause error) error {
		return &Error{Op: op, Kernel: k.name, Device: g.ctx.device.Ordinal, Cause: cause}
	}
	if g.exec == nil {
		return fail(ErrClosed)
	}
	if i < 0 || i >= len(g.kernels) {
		return fail(fmt.Errorf("there is no kernel %d in a graph of %d", i, len(g.kernels)))
	}
	code := g.kernels[i].code
	if code == success {
		pointers, err := g.args.fill(g.ctx, k, l, args)
		if err != nil {
			return fail(err)
		}
		code = updateKernel(g.exec, g.kernels[i].node, k.handle, l, pointers)
	}
	if code != success {
		e := g.ctx.result(op, code).(*Error)
		e.Kernel = k.name
		return e
	}
	g.kernels[i].name = k.name
	return nil
}

// Close destroys the graph; a launch under way goes on. It may be called again.
func (g *Graph) Close() error {
	if err := g.ctx.check("destroying a graph"); err != nil {
		return err
	}
	return g.ctx.disown(g)
}

func (g *Graph) release() (string, int) {
	g.args.free()
	code := destroyExec(g.exec)
	if c := destroyGraph(g.graph); code == success {
		code = c
	}
	g.exec, g.graph = nil, nil
	return "destroying a graph", code
}
