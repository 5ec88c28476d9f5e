// Actions from the networks' outputs, where the environments are stepped one step
// at a time.
#include "outputs.cuh"
#include "sample.cuh"

// act_sample draws the actions of step t of all environments from what the
// networks have given for their observations, and writes actions, log
// probabilities and values to the rollout's rows t*N + n, and the actions to
// p.stage_action as well.
//
// grid (members, environments / block).
KERNEL act_sample(Params p, int t) {
  const int n = (int)(blockIdx.y * blockDim.x + threadIdx.x), m = blockIdx.x;
  if (n >= p.environments) return;
  const long long at = (long long)m * p.rows + (long long)t * p.environments + n;
  const float *output = output_row(p, ACTOR, m, n);
  float *action = f32(p.actions) + at * p.action_width;
  float *stage = f32(p.stage_action) + ((long long)m * p.environments + n) * p.action_width;
  const RandomKey key = random_key(p, m);
  const RandomAddress address = train_address(p, m, draw_time(updates(p, m), p.steps, t), PURPOSE_ACTION);

  if (p.discrete) {
    const unsigned word = random_block(key, (unsigned)n, address).x;
    action[0] = (float)sample_discrete(output, p.action_count, word, f32(p.log_probs) + at);
  } else {
    const float *log_std = policy(p, m) + p.log_std;
    f32(p.log_probs)[at] = sample_gaussian(action, output, log_std, p.action_count, key, n, address);
  }
  for (int a = 0; a < p.action_width; a++) stage[a] = action[a];
  f32(p.values)[at] = output_value(p, m, n);
}

// act_best writes the actions that the actor's outputs for the rows of r hold
// best, the most probable choice (the first of equals) or the mean, unclipped, to
// dst[row][W] of each member, members dst_stride floats apart.
//
// grid (members, rows / block).
KERNEL act_best(Params p, Rows r, unsigned long long dst, long long dst_stride) {
  const int row = (int)(blockIdx.y * blockDim.x + threadIdx.x), m = blockIdx.x;
  if (row >= r.count) return;
  const float *output = output_row(p, ACTOR, m, row);
  float *action = f32(dst) + m * dst_stride + (long long)row * p.action_width;
  if (p.discrete) {
    action[0] = (float)best_discrete(output, p.action_count);
    return;
  }
  for (int a = 0; a < p.action_width; a++) action[a] = output[a];
}
