// The native environments one step at a time, for networks too large for the fused
// rollout. One thread per environment; grid (P, N/128 rounded up), block 128, 12 to
// 56 registers a thread, no spills, 64 bytes of static shared memory. A
// rollout is env_observe, then for every step: normalise StageObs, run the
// networks, draw the actions, env_step.
#include "episode.cuh"

namespace env {

const int THREADS = 128;

// stage leaves an environment's raw observation in StageObs.
template <class Env> DEVICE void stage(const Params &p, const Episode<Env> &e) {
  float obs[Env::OBS];
  Env::observe(e.state, obs);
  float *const staged = f32(p.stage_obs) + ((long long)e.m * p.environments + e.n) * Env::OBS;
#pragma unroll
  for (int d = 0; d < Env::OBS; d++) staged[d] = obs[d];
}

template <class Env> DEVICE void observe_all(const Params &p) {
  const int m = blockIdx.x, n = (int)blockIdx.y * THREADS + threadIdx.x;
  if (n < p.environments) stage(p, Episode<Env>(p, m, n));
}

// step_all does step t with the actions of its rows.
template <class Env> DEVICE void step_all(const Params &p, int t) {
  __shared__ ObsNorm norm;
  const int m = blockIdx.x, n = (int)blockIdx.y * THREADS + threadIdx.x;
  norm.load(p, m);
  __syncthreads();
  if (n >= p.environments) return;
  Episode<Env> e(p, m, n);
  e.step(p, norm, t, bounded<Env>(p, f32(p.actions)[e.row(p, t)]));
  e.store(p);
  stage(p, e);
}

}  // namespace env

KERNEL env_observe_cartpole(Params p) { env::observe_all<env::CartPole>(p); }
KERNEL env_observe_acrobot(Params p) { env::observe_all<env::Acrobot>(p); }
KERNEL env_observe_mountain_car(Params p) { env::observe_all<env::MountainCar>(p); }
KERNEL env_observe_mountain_car_continuous(Params p) { env::observe_all<env::MountainCarContinuous>(p); }
KERNEL env_observe_pendulum(Params p) { env::observe_all<env::Pendulum>(p); }

KERNEL env_step_cartpole(Params p, int t) { env::step_all<env::CartPole>(p, t); }
KERNEL env_step_acrobot(Params p, int t) { env::step_all<env::Acrobot>(p, t); }
KERNEL env_step_mountain_car(Params p, int t) { env::step_all<env::MountainCar>(p, t); }
KERNEL env_step_mountain_car_continuous(Params p, int t) { env::step_all<env::MountainCarContinuous>(p, t); }
KERNEL env_step_pendulum(Params p, int t) { env::step_all<env::Pendulum>(p, t); }
