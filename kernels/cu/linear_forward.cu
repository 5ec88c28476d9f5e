// A linear layer and its activation function: Y = act(X W^T + b).
#include "gemm.cuh"

#define FORWARD_ROWS 128

// linear_forward computes what layer gives for the rows of r: [count][out] into
// net.activation[layer], the last layer's without activation function. Layer 0
// reads its input through r.index where that is given.
//
// grid (members * networks * row tiles * column tiles of the wider network).
KERNEL __launch_bounds__(TILE_THREADS(FORWARD_ROWS), 3) linear_forward(Params p, Rows r, int layer) {
  __shared__ GemmTiles<FORWARD_ROWS> shared;
  __shared__ int rows[FORWARD_ROWS], units[TILE_COLS];
  const int across = tiles_of(widest_out(p, r, layer), TILE_COLS);
  const LinearBlock block = linear_block(r, tiles_of(r.count, FORWARD_ROWS) * across);
  const Network &net = p.net[block.net];
  const Layer l = net.layer[layer];
  const int row0 = block.tile / across * FORWARD_ROWS, col0 = block.tile % across * TILE_COLS;
  if (col0 >= l.out || skipped(p, r, block.m)) return;

  list_rows<FORWARD_ROWS>(rows, row0, r.count, row_index(r, block.m, layer));
  list_rows<TILE_COLS>(units, col0, l.out, nullptr);
  __syncthreads();

  const float *theta = policy(p, block.m);
  AlongDepth<FORWARD_ROWS, TILE_THREADS(FORWARD_ROWS)> x = {layer_input(p, r, block.m, block.net, layer), l.in, rows};
  AlongDepth<TILE_COLS, TILE_THREADS(FORWARD_ROWS)> w = {theta + l.weight, l.in, units};
  const GemmPlace at;
  float c[8][8];
#pragma unroll
  for (int j = 0; j < 8; j++) {
    const int col = col0 + at.col_of(j);
    const float bias = col < l.out ? theta[l.bias + col] : 0.f;
#pragma unroll
    for (int i = 0; i < 8; i++) c[i][j] = bias;
  }
  gemm<FORWARD_ROWS>(c, shared, x, w, at, 0, l.in);

  float *y = f32(net.activation[layer]) + (long long)block.m * p.max_rows * l.out;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int row = row0 + at.row_of(i);
    if (row >= r.count) continue;
    if (layer < net.layers - 1) activate8(p.relu, c[i]);
    store_row(y + (long long)row * l.out, c[i], l.out, col0, at);
  }
}
