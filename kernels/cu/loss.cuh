// The losses of one row and their gradients by the networks' outputs: the
// formulas of kernels/plain/policy_loss.go and value_loss.go in float32. Whether
// the rows' outputs lie in registers (update_fused.cu) or in memory (loss.cu) is
// the caller's choice: with a constant number of outputs all loops unroll.
//
// Every function adds what a row contributes to terms[LOSS_TERMS].
#pragma once
#include "activation.cuh"

#define HALF_LOG_2PI 0.91893853320467274f

// PolicyLoss holds what the policy loss needs of a member and a minibatch.
struct PolicyLoss {
  float clip_range, entropy_coef;
  // kl_beta is 0 without the KL penalty.
  float kl_beta;
  // inv_rows is 1 over the rows of the minibatch.
  float inv_rows;
  // A row's advantage is (advantage - mean) * scale.
  float mean, scale;
};

// policy_loss reads member m's for minibatch step.
DEVICE PolicyLoss policy_loss(const Params &p, int m, int step) {
  const float *scale = f32(p.advantage_scale) + 2 * ((long long)m * p.epochs * p.minibatch_count + step);
  PolicyLoss l;
  l.clip_range = hyper(p, m, HYPER_CLIP_RANGE);
  l.entropy_coef = hyper(p, m, HYPER_ENTROPY_COEF);
  l.kl_beta = p.kl_penalty ? *state<float>(p, m, p.offset.kl_beta) : 0.f;
  l.inv_rows = 1.f / (float)p.minibatch_rows;
  l.mean = scale[0];
  l.scale = scale[1];
  return l;
}

// policy_row returns the gradient by the log probability of the row's action of
//
//   max(-a r, -a clip(r, 1-c, 1+c)) + kl_beta ((r-1) - log r),  r = exp(log_prob - old)
//
// (Schulman et al. 2017). Where both arguments of max are equal the gradient is
// the first's. A NaN comes out as one, and so does a ratio that is not finite,
// even where it is clipped: 0 * log_ratio. r - 1 is computed as such, because
// ratios are near 1 and kl is what remains after the difference.
DEVICE float policy_row(const PolicyLoss &l, float log_prob, float old, float advantage, float *terms) {
  const float a = (advantage - l.mean) * l.scale;
  const float log_ratio = log_prob - old, excess = expm1f(log_ratio), r = 1.f + excess;
  const float first = -a * r, second = -a * fmaxf(1.f - l.clip_range, fminf(1.f + l.clip_range, r));
  const bool clipped = second > first;
  terms[TERM_POLICY] += clipped ? second : first;
  terms[TERM_KL] += excess - log_ratio;
  if (fabsf(excess) > l.clip_range) terms[TERM_CLIPPED] += 1.f;
  float d = clipped ? 0.f * log_ratio : first;
  if (l.kl_beta != 0.f) d = fmaf(l.kl_beta, excess, d);
  return d * l.inv_rows;
}

// log_softmax writes log softmax of logits [actions] to log_probs, which may be
// logits itself.
DEVICE void log_softmax(float *log_probs, const float *logits, int actions) {
  float top = logits[0], sum = 0.f;
#pragma unroll
  for (int a = 1; a < actions; a++) top = logits[a] > top ? logits[a] : top;
#pragma unroll
  for (int a = 0; a < actions; a++) sum += expf(logits[a] - top);
  const float log_sum = logf(sum);
#pragma unroll
  for (int a = 0; a < actions; a++) log_probs[a] = logits[a] - top - log_sum;
}

// discrete_gradient turns the log probabilities [actions] of a choice into the
// gradient by its logits; d is the gradient by the log probability of the row's action.
DEVICE void discrete_gradient(const PolicyLoss &l, float *gradient, int actions, int action, float entropy, float d) {
#pragma unroll
  for (int a = 0; a < actions; a++) {
    const float log_p = gradient[a], prob = expf(log_p);
    const float g = prob * fmaf(l.entropy_coef * l.inv_rows, log_p + entropy, -d);
    gradient[a] = a == action ? g + d : g;
  }
}

