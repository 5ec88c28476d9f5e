//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"strings"

	"gorgonia.org/cu"
)

// Sentinels that errors of this package match by errors.Is.
var (
	// ErrNoDriver: libcuda.so.1 is not there, or is not a driver's.
	ErrNoDriver = errors.New("there is no NVIDIA driver")
	// ErrNoDevice: the driver finds no GPU, or none of that number.
	ErrNoDevice = errors.New("there is no such GPU")
	// ErrDriverTooOld: the driver is older than this package or a module needs.
	ErrDriverTooOld = errors.New("the NVIDIA driver is too old")
	// ErrOutOfMemory: device or pinned memory ran out.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrIllegalAddress: a kernel used memory that is not allocated.
	ErrIllegalAddress = errors.New("a kernel used an illegal address")
	// ErrLost: a fault ended all work of this process on the device.
	ErrLost = errors.New("the device is lost to this process")
	// ErrNotSupported: the driver or device cannot do it.
	ErrNotSupported = errors.New("not supported by the driver or device")
	// ErrOutsideDo: a method was called outside Context.Do.
	ErrOutsideDo = errors.New("called outside Context.Do")
	// ErrClosed: the context, or what it made, is closed.
	ErrClosed = errors.New("closed")
)

// Results of the driver (CUresult) that are treated apart.
const (
	success                  = 0
	invalidValue             = 1
	outOfMemory              = 2
	stubLibrary              = 34
	noDevice                 = 100
	invalidDevice            = 101
	noBinaryForGPU           = 209
	eccUncorrectable         = 214
	nvlinkUncorrectable      = 220
	jitCompilerNotFound      = 221
	unsupportedPTX           = 222
	contained                = 226
	symbolNotFound           = 302
	libraryNotLoaded         = 303
	notReady                 = 600
	illegalAddress           = 700
	launchOutOfResources     = 701
	launchTimeout            = 702
	peerAccessAlreadyEnabled = 704
	assertion                = 710
	hardwareStackError       = 714
	illegalInstruction       = 715
	misalignedAddress        = 716
	invalidAddressSpace      = 717
	invalidPC                = 718
	launchFailed             = 719
	notSupported             = 801
	systemDriverMismatch     = 803
	streamCaptureUnsupported = 900
	streamCaptureLast        = 908
	unknownError             = 999
)

// kinds are the sentinels that codes match.
var kinds = map[int]error{
	outOfMemory:          ErrOutOfMemory,
	stubLibrary:          ErrNoDriver,
	noDevice:             ErrNoDevice,
	invalidDevice:        ErrNoDevice,
	unsupportedPTX:       ErrDriverTooOld,
	systemDriverMismatch: ErrDriverTooOld,
	symbolNotFound:       ErrNotSupported,
	libraryNotLoaded:     ErrNoDriver,
	illegalAddress:       ErrIllegalAddress,
	notSupported:         ErrNotSupported,
}

// faults are the codes after which the process can no longer use the device (the
// driver's manual, CUresult; for errors of memory and links, NVIDIA's manual of
// Xid errors).
var faults = map[int]bool{
	eccUncorrectable: true, nvlinkUncorrectable: true, contained: true, illegalAddress: true,
	launchTimeout: true, assertion: true, hardwareStackError: true,
	illegalInstruction: true, misalignedAddress: true, invalidAddressSpace: true, invalidPC: true,
	launchFailed: true,
}

// Error is a failed operation.
type Error struct {
	// Op is what failed, with its object: `allocating "rollout.obs" (1024 bytes)`.
	Op string
	// Kernel is the kernel that was being launched or loaded; empty otherwise.
	Kernel string
	// Device is the device's ordinal, -1 where it concerns none.
	Device int
	// Code is the driver's result (CUresult), and Name its name. They are 0 and
	// empty where the driver was not asked.
	Code int
	Name string
	// Recent are the kernels last launched on the stream before the operation,
	// the latest last. After a fault, it was one of them, or an earlier one.
	Recent []string
	// Cause says what is wrong: the driver's description, or this package's.
	Cause error
	// Hint says what to do. It may be empty.
	Hint string
}

