// Fibers: stacks that the program switches between by itself.
#pragma once
#include <stddef.h>

// A suspended flow of control, valid until it is resumed.
typedef void *Flow;

// fiber_switch suspends the running flow, keeps it in *from and resumes to.
extern "C" void fiber_switch(Flow *from, Flow to);

// fiber_resume_from_signal makes the signal handler's return resume to, instead
// of what the signal interrupted.
void fiber_resume_from_signal(void *signal_context, Flow to);

// signal_program_counter is the instruction that a signal interrupted.
void *signal_program_counter(void *signal_context);

struct Fiber {
  Flow flow = nullptr;
  char *stack = nullptr;  // lowest address; the page below is a guard
  size_t bytes = 0;
  int thread = -1;  // the thread of the block that runs on it, -1 for none

  bool holds(const void *address) const {
    return (const char *)address >= stack && (const char *)address < stack + bytes;
  }
};

// fiber_new makes a fiber that will run entry, which must not return.
Fiber *fiber_new(void (*entry)(), size_t stack_bytes);

// fiber_restart drops what the fiber was doing: it will run entry again.
void fiber_restart(Fiber *fiber, void (*entry)());
