// The native environments on the device: the physics and first states of the
// package env, one environment per thread, its state in registers. Everything is
// float32 where that agrees with the float64 of the package env to 1e-5 relative
// plus 1e-5 absolute: doubles run at 1/64 of the speed on most GPUs. Only Acrobot's
// step needs more.
//
// Every environment is a struct of constants and static functions:
//   STATE, OBS                        S and D
//   ACTIONS, DISCRETE                 A, and whether an action is one of A choices
//   HYPER                             the number of its hyperparameters
//   reset(state, stream)              the first state of an episode
//   observe(state, obs)               the raw observation
//   step(state, action, terminated)   advances the state, returns the reward; action
//                                     is the choice, or clipped to the bounds
//   shaped(state, action, weights,    step, and the shaping reward under the
//     shaping, terminated)            hyperparameters [HYPER]; only where HYPER > 0
// NaN in a state or an action stays NaN, as in the package env: within, unlike
// fminf and fmaxf, does not replace it.
#pragma once
#include "activation.cuh"
#include "rng.cuh"

namespace env {

const float PI = 3.14159265f;

// sine is r + r^3 sine_tail(r^2) and cosine 1 - r^2/2 + r^4 cosine_tail(r^2) on
// [-pi/4, pi/4]: the minimax polynomials of Cephes' sinf and cosf.
DEVICE float sine_tail(float q) { return fmaf(q, fmaf(q, -1.9515295891e-4f, 8.3321608736e-3f), -1.6666654611e-1f); }
DEVICE float cosine_tail(float q) {
  return fmaf(q, fmaf(q, 2.443315711809948e-5f, -1.388731625493765e-3f), 4.166664568298827e-2f);
}

// from_quarter turns sine s and cosine c of an angle into those of k pi/2 more.
template <class T> DEVICE void from_quarter(int k, T s, T c, T *sine, T *cosine) {
  const T a = k & 1 ? c : s, b = k & 1 ? s : c;
  *sine = k & 2 ? -a : a;
  *cosine = (k + 1) & 2 ? -b : b;
}

// sine_cosine computes both for |x| < 1e5, within 1e-7. A multiple of pi/2 is
// subtracted in three parts (Cody and Waite). sincosf would bring along a path for
// huge angles that needs local memory.
DEVICE void sine_cosine(float x, float *sine, float *cosine) {
  const float k = rintf(x * 0.636619772f);
  float r = fmaf(k, -1.57079625f, x);
  r = fmaf(k, -7.54978942e-8f, r);
  r = fmaf(k, -5.39030295e-15f, r);
  const float q = r * r;
  const float s = fmaf(r * q, sine_tail(q), r), c = fmaf(q * q, cosine_tail(q), fmaf(q, -0.5f, 1.0f));
  from_quarter((int)k, s, c, sine, cosine);
}

// The same for a double |x| < 100, within 1e-8: only the tails are float32.
DEVICE void sine_cosine(double x, double *sine, double *cosine) {
  const float k = rintf((float)x * 0.636619772f);
  const double r = fma(-(double)k, 1.5707963267948966, x), q = r * r;
  const double s = fma(r * q, (double)sine_tail((float)q), r), c = fma(q * q, (double)cosine_tail((float)q), fma(q, -0.5, 1.0));
  from_quarter((int)k, s, c, sine, cosine);
}

// reciprocal is 1/x within 1e-13, by one step of Newton's method from float32.
DEVICE double reciprocal(double x) {
  const double y = (double)(1.0f / (float)x);
  return y * fma(-x, y, 2.0);
}

// wrap_angle subtracts the whole turns: the result is in [-pi, pi].
DEVICE float wrap_angle(float x) {
  const float k = rintf(x * 0.159154943f);
  return fmaf(k, 1.74845553e-7f, fmaf(k, -6.28318548f, x));
}

struct CartPole {
  static const int STATE = 4, OBS = 4, ACTIONS = 2, HYPER = 0;
  static const bool DISCRETE = true;

  static DEVICE void reset(float *s, RandomStream &r) {
    s[0] = r.between(-0.05f, 0.05f);
    s[1] = r.between(-0.05f, 0.05f);
    s[2] = r.between(-0.05f, 0.05f);
    s[3] = r.between(-0.05f, 0.05f);
  }

