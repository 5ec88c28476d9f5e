// What a minibatch's step is to be, from the sums over its rows and over its
// gradient: its figures, whether the KL divergence stops the update, the variance
// gradient scaler, clipping, and Adam's coefficients. The formulas are those of
// kernels/host/update.go and vgs.go, in double as there; the order of decisions
// is that of kernels/plain/update.go.
#include "reduce.cuh"
#include "schedule.cuh"

// What the block's warps gather for the decisions.
struct CoefficientSums {
  double terms[LOSS_TERMS];     // over all parts of the minibatch
  double mean_abs[MAX_TENSORS]; // of each policy tensor's gradient
  double variance[MAX_TENSORS]; // divided by n
  double squares[MAX_TENSORS];  // sum
  double ratios[MAX_TENSORS];   // VGS's, ascending
  double powers[3];             // of Adam's betas and of VGS's, to the power of the coming step
};

// coefficients_terms sums the loss terms over the parts, a warp per term.
DEVICE void coefficients_terms(const Params &p, int m, CoefficientSums &s) {
  const double *sums = f64(p.loss_sums) + (long long)m * p.splits * LOSS_TERMS;
  for (int term = warp_index(); term < LOSS_TERMS; term += warps()) {
    double sum = 0;
    for (int part = lane_index(); part < p.splits; part += 32) sum += sums[(long long)part * LOSS_TERMS + term];
    sum = warp_sum(sum);
    if (lane_index() == 0) s.terms[term] = sum;
  }
}

// coefficients_tensors sums over the chunks of each tensor, a warp per tensor.
DEVICE void coefficients_tensors(const Params &p, int m, CoefficientSums &s) {
  const double *sums = f64(p.chunk_sums) + 3 * (long long)m * p.chunk_count;
  int first = 0; // chunk of tensor t
  for (int t = 0; t < p.tensors; t++) {
    const int len = p.tensor[t].len, count = (len + CHUNK_LEN - 1) / CHUNK_LEN;
    if (t % warps() == warp_index()) {
      double abs = 0, sum = 0, squares = 0;
      for (int c = first + lane_index(); c < first + count; c += 32) {
        abs += sums[3 * (long long)c];
        sum += sums[3 * (long long)c + 1];
        squares += sums[3 * (long long)c + 2];
      }
      abs = warp_sum(abs), sum = warp_sum(sum), squares = warp_sum(squares);
      const double mean = sum / len, variance = squares / len - mean * mean;
      if (lane_index() == 0) {
        s.mean_abs[t] = abs / len;
        s.variance[t] = variance < 0 ? 0 : variance; // rounding; a NaN stays one
        s.squares[t] = squares;
      }
    }
    first += count;
  }
}

// coefficients_powers: three lanes compute a power each, the longest part of what
// follows.
DEVICE void coefficients_powers(const Params &p, int m, CoefficientSums &s) {
  const int i = threadIdx.x;
  if (i >= 3) return;
  const double base = i == 0 ? hyper(p, m, HYPER_ADAM_BETA1) : i == 1 ? hyper(p, m, HYPER_ADAM_BETA2) : p.vgs_beta;
  const long long step = *state<long long>(p, m, i < 2 ? p.offset.step : p.offset.vgs_step);
  s.powers[i] = pow(base, (double)(step + 1));
}

// vgs_before says whether x sorts before y; a NaN sorts before all numbers, as in
// Go's slices.Sort.
DEVICE bool vgs_before(double x, double y) { return x < y || (x != x && y == y); }

// vgs_average updates the moving averages, a thread per tensor of the first warp,
// and leaves the ratios variance/(mean_abs^2 + eps), bias-corrected, in order.
DEVICE void vgs_average(const Params &p, int m, CoefficientSums &s) {
  float *const mean_abs = state<float>(p, m, p.offset.vgs_mean_abs), *const variance = state<float>(p, m, p.offset.vgs_var);
  const double beta = p.vgs_beta, correction = 1 / (1 - s.powers[2]);
  for (int t = lane_index(); t < p.tensors; t += 32) {
    mean_abs[t] = (float)(beta * mean_abs[t] + (1 - beta) * s.mean_abs[t]);
    variance[t] = (float)(beta * variance[t] + (1 - beta) * s.variance[t]);
    const double mean = mean_abs[t] * correction;
    s.mean_abs[t] = variance[t] * correction / (mean * mean + p.vgs_eps);
  }
  __syncwarp();
  for (int t = lane_index(); t < p.tensors; t += 32) {
    const double mine = s.mean_abs[t];
    int rank = 0;
    for (int o = 0; o < p.tensors; o++) {
      const double other = s.mean_abs[o];
      rank += vgs_before(other, mine) || (o < t && !vgs_before(mine, other));
    }
    s.ratios[rank] = mine;
  }
  __syncwarp();
}