// discrete_row writes the gradient by the logits [actions] of a row whose action is
// one choice, which may overwrite them. old is the action's log probability at the
// time of acting.
DEVICE void discrete_row(const PolicyLoss &l, float *gradient, const float *logits, int actions, int action, float old,
                         float advantage, float *terms) {
  log_softmax(gradient, logits, actions);
  float entropy = 0.f, log_prob = 0.f;
#pragma unroll
  for (int a = 0; a < actions; a++) {
    entropy = fmaf(-expf(gradient[a]), gradient[a], entropy);
    if (a == action) log_prob = gradient[a];
  }
  terms[TERM_ENTROPY] += entropy;
  const float d = policy_row(l, log_prob, old, advantage, terms);
  discrete_gradient(l, gradient, actions, action, entropy, d);
}

// gaussian_row writes the gradient by the mean [actions] of a row, which may not
// overwrite it, and returns the gradient by the log probability, of which
// log_std_row makes that by log_std.
DEVICE float gaussian_row(const PolicyLoss &l, float *gradient, const float *mean, const float *log_std, const float *action,
                          int actions, float old, float advantage, float *terms) {
  float log_prob = 0.f, entropy = 0.f;
#pragma unroll
  for (int a = 0; a < actions; a++) {
    const float z = (action[a] - mean[a]) * expf(-log_std[a]);
    log_prob -= fmaf(0.5f * z, z, log_std[a] + HALF_LOG_2PI);
    entropy += 0.5f + HALF_LOG_2PI + log_std[a];
  }
  terms[TERM_ENTROPY] += entropy;
  const float d = policy_row(l, log_prob, old, advantage, terms);
#pragma unroll
  for (int a = 0; a < actions; a++) {
    const float inv_std = expf(-log_std[a]);
    gradient[a] = d * ((action[a] - mean[a]) * inv_std) * inv_std;
  }
  return d;
}

// log_std_row is the gradient by one log_std: d is gaussian_row's result.
DEVICE float log_std_row(const PolicyLoss &l, float d, float mean, float log_std, float action) {
  const float z = (action - mean) * expf(-log_std);
  return d * fmaf(z, z, -1.f) - l.entropy_coef * l.inv_rows;
}

// ValueLoss holds what the critic's loss needs of a member.
struct ValueLoss {
  // coef is value_coef over the rows of the minibatch.
  float coef;
  // clip is value_clip; 0: off.
  float clip;
  // kappa is the quantile Huber loss's threshold.
  float kappa;
};

// value_loss reads member m's.
DEVICE ValueLoss value_loss(const Params &p, int m) {
  ValueLoss l;
  l.coef = hyper(p, m, HYPER_VALUE_COEF) / (float)p.minibatch_rows;
  l.clip = hyper(p, m, HYPER_VALUE_CLIP);
  l.kappa = p.kappa;
  return l;
}

// scalar_value_row returns the gradient by the value v of 0.5 (v - ret)^2, or with
// clip > 0 of the larger of that and the same of the value held within clip of
// the old one. Where both are equal the gradient is the first's: so it is with a
// value that is not held, whatever the rounding of old + (v - old).
DEVICE float scalar_value_row(const ValueLoss &l, float v, float old, float ret, float *terms) {
  float error = v - ret, loss = 0.5f * error * error;
  if (l.clip > 0.f) {
    const float held = old + fmaxf(-l.clip, fminf(l.clip, v - old)) - ret, held_loss = 0.5f * held * held;
    if (fabsf(v - old) > l.clip && held_loss > loss) {
      loss = held_loss;
      error = 0.f;
    }
  }
  terms[TERM_VALUE] += loss;
  return l.coef * error;
}

// quantile_value_row writes the gradient by the quantiles theta [quantiles] of a
// row, which may overwrite them, of the mean over k of |tau_k - 1{u<0}| L(u)/kappa,
// u = ret - theta_k, tau_k = (k+0.5)/K (Dabney et al. 2018).
DEVICE void quantile_value_row(const ValueLoss &l, float *gradient, const float *theta, int quantiles, float ret, float *terms) {
  const float inv = 1.f / (float)quantiles, coef = -l.coef * inv;
  float loss = 0.f;
#pragma unroll
  for (int k = 0; k < quantiles; k++) {
    const float u = ret - theta[k], size = fabsf(u), tau = ((float)k + 0.5f) * inv;
    const float weight = u < 0.f ? 1.f - tau : tau;
    loss = fmaf(weight, size <= l.kappa ? 0.5f * u * u / l.kappa : size - 0.5f * l.kappa, loss);
    gradient[k] = coef * weight * within(u, -l.kappa, l.kappa) / l.kappa;
  }
  terms[TERM_VALUE] += loss * inv;
}
