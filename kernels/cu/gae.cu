// Generalised advantage estimates (Schulman et al. 2016) and returns; the formula
// is that of kernels/plain/advantages.go.
#include "common.cuh"

// Steps whose inputs are loaded at once: they do not depend on the estimate,
// which is a chain through all steps, so the chain waits for memory once in 16
// steps.
#define GAE_STEPS 16

// What a step needs.
struct GaeStep {
  float value, reward, bootstrap;
  bool done;
};

// gae_load reads row at of the rollout. bootstrap is the value after the
// episode's end: 0 where terminated, V(final_obs) where truncated.
DEVICE GaeStep gae_load(const Params &p, long long at) {
  const unsigned flags = as<unsigned char>(p.flags)[at];
  GaeStep s;
  s.value = f32(p.values)[at];
  s.reward = f32(p.rewards)[at];
  s.done = flags != 0;
  s.bootstrap = 0.f;
  if ((flags & TERMINATED) == 0 && (flags & TRUNCATED) != 0) s.bootstrap = f32(p.final_values)[at];
  return s;
}

// Grid (P, N / block rounded up), a thread per environment. Writes p.advantages
// and p.returns.
KERNEL gae(const __grid_constant__ Params p) {
  const int m = blockIdx.x, n = blockIdx.y * blockDim.x + threadIdx.x;
  if (n >= p.environments) return;
  const float gamma = hyper(p, m, HYPER_GAMMA), decay = gamma * hyper(p, m, HYPER_GAE_LAMBDA);
  const long long rows = (long long)m * p.rows + n;
  float next = f32(p.last_values)[(long long)m * p.environments + n], advantage = 0.f;
  for (int end = p.steps; end > 0; end -= GAE_STEPS) {
    GaeStep steps[GAE_STEPS];
#pragma unroll
    for (int i = 0; i < GAE_STEPS; i++)
      if (end - 1 - i >= 0) steps[i] = gae_load(p, rows + (long long)(end - 1 - i) * p.environments);
#pragma unroll
    for (int i = 0; i < GAE_STEPS; i++) {
      if (end - 1 - i < 0) break;
      const GaeStep &s = steps[i];
      const float carried = s.done ? 0.f : advantage;
      const float delta = s.reward + gamma * (s.done ? s.bootstrap : next) - s.value;
      advantage = delta + decay * carried;
      const long long at = rows + (long long)(end - 1 - i) * p.environments;
      f32(p.advantages)[at] = advantage;
      f32(p.returns)[at] = advantage + s.value;
      next = s.value;
    }
  }
}
