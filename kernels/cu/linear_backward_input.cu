// The gradient by a linear layer's input: dX = (dY W) act'(X).
#include "gemm.cuh"

#define BACKWARD_ROWS 128

// linear_backward_input computes, from the gradient by what layer gives, that by
// what went into the activation function before it: [count][in] into
// net.delta[(layer-1) % 2]. layer >= 1.
//
// grid (members * networks * row tiles * column tiles).
KERNEL __launch_bounds__(TILE_THREADS(BACKWARD_ROWS), 3) linear_backward_input(Params p, Rows r, int layer) {
  __shared__ GemmTiles<BACKWARD_ROWS> shared;
  __shared__ int rows[BACKWARD_ROWS];
  const int across = tiles_of(p.net[r.first].layer[layer].in, TILE_COLS);
  const LinearBlock block = linear_block(r, tiles_of(r.count, BACKWARD_ROWS) * across);
  const Layer l = p.net[block.net].layer[layer];
  const int row0 = block.tile / across * BACKWARD_ROWS, col0 = block.tile % across * TILE_COLS;
  if (skipped(p, r, block.m)) return;
  list_rows<BACKWARD_ROWS>(rows, row0, r.count, nullptr);
  __syncthreads();

  AlongDepth<BACKWARD_ROWS, TILE_THREADS(BACKWARD_ROWS)> dy = {layer_delta(p, block.m, block.net, layer), l.out, rows};
  AcrossDepth<TILE_COLS, TILE_THREADS(BACKWARD_ROWS), false> w = {policy(p, block.m) + l.weight, l.in, col0, nullptr, 0.f};
  const GemmPlace at;
  float c[8][8] = {};
  gemm<BACKWARD_ROWS>(c, shared, dy, w, at, 0, l.out);

  const float *x = layer_input(p, r, block.m, block.net, layer);
  float *dx = layer_delta(p, block.m, block.net, layer - 1);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int row = row0 + at.row_of(i);
    if (row >= r.count) continue;
    float y[8];
    load_row(y, x + (long long)row * l.in, l.in, col0, at);
#pragma unroll
    for (int j = 0; j < 8; j++) c[i][j] = deactivate(p.relu, c[i][j], y[j]);
    store_row(dx + (long long)row * l.in, c[i], l.in, col0, at);
  }
}
