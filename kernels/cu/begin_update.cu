// The start of an update.
#include "common.cuh"

// A thread per member. Writes p.progress.
KERNEL begin_update(const __grid_constant__ Params p) {
  const int m = blockIdx.x * blockDim.x + threadIdx.x;
  if (m < p.members) as<Progress>(p.progress)[m] = Progress{0, 0};
}
