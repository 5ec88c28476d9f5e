// Package cuda is the GPU itself: devices, contexts, memory, streams, events,
// graphs and kernels, over the CUDA driver API. It knows nothing of what the
// kernels compute.
//
// Everything but this comment needs the build tag cuda, cgo, and the header cuda.h
// (headers.sh fetches it where no toolkit is installed; nothing else of a toolkit
// is needed). A binary built so starts and runs on a machine without a GPU or
// driver: libcuda.so.1 is loaded when [Devices] or [Open] first asks for it, and
// they then report [ErrNoDriver] (see package cuda/internal/driver).
//
// Most of the API is reached through gorgonia.org/cu. What that package lacks is
// done here with a little cgo (native.c): kernel arguments of any size, stream
// capture and graph launch, pinned memory, compiler logs of modules.
//
// # Threads
//
// A CUDA context is current in an operating system thread. A [Context] therefore
// owns a goroutine locked to its thread; [Context.Do] runs a function there, and all
// methods of the context and of what it made must be called inside Do, or return
// [ErrOutsideDo]. Exceptions are Do, Close, Device, Transfers and Lost, which may be
// called anywhere.
//
// # Errors
//
// Errors of the driver are of type [*Error] and match the sentinels (ErrOutOfMemory,
// ErrLost, ...) by errors.Is. Kernels run asynchronously: the fault of one is
// reported by a later operation, whose error names the kernels launched last. After
// a fault of a kernel the driver refuses all further work of the process on that
// device ([Lost]); Close still works.
package cuda
