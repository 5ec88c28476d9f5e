// Actions from the networks' outputs, where the environments are stepped one step
// at a time.
#include "outputs.cuh"
#include "sample.cuh"

// choices is the number of choices of component c of a discrete action.
DEVICE int choices(const Params &p, int c) { return p.choices ? as<int>(p.choices)[c] : p.action_count; }

// sample_choices draws a choice for each component of environment n's action, at the
// address of the step's draws, and returns the sum of their log probabilities.
DEVICE float sample_choices(const Params &p, float *action, const float *logits, RandomKey key, int n, RandomAddress at) {
  float log_prob = 0.f;
  uint4 words = make_uint4(0, 0, 0, 0);
  for (int c = 0; c < p.action_width; c++) {
    if (c % 4 == 0) words = action_block(key, n, c / 4, p.action_width, at);
    const int count = choices(p, c);
    float one;
    action[c] = (float)sample_discrete(logits, count, word_of(words, c % 4), &one);
    log_prob += one;
    logits += count;
  }
  return log_prob;
}

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
    f32(p.log_probs)[at] = sample_choices(p, action, output, key, n, address);
  } else {
    const float *log_std = policy(p, m) + p.log_std;
    f32(p.log_probs)[at] = sample_gaussian(action, output, log_std, p.action_count, key, n, address);
  }
  for (int a = 0; a < p.action_width; a++) stage[a] = action[a];
  f32(p.values)[at] = output_value(p, m, n);
}

// act_best writes the actions that the actor's outputs for the rows of r hold
// best, the most probable choice of each component (the first of equals) or the mean,
// unclipped, to dst[row][W] of each member, members dst_stride floats apart.
//
// grid (members, rows / block).
KERNEL act_best(Params p, Rows r, unsigned long long dst, long long dst_stride) {
  const int row = (int)(blockIdx.y * blockDim.x + threadIdx.x), m = blockIdx.x;
  if (row >= r.count) return;
  const float *output = output_row(p, ACTOR, m, row);
  float *action = f32(dst) + m * dst_stride + (long long)row * p.action_width;
  for (int a = 0; a < p.action_width; a++) {
    if (p.discrete) {
      const int count = choices(p, a);
      action[a] = (float)best_discrete(output, count);
      output += count;
    } else {
      action[a] = output[a];
    }
  }
}