// vgs_factor is host.State.StepVGS after the averages are updated: the factor for
// the whole gradient. It counts the step.
DEVICE float vgs_factor(const Params &p, int m, const CoefficientSums &s) {
  long long *const step = state<long long>(p, m, p.offset.vgs_step);
  *step += 1;
  if (*step <= p.vgs_warmup) return 1.f;
  const double at = (double)p.vgs_percentile * (p.tensors - 1);
  const int low = (int)at, high = min(low + 1, p.tensors - 1);
  const double g = s.ratios[low] + (s.ratios[high] - s.ratios[low]) * (at - low);
  return (float)(1 / (1 + (double)hyper(p, m, HYPER_VGS_ALPHA) * g));
}

// coefficients_adam is host.ClipCoefficient and host.State.NextAdamStep. It counts
// the step.
DEVICE Coefficients coefficients_adam(const Params &p, int m, const CoefficientSums &s, float vgs, float norm) {
  *state<long long>(p, m, p.offset.step) += 1;
  const double clip = hyper(p, m, HYPER_MAX_GRAD_NORM) / ((double)norm + 1e-6);
  const double rate = learning_rate(p, m);
  Coefficients c;
  c.grad_scale = vgs * (clip > 1 ? 1.f : (float)clip); // a NaN stays one
  c.beta1 = hyper(p, m, HYPER_ADAM_BETA1);
  c.beta2 = hyper(p, m, HYPER_ADAM_BETA2);
  c.step_size = (float)(rate / (1 - s.powers[0]));
  c.inv_sqrt_bias2 = (float)(1 / sqrt(1 - s.powers[1]));
  c.eps = hyper(p, m, HYPER_ADAM_EPS);
  c.decay = (float)(1 - rate * hyper(p, m, HYPER_WEIGHT_DECAY));
  c.apply = 1;
  return c;
}

// coefficients_figures are the averages over the minibatch's rows.
DEVICE Minibatch coefficients_figures(const Params &p, const CoefficientSums &s) {
  const double inv_rows = 1. / p.minibatch_rows;
  Minibatch b;
  b.policy_loss = (float)(s.terms[TERM_POLICY] * inv_rows);
  b.value_loss = (float)(s.terms[TERM_VALUE] * inv_rows);
  b.entropy = (float)(s.terms[TERM_ENTROPY] * inv_rows);
  b.kl = (float)(s.terms[TERM_KL] * inv_rows);
  b.clip_fraction = (float)(s.terms[TERM_CLIPPED] * inv_rows);
  b.vgs_scale = 1.f;
  return b;
}

// A block of any number of warps per member. Writes p.coefficients, minibatch step
// of p.minibatches and p.progress, and advances the counters of steps and VGS's
// averages in the member's state. Nothing in the state changes where the
// divergence is beyond the target: that minibatch, and those after it, are not
// applied. A divergence that is NaN does not stop the update (see host.Stops).
KERNEL __launch_bounds__(1024) coefficients(const __grid_constant__ Params p, int step) {
  __shared__ CoefficientSums s;
  const int m = blockIdx.x;
  if (stopped(p, m)) return;
  coefficients_terms(p, m, s);
  coefficients_tensors(p, m, s);
  coefficients_powers(p, m, s);
  __syncthreads();
  if (warp_index() != 0) return;
  Minibatch b = coefficients_figures(p, s);
  const bool stop = p.target_kl > 0.f && (double)b.kl > 1.5 * (double)p.target_kl;
  if (p.vgs && !stop) vgs_average(p, m, s);
  if (lane_index() != 0) return;
  double squares = 0;
  for (int t = 0; t < p.tensors; t++) squares += s.squares[t];
  if (p.vgs && !stop) b.vgs_scale = vgs_factor(p, m, s);
  b.grad_norm = (float)(sqrt(squares) * b.vgs_scale);
  b.applied = !stop;
  if (stop)
    as<Coefficients>(p.coefficients)[m].apply = 0;
  else
    as<Coefficients>(p.coefficients)[m] = coefficients_adam(p, m, s, b.vgs_scale, b.grad_norm);
  as<Minibatch>(p.minibatches)[(long long)m * p.epochs * p.minibatch_count + step] = b;
  as<Progress>(p.progress)[m] = Progress{step + 1, stop};
}
