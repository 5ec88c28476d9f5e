// The gradient of small networks in one kernel: forward, loss and backward of one
// network over a part of a minibatch's rows, with the weights, the activations
// and the partial gradient in shared memory and registers. Nothing but the rows'
// inputs is read from memory, and nothing but the partial gradient is written.
//
// A block of 64 threads has one network of one member and goes through its rows in
// tiles of 64. Actor and critic meet only in the gradient's norm, so a barrier is
// two warps wide, and the four blocks on a multiprocessor overlap their phases.
//
// Hidden layers are padded to 64 units with zero weights. Such a unit's output is
// 0 and so is every gradient that goes through it; its own is not stored.
#pragma once
#include "loss.cuh"

namespace fused {

const int TILE = 64;                    // rows of a tile, and units of a hidden layer
const int LD = TILE + 4;                // floats from a row to the next: 16-byte aligned, 4 banks apart
const int THREADS = 64;

// The four floats after the 64 of a row hold a row's or a unit's numbers of the head.
const int PAD = TILE;

// Head is what the output layer and the loss need besides its weights.
struct Head {
  float bias[4], log_std[4];
  PolicyLoss policy;
  ValueLoss value;
  float padding[3];
};

// Shared is a block's shared memory; D is the padded number of features.
// W is [in][out] while the policy's tensors are [out][in].
template <int D> struct Shared {
  float w2[TILE * LD];  // [unit of layer 1][unit of layer 2]; PAD: the output layer's [unit of layer 2][output]
  float h1[TILE * LD];  // [row][unit]: layer 1's activations
  // delta [row][unit] has layer 2's activations, then the gradient by what went into
  // them, then layer 1's; PAD: the gradient by the outputs.
  float delta[TILE * LD];
  float w1[D * TILE];  // [feature][unit]
  float b1[TILE], b2[TILE];
  float obs[TILE * D];  // [row][feature]
  Head head;
};

// Thread is which thread of the block this is.
struct Thread {
  int t, warp, lane;
  DEVICE Thread() : t(threadIdx.x), warp(t >> 5), lane(t & 31) {}
};

// Place is the part of a product of 64x64 that a thread has: 8x8 numbers. Lanes
// that differ in bit 0, 3 or 4 have other columns, those that differ in bit 1 or 2
// other rows: each operand's eight float4 of a warp are then in as many banks as
// two wavefronts can read. The functions that depend on it take it as `at`; there
// is another set for the tensor cores (update_fused_tf32.cuh).
struct Place : Thread {
  int ty, tx;  // 0 to 3; 0 to 7
  int row;     // rows of this thread: row + 4 i. A warp has its own 32 rows.

