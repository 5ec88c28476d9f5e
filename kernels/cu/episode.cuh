// What one thread does for one native environment around its step: the fused
// rollout (rollout.cuh) and the stepwise one (env_step.cu) keep the same books,
// those of kernels/plain/collect.go.
#pragma once
#include "env.cuh"
#include "normalize.cuh"

// ObsNorm is how observations are normalised: mean and 1/std [D] in shared memory,
// the member's statistics, which an iteration leaves as they are.
struct ObsNorm {
  float mean[FUSED_OBS], scale[FUSED_OBS];

  // load is done by the block's first D threads; a barrier must follow.
  DEVICE void load(const Params &p, int m) {
    const int d = threadIdx.x;
    if (d >= p.obs_dim) return;
    const bool on = p.normalize_observations != 0;
    mean[d] = on ? state<float>(p, m, p.offset.obs_mean)[d] : 0.f;
    scale[d] = on ? inv_std(state<float>(p, m, p.offset.obs_var)[d]) : 1.f;
  }

  // seen writes what the networks see of a raw observation, which may be the same.
  template <int D> DEVICE void seen(const Params &p, float *dst, const float *obs) const {
#pragma unroll
    for (int d = 0; d < D; d++) dst[d] = p.normalize_observations ? normalized(obs[d] - mean[d], scale[d]) : obs[d];
  }
};

// Episode is an environment's state and what is kept of its unfinished episode.
template <class Env> struct Episode {
  static_assert(Env::OBS <= FUSED_OBS, "ObsNorm has too few features");

  int m, n;  // member and environment
  float state[Env::STATE];
  float ret, length;  // so far, of true rewards
  float discounted;   // the reward normaliser's running return
  float gamma, reward_scale;
  float weights[Env::HYPER > 0 ? Env::HYPER : 1];  // the environment's hyperparameters, and whether any is not 0
  bool shaped;
  long long updates;

  DEVICE Episode(const Params &p, int m, int n)
      : m(m), n(n), gamma(1.f), reward_scale(1.f), shaped(false), updates(::updates(p, m)) {
    const float *s = ::state<float>(p, m, p.offset.env_state) + n;
#pragma unroll
    for (int c = 0; c < Env::STATE; c++) state[c] = s[c * p.environments];
    ret = ::state<float>(p, m, p.offset.episode_return)[n];
    length = ::state<float>(p, m, p.offset.episode_length)[n];
    discounted = ::state<float>(p, m, p.offset.discounted_return)[n];
    if (p.normalize_rewards) {
      gamma = hyper(p, m, HYPER_GAMMA);
      reward_scale = inv_std(*::state<float>(p, m, p.offset.reward_var));
    }
#pragma unroll
    for (int h = 0; h < Env::HYPER; h++) {
      weights[h] = hyper(p, m, HYPER_ENVIRONMENT + h);
      shaped = shaped || weights[h] != 0.f;
    }
  }

  // store writes it back to the member's state.
  DEVICE void store(const Params &p) const {
    float *s = ::state<float>(p, m, p.offset.env_state) + n;
#pragma unroll
    for (int c = 0; c < Env::STATE; c++) s[c * p.environments] = state[c];
    ::state<float>(p, m, p.offset.episode_return)[n] = ret;
    ::state<float>(p, m, p.offset.episode_length)[n] = length;
    ::state<float>(p, m, p.offset.discounted_return)[n] = discounted;
  }

  // row is the index of the environment's row of step t in the rollout's buffers.
  DEVICE long long row(const Params &p, int t) const { return (long long)m * p.rows + (long long)t * p.environments + n; }

  // step does step t with an action within the bounds, records what came of it and
  // begins a new episode where one ended.
  DEVICE void step(const Params &p, const ObsNorm &norm, int t, float action) {
    const long long at = row(p, t);
    bool terminated;
    float shaping = 0.f;
    const float reward = move(action, &shaping, &terminated);
    ret += reward;
    length += 1.f;
    const bool truncated = !terminated && p.max_episode_steps > 0 && length >= (float)p.max_episode_steps;
    as<unsigned char>(p.flags)[at] = (terminated ? TERMINATED : 0) | (truncated ? TRUNCATED : 0);
    record_reward(p, at, reward + shaping);
    if (truncated) {
      float obs[Env::OBS];
      Env::observe(state, obs);
      norm.seen<Env::OBS>(p, f32(p.final_obs) + at * Env::OBS, obs);
    }
    if (terminated || truncated) {
      f32(p.finished_return)[at] = ret;
      f32(p.finished_length)[at] = length;
      ret = length = discounted = 0.f;
      RandomStream stream = reset_stream(p, m, n, draw_time(updates, p.steps, t + 1));
      Env::reset(state, stream);
    }
  }

  // move advances the environment and returns the true reward; shaping is left alone
  // where all weights are 0.
  DEVICE float move(float action, float *shaping, bool *terminated) {
    if constexpr (Env::HYPER > 0) {
      if (shaped) return Env::shaped(state, action, weights, shaping, terminated);
    }
    return Env::step(state, action, terminated);
  }

  // record_reward records the reward as the algorithm sees it.
  DEVICE void record_reward(const Params &p, long long at, float reward) {
    if (p.normalize_rewards) {
      discounted = fmaf(gamma, discounted, reward);
      f32(p.discounted)[at] = discounted;
      reward = normalized(reward, reward_scale);
    }
    f32(p.rewards)[at] = reward;
  }
};

// bounded is a row's action as the environment gets it.
template <class Env> DEVICE float bounded(const Params &p, float action) {
  return Env::DISCRETE ? action : within(action, f32(p.action_low)[0], f32(p.action_high)[0]);
}
