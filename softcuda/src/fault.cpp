// Signals that a kernel raises become errors of its launch; all others go to the
// handlers that were there before.
#include "fault.h"

#include <signal.h>
#include <stdlib.h>

#include "block.h"

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
static struct sigaction before[NSIG];

static void handle(int signal, siginfo_t *info, void *context) {
  if (sc_this_thread && sc_this_block) {
    Worker::mine().fault({signal, info->si_addr, signal_program_counter(context)}, context);
    return;
  }
  const struct sigaction &old = before[signal];
  if (old.sa_flags & SA_SIGINFO)
    old.sa_sigaction(signal, info, context);
  else if (old.sa_handler == SIG_DFL)
    sigaction(signal, &old, nullptr);  // the instruction is repeated, and ends the process
  else if (old.sa_handler != SIG_IGN)
    old.sa_handler(signal);
}

void install_fault_handlers() {
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (int s : signals) sigaction(s, &action, &before[s]);
}

void ensure_signal_stack() {
  stack_t stack;
  sigaltstack(nullptr, &stack);
  if (!(stack.ss_flags & SS_DISABLE)) return;  // Go gives each of its OS threads one
  stack = {};
  stack.ss_size = 64 << 10;
  stack.ss_sp = malloc(stack.ss_size);
  sigaltstack(&stack, nullptr);
}
