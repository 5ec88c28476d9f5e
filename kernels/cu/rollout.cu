// The fused rollout's kernels, one per native environment: see rollout.cuh. Grid
// (P, N/16 rounded up), block 128 threads. On sm_90: 103 to 121 registers a thread,
// no spills, 44,096 to 44,864 bytes of static shared memory, four blocks on a
// multiprocessor (three on sm_80, two on sm_86 and sm_89).
// Counters and episode windows are not touched; FinalValues come from FinalObs
// afterwards.
#include "rollout.cuh"

KERNEL __launch_bounds__(rollout::THREADS, 2) rollout_cartpole(Params p) { rollout::play_all<env::CartPole>(p); }
KERNEL __launch_bounds__(rollout::THREADS, 2) rollout_acrobot(Params p) { rollout::play_all<env::Acrobot>(p); }
KERNEL __launch_bounds__(rollout::THREADS, 2) rollout_mountain_car(Params p) { rollout::play_all<env::MountainCar>(p); }
KERNEL __launch_bounds__(rollout::THREADS, 2) rollout_mountain_car_continuous(Params p) {
  rollout::play_all<env::MountainCarContinuous>(p);
}
KERNEL __launch_bounds__(rollout::THREADS, 2) rollout_pendulum(Params p) { rollout::play_all<env::Pendulum>(p); }
