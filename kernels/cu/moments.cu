// Means and sums of squared deviations of what an iteration's statistics are made
// of, by chunks of MOMENT_ROWS rows; end_iteration.cu merges the chunks.
#include "reduce.cuh"

#define MOMENT_THREADS 256
#define MOMENT_FEATURES 64

// moments_out is where column c of the block's chunk goes: [2].
DEVICE double *moments_out(const Params &p, int m, int c) {
  return f64(p.moments) + 2 * (((long long)m * p.moment_chunks + blockIdx.y) * (p.obs_dim + 3) + c);
}

// moments_of_rows does one number per row, x [rows], to column c. A thread keeps
// its rows between the passes.
DEVICE void moments_of_rows(const Params &p, int m, int c, const float *x, int rows, double *scratch) {
  double mine[MOMENT_ROWS / MOMENT_THREADS], sum = 0, squares = 0;
#pragma unroll
  for (int k = 0; k < MOMENT_ROWS / MOMENT_THREADS; k++) {
    const int i = k * MOMENT_THREADS + (int)threadIdx.x;
    mine[k] = i < rows ? x[i] : 0.;
    sum += mine[k];
  }
  const double mean = block_sum(sum, scratch) / rows;
#pragma unroll
  for (int k = 0; k < MOMENT_ROWS / MOMENT_THREADS; k++) {
    const double d = k * MOMENT_THREADS + (int)threadIdx.x < rows ? mine[k] - mean : 0.;
    squares += d * d;
  }
  squares = block_sum(squares, scratch);
  if (threadIdx.x == 0) {
    double *const out = moments_out(p, m, c);
    out[0] = mean;
    out[1] = squares;
  }
}

// moments_group_sum sums v over the groups of each column: thread column + width *
// group. The sum is in shared[column]; all threads of the block take part.
DEVICE void moments_group_sum(double v, double *shared, int width, int group, int groups) {
  __syncthreads(); // an earlier sum has been read
  shared[threadIdx.x] = v;
  __syncthreads();
  for (int n = groups; n > 1; n = (n + 1) / 2) {
    const int half = (n + 1) / 2;
    if (group + half < n) shared[threadIdx.x] += shared[threadIdx.x + half * width];
    __syncthreads();
  }
}

// moments_of_features does width features from first of the raw observations x
// [rows][D]. Neighbouring threads read neighbouring features, so that short
// observations too are read without gaps.
DEVICE void moments_of_features(const Params &p, int m, const float *x, int rows, int first, int width, double *shared) {
  const int groups = MOMENT_THREADS / width, column = threadIdx.x % width, group = threadIdx.x / width;
  const bool exists = group < groups;
  const float *const feature = x + first + column;
  double sum = 0, squares = 0;
  if (exists) {
#pragma unroll 4
    for (int i = group; i < rows; i += groups) sum += feature[(long long)i * p.obs_dim];
  }
  moments_group_sum(sum, shared, width, exists ? group : groups, groups);
  const double mean = shared[column] / rows;
  if (exists) {
#pragma unroll 4
    for (int i = group; i < rows; i += groups) {
      const double d = feature[(long long)i * p.obs_dim] - mean;
      squares += d * d;
    }
  }
  moments_group_sum(squares, shared, width, exists ? group : groups, groups);
  if (group == 0) {
    double *const out = moments_out(p, m, first + column);
    out[0] = mean;
    out[1] = shared[column];
  }
}

// Grid (P, MomentChunks, 1 + tiles of MOMENT_FEATURES features where observations
// are normalised), MOMENT_THREADS threads. Writes p.moments; see Params for the
// columns.
KERNEL moments(const __grid_constant__ Params p) {
  __shared__ double shared[MOMENT_THREADS];
  const int m = blockIdx.x, first = blockIdx.y * MOMENT_ROWS, rows = min(MOMENT_ROWS, p.rows - first);
  const long long at = (long long)m * p.rows + first;
  if (blockIdx.z > 0) {
    const int feature = (blockIdx.z - 1) * MOMENT_FEATURES;
    moments_of_features(p, m, f32(p.raw_obs) + at * p.obs_dim, rows, feature, min(MOMENT_FEATURES, p.obs_dim - feature), shared);
    return;
  }
  if (p.normalize_rewards) moments_of_rows(p, m, p.obs_dim, f32(p.discounted) + at, rows, shared);
  moments_of_rows(p, m, p.obs_dim + 1, f32(p.advantages) + at, rows, shared);
  moments_of_rows(p, m, p.obs_dim + 2, f32(p.returns) + at, rows, shared);
}
