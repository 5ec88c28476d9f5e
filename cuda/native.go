//go:build cuda

package cuda

// #include <stdlib.h>
// #include "native.h"
// #cgo nocallback brood_set_owner
// #cgo nocallback brood_owner
// #cgo nocallback brood_error_name
// #cgo noescape brood_error_name
// #cgo nocallback brood_enable_peer
// #cgo nocallback brood_alloc_pinned
// #cgo noescape brood_alloc_pinned
// #cgo nocallback brood_load_module
// #cgo noescape brood_load_module
// #cgo nocallback brood_param_info
// #cgo noescape brood_param_info
// #cgo nocallback brood_set_max_shared
// #cgo nocallback brood_launch
// #cgo nocallback brood_begin_capture
// #cgo nocallback brood_captured_node
// #cgo noescape brood_captured_node
// #cgo nocallback brood_end_capture
// #cgo noescape brood_end_capture
// #cgo nocallback brood_instantiate
// #cgo noescape brood_instantiate
// #cgo nocallback brood_launch_graph
// #cgo nocallback brood_update_kernel
// #cgo nocallback brood_destroy_graph
// #cgo nocallback brood_destroy_exec
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"
)

// The handles of gorgonia.org/cu hold one pointer, the driver's handle, in a field
// that is not exported.

func streamHandle(s cu.Stream) unsafe.Pointer     { return *(*unsafe.Pointer)(unsafe.Pointer(&s)) }
func functionHandle(f cu.Function) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&f)) }
func contextHandle(c cu.CUContext) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&c)) }
func moduleFrom(handle unsafe.Pointer) cu.Module  { return *(*cu.Module)(unsafe.Pointer(&handle)) }

// Each of these must stay as large as the handle it holds.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(cu.Stream{})-unsafe.Sizeof(uintptr(0))]
	_ = [1]struct{}{}[unsafe.Sizeof(cu.Function{})-unsafe.Sizeof(uintptr(0))]
	_ = [1]struct{}{}[unsafe.Sizeof(cu.CUContext{})-unsafe.Sizeof(uintptr(0))]
	_ = [1]struct{}{}[unsafe.Sizeof(cu.Module{})-unsafe.Sizeof(uintptr(0))]
)

// The functions below are native.h's, with Go's types. They return CUresult codes.

func setOwner(c uintptr) { C.brood_set_owner(C.uintptr_t(c)) }
func owner() uintptr     { return uintptr(C.brood_owner()) }

// errorName gives the driver's name and description of a code, or two empty
// strings.
func errorName(code int) (name, text string) {
	var n, t *C.char
	if C.brood_error_name(C.int(code), &n, &t) != 0 {
		return "", ""
	}
	return C.GoString(n), C.GoString(t)
}

func enablePeer(c cu.CUContext) int { return int(C.brood_enable_peer(contextHandle(c))) }

func allocPinned(bytes int64) (p unsafe.Pointer, code int) {
	code = int(C.brood_alloc_pinned(&p, C.size_t(bytes)))
	return p, code
}

func loadModule(image []byte) (m cu.Module, compilerLog string, code int) {
	// PTX is text that the driver reads up to a NUL.
	terminated := C.CBytes(append(image[:len(image):len(image)], 0))
	defer C.free(terminated)
	logBuffer := make([]byte, 8<<10)
	var handle unsafe.Pointer
	code = int(C.brood_load_module(&handle, terminated, (*C.char)(unsafe.Pointer(&logBuffer[0])), C.size_t(len(logBuffer))))
	return moduleFrom(handle), C.GoString((*C.char)(unsafe.Pointer(&logBuffer[0]))), code
}

func paramInfo(f cu.Function, i int) (offset, bytes int, code int) {
	var o, n C.size_t
	code = int(C.brood_param_info(functionHandle(f), C.size_t(i), &o, &n))
	return int(o), int(n), code
}

func setMaxShared(f cu.Function, bytes int) int {
	return int(C.brood_set_max_shared(functionHandle(f), C.int(bytes)))
}

func shape(l Launch) (s C.brood_shape) {
	for i := range 3 {
		s.grid[i], s.block[i] = C.uint(l.Grid[i]), C.uint(l.Block[i])
	}
	s.shared = C.uint(l.Shared)
	return s
}

// launchKernel's args point to C memory.
func launchKernel(f cu.Function, l Launch, s cu.Stream, args *unsafe.Pointer) int {
	return int(C.brood_launch(functionHandle(f), shape(l), streamHandle(s), args))
}

func beginCapture(s cu.Stream) int { return int(C.brood_begin_capture(streamHandle(s))) }

func capturedNode(s cu.Stream) (node unsafe.Pointer, code int) {
	code = int(C.brood_captured_node(streamHandle(s), &node))
	return node, code
}

func endCapture(s cu.Stream) (graph unsafe.Pointer, code int) {
	code = int(C.brood_end_capture(streamHandle(s), &graph))
	return graph, code
}

func instantiate(graph unsafe.Pointer) (exec unsafe.Pointer, code int) {
	code = int(C.brood_instantiate(&exec, graph))
	return exec, code
}

func launchGraph(exec unsafe.Pointer, s cu.Stream) int {
	return int(C.brood_launch_graph(exec, streamHandle(s)))
}

// updateKernel's args point to C memory.
func updateKernel(exec, node unsafe.Pointer, f cu.Function, l Launch, args *unsafe.Pointer) int {
	return int(C.brood_update_kernel(exec, node, functionHandle(f), shape(l), args))
}

func destroyGraph(graph unsafe.Pointer) int { return int(C.brood_destroy_graph(graph)) }
func destroyExec(exec unsafe.Pointer) int   { return int(C.brood_destroy_exec(exec)) }
