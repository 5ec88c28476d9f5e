// The gradient of a minibatch from those of its parts.
#include "reduce.cuh"

#define REDUCE_COLUMNS (CHUNK_LEN / 4)
#define REDUCE_GROUPS 4

DEVICE void add4(float4 &sum, const float4 &v) { sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w; }

// reduce_parts sums parts first to end-1 of one float4; stride in float4 from a
// part to the next. Eight loads are on their way at once.
DEVICE float4 reduce_parts(const float4 *part, long long stride, int first, int end) {
  float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll 8
  for (int s = first; s < end; s++) add4(sum, part[s * stride]);
  return sum;
}

// Grid (P, ChunkCount), REDUCE_COLUMNS threads for each of up to REDUCE_GROUPS
// groups of parts: thread column c of each group has floats 4c to 4c+3 of the
// chunk, a group sums its parts in order, and the groups are added in order.
// Writes p.gradient, zero in the padding, and p.chunk_sums.
KERNEL __launch_bounds__(REDUCE_GROUPS * REDUCE_COLUMNS) reduce_gradient(const __grid_constant__ Params p) {
  __shared__ float4 groups[REDUCE_GROUPS - 1][REDUCE_COLUMNS];
  __shared__ double scratch[3 * 32];
  const int m = blockIdx.x;
  if (stopped(p, m)) return;
  const Chunk chunk = as<Chunk>(p.chunks)[blockIdx.y];
  const int column = threadIdx.x % REDUCE_COLUMNS, group = threadIdx.x / REDUCE_COLUMNS;
  const int group_count = blockDim.x / REDUCE_COLUMNS, parts = (p.splits + group_count - 1) / group_count;
  const long long at = chunk.offset + 4 * column;
  const bool exists = 4 * column < chunk.len;
  float4 g = make_float4(0.f, 0.f, 0.f, 0.f);
  if (exists) {
    const float *partial = f32(p.partial) + (long long)m * p.splits * p.policy_size + at;
    g = reduce_parts((const float4 *)partial, p.policy_size / 4, group * parts, min((group + 1) * parts, p.splits));
    if (group > 0) groups[group - 1][column] = g;
  }
  __syncthreads();
  double sums[3] = {0, 0, 0};
  if (exists && group == 0) {
    for (int other = 1; other < group_count; other++) add4(g, groups[other - 1][column]);
    float v[4] = {g.x, g.y, g.z, g.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (4 * column + i >= chunk.len) v[i] = 0.f; // padding, where the parts may hold anything
      sums[0] += fabs((double)v[i]);
      sums[1] += v[i];
      sums[2] += (double)v[i] * v[i];
    }
    *(float4 *)(f32(p.gradient) + (long long)m * p.policy_size + at) = make_float4(v[0], v[1], v[2], v[3]);
  }
  block_sums(sums, scratch);
  if (threadIdx.x != 0) return;
  double *const out = f64(p.chunk_sums) + 3 * ((long long)m * p.chunk_count + blockIdx.y);
  out[0] = sums[0], out[1] = sums[1], out[2] = sums[2];
}
