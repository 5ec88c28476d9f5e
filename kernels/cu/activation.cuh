// The activation functions of hidden layers, and small functions of one number.
#pragma once
#include "common.cuh"

#define LOG2_E 1.4426950408889634f

// ex2 is 2^x and rcp is 1/x, one instruction each, with a relative error below
// 2^-22. Volatile: the compiler would otherwise move each beside its use and so
// lose the overlap that activate8 arranges.
#ifndef SOFTCUDA
DEVICE float ex2(float x) {
  float y;
  asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float rcp(float x) {
  float y;
  asm volatile("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#else
DEVICE float ex2(float x) { return exp2f(x); }
DEVICE float rcp(float x) { return 1.f / x; }
#endif

// within holds x within [low, high] and keeps a NaN, which fminf and fmaxf would
// turn into a bound.
DEVICE float within(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

// activate8 applies the activation function to eight numbers: relu, or
// tanh(x) = 1 - 2/(1 + e^2x), which saturates by itself and is off by less
// than 4e-7 (absolute, not relative: near 0 too). The eight go through each stage
// together, so that their latencies overlap. A NaN stays one.
DEVICE void activate8(int relu, float *x) {
  if (relu) {
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = x[i] < 0.f ? 0.f : x[i];
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) x[i] = ex2(x[i] * (2.f * LOG2_E));
#pragma unroll
  for (int i = 0; i < 8; i++) x[i] = rcp(1.f + x[i]);
#pragma unroll
  for (int i = 0; i < 8; i++) x[i] = fmaf(-2.f, x[i], 1.f);
}

// activate is activate8 for one number.
DEVICE float activate(int relu, float x) {
  if (relu) return x < 0.f ? 0.f : x;
  return fmaf(-2.f, rcp(1.f + ex2(x * (2.f * LOG2_E))), 1.f);
}

// deactivate turns the gradient d by an activation y into that by what went into
// the activation function.
DEVICE float deactivate(int relu, float d, float y) {
  if (relu) return y <= 0.f ? 0.f : d;
  return d * fmaf(-y, y, 1.f);
}
