#pragma once

// install_fault_handlers catches illegal addresses and traps in kernels.
void install_fault_handlers();

// ensure_signal_stack gives the calling OS thread a stack for signal handlers, if
// it has none: a fiber's own stack may be what overflowed.
void ensure_signal_stack();
