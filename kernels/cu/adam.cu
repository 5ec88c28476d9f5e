// One step of Adam with decoupled weight decay; see host.AdamStep.
#include "common.cuh"

// adam_element is kernels/plain/adam.go for one parameter.
DEVICE void adam_element(const Coefficients &c, float gradient, float &theta, float &m, float &v) {
  const float g = c.grad_scale * gradient;
  m = c.beta1 * m + (1.f - c.beta1) * g;
  v = c.beta2 * v + (1.f - c.beta2) * g * g;
  theta = c.decay * theta - c.step_size * m / (sqrtf(v) * c.inv_sqrt_bias2 + c.eps);
}

// Grid (P, ChunkCount), CHUNK_LEN/4 threads: thread i has floats 4i to 4i+3 of the
// chunk. Weights and both moments are read and written once. Padding stays zero,
// even where a coefficient is NaN.
KERNEL adam(const __grid_constant__ Params p) {
  const int m = blockIdx.x;
  const Coefficients c = as<Coefficients>(p.coefficients)[m];
  if (!c.apply) return;
  const Chunk chunk = as<Chunk>(p.chunks)[blockIdx.y];
  const int first = 4 * threadIdx.x;
  if (first >= chunk.len) return;
  const long long at = chunk.offset + first;
  float4 *const weights = (float4 *)(policy(p, m) + at);
  float4 *const exp_avg = (float4 *)(state<float>(p, m, p.offset.exp_avg) + at);
  float4 *const exp_avg_sq = (float4 *)(state<float>(p, m, p.offset.exp_avg_sq) + at);
  const float4 g = *(const float4 *)(f32(p.gradient) + (long long)m * p.policy_size + at);
  float4 theta = *weights, avg = *exp_avg, sq = *exp_avg_sq;
  const int left = chunk.len - first;
  adam_element(c, g.x, theta.x, avg.x, sq.x);
  if (left > 1) adam_element(c, g.y, theta.y, avg.y, sq.y);
  if (left > 2) adam_element(c, g.z, theta.z, avg.z, sq.z);
  if (left > 3) adam_element(c, g.w, theta.w, avg.w, sq.w);
  *weights = theta;
  *exp_avg = avg;
  *exp_avg_sq = sq;
}
