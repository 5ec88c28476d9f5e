// The learning rate's schedule.
#pragma once
#include "common.cuh"

// learning_rate is host.State.LearningRate of member m: that of the update after
// the updates counted in its state, which does not change within an update.
DEVICE float learning_rate(const Params &p, int m) {
  const float rate = hyper(p, m, HYPER_LEARNING_RATE);
  if (!p.linear_schedule) return rate;
  const double left = 1 - (double)updates(p, m) / (double)p.total_updates;
  return (float)((double)rate * (left < 0 ? 0 : left));
}
