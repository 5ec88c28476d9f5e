// A whole rollout of small networks and a native environment in one kernel: all T
// steps of 16 environments of a member in one block, with the weights in shared
// memory. What a step leaves for the update is written as it comes; nothing is read
// back.
//
// Two warps compute the actor and two the critic, each for all 16 observations;
// the first 16 threads have an environment each. Hidden layers are padded to 64
// units and features to a multiple of 4 with zeros. An environment past the last
// one is played by nobody: its observation stays 0 and its outputs are not read.
#pragma once
#include "episode.cuh"
#include "sample.cuh"

namespace rollout {

const int ENVS = 16, THREADS = 128;
const int UNITS = FUSED_HIDDEN;
const int LD = UNITS + 4;  // floats from a row to the next: 16-byte aligned, 4 banks apart

// Shared is a block's shared memory; D is the padded number of features. W is
// [in][out] while the policy's tensors are [out][in].
template <int D, int A> struct alignas(16) Shared {
  float w2[2][UNITS * LD];   // [network][unit of layer 1][unit of layer 2]
  float h1[2][ENVS * LD];    // [network][environment][unit]
  float obs[ENVS * D];       // [environment][feature], as the networks see them
  float out[2][2][ENVS][A];  // [network][half of the units][environment][output], without bias
  ObsNorm norm;
};

// Place is what a thread has of its network: unit u of layer 1 for all
// environments; of layer 2 the environments ty + 4 i and the units 4 tx to 4 tx + 3.
struct Place {
  int net, u, lane, half, ty, tx;

  DEVICE Place() : net(threadIdx.x >> 6), u(threadIdx.x & 63), lane(threadIdx.x & 31), half(u >> 5) {
    ty = (lane >> 1) & 3;
    tx = half * 8 + ((lane & 1) | (lane >> 3) << 1);
  }
};

// Weights are those a thread keeps in registers.
template <int D, int A> struct Weights {
  float w1[D], b1;  // of unit u
  float b2[4];      // of units 4 tx to 4 tx + 3
  float w3[A][4];   // from the same units
  float b3[A];

  DEVICE Weights(const Params &p, int m, const Place &at) {
    const Layer one = p.net[at.net].layer[0], two = p.net[at.net].layer[1], three = p.net[at.net].layer[2];
    const float *theta = policy(p, m);
#pragma unroll
    for (int d = 0; d < D; d++) w1[d] = at.u < one.out && d < one.in ? theta[one.weight + at.u * one.in + d] : 0.f;
    b1 = at.u < one.out ? theta[one.bias + at.u] : 0.f;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int unit = 4 * at.tx + j;
      b2[j] = unit < two.out ? theta[two.bias + unit] : 0.f;
#pragma unroll
      for (int a = 0; a < A; a++)
        w3[a][j] = unit < three.in && a < three.out ? theta[three.weight + a * three.in + unit] : 0.f;
    }
#pragma unroll
    for (int a = 0; a < A; a++) b3[a] = a < three.out ? theta[three.bias + a] : 0.f;
  }
};

// load_w2 fills a network's w2; a warp reads 32 numbers that follow each other.
DEVICE void load_w2(float *w2, const Params &p, int m, const Place &at) {
  const Layer two = p.net[at.net].layer[1];
  const float *w = policy(p, m) + two.weight;
#pragma unroll 8
  for (int o = 0; o < UNITS; o++) w2[at.u * LD + o] = at.u < two.in && o < two.out ? w[o * two.in + at.u] : 0.f;
}

DEVICE void load4(float *dst, const float *src) {
  const float4 v = *(const float4 *)src;
  dst[0] = v.x, dst[1] = v.y, dst[2] = v.z, dst[3] = v.w;
}

