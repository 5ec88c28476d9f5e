// What the networks gave for the rows of the last launch: their last layers'
// activations.
#pragma once
#include "common.cuh"

// output_width is the number of a network's outputs.
DEVICE int output_width(const Params &p, int net) { return p.net[net].layer[p.net[net].layers - 1].out; }

// output_row is a row of a member's outputs, [output_width].
DEVICE const float *output_row(const Params &p, int net, int m, int row) {
  return f32(p.net[net].activation[p.net[net].layers - 1]) + ((long long)m * p.max_rows + row) * output_width(p, net);
}

// output_value is the value of a row: the mean of the critic's quantiles, or its
// only output.
DEVICE float output_value(const Params &p, int m, int row) {
  const float *x = output_row(p, CRITIC, m, row);
  const int width = output_width(p, CRITIC);
  float sum = 0.f;
  for (int k = 0; k < width; k++) sum += x[k];
  return sum / (float)width;
}
