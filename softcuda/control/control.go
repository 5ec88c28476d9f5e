//go:build cuda

// Package control steers the fake driver from tests: it injects faults and reads
// its counters. No package of the product imports it; with a real driver Present
// is false and nothing else may be called.
package control

// #cgo LDFLAGS: -ldl
// #define _GNU_SOURCE
// #include <dlfcn.h>
// #include <stdint.h>
//
// static void *driver(const char *name) {
//   static void *library;
//   if (!library) library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
//   return library ? dlsym(library, name) : 0;
// }
// static int present(void) { return driver("softcuda_calls") != 0; }
// static uint64_t calls(void) { return ((uint64_t (*)(void))driver("softcuda_calls"))(); }
// static int reports(void) { return ((int (*)(void))driver("softcuda_reports"))(); }
// static void fail_call(uint64_t k, int code) { ((void (*)(uint64_t, int))driver("softcuda_fail_call"))(k, code); }
// static uint64_t live_bytes(void) { return ((uint64_t (*)(void))driver("softcuda_live_bytes"))(); }
// static uint64_t copied(int kind) { return ((uint64_t (*)(int))driver("softcuda_copied"))(kind); }
// static void reset(int device) {
//   while (((int (*)(int))driver("cuDevicePrimaryCtxRelease_v2"))(device) != 201) {}
//   ((int (*)(int))driver("cuDevicePrimaryCtxReset_v2"))(device);
// }
import "C"

// Kinds of copies, for [Copied].
const (
	HostToDevice = iota
	DeviceToHost
	DeviceToDevice
	PeerToPeer
)

// Present says whether libcuda.so.1 is the fake.
func Present() bool { return C.present() != 0 }

// Calls is the number of driver calls of the process so far.
func Calls() uint64 { return uint64(C.calls()) }

// Reports returns how many faults in kernels were reported since it was last
// called.
func Reports() int { return int(C.reports()) }

// FailCall makes the k-th driver call from now (1 is the next) return an error
// code; k 0 takes that back.
func FailCall(k uint64, code int) { C.fail_call(C.uint64_t(k), C.int(code)) }

// Reset destroys a device's primary context, whatever has become of it, as a new
// process would: it is released until nobody holds it (CUDA_ERROR_INVALID_CONTEXT,
// 201).
func Reset(device int) { C.reset(C.int(device)) }

// LiveBytes are allocated on all devices, and pinned on the host.
func LiveBytes() uint64 { return uint64(C.live_bytes()) }

// Copied is the number of bytes copied so far of a kind.
func Copied(kind int) uint64 { return uint64(C.copied(C.int(kind))) }
