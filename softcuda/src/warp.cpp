// Warp functions: the lanes of a mask meet, then each takes its result.
#include <algorithm>

#include "block.h"
#include "config.h"
#include "report.h"

// A shuffle that reads a lane which takes no part gets this: a NaN in both halves.
static const uint64_t undefined_value = 0x7fc0dead7fc0deadull;

static bool is_shuffle(int function) { return function >= SC_SHFL && function <= SC_SHFL_UP; }

// The lane that a shuffle reads (CUDA C++ Programming Guide, warp shuffle
// functions): a lane outside the segment reads itself.
int Worker::source_lane(int function, int lane, const sc_thread &thread) const {
  const int segment = lane & ~(thread.width - 1);
  int source;
  switch (function) {
    case SC_SHFL: return segment + (thread.argument & (thread.width - 1));
    case SC_SHFL_XOR: source = lane ^ thread.argument; return source >= segment + thread.width ? lane : source;
    case SC_SHFL_DOWN: source = lane + thread.argument; return source >= segment + thread.width ? lane : source;
    default: source = lane - thread.argument; return source < segment ? lane : source;
  }
}

static uint32_t reduce(int function, uint32_t a, uint32_t b) {
  switch (function) {
    case SC_REDUCE_ADD: return a + b;
    case SC_REDUCE_MIN: return std::min(a, b);
    case SC_REDUCE_MAX: return std::max(a, b);
    case SC_REDUCE_MIN_SIGNED: return (uint32_t)std::min((int32_t)a, (int32_t)b);
    case SC_REDUCE_MAX_SIGNED: return (uint32_t)std::max((int32_t)a, (int32_t)b);
    case SC_REDUCE_AND: return a & b;
    case SC_REDUCE_OR: return a | b;
    default: return a ^ b;
  }
}

template <class F>
static inline void for_lanes(uint32_t mask, F f) {
  for (; mask; mask &= mask - 1) f(__builtin_ctz(mask));
}

void Worker::finish_warp_function(int index) {
  Warp &warp = warps_[index];
  sc_thread *lanes = &threads_[index * WARP_LANES];
  const uint32_t mask = warp.arrived;
  uint32_t ballot = 0, reduced = 0;
  bool first = true;
  for_lanes(mask, [&](int lane) {
    if (lanes[lane].value) ballot |= 1u << lane;
    reduced = first ? (uint32_t)lanes[lane].value : reduce(warp.function, reduced, (uint32_t)lanes[lane].value);
    first = false;
  });
  for_lanes(mask, [&](int lane) {
    sc_thread &thread = lanes[lane];
    if (is_shuffle(warp.function)) {
      const int source = source_lane(warp.function, lane, thread);
      if (mask >> source & 1) {
        thread.result = lanes[source].value;
        return;
      }
      report("shuffle at %s reads lane %d, which takes no part: %s", site_text(warp.file, warp.site).c_str(), source,
             describe(index * WARP_LANES + lane).c_str());
      blame(CUDA_ERROR_ASSERT);
      thread.result = undefined_value;
      return;
    }
    switch (warp.function) {
      case SC_SYNCWARP: break;
      case SC_BALLOT: thread.result = ballot; break;
      case SC_ANY: thread.result = ballot != 0; break;
      case SC_ALL: thread.result = ballot == mask; break;
      case SC_MATCH_ANY:
        thread.result = 0;
        for_lanes(mask, [&](int other) { thread.result |= (uint64_t)(lanes[other].value == thread.value) << other; });
        break;
      default: thread.result = reduced;
    }
  });
  warp.arrived = 0;
  warp.epoch++;
  if (config().descending) {
    for (int lane = WARP_LANES - 1; lane >= 0; lane--)
      if (mask >> lane & 1) make_runnable(index * WARP_LANES + lane);
  } else {
    for_lanes(mask, [&](int lane) { make_runnable(index * WARP_LANES + lane); });
  }
}

uint64_t Worker::warp_function(int function, uint32_t mask, uint64_t value, int argument, int width, const char *file,
                               int site) {
  sc_thread *self = sc_this_thread;
  const int index = self->linear / WARP_LANES, lane = self->linear % WARP_LANES;
  Warp &warp = warps_[index];
  if (!(mask >> lane & 1)) {
    report("warp function at %s: the mask %08x leaves out the lane that calls it: %s", site_text(file, site).c_str(), mask,
           describe(self->linear).c_str());
    abort_block(CUDA_ERROR_ILLEGAL_INSTRUCTION);
  }
  if (!warp.arrived) {
    warp.mask = mask;
    warp.function = function;
    warp.file = file;
    warp.site = site;
    // A full mask in the block's last warp may name lanes that the block lacks. It
    // should not name lanes that exited: a reader of such a lane gets nothing, and
    // whether they exited by mistake cannot be told.
    if (mask & warp.there & ~warp.alive) {
      report("warp divergence: the mask %08x at %s names lanes that exited (%08x are left): %s", mask,
             site_text(file, site).c_str(), warp.alive, describe(self->linear).c_str());
      abort_block(CUDA_ERROR_ILLEGAL_INSTRUCTION);
    }
  } else if (warp.mask != mask || warp.function != function || warp.site != site || warp.file != file) {
    report("warp divergence: %s at %s with mask %08x, others at %s with mask %08x", describe(self->linear).c_str(),
           site_text(file, site).c_str(), mask, site_text(warp.file, warp.site).c_str(), warp.mask);
    abort_block(CUDA_ERROR_ILLEGAL_INSTRUCTION);
  }
  warp.arrived |= 1u << lane;
  self->value = value;
  self->argument = argument;
  self->width = width;
  self->state = IN_WARP_FUNCTION;
  if (warp.arrived == (warp.mask & warp.there)) finish_warp_function(index);
  yield();
  return self->result;
}

EXPORT uint64_t sc_warp(int function, uint32_t mask, uint64_t value, int argument, int width, const char *file, int site) {
  return Worker::mine().warp_function(function, mask, value, argument, width, file, site);
}

// The lanes that run together are the machine's choice: here each runs alone.
EXPORT uint32_t sc_active_mask() { return 1u << sc_this_thread->linear % WARP_LANES; }
