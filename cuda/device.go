//go:build cuda

package cuda

import (
	"errors"
	"fmt"

	"brood/cuda/internal/driver"

	"gorgonia.org/cu"
)

// MinDriver is the oldest driver that this package works with, as the version of
// CUDA it supports times 1000: CUDA 12.0, which are drivers from 525.60 on.
const MinDriver = 12000

// maxSharedPerBlock is CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, which
// gorgonia.org/cu lacks.
const maxSharedPerBlock cu.DeviceAttribute = 97

// Device describes a GPU.
type Device struct {
	// Ordinal is the number to open it by, from 0.
	Ordinal int
	Name    string
	// Major and Minor are the compute capability: 9 and 0 for sm_90.
	Major, Minor int
	// SMs is the number of its multiprocessors.
	SMs int
	// TotalMemory is its memory in bytes.
	TotalMemory int64
	// MaxShared is the most shared memory of a block in bytes, static and dynamic,
	// if the kernel opts in (Kernel.SetMaxShared).
	MaxShared int
	// DriverVersion is the version of CUDA that the driver supports times 1000:
	// 12040 is 12.4.
	DriverVersion int
}

// Devices lists the GPUs by ordinal. It is an error if there is none (ErrNoDevice),
// or no usable driver (ErrNoDriver, ErrDriverTooOld).
func Devices() ([]Device, error) {
	const op = "listing the devices"
	version, err := startDriver(op)
	if err != nil {
		return nil, err
	}
	count, err := cu.NumDevices()
	if err != nil {
		return nil, newError(op, -1, resultOf(err))
	}
	if count == 0 {
		return nil, newError(op, -1, noDevice)
	}
	devices := make([]Device, count)
	for i := range devices {
		if devices[i], err = describe(i, version); err != nil {
			return nil, err
		}
	}
	return devices, nil
}

// startDriver loads and initialises the driver, which it is cheap to do again, and
// gives its version.
func startDriver(op string) (version int, err error) {
	if err := driver.Load(); err != nil {
		return 0, &Error{Op: op, Device: -1, Cause: fmt.Errorf("%w: %w", ErrNoDriver, err), Hint: hints[libraryNotLoaded]}
	}
	// The version first, if it can be had: an old driver may fail to initialise in
	// ways that do not say so.
	version = cu.Version()
	if 0 < version && version < MinDriver {
		return 0, &Error{
			Op: op, Device: -1,
			Cause: fmt.Errorf("%w: it supports CUDA %s", ErrDriverTooOld, versionText(version)),
			Hint:  fmt.Sprintf("install driver 525.60 or later, which supports CUDA %s", versionText(MinDriver)),
		}
	}
	if code := driver.Init(); code != success {
		return 0, newError(op, -1, code)
	}
	if version <= 0 {
		return 0, &Error{Op: op, Device: -1, Cause: errors.New("the driver does not tell its version")}
	}
	return version, nil
}

func describe(ordinal, version int) (Device, error) {
	d := Device{Ordinal: ordinal, DriverVersion: version}
	handle, err := cu.GetDevice(ordinal)
	if err == nil {
		d.Name, err = handle.Name()
	}
	if err == nil {
		d.TotalMemory, err = handle.TotalMem()
	}
	for attribute, value := range map[cu.DeviceAttribute]*int{
		cu.ComputeCapabilityMajor: &d.Major,
		cu.ComputeCapabilityMinor: &d.Minor,
		cu.MultiprocessorCount:    &d.SMs,
		maxSharedPerBlock:         &d.MaxShared,
	} {
		if err == nil {
			*value, err = handle.Attribute(attribute)
		}
	}
	if err != nil {
		return Device{}, newError("asking for the device's properties", ordinal, resultOf(err))
	}
	return d, nil
}
