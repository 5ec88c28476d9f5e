// The end of an update: the KL penalty's coefficient; see host.State.AdaptKLBeta.
#include "common.cuh"

// A thread per member. Reads p.minibatches and p.progress.
KERNEL end_update(const __grid_constant__ Params p) {
  const int m = blockIdx.x * blockDim.x + threadIdx.x;
  if (m >= p.members || !p.kl_penalty) return;
  // Only the last computed minibatch can be one that was not applied.
  const Progress progress = as<Progress>(p.progress)[m];
  const int applied = progress.computed - progress.stopped;
  if (applied == 0) return;
  const int first = (applied - 1) / p.minibatch_count * p.minibatch_count;
  const Minibatch *steps = as<Minibatch>(p.minibatches) + (long long)m * p.epochs * p.minibatch_count;
  double sum = 0;
  for (int i = first; i < applied; i++) sum += steps[i].kl;
  const double mean = sum / (applied - first), target = hyper(p, m, HYPER_KL_TARGET);
  float *const beta = state<float>(p, m, p.offset.kl_beta);
  if (mean > 1.5 * target) {
    const float next = 2.f * *beta;
    *beta = next > p.kl_max ? p.kl_max : next;
  } else if (mean < target / 1.5) {
    const float next = *beta / 2.f;
    *beta = next < p.kl_min ? p.kl_min : next;
  }
}
