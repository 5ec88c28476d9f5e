// The values that truncated episodes are bootstrapped from: V(final_obs).
#include "activation.cuh"
#include "reduce.cuh"

// Rows of a block. They are dealt to its warps in turn, since environments that
// started together are often truncated in the same step.
#define BOOTSTRAP_ROWS 256

// bootstrap_layer computes one layer of one row with the whole warp: the lanes
// share each output's sum, so that the weights are read in order.
DEVICE void bootstrap_layer(const float *theta, const Layer &l, const float *in, float *out, bool last, int relu) {
  for (int o = 0; o < l.out; o++) {
    const float *w = theta + l.weight + (long long)o * l.in;
    float sum = 0.f;
    for (int i = lane_index(); i < l.in; i += 32) sum += w[i] * in[i];
    sum = warp_sum(sum) + theta[l.bias + o];
    if (lane_index() == 0) out[o] = last ? sum : activate(relu, sum);
  }
  __syncwarp();
}

// bootstrap_value is the critic's value of one observation [D]: the mean of its
// outputs. buffers [2][MaxOut] is the warp's shared memory.
DEVICE float bootstrap_value(const Params &p, int m, const float *obs, float *buffers) {
  const Network &net = p.net[CRITIC];
  const float *in = obs;
  for (int l = 0; l < net.layers; l++) {
    float *const out = buffers + (l & 1) * net.max_out;
    bootstrap_layer(policy(p, m), net.layer[l], in, out, l == net.layers - 1, p.relu);
    in = out;
  }
  const int outputs = net.layer[net.layers - 1].out;
  double sum = 0;
  for (int k = lane_index(); k < outputs; k += 32) sum += in[k];
  return (float)(warp_sum(sum) / outputs);
}

// Grid (P, B / BOOTSTRAP_ROWS rounded up), any number of warps, shared memory
// [warps][2][MaxOut] float32. Writes p.final_values where flags say truncated.
KERNEL bootstrap(const __grid_constant__ Params p) {
  DYN_SHARED(float, shared);
  const int m = blockIdx.x;
  float *const buffers = shared + (long long)warp_index() * 2 * p.net[CRITIC].max_out;
  const long long first = (long long)blockIdx.y * BOOTSTRAP_ROWS;
  for (int i = warp_index(); i < BOOTSTRAP_ROWS; i += 32 * warps()) {
    const long long mine = first + i + lane_index() * warps();
    const bool exists = i + lane_index() * warps() < BOOTSTRAP_ROWS && mine < p.rows;
    const bool truncated = exists && as<unsigned char>(p.flags)[(long long)m * p.rows + mine] == TRUNCATED;
    for (unsigned left = __ballot_sync(ALL_LANES, truncated); left != 0; left &= left - 1) {
      const long long row = (long long)m * p.rows + first + i + (__ffs((int)left) - 1) * warps();
      const float value = bootstrap_value(p, m, f32(p.final_obs) + row * p.obs_dim, buffers);
      if (lane_index() == 0) f32(p.final_values)[row] = value;
      __syncwarp(); // the buffers have been read
    }
  }
}
