// The start of a new interval for every member's score.
#include "common.cuh"

// A thread per member.
KERNEL clear_intervals(const __grid_constant__ Params p) {
  const int m = blockIdx.x * blockDim.x + threadIdx.x;
  if (m >= p.members) return;
  *state<double>(p, m, p.offset.interval_sum) = 0;
  *state<long long>(p, m, p.offset.interval_count) = 0;
}