  static DEVICE void observe(const float *s, float *obs) {
#pragma unroll
    for (int c = 0; c < 4; c++) obs[c] = s[c];
  }

  // Position, its velocity, the pole's angle and its velocity, by Euler's method.
  static DEVICE float step(float *s, float action, bool *terminated) {
    const float total = 1.1f, mass_length = 0.05f, tau = 0.02f;
    const float force = action == 1.0f ? 10.0f : -10.0f;
    float sine, cosine;
    sine_cosine(s[2], &sine, &cosine);
    const float push = (force + mass_length * s[3] * s[3] * sine) / total;
    const float angular = (9.8f * sine - cosine * push) / (0.5f * (4.0f / 3.0f - 0.1f * cosine * cosine / total));
    const float linear = push - mass_length * angular * cosine / total;
    s[0] = fmaf(tau, s[1], s[0]);
    s[1] = fmaf(tau, linear, s[1]);
    s[2] = fmaf(tau, s[3], s[2]);
    s[3] = fmaf(tau, angular, s[3]);
    *terminated = fabsf(s[0]) > 2.4f || fabsf(s[2]) > 0.209439510f;  // 12 degrees
    return 1.0f;
  }
};

struct Acrobot {
  static const int STATE = 4, OBS = 6, ACTIONS = 3, HYPER = 0;
  static const bool DISCRETE = true;

  static DEVICE void reset(float *s, RandomStream &r) {
    s[0] = r.between(-0.1f, 0.1f);
    s[1] = r.between(-0.1f, 0.1f);
    s[2] = r.between(-0.1f, 0.1f);
    s[3] = r.between(-0.1f, 0.1f);
  }

  static DEVICE void observe(const float *s, float *obs) {
    sine_cosine(s[0], &obs[1], &obs[0]);
    sine_cosine(s[1], &obs[3], &obs[2]);
    obs[4] = s[2];
    obs[5] = s[3];
  }

  // The derivatives d of both angles and both velocities by the equations of motion
  // of Sutton and Barto's book, with all masses, lengths and inertias put in.
  static DEVICE void derivative(const double *s, double torque, double *d) {
    double sin1, sin2, cos2, sin12, unused;
    sine_cosine(s[1], &sin2, &cos2);
    sine_cosine(s[0], &sin1, &unused);
    sine_cosine(s[0] + s[1], &sin12, &unused);
    const double d1 = 3.5 + cos2, d2 = 1.25 + 0.5 * cos2;
    const double phi2 = 4.9 * sin12;
    const double phi1 = -s[3] * (0.5 * s[3] + s[2]) * sin2 + 14.7 * sin1 + phi2;
    const double inverse = reciprocal(d1), ratio = d2 * inverse;
    d[0] = s[2];
    d[1] = s[3];
    d[3] = (torque + ratio * phi1 - 0.5 * s[2] * s[2] * sin2 - phi2) * reciprocal(1.25 - d2 * ratio);
    d[2] = -(d2 * d[3] + phi1) * inverse;
  }

  // One step of 0.2 s of the classical Runge-Kutta method. It is done in double: in
  // float32 the rounding errors of the first stages grow to 1e-4 at high velocities.
  static DEVICE float step(float *state, float action, bool *terminated) {
    const double torque = (double)action - 1.0;
    double s[4], sum[4], k[4], at[4];
#pragma unroll
    for (int c = 0; c < 4; c++) s[c] = at[c] = (double)state[c], sum[c] = 0.0;
#pragma unroll 1
    for (int stage = 0; stage < 4; stage++) {
      derivative(at, torque, k);
      const double weight = stage == 0 || stage == 3 ? 1.0 : 2.0, h = stage == 2 ? 0.2 : 0.1;
#pragma unroll
      for (int c = 0; c < 4; c++) {
        sum[c] = fma(weight, k[c], sum[c]);
        at[c] = fma(h, k[c], s[c]);
      }
    }
#pragma unroll
    for (int c = 0; c < 4; c++) s[c] = fma(0.2 / 6.0, sum[c], s[c]);
#pragma unroll
    for (int c = 0; c < 2; c++) {
      const float turns = rintf((float)s[c] * 0.159154943f);
      state[c] = (float)fma(-(double)turns, 6.283185307179586, s[c]);
    }
    state[2] = within((float)s[2], -4.0f * PI, 4.0f * PI);
    state[3] = within((float)s[3], -9.0f * PI, 9.0f * PI);
    float cos1, cos12, unused;
    sine_cosine(state[0], &unused, &cos1);
    sine_cosine(state[0] + state[1], &unused, &cos12);
    *terminated = -cos1 - cos12 > 1.0f;
    return *terminated ? 0.0f : -1.0f;
  }
};

// The valley of both mountain cars: position and velocity after a push. The wall on
// the left stops the car; the one on the right only holds it.
struct Valley {
  static const int STATE = 2, OBS = 2;

