// What a block of the fused update does: it goes through the tiles of its rows and
// writes the real elements of its network's tensors in its part of Partial
// (log_std: the actor's block), and its network's terms of LossSums.
#pragma once
#include "reduce.cuh"
#include "update_fused.cuh"

namespace fused {

// store_layers writes the weights' and biases' gradients of one network to out, a
// part of Partial. Layer 2's go through shared memory, so that neighbouring
// threads write neighbouring numbers.
template <int D, int A, class At>
DEVICE void store_layers(Shared<D> &s, const Params &p, int net, const At &at, const Gradient<D, A> &g, float *out) {
  const Layer one = p.net[net].layer[0], two = p.net[net].layer[1], three = p.net[net].layer[2];
  const int t = at.t;
  if (t < one.out) {
#pragma unroll
    for (int d = 0; d < D; d++)
      if (d < one.in) out[one.weight + t * one.in + d] = g.w1[d];
    out[one.bias + t] = g.b1;
  }
  __syncthreads();  // nobody reads the tiles any more
  float *const w2 = s.h1, *const parts = s.delta;  // [out][in]; [warp][b2, w3 by output][unit]
  store_weights(w2, at, g.w2);
#pragma unroll
  for (int u = 0; u < 2; u++) {
    float *const part = parts + at.warp * (1 + A) * TILE + 2 * at.lane + u;
    part[0] = g.b2[u];
#pragma unroll
    for (int a = 0; a < A; a++) part[(1 + a) * TILE] = g.w3[u][a];
  }
  __syncthreads();
  const float *const other = parts + (1 + A) * TILE;
  if (t < two.in)
    for (int o = 0; o < two.out; o++) out[two.weight + o * two.in + t] = w2[o * LD + t];
  if (t < two.out) {
    out[two.bias + t] = parts[t] + other[t];
#pragma unroll
    for (int a = 0; a < A; a++)
      if (a < three.out) out[three.weight + a * two.out + t] = parts[(1 + a) * TILE + t] + other[(1 + a) * TILE + t];
  }
}

// store_head writes the output biases' and log_std's gradients to out and the loss
// terms to sums.
template <int D, int A>
DEVICE void store_head(Shared<D> &s, const Params &p, int net, int t, const Gradient<D, A> &g, float *out, double *sums) {
  const Layer three = p.net[net].layer[2];
#pragma unroll
  for (int a = 0; a < A; a++) {
    const float bias = block_sum(g.b3[a], s.w1), log_std = block_sum(g.log_std[a], s.w1);
    if (t == 0 && a < three.out) out[three.bias + a] = bias;
    if (t == 0 && net == ACTOR && p.discrete == 0) out[p.log_std + a] = log_std;
  }
#pragma unroll
  for (int i = 0; i < LOSS_TERMS; i++) {
    const double sum = block_sum((double)g.terms[i], (double *)s.w1);
    if (t == 0 && (net == CRITIC) == (i == TERM_VALUE)) sums[i] = sum;
  }
}

// update does the work of a kernel for networks of up to D features, D a multiple
// of 4, and an actor of exactly A outputs, with the products of At: Place's or
// TensorPlace's.
template <int D, int A, class At> DEVICE void update(const Params &p, int step) {
  DYN_SHARED(Shared<D>, shared);
  Shared<D> &s = *shared;
  const int m = blockIdx.x, split = blockIdx.y, net = blockIdx.z;
  if (stopped(p, m)) return;
  const At at;
  const int first = split * p.split_rows, count = min(p.split_rows, p.minibatch_rows - first);
  const int *order = as<int>(p.order) + ((long long)m * p.epochs + step / p.minibatch_count) * p.rows +
                     (long long)(step % p.minibatch_count) * p.minibatch_rows + first;
  load_weights(s, p, m, net, step, at);
  Gradient<D, A> g;
  Row<D, A> row;
  row.read(p, m, net, at.t < count ? order[at.t] : -1);

#pragma unroll 1
  for (int tile = 0; tile < count; tile += TILE) {
    __syncthreads();  // nobody reads the observations and gradients of the tile before
#pragma unroll
    for (int d = 0; d < D; d += 4) store4(s.obs + at.t * D + d, row.obs + d);
    __syncthreads();  // observations; weights
    first_layer(s, p.relu, at);
    __syncthreads();  // h1
    float z[8][8];
    second_layer(s, p.relu, at, z);
    store_rows(s.delta, at, z);
    __syncwarp();  // layer 2's activations of the warp's rows
    head(s, net, p.discrete != 0, at.t, row, g);
    __syncwarp();  // gradients by their outputs
    output_gradient(s, at, g);
    second_delta<D, A>(s, p.relu, at, z);
    __syncwarp();  // nobody reads the activations any more
    store_rows(s.delta, at, z);
    const int next = tile + TILE + at.t < count ? order[tile + TILE + at.t] : -1;
    __syncthreads();  // layer 2's delta
    second_bias(s, at, g);
    second_weights(s, at, g.w2);
    first_delta(s, p.relu, at, z);
    __syncthreads();  // nobody reads layer 2's delta any more
    store_units(s.delta, at, z);
    row.read(p, m, net, next);  // arrives during the last product
    __syncthreads();  // layer 1's delta
    first_weights(s, at.t, g);
  }

  const long long part = (long long)m * p.splits + split;
  float *const out = f32(p.partial) + part * p.policy_size;
  store_layers(s, p, net, at, g, out);
  store_head(s, p, net, at.t, g, out, f64(p.loss_sums) + part * LOSS_TERMS);
}

}  // namespace fused