  DEVICE Place() {
    ty = (lane >> 1) & 3;
    tx = (lane & 1) | (lane >> 3) << 1;
    row = 32 * warp + ty;
  }
  // column j of 8: 4 tx to 4 tx + 3, and these plus 32.
  DEVICE int column(int j) const { return (j & 4) * 8 + 4 * tx + (j & 3); }
};

// factor is x as the products take it.
DEVICE float factor(const Place &, float x) { return x; }

DEVICE void load4(float *dst, const float *src) {
  const float4 v = *(const float4 *)src;
  dst[0] = v.x, dst[1] = v.y, dst[2] = v.z, dst[3] = v.w;
}

DEVICE void store4(float *dst, const float *src) { *(float4 *)dst = make_float4(src[0], src[1], src[2], src[3]); }

// load_few reads the A <= 4 numbers of a row's PAD.
template <int A> DEVICE void load_few(float *dst, const float *src) {
  float v[4];
  load4(v, src);
#pragma unroll
  for (int a = 0; a < A; a++) dst[a] = v[a];
}

// Row is what one row contributes: its inputs, and what its loss needs.
template <int D, int A> struct Row {
  float obs[D], action[A];
  float old, target;  // log probability and advantage, or value and return
  bool exists;

  // read reads row index of member m, nothing if index < 0.
  DEVICE void read(const Params &p, int m, int net, int index) {
    exists = index >= 0;
    const long long at = (long long)m * p.rows + (exists ? index : 0);
    const float *x = f32(p.obs) + at * p.obs_dim, *u = f32(p.actions) + at * p.action_width;
#pragma unroll
    for (int d = 0; d < D; d++) obs[d] = exists && d < p.obs_dim ? x[d] : 0.f;
#pragma unroll
    for (int a = 0; a < A; a++) action[a] = exists && net == ACTOR && a < p.action_width ? u[a] : 0.f;
    old = f32(net == ACTOR ? p.log_probs : p.values)[at];
    target = f32(net == ACTOR ? p.advantages : p.returns)[at];
  }
};

// Gradient is what a thread adds up over all tiles.
template <int D, int A> struct Gradient {
  float w1[D], b1;      // of unit t of layer 1
  float w2[8][8];       // [unit of layer 1][unit of layer 2], see store_weights
  float b2[2];          // of units 2 lane and 2 lane + 1 of layer 2, over the warp's rows
  float w3[2][A];       // of the same units
  float b3[A], log_std[A];  // over the rows this thread computed the loss of
  float terms[LOSS_TERMS];  // likewise

  DEVICE Gradient() : b1(0.f), b2{0.f, 0.f} {
#pragma unroll
    for (int d = 0; d < D; d++) w1[d] = 0.f;
#pragma unroll
    for (int i = 0; i < 64; i++) w2[i / 8][i % 8] = 0.f;
#pragma unroll
    for (int a = 0; a < A; a++) w3[0][a] = w3[1][a] = b3[a] = log_std[a] = 0.f;
#pragma unroll
    for (int i = 0; i < LOSS_TERMS; i++) terms[i] = 0.f;
  }
};

// load_weights fills the shared memory's constant part.
template <int D, class At> DEVICE void load_weights(Shared<D> &s, const Params &p, int m, int net, int step, const At &at) {
  const Layer one = p.net[net].layer[0], two = p.net[net].layer[1], three = p.net[net].layer[2];
  const float *theta = policy(p, m);
  const int t = at.t;
#pragma unroll
  for (int d = 0; d < D; d++) s.w1[d * TILE + t] = t < one.out && d < one.in ? theta[one.weight + t * one.in + d] : 0.f;
  s.b1[t] = t < one.out ? theta[one.bias + t] : 0.f;
  s.b2[t] = t < two.out ? theta[two.bias + t] : 0.f;
#pragma unroll 8
  for (int o = 0; o < TILE; o++)
    s.w2[t * LD + o] = t < two.in && o < two.out ? factor(at, theta[two.weight + o * two.in + t]) : 0.f;
#pragma unroll
  for (int a = 0; a < 4; a++)
    s.w2[t * LD + PAD + a] = t < three.in && a < three.out ? theta[three.weight + a * three.in + t] : 0.f;
  if (t < 4) {
    s.head.bias[t] = t < three.out ? theta[three.bias + t] : 0.f;
    s.head.log_std[t] = p.discrete == 0 && t < p.action_count ? theta[p.log_std + t] : 0.f;
  }
  if (t == 0) {
    s.head.policy = policy_loss(p, m, step);
    s.head.value = value_loss(p, m);
  }
}

// first_layer: thread t computes unit t of layer 1 for all rows.
template <int D, class At> DEVICE void first_layer(Shared<D> &s, int relu, const At &at) {
  const int t = at.t;
  float w[D];
#pragma unroll
  for (int d = 0; d < D; d++) w[d] = s.w1[d * TILE + t];
  const float bias = s.b1[t];
#pragma unroll 1
  for (int r = 0; r < TILE; r += 8) {
    float x[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      float o[D];
#pragma unroll
      for (int d = 0; d < D; d += 4) load4(o + d, s.obs + (r + i) * D + d);
      x[i] = bias;
#pragma unroll
      for (int d = 0; d < D; d++) x[i] = fmaf(o[d], w[d], x[i]);
    }
    activate8(relu, x);
#pragma unroll
    for (int i = 0; i < 8; i++) s.h1[(r + i) * LD + t] = factor(at, x[i]);
  }
}

// second_layer: z = b2 + h1 w2, then the activation; 16 FMAs for each LDS.128.
template <int D> DEVICE void second_layer(const Shared<D> &s, int relu, const Place &at, float (&z)[8][8]) {
  float bias[8];
  load4(bias, s.b2 + 4 * at.tx);
  load4(bias + 4, s.b2 + 32 + 4 * at.tx);
#pragma unroll
  for (int i = 0; i < 64; i++) z[i / 8][i % 8] = bias[i % 8];
#pragma unroll 4
  for (int k = 0; k < TILE; k += 4) {
    float a[8][4];
#pragma unroll
    for (int i = 0; i < 8; i++) load4(a[i], s.h1 + (at.row + 4 * i) * LD + k);
#pragma unroll
    for (int q = 0; q < 4; q++) {
      float b[8];
      load4(b, s.w2 + (k + q) * LD + 4 * at.tx);
      load4(b + 4, s.w2 + (k + q) * LD + 32 + 4 * at.tx);
#pragma unroll
      for (int i = 0; i < 64; i++) z[i / 8][i % 8] = fmaf(a[i / 8][q], b[i % 8], z[i / 8][i % 8]);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; i++) activate8(relu, z[i]);
}

// store_rows writes a thread's 8x8 numbers, columns as in Place::column.
DEVICE void store_rows(float *tile, const Place &at, const float (&z)[8][8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) {
    store4(tile + (at.row + 4 * i) * LD + 4 * at.tx, z[i]);
    store4(tile + (at.row + 4 * i) * LD + 32 + 4 * at.tx, z[i] + 4);
  }
}

// head: thread t computes the outputs, the loss and the gradient by the outputs of
// row t, whose activations of layer 2 are in delta.
template <int D, int A>
DEVICE void head(Shared<D> &s, int net, bool discrete, int t, const Row<D, A> &row, Gradient<D, A> &g) {
  float *const units = s.delta + t * LD;
  float z[A], d[A];
#pragma unroll
  for (int a = 0; a < A; a++) {
    z[a] = s.head.bias[a];
    d[a] = 0.f;
  }
#pragma unroll 4
  for (int k = 0; k < TILE; k += 4) {
    float h[4];
    load4(h, units + k);
#pragma unroll
    for (int q = 0; q < 4; q++) {
      float w[A];
      load_few<A>(w, s.w2 + (k + q) * LD + PAD);
#pragma unroll
      for (int a = 0; a < A; a++) z[a] = fmaf(h[q], w[a], z[a]);
    }
  }
  if (row.exists && net == CRITIC) d[0] = scalar_value_row(s.head.value, z[0], row.old, row.target, g.terms);
  if (row.exists && net == ACTOR && discrete)
    discrete_row(s.head.policy, d, z, A, (int)row.action[0], row.old, row.target, g.terms);
  if (row.exists && net == ACTOR && !discrete) {
    const float by = gaussian_row(s.head.policy, d, z, s.head.log_std, row.action, A, row.old, row.target, g.terms);
#pragma unroll
    for (int a = 0; a < A; a++) g.log_std[a] += log_std_row(s.head.policy, by, z[a], s.head.log_std[a], row.action[a]);
  }
#pragma unroll
  for (int a = 0; a < A; a++) {
    units[PAD + a] = d[a];
    g.b3[a] += d[a];
  }
}

// output_gradient: dW3 += h2^T d over the warp's rows.
template <int D, int A> DEVICE void output_gradient(const Shared<D> &s, const Thread &at, Gradient<D, A> &g) {
#pragma unroll 8
  for (int r = 32 * at.warp; r < 32 * at.warp + 32; r++) {
    const float2 h = *(const float2 *)(s.delta + r * LD + 2 * at.lane);
    float d[A];
    load_few<A>(d, s.delta + r * LD + PAD);
#pragma unroll
    for (int a = 0; a < A; a++) {
      g.w3[0][a] = fmaf(h.x, d[a], g.w3[0][a]);
      g.w3[1][a] = fmaf(h.y, d[a], g.w3[1][a]);
    }
  }
}

// deactivate8 turns the gradients d by eight activations y into those by what went
// into the activation function.
DEVICE void deactivate8(int relu, float *d, const float *y) {
  if (relu) {
#pragma unroll
    for (int i = 0; i < 8; i++) d[i] = y[i] <= 0.f ? 0.f : d[i];
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) d[i] *= fmaf(-y[i], y[i], 1.f);
}

// second_delta turns z, the activations of layer 2, into the gradient by what went
// into them.
template <int D, int A> DEVICE void second_delta(const Shared<D> &s, int relu, const Place &at, float (&z)[8][8]) {
  float w[8][A];
#pragma unroll
  for (int j = 0; j < 8; j++) load_few<A>(w[j], s.w2 + at.column(j) * LD + PAD);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    float d[A], dz[8];
    load_few<A>(d, s.delta + (at.row + 4 * i) * LD + PAD);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      dz[j] = d[0] * w[j][0];
#pragma unroll
      for (int a = 1; a < A; a++) dz[j] = fmaf(d[a], w[j][a], dz[j]);
    }
    deactivate8(relu, dz, z[i]);
#pragma unroll
    for (int j = 0; j < 8; j++) z[i][j] = dz[j];
  }
}