// Error gives the operation, the device, the cause and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("cuda: ")
	b.WriteString(e.Op)
	if e.Kernel != "" {
		fmt.Fprintf(&b, " (kernel %s)", e.Kernel)
	}
	if e.Device >= 0 {
		fmt.Fprintf(&b, " on device %d", e.Device)
	}
	if e.Name != "" {
		fmt.Fprintf(&b, ": %s (%d)", e.Name, e.Code)
	} else if e.Code != success {
		fmt.Fprintf(&b, ": error %d", e.Code)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	if len(e.Recent) > 0 {
		fmt.Fprintf(&b, "; the fault may be of an earlier kernel: launched last were %s", strings.Join(e.Recent, ", "))
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether the driver's code is of the sentinel's kind.
func (e *Error) Is(target error) bool {
	if target == ErrLost && faults[e.Code] {
		return true
	}
	kind := kinds[e.Code]
	return kind != nil && kind == target
}

// Lost reports whether an error means that all work and memory of this process on
// the device is lost. A new process can use the device again.
func Lost(err error) bool { return errors.Is(err, ErrLost) }

// WithHint adds to an *Error what its caller knows to do about it. Other errors
// are returned as they are.
func WithHint(err error, hint string) error {
	e, ok := err.(*Error)
	if !ok {
		return err
	}
	copied := *e
	if copied.Hint != "" {
		copied.Hint += "; "
	}
	copied.Hint += hint
	return &copied
}

// hints are what to do about a code, where that does not depend on the operation.
var hints = map[int]string{
	stubLibrary:          "the libcuda.so.1 that was found is a toolkit's stub: put the driver's before it in the library path",
	noDevice:             "see whether nvidia-smi lists a GPU and CUDA_VISIBLE_DEVICES is unset or names one",
	noBinaryForGPU:       "the module holds no code for this GPU: compile it for its compute capability, or ship PTX of a lower one",
	jitCompilerNotFound:  "the driver's installation lacks libnvidia-ptxjitcompiler.so.1: install it, or ship a cubin for this GPU",
	unsupportedPTX:       "the PTX is newer than the driver: install a newer driver, or compile with an older toolkit",
	launchOutOfResources: "the block needs more registers or shared memory than a multiprocessor has: launch fewer threads or less shared memory",
	systemDriverMismatch: "the driver's kernel module and library differ: reboot, or in a container mount the host's library",
	symbolNotFound:       fmt.Sprintf("the driver does not have this function: update it to CUDA %s or later", versionText(MinDriver)),
	libraryNotLoaded:     "install the NVIDIA driver; in a container, run it with the NVIDIA container toolkit (docker run --gpus all)",
	notSupported:         "update the driver if the device should have it",
}

const (
	lostHint    = "the device is lost to this process: start a new one, and resume from what was last saved"
	captureHint = "the operation cannot be captured into a graph; the capture is void"
)

func hintFor(code int) string {
	switch {
	case faults[code]:
		return lostHint
	case streamCaptureUnsupported <= code && code <= streamCaptureLast:
		return captureHint
	}
	return hints[code]
}

// codeOf gives the driver's result in an error of gorgonia.org/cu, whose type is
// not exported: like is any value of it.
func codeOf[T interface {
	~int
	error
}](err error, like T) int {
	var result T
	if errors.As(err, &result) {
		return int(result)
	}
	return unknownError
}

// resultOf gives the driver's result in an error of gorgonia.org/cu or nil.
func resultOf(err error) int {
	if err == nil {
		return success
	}
	return codeOf(err, cu.Success)
}

// newError describes a result other than success.
func newError(op string, device, code int) *Error {
	name, text := errorName(code)
	e := &Error{Op: op, Device: device, Code: code, Name: name, Hint: hintFor(code)}
	if text != "" {
		e.Cause = errors.New(text)
	} else if kind := kinds[code]; kind != nil {
		e.Cause = kind
	}
	return e
}

// versionText gives a version of CUDA, as drivers report it, as people write it.
func versionText(version int) string {
	return fmt.Sprintf("%d.%d", version/1000, version%1000/10)
}