  static DEVICE void reset(float *s, RandomStream &r) {
    s[0] = r.between(-0.6f, -0.4f);
    s[1] = 0.0f;
  }

  static DEVICE void observe(const float *s, float *obs) {
    obs[0] = s[0];
    obs[1] = s[1];
  }

  static DEVICE void move(float *s, float push) {
    float unused, cosine;
    sine_cosine(3.0f * s[0], &unused, &cosine);
    s[1] = within(s[1] + (push - 0.0025f * cosine), -0.07f, 0.07f);
    s[0] = within(s[0] + s[1], -1.2f, 0.6f);
    if (s[0] == -1.2f && s[1] < 0.0f) s[1] = 0.0f;
  }
};

struct MountainCar : Valley {
  static const int ACTIONS = 3, HYPER = 1;
  static const bool DISCRETE = true;

  static DEVICE float step(float *s, float action, bool *terminated) {
    move(s, (action - 1.0f) * 0.001f);
    *terminated = s[0] >= 0.5f && s[1] >= 0.0f;
    return -1.0f;
  }

  // 1000 times the mechanical energy by mass: 0.5 v^2 and the potential whose
  // gradient is the valley's 0.0025 cos(3x).
  static DEVICE float energy(const float *s) {
    float sine, unused;
    sine_cosine(3.0f * s[0], &sine, &unused);
    return fmaf(500.0f * s[1], s[1], (2.5f / 3.0f) * sine);
  }

  static DEVICE float shaped(float *s, float action, const float *weights, float *shaping, bool *terminated) {
    const float before = energy(s), reward = step(s, action, terminated);
    *shaping = weights[0] * (energy(s) - before);
    return reward;
  }
};

struct MountainCarContinuous : Valley {
  static const int ACTIONS = 1, HYPER = 0;
  static const bool DISCRETE = false;

  // An action outside the bounds pushes no harder, but costs what it says.
  static DEVICE float step(float *s, float action, bool *terminated) {
    move(s, within(action, -1.0f, 1.0f) * 0.0015f);
    *terminated = s[0] >= 0.45f && s[1] >= 0.0f;
    return (*terminated ? 100.0f : 0.0f) - 0.1f * action * action;
  }
};

struct Pendulum {
  static const int STATE = 2, OBS = 3, ACTIONS = 1, HYPER = 0;
  static const bool DISCRETE = false;

  static DEVICE void reset(float *s, RandomStream &r) {
    s[0] = r.between(-PI, PI);
    s[1] = r.between(-1.0f, 1.0f);
  }

  static DEVICE void observe(const float *s, float *obs) {
    sine_cosine(s[0], &obs[1], &obs[0]);
    obs[2] = s[1];
  }

  // 0.05 s by the semi-implicit Euler method; the angle is not wrapped.
  static DEVICE float step(float *s, float action, bool *terminated) {
    const float torque = within(action, -2.0f, 2.0f), angle = wrap_angle(s[0]);
    const float cost = angle * angle + 0.1f * s[1] * s[1] + 0.001f * torque * torque;
    float sine, unused;
    sine_cosine(s[0], &sine, &unused);
    s[1] = within(fmaf(15.0f * sine + 3.0f * torque, 0.05f, s[1]), -8.0f, 8.0f);
    s[0] = fmaf(s[1], 0.05f, s[0]);
    *terminated = false;
    return -cost;
  }
};

}  // namespace env
