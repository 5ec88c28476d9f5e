// What the kernels, compiled for the host through softcuda_shim.h, and the driver
// that runs them (src/) must agree on.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// A thread of the running block. The shim reads id; the rest is the scheduler's.
struct sc_thread {
  uint3 id;            // threadIdx
  int linear;          // threadIdx as one number, x fastest
  uint64_t value;      // what the thread brought to a warp function
  uint64_t result;     // what it takes away
  int32_t argument;    // a lane, a lane mask or a distance
  int32_t width;       // of the segments of a shuffle
  uint8_t state;       // ThreadState of src/block.h
};

// The running block.
struct sc_block {
  uint3 id;            // blockIdx
  dim3 threads;        // blockDim
  dim3 blocks;         // gridDim
  void *dynamic;       // dynamic shared memory, dynamic_bytes long
  uint32_t dynamic_bytes;
};

// A kernel as its library registers it.
struct sc_kernel {
  const char *name;
  const char *unit;  // the .cu file, without the suffix
  void (*call)(void **arguments);
  int parameters;
  const uint32_t *sizes;       // of the parameters, in bytes
  const uint32_t *alignments;  // of the parameters
};

enum sc_barrier_kind { SC_SYNC, SC_SYNC_COUNT, SC_SYNC_AND, SC_SYNC_OR };

enum sc_warp_function {
  SC_SYNCWARP,
  SC_SHFL,
  SC_SHFL_XOR,
  SC_SHFL_DOWN,
  SC_SHFL_UP,
  SC_BALLOT,
  SC_ANY,
  SC_ALL,
  SC_MATCH_ANY,
  SC_REDUCE_ADD,
  SC_REDUCE_MIN,
  SC_REDUCE_MAX,
  SC_REDUCE_MIN_SIGNED,
  SC_REDUCE_MAX_SIGNED,
  SC_REDUCE_AND,
  SC_REDUCE_OR,
  SC_REDUCE_XOR,
};

// A place in the source: the line, and above it a number that tells two calls on
// one line apart.
#define SC_SITE (__COUNTER__ << 16 | __LINE__)
#define SC_SITE_LINE(site) ((site) & 0xffff)

extern "C" {
// Both are set by the scheduler before a thread runs. Initial-exec, because a
// call per access to threadIdx would dominate the run time.
extern __thread sc_thread *sc_this_thread __attribute__((tls_model("initial-exec")));
extern __thread sc_block *sc_this_block __attribute__((tls_model("initial-exec")));

int sc_barrier(int kind, int predicate, const char *file, int site);
uint64_t sc_warp(int function, uint32_t mask, uint64_t value, int argument, int width, const char *file, int site);
uint32_t sc_active_mask(void);
void sc_atomic(const void *address, unsigned bytes);  // before an atomic access
void sc_fence(void);                                  // __threadfence
void sc_register(const sc_kernel *kernel);
void sc_register_shared(void (*touch)(void));         // makes the loader allocate the static shared arrays
void sc_register_array(const char *unit, const char *symbol);  // a unit may use this variable
}
