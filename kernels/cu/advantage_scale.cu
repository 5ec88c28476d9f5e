// Mean and 1/(std + 1e-8) of the advantages of every minibatch of an iteration.
#include "reduce.cuh"

// Grid (P, S), S = epochs*minibatches. Sums are in double and the deviations are
// taken from the mean in a second pass, as in advantage_scale.go. Writes
// p.advantage_scale [P][S][2].
KERNEL advantage_scale(const __grid_constant__ Params p) {
  __shared__ double scratch[32];
  const int m = blockIdx.x, step = blockIdx.y, rows = p.minibatch_rows;
  float *const out = f32(p.advantage_scale) + 2 * ((long long)m * p.epochs * p.minibatch_count + step);
  if (!p.normalize_advantage) {
    if (threadIdx.x == 0) out[0] = 0.f, out[1] = 1.f;
    return;
  }
  // An epoch's minibatches lie one after the other: step after step.
  const int *order = as<int>(p.order) + (long long)m * p.epochs * p.rows + (long long)step * rows;
  const float *advantages = f32(p.advantages) + (long long)m * p.rows;
  double sum = 0;
  for (int i = threadIdx.x; i < rows; i += blockDim.x) sum += advantages[order[i]];
  const double mean = block_sum(sum, scratch) / rows;
  double squares = 0;
  for (int i = threadIdx.x; i < rows; i += blockDim.x) {
    const double d = advantages[order[i]] - mean;
    squares += d * d;
  }
  squares = block_sum(squares, scratch);
  if (threadIdx.x == 0) {
    out[0] = (float)mean;
    out[1] = (float)(1 / (sqrt(squares / (rows - 1)) + 1e-8));
  }
}