// second_bias: db2 += the sum over the warp's rows.
template <int D, int A> DEVICE void second_bias(const Shared<D> &s, const Thread &at, Gradient<D, A> &g) {
#pragma unroll 8
  for (int r = 32 * at.warp; r < 32 * at.warp + 32; r++) {
    const float2 d = *(const float2 *)(s.delta + r * LD + 2 * at.lane);
    g.b2[0] += d.x;
    g.b2[1] += d.y;
  }
}

// second_weights: dW2 += h1^T delta. A thread has the units 32 warp + 4 ty to
// + 3 of layer 1, and these plus 16.
template <int D> DEVICE void second_weights(const Shared<D> &s, const Place &at, float (&dw)[8][8]) {
#pragma unroll 8
  for (int r = 0; r < TILE; r++) {
    float a[8], b[8];
    load4(a, s.h1 + r * LD + 32 * at.warp + 4 * at.ty);
    load4(a + 4, s.h1 + r * LD + 32 * at.warp + 16 + 4 * at.ty);
    load4(b, s.delta + r * LD + 4 * at.tx);
    load4(b + 4, s.delta + r * LD + 32 + 4 * at.tx);
#pragma unroll
    for (int i = 0; i < 64; i++) dw[i / 8][i % 8] = fmaf(a[i / 8], b[i % 8], dw[i / 8][i % 8]);
  }
}

