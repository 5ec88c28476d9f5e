#pragma once

#pragma GCC visibility push(hidden)

// brood_driver_load opens libcuda.so.1 once. It returns NULL, or why it could not.
const char *brood_driver_load(void);

// brood_driver_init calls the driver's cuInit and returns its CUresult.
int brood_driver_init(void);

// brood_driver_names[i] is the function that trampoline i stands for (symbols.c);
// brood_driver_slots[i] is where it jumps to (trampolines_linux_*.S).
extern const char *const brood_driver_names[];
extern void *_Atomic brood_driver_slots[];

void *brood_driver_resolve(unsigned index);

#pragma GCC visibility pop
