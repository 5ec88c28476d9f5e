// Observations as the networks see them.
#include "normalize.cuh"

// normalize writes what the networks see of the observations [rows][D] at src, the
// same where observations are not normalised, to dst, which may be src; and the
// observations themselves to raw, unless that is 0. src_stride and dst_stride are
// floats from one member's rows to the next member's, the latter for raw too.
//
// grid (members, rows * D / block).
KERNEL normalize(Params p, unsigned long long src, long long src_stride, unsigned long long raw, unsigned long long dst,
                 long long dst_stride, int rows) {
  const long long i = (long long)blockIdx.y * blockDim.x + threadIdx.x;
  const int m = blockIdx.x;
  if (i >= (long long)rows * p.obs_dim) return;
  float x = f32(src)[m * src_stride + i];
  if (raw) f32(raw)[m * dst_stride + i] = x;
  if (p.normalize_observations) {
    const int d = (int)(i % p.obs_dim);
    const float mean = state<float>(p, m, p.offset.obs_mean)[d], variance = state<float>(p, m, p.offset.obs_var)[d];
    x = normalized(x - mean, inv_std(variance));
  }
  f32(dst)[m * dst_stride + i] = x;
}