// first_layer computes the thread's unit for all environments.
template <int D, int A> DEVICE void first_layer(Shared<D, A> &s, int relu, const Place &at, const Weights<D, A> &w) {
#pragma unroll
  for (int e = 0; e < ENVS; e += 8) {
    float x[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      float o[D];
#pragma unroll
      for (int d = 0; d < D; d += 4) load4(o + d, s.obs + (e + i) * D + d);
      x[i] = w.b1;
#pragma unroll
      for (int d = 0; d < D; d++) x[i] = fmaf(o[d], w.w1[d], x[i]);
    }
    activate8(relu, x);
#pragma unroll
    for (int i = 0; i < 8; i++) s.h1[at.net][(e + i) * LD + at.u] = x[i];
  }
}

// second_layer computes z, layer 2's activations, [4 environments][4 units].
template <int D, int A>
DEVICE void second_layer(const Shared<D, A> &s, int relu, const Place &at, const Weights<D, A> &w, float (&z)[16]) {
  const float *h1 = s.h1[at.net], *w2 = s.w2[at.net];
#pragma unroll
  for (int i = 0; i < 16; i++) z[i] = w.b2[i % 4];
#pragma unroll 4
  for (int k = 0; k < UNITS; k += 4) {
    float a[4][4];
#pragma unroll
    for (int i = 0; i < 4; i++) load4(a[i], h1 + (at.ty + 4 * i) * LD + k);
#pragma unroll
    for (int q = 0; q < 4; q++) {
      float b[4];
      load4(b, w2 + (k + q) * LD + 4 * at.tx);
#pragma unroll
      for (int i = 0; i < 16; i++) z[i] = fmaf(a[i / 4][q], b[i % 4], z[i]);
    }
  }
  activate8(relu, z);
  activate8(relu, z + 8);
}

// output_layer sums over the 32 units of a warp. The eight lanes that have the same
// environments exchange halves of what they have until each has one of the four
// environments; lanes that differ in bit 0 then have the same.
template <int D, int A>
DEVICE void output_layer(Shared<D, A> &s, const Place &at, const Weights<D, A> &w, const float (&z)[16]) {
  const bool up = (at.lane & 16) != 0, odd = (at.lane & 8) != 0;
  const int env = at.ty + 4 * (2 * up + odd);
#pragma unroll
  for (int a = 0; a < A; a++) {
    float y[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      y[i] = z[4 * i] * w.w3[a][0];
#pragma unroll
      for (int j = 1; j < 4; j++) y[i] = fmaf(z[4 * i + j], w.w3[a][j], y[i]);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const float give = up ? y[i] : y[i + 2], keep = up ? y[i + 2] : y[i];
      y[i] = keep + __shfl_xor_sync(ALL_LANES, give, 16);
    }
    const float give = odd ? y[0] : y[1], keep = odd ? y[1] : y[0];
    float sum = keep + __shfl_xor_sync(ALL_LANES, give, 8);
    sum += __shfl_xor_sync(ALL_LANES, sum, 1);
    if ((at.lane & 1) == 0) s.out[at.net][at.half][env][a] = sum;
  }
}