// first_delta: z = delta w2^T, the gradient by layer 1's activations, then by what
// went into them. A thread's columns are tx + 8 j, rows of w2 that are 4 banks
// apart.
template <int D> DEVICE void first_delta(const Shared<D> &s, int relu, const Place &at, float (&z)[8][8]) {
#pragma unroll
  for (int i = 0; i < 64; i++) z[i / 8][i % 8] = 0.f;
#pragma unroll 4
  for (int n = 0; n < TILE; n += 4) {
    float a[8][4];
#pragma unroll
    for (int i = 0; i < 8; i++) load4(a[i], s.delta + (at.row + 4 * i) * LD + n);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      float b[4];
      load4(b, s.w2 + (at.tx + 8 * j) * LD + n);
#pragma unroll
      for (int i = 0; i < 32; i++) z[i / 4][j] = fmaf(a[i / 4][i % 4], b[i % 4], z[i / 4][j]);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    float h[8];
#pragma unroll
    for (int j = 0; j < 8; j++) h[j] = s.h1[(at.row + 4 * i) * LD + at.tx + 8 * j];
    deactivate8(relu, z[i], h);
  }
}

// store_units writes first_delta's 8x8 numbers.
DEVICE void store_units(float *tile, const Place &at, const float (&z)[8][8]) {
#pragma unroll
  for (int i = 0; i < 64; i++) tile[(at.row + 4 * (i / 8)) * LD + at.tx + 8 * (i % 8)] = z[i / 8][i % 8];
}

// store_weights writes second_weights' 8x8 numbers, transposed: [unit of layer 2]
// [unit of layer 1].
DEVICE void store_weights(float *tile, const Place &at, const float (&dw)[8][8]) {
#pragma unroll
  for (int j = 0; j < 8; j++) {
    float column[8];
#pragma unroll
    for (int i = 0; i < 8; i++) column[i] = dw[i][j];
    store4(tile + at.column(j) * LD + 32 * at.warp + 4 * at.ty, column);
    store4(tile + at.column(j) * LD + 32 * at.warp + 16 + 4 * at.ty, column + 4);
  }
}

// first_weights: thread t has unit t of layer 1.
template <int D, int A> DEVICE void first_weights(const Shared<D> &s, int t, Gradient<D, A> &g) {
#pragma unroll 8
  for (int r = 0; r < TILE; r++) {
    float o[D];
#pragma unroll
    for (int d = 0; d < D; d += 4) load4(o + d, s.obs + r * D + d);
    const float delta = s.delta[r * LD + t];
#pragma unroll
    for (int d = 0; d < D; d++) g.w1[d] = fmaf(o[d], delta, g.w1[d]);
    g.b1 += delta;
  }
}

}  // namespace fused
