// Drawing actions: kernels/plain/sample.go. Whether a row's outputs lie in
// registers or in memory is the caller's choice.
#pragma once
#include "loss.cuh"
#include "rng.cuh"

// sample_discrete draws a choice by inversion of the distribution function with
// one word, and returns it with its log probability.
DEVICE int sample_discrete(const float *logits, int actions, unsigned word, float *log_prob) {
  float top = logits[0], sum = 0.f;
#pragma unroll
  for (int a = 1; a < actions; a++) top = logits[a] > top ? logits[a] : top;
#pragma unroll
  for (int a = 0; a < actions; a++) sum += expf(logits[a] - top);
  const float target = uniform(word) * sum;
  float cumulative = 0.f;
  int choice = 0;
#pragma unroll
  for (int a = 0; a < actions - 1; a++) {
    cumulative += expf(logits[a] - top);
    if (cumulative <= target) choice++;
  }
  float chosen = logits[0];
#pragma unroll
  for (int a = 1; a < actions; a++)
    if (a == choice) chosen = logits[a];
  *log_prob = chosen - top - logf(sum);
  return choice;
}

// sample_gaussian writes mean + exp(log_std) noise to action [actions] and returns
// its log probability. n is the environment, at the address of the step's draws.
DEVICE float sample_gaussian(float *action, const float *mean, const float *log_std, int actions, RandomKey key, int n,
                             RandomAddress at) {
  float log_prob = 0.f;
#pragma unroll
  for (int from = 0; from < actions; from += 4) {
    const float4 four = action_noise(key, n, from / 4, actions, at);
    const float noise[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int a = from + i;
      if (a >= actions) break;
      action[a] = fmaf(expf(log_std[a]), noise[i], mean[a]);
      log_prob -= fmaf(0.5f * noise[i], noise[i], log_std[a] + HALF_LOG_2PI);
    }
  }
  return log_prob;
}

// best_discrete is the most probable choice, the first of equals.
DEVICE int best_discrete(const float *logits, int actions) {
  float top = logits[0];
  int best = 0;
#pragma unroll
  for (int a = 1; a < actions; a++)
    if (logits[a] > top) {
      top = logits[a];
      best = a;
    }
  return best;
}
