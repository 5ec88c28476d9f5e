// A kernel, its geometry and the values of its parameters.
#pragma once
#include <cuda.h>

#include <memory>
#include <vector>

#include "softcuda_abi.h"

struct Context;
struct Function;
struct HostKernel;

struct Launch {
  const HostKernel *kernel = nullptr;
  const Function *function = nullptr;  // only as a handle: it may be gone
  const Context *context = nullptr;
  dim3 grid, block;
  uint32_t shared_bytes = 0;       // dynamic
  std::vector<uint64_t> storage;   // the values, each at a multiple of 16 bytes
  std::vector<void *> arguments;   // into storage
};

// make_launch checks what a launch asks for and copies the parameters' values.
CUresult make_launch(Context &context, CUfunction handle, dim3 grid, dim3 block, uint32_t shared_bytes,
                     void *const *values, std::shared_ptr<const Launch> *result);

// run executes the launch and waits for its end. One launch runs at a time: its
// caller holds the driver's lock.
CUresult run(const Launch &launch);
