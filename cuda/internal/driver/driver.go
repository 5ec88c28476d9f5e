//go:build cuda

// Package driver defines the functions of libcuda.so.1 that gorgonia.org/cu and
// package cuda link to. Each is a trampoline that finds the real function when it
// is first called. So a binary has no dependency on the driver's library: where
// that is absent the trampolines return an error code, and everything else runs.
//
// The trampolines are generated from symbols.txt; the generator says how that list
// is made.
package driver

//go:generate go run ./gen

// #cgo linux LDFLAGS: -ldl -lpthread
// #include "loader.h"
import "C"

import "errors"

// Load loads libcuda.so.1 if it is not loaded yet. The error is the dynamic
// linker's.
func Load() error {
	if reason := C.brood_driver_load(); reason != nil {
		return errors.New(C.GoString(reason))
	}
	return nil
}

// Init calls the driver's cuInit, which the init function of gorgonia.org/cu is
// kept from doing, and returns its result code.
func Init() (code int) { return int(C.brood_driver_init()) }
