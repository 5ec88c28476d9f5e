// Sums over a warp and over a block, of float or double. The order of the
// additions depends on the block's size alone: the same bits in every run.
#pragma once
#include "common.cuh"

// Number of warps of the block, whose size is a multiple of 32.
DEVICE int warps() { return (int)blockDim.x >> 5; }
DEVICE int warp_index() { return (int)threadIdx.x >> 5; }
DEVICE int lane_index() { return (int)threadIdx.x & 31; }

// The sum over the warp's lanes, the same bits in each of them: at every level
// both partners add the same two numbers.
template <class T> DEVICE T warp_sum(T v) {
  for (int other = 16; other > 0; other >>= 1) v += __shfl_xor_sync(ALL_LANES, v, other);
  return v;
}

// Replaces each of the K values by its sum over the block, in every thread.
// Every thread of the block takes part. scratch [K*32] is shared memory that may
// be used again by the next sum.
template <int K, class T> DEVICE void block_sums(T (&v)[K], T *scratch) {
  __syncthreads(); // the scratch of an earlier sum has been read
  for (int k = 0; k < K; k++) {
    v[k] = warp_sum(v[k]);
    if (lane_index() == 0) scratch[k * 32 + warp_index()] = v[k];
  }
  __syncthreads();
  for (int k = 0; k < K; k++) v[k] = warp_sum(lane_index() < warps() ? scratch[k * 32 + lane_index()] : T(0));
}

// The sum over the block of one value, in every thread; scratch [32].
template <class T> DEVICE T block_sum(T v, T *scratch) {
  T one[1] = {v};
  block_sums(one, scratch);
  return one[0];
}
