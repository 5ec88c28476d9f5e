// The gradients by a linear layer's parameters: dW = dY^T X, db = the sums of dY
// over the rows.
#include "gemm.cuh"

// As many rows as columns: the layers' widths are the tile's both sides, and 64
// is a common one.
#define WEIGHT_ROWS 64

// linear_backward_weight computes for each part of the minibatch the gradients by
// the weights [out][in] and biases [out] of layer into the part's row of
// p.partial. Layer 0 reads its input through r.index.
//
// grid (members * networks * splits * tiles of the weights of the wider network).
KERNEL __launch_bounds__(TILE_THREADS(WEIGHT_ROWS), 6) linear_backward_weight(Params p, Rows r, int layer) {
  __shared__ GemmTiles<WEIGHT_ROWS> shared;
  const int across = tiles_of(p.net[r.first].layer[layer].in, TILE_COLS);
  const int tiles = tiles_of(widest_out(p, r, layer), WEIGHT_ROWS) * across;
  const LinearBlock block = linear_block(r, p.splits * tiles);
  const Layer l = p.net[block.net].layer[layer];
  const int out0 = block.tile % tiles / across * WEIGHT_ROWS, in0 = block.tile % across * TILE_COLS;
  if (out0 >= l.out || skipped(p, r, block.m)) return;

  const int split = block.tile / tiles, from = split * p.split_rows, to = min(r.count, from + p.split_rows);
  AcrossDepth<WEIGHT_ROWS, TILE_THREADS(WEIGHT_ROWS), false> dy = {layer_delta(p, block.m, block.net, layer), l.out, out0, nullptr, 0.f};
  const float *input = layer_input(p, r, block.m, block.net, layer);
  const int *index = row_index(r, block.m, layer);
  const GemmPlace at;
  float c[8][8] = {};
  // The loop twice, instead of a branch at every element.
  if (index) {
    AcrossDepth<TILE_COLS, TILE_THREADS(WEIGHT_ROWS), true> x = {input, l.in, in0, index, 0.f};
    gemm<WEIGHT_ROWS>(c, shared, dy, x, at, from, to);
  } else {
    AcrossDepth<TILE_COLS, TILE_THREADS(WEIGHT_ROWS), false> x = {input, l.in, in0, nullptr, 0.f};
    gemm<WEIGHT_ROWS>(c, shared, dy, x, at, from, to);
  }

  float *part = f32(p.partial) + ((long long)block.m * p.splits + split) * p.policy_size;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int out = out0 + at.row_of(i);
    if (out < l.out) store_row(part + l.weight + (long long)out * l.in, c[i], l.in, in0, at);
  }
  // A thread has put all of one column of dY.
  const int out = out0 + (int)threadIdx.x;
  if (in0 == 0 && out < l.out) part[l.bias + out] = dy.sum;
}
