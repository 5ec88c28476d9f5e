// The losses of a minibatch and the gradients by the networks' outputs.
#include "gemm.cuh"
#include "loss.cuh"
#include "outputs.cuh"
#include "reduce.cuh"

// The threads of a block, which has one part of one member's minibatch.
#define LOSS_THREADS 256
// Blocks that a multiprocessor has registers for: without this bound the loop over
// several choices would take those of the fourth.
#define LOSS_BLOCKS 4

// output_delta is where the gradient by a row of a network's outputs goes.
DEVICE float *output_delta(const Params &p, int net, int m, int row) {
  return layer_delta(p, m, net, p.net[net].layers - 1) + (long long)row * output_width(p, net);
}

// choices_row is discrete_row for an action that is several choices. The components
// are independent: their log probabilities and entropies add up, so that the ratio is
// all they share.
DEVICE void choices_row(const Params &p, const PolicyLoss &l, float *gradient, const float *logits, const float *action, float old,
                        float advantage, float *terms) {
  const int *choices = as<int>(p.choices);
  float log_prob = 0.f;
  for (int c = 0, from = 0; c < p.action_width; c++) {
    const int n = choices[c];
    log_softmax(gradient + from, logits + from, n);
    log_prob += gradient[from + (int)action[c]];
    from += n;
  }
  const float d = policy_row(l, log_prob, old, advantage, terms);
  for (int c = 0; c < p.action_width; c++) {
    const int n = choices[c];
    float entropy = 0.f;
    for (int a = 0; a < n; a++) entropy = fmaf(-expf(gradient[a]), gradient[a], entropy);
    terms[TERM_ENTROPY] += entropy;
    discrete_gradient(l, gradient, n, (int)action[c], entropy, d);
    gradient += n;
  }
}

// actor_row writes the gradient by the actor's outputs of row i of the minibatch,
// which is at in the rollout, and returns that by the action's log probability
// where actions are continuous.
DEVICE float actor_row(const Params &p, const PolicyLoss &l, int m, int i, long long at, float *terms) {
  const float *output = output_row(p, ACTOR, m, i), *action = f32(p.actions) + at * p.action_width;
  float *delta = output_delta(p, ACTOR, m, i);
  const float old = f32(p.log_probs)[at], advantage = f32(p.advantages)[at];
  if (!p.discrete)
    return gaussian_row(l, delta, output, policy(p, m) + p.log_std, action, p.action_count, old, advantage, terms);
  if (p.choices)
    choices_row(p, l, delta, output, action, old, advantage, terms);
  else
    discrete_row(l, delta, output, p.action_count, (int)action[0], old, advantage, terms);
  return 0.f;
}

// critic_row writes the gradient by the critic's outputs of the same row.
DEVICE void critic_row(const Params &p, const ValueLoss &l, int m, int i, long long at, float *terms) {
  const float *output = output_row(p, CRITIC, m, i);
  float *delta = output_delta(p, CRITIC, m, i);
  const float ret = f32(p.returns)[at];
  if (p.quantile)
    quantile_value_row(l, delta, output, output_width(p, CRITIC), ret, terms);
  else
    delta[0] = scalar_value_row(l, output[0], f32(p.values)[at], ret, terms);
}

// log_std_gradient writes the gradient by log_std of rows from to to-1, of which d
// is the sum of the gradients by the log probabilities; see log_std_row. Of a row
// that is g (action - mean) - d - entropy_coef/rows, where g is the gradient by the
// mean. A warp sums a dimension, in float64: the two sums nearly cancel.
DEVICE void log_std_gradient(const Params &p, const PolicyLoss &l, const Rows &r, int m, int split, int from, int to, double d) {
  float *gradient = f32(p.partial) + ((long long)m * p.splits + split) * p.policy_size + p.log_std;
  const int *index = row_index(r, m, 0);
  for (int a = warp_index(); a < p.action_count; a += warps()) {
    double sum = 0;
    for (int i = from + lane_index(); i < to; i += 32) {
      const float *action = f32(p.actions) + ((long long)m * p.rows + (index ? index[i] : i)) * p.action_width;
      sum += (double)(output_delta(p, ACTOR, m, i)[a] * (action[a] - output_row(p, ACTOR, m, i)[a]));
    }
    sum = warp_sum(sum);
    if (lane_index() == 0) gradient[a] = (float)(sum - d - (double)(l.entropy_coef * l.inv_rows) * (to - from));
  }
}

// loss computes, from what the networks have given for the rows of minibatch step,
// the gradients by their outputs, into the last layers' net.delta, and for each
// part of the minibatch the sums of the losses' terms, p.loss_sums, and the
// gradient by log_std where actions are continuous.
//
// grid (members, splits).
KERNEL __launch_bounds__(LOSS_THREADS, LOSS_BLOCKS) loss(Params p, Rows r, int step) {
  __shared__ double scratch[32 * (LOSS_TERMS + 1)];
  const int m = blockIdx.x, split = blockIdx.y;
  if (skipped(p, r, m)) return;
  const int from = split * p.split_rows, to = min(r.count, from + p.split_rows);
  const int *index = row_index(r, m, 0);
  const PolicyLoss policy = policy_loss(p, m, step);
  const ValueLoss value = value_loss(p, m);

  float terms[LOSS_TERMS] = {}, d = 0.f;
  for (int i = from + (int)threadIdx.x; i < to; i += LOSS_THREADS) {
    const long long at = (long long)m * p.rows + (index ? index[i] : i);
    d += actor_row(p, policy, m, i, at, terms);
    critic_row(p, value, m, i, at, terms);
  }

  double sums[LOSS_TERMS + 1];
  for (int k = 0; k < LOSS_TERMS; k++) sums[k] = terms[k];
  sums[LOSS_TERMS] = d;
  // Its barriers also let all threads see the gradients by the means.
  block_sums(sums, scratch);
  if (threadIdx.x == 0)
    for (int k = 0; k < LOSS_TERMS; k++) f64(p.loss_sums)[((long long)m * p.splits + split) * LOSS_TERMS + k] = sums[k];
  if (!p.discrete) log_std_gradient(p, policy, r, m, split, from, to, sums[LOSS_TERMS]);
}