// Player is what the thread of an environment does.
template <class Env, int D, int A> struct Player {
  static_assert(Env::DISCRETE || A == 1, "a continuous action has one dimension here");

  Episode<Env> episode;
  RandomKey key;
  float log_std;
  // The present step's draws: a word, or the action less its mean and its log
  // probability.
  unsigned word;
  float noise, log_prob;

  DEVICE Player(const Params &p, int m, int n)
      : episode(p, m, n), key(random_key(p, m)), word(0), noise(0.f), log_prob(0.f) {
    log_std = Env::DISCRETE ? 0.f : policy(p, m)[p.log_std];
  }

  // show records what the networks see at step t, T after the last, in obs [D] and
  // in the rollout's buffers.
  DEVICE void show(const Params &p, const ObsNorm &norm, int t, float *obs) const {
    float raw[Env::OBS], seen[Env::OBS];
    Env::observe(episode.state, raw);
    norm.seen<Env::OBS>(p, seen, raw);
    const bool last = t == p.steps;
    const long long at = last ? (long long)episode.m * p.environments + episode.n : episode.row(p, t);
    float *const record = f32(last ? p.last_obs : p.obs) + at * Env::OBS;
#pragma unroll
    for (int d = 0; d < Env::OBS; d++) {
      obs[d] = record[d] = seen[d];
      if (p.normalize_observations && !last) f32(p.raw_obs)[at * Env::OBS + d] = raw[d];
    }
  }

  // draw makes step t's random numbers, which need no network: other warps are still
  // at work on the networks meanwhile.
  DEVICE void draw(const Params &p, int t) {
    const RandomAddress at = train_address(p, episode.m, draw_time(episode.updates, p.steps, t), PURPOSE_ACTION);
    if (Env::DISCRETE) {
      word = random_block(key, (unsigned)episode.n, at).x;
    } else {
      const float zero = 0.f;
      log_prob = sample_gaussian(&noise, &zero, &log_std, 1, key, episode.n, at);
    }
  }

  // play acts on the actor's outputs and does step t.
  DEVICE void play(const Params &p, const ObsNorm &norm, int t, const float (&outputs)[A]) {
    const long long at = episode.row(p, t);
    const float action = Env::DISCRETE ? (float)sample_discrete(outputs, A, word, &log_prob) : outputs[0] + noise;
    f32(p.actions)[at] = action;
    f32(p.log_probs)[at] = log_prob;
    episode.step(p, norm, t, bounded<Env>(p, action));
  }
};

// outputs reads an environment's outputs of a network.
template <int D, int A> DEVICE void outputs(const Shared<D, A> &s, const Place &at, const Weights<D, A> &w, float (&y)[A]) {
#pragma unroll
  for (int a = 0; a < A; a++) y[a] = s.out[at.net][0][at.u][a] + s.out[at.net][1][at.u][a] + w.b3[a];
}

// store_value records the value at step t, T after the last.
DEVICE void store_value(const Params &p, int m, int n, int t, float value) {
  if (t < p.steps)
    f32(p.values)[(long long)m * p.rows + (long long)t * p.environments + n] = value;
  else
    f32(p.last_values)[(long long)m * p.environments + n] = value;
}

// play_all is the kernel for one kind of environment.
template <class Env> DEVICE void play_all(const Params &p) {
  const int D = (Env::OBS + 3) / 4 * 4, A = Env::ACTIONS;
  __shared__ Shared<D, A> s;
  const Place at;
  const int m = blockIdx.x, n = (int)blockIdx.y * ENVS + at.u;
  const bool exists = at.u < ENVS && n < p.environments;  // the environment of thread u of either network
  const bool plays = exists && at.net == ACTOR;
  load_w2(s.w2[at.net], p, m, at);
  const Weights<D, A> w(p, m, at);
  if (threadIdx.x < ENVS * D) s.obs[threadIdx.x] = 0.f;
  s.norm.load(p, m);
  __syncthreads();
  // Threads that do not play read the state of the block's first environment: it
  // exists, and no other block writes it.
  Player<Env, D, A> player(p, m, plays ? n : (int)blockIdx.y * ENVS);
  if (plays) player.show(p, s.norm, 0, s.obs + at.u * D);
  __syncthreads();

#pragma unroll 1
  for (int t = 0; t <= p.steps; t++) {
    first_layer(s, p.relu, at, w);
    if (plays && t < p.steps) player.draw(p, t);
    __syncthreads();  // h1
    float z[16], y[A];
    second_layer(s, p.relu, at, w, z);
    output_layer(s, at, w, z);
    __syncthreads();  // outputs
    if (exists) {
      outputs(s, at, w, y);
      if (at.net == CRITIC) store_value(p, m, n, t, y[0]);
      if (plays && t < p.steps) {
        player.play(p, s.norm, t, y);
        player.show(p, s.norm, t + 1, s.obs + at.u * D);
      }
    }
    __syncthreads();  // observations
  }
  if (plays) player.episode.store(p);
}

}  // namespace rollout
