//go:build cuda

package cuda

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"gorgonia.org/cu"
)

// Module is a loaded image of kernels.
type Module struct {
	ctx    *Context
	name   string
	handle cu.Module
}

// Kernel is a kernel of a module.
type Kernel struct {
	module *Module
	name   string
	handle cu.Function
	// params are the sizes of its parameters in bytes, if paramsKnown: the driver
	// says so from 12.4 on.
	params      []int
	paramsKnown bool
}

// LoadModule loads a cubin, or PTX, which the driver compiles. The name is for
// errors.
func (c *Context) LoadModule(name string, image []byte) (*Module, error) {
	op := fmt.Sprintf("loading the module %s", name)
	if err := c.check(op); err != nil {
		return nil, err
	}
	handle, compilerLog, code := loadModule(image)
	if code != success {
		return nil, c.moduleError(op, image, compilerLog, code)
	}
	m := &Module{c, name, handle}
	c.own(m)
	return m, nil
}

// moduleError adds to the driver's error what its compiler said, and which driver
// the PTX needs.
func (c *Context) moduleError(op string, image []byte, compilerLog string, code int) error {
	e := c.result(op, code).(*Error)
	if compilerLog = strings.TrimSpace(compilerLog); compilerLog != "" {
		e.Cause = errors.Join(e.Cause, errors.New(compilerLog))
	}
	if version := ptxVersion(image); code == unsupportedPTX && version != "" {
		hint := fmt.Sprintf("the PTX is of version %s, the driver is for CUDA %s", version, versionText(c.device.DriverVersion))
		if needed, ok := ptxDrivers[version]; ok {
			hint += ": install driver " + needed + " or later"
		}
		return WithHint(e, hint)
	}
	return e
}

// ptxDrivers are the first drivers that load PTX of a version (the PTX ISA manual,
// section Release Notes, and the CUDA toolkits' release notes).
var ptxDrivers = map[string]string{
	"8.0": "525", "8.1": "530", "8.2": "535", "8.3": "545", "8.4": "550",
	"8.5": "555", "8.6": "565", "8.7": "570", "8.8": "575", "9.0": "580",
}

// ptxVersion gives what PTX says in its .version directive, or nothing.
func ptxVersion(image []byte) string {
	_, after, found := bytes.Cut(image, []byte("\n.version"))
	if !found {
		return ""
	}
	line, _, _ := bytes.Cut(after, []byte("\n"))
	return string(bytes.TrimSpace(line))
}

// Close unloads the module, whose kernels must not be running. It may be called
// again.
func (m *Module) Close() error {
	if err := m.ctx.check("unloading the module " + m.name); err != nil {
		return err
	}
	return m.ctx.disown(m)
}

func (m *Module) release() (string, int) {
	code := resultOf(m.handle.Unload())
	m.handle = cu.Module{}
	return "unloading the module " + m.name, code
}

func (m *Module) closed() bool { return m.handle == cu.Module{} }

// Kernel looks a kernel up.
func (m *Module) Kernel(name string) (*Kernel, error) {
	op := fmt.Sprintf("looking for a kernel in the module %s", m.name)
	if err := m.ctx.check(op); err != nil {
		return nil, err
	}
	if m.closed() {
		return nil, &Error{Op: op, Kernel: name, Device: m.ctx.device.Ordinal, Cause: ErrClosed}
	}
	handle, err := m.handle.Function(name)
	if err != nil {
		e := m.ctx.result(op, resultOf(err)).(*Error)
		e.Kernel = name
		return nil, e
	}
	k := &Kernel{module: m, name: name, handle: handle}
	if code := k.askParams(); code != success {
		e := m.ctx.result(op, code).(*Error)
		e.Kernel = name
		return nil, e
	}
	return k, nil
}

// askParams asks for the sizes of the kernel's parameters.
func (k *Kernel) askParams() (code int) {
	for i := 0; ; i++ {
		_, bytes, code := paramInfo(k.handle, i)
		switch {
		case code == invalidValue:
			k.paramsKnown = true
			return success
		case kinds[code] == ErrNotSupported:
			return success
		case code != success:
			return code
		}
		k.params = append(k.params, bytes)
	}
}

// Name is the kernel's name in the source.
func (k *Kernel) Name() string { return k.name }

// SetMaxShared allows launches with so many bytes of dynamic shared memory. Without
// it 48 KiB are allowed, less the kernel's static shared memory.
func (k *Kernel) SetMaxShared(bytes int) error {
	op := fmt.Sprintf("allowing %d bytes of dynamic shared memory", bytes)
	ctx := k.module.ctx
	if err := ctx.check(op); err != nil {
		return err
	}
	if k.module.closed() {
		return &Error{Op: op, Kernel: k.name, Device: ctx.device.Ordinal, Cause: ErrClosed}
	}
	if code := setMaxShared(k.handle, bytes); code != success {
		e := ctx.result(op, code).(*Error)
		e.Kernel = k.name
		return WithHint(e, fmt.Sprintf("a block of this device has at most %d bytes, static ones included", ctx.device.MaxShared))
	}
	return nil
}
