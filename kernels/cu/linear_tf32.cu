// The linear layers' three products on the tensor cores, with the contracts, grids
// and blocks of linear_forward.cu, linear_backward_input.cu and
// linear_backward_weight.cu. The factors are rounded to tf32 on their way to shared
// memory; sums, biases and activation functions are float32. So each number is
// what the rounded factors give, to float32's precision.
//
// 158 to 168 registers and 17 to 26 KB of shared memory, nothing spilled (sm_80,
// sm_90): 12 warps per multiprocessor, as of the float32 kernels. With 128 registers
// and 16 warps they spill.
#include "gemm.cuh"
#include "tf32.cuh"

// Rounded is an operand (see gemm.cuh) whose numbers are rounded when they are put.
template <class Operand> struct Rounded : Operand {
  // sum of what was put, before rounding.
  float sum;

  DEVICE Rounded(const Operand &o) : Operand(o), sum(0.f) {}
  DEVICE void put(float *tile, const float *x) {
    float y[Operand::COUNT];
#pragma unroll
    for (int e = 0; e < Operand::COUNT; e++) {
      y[e] = to_tf32(x[e]);
      sum += x[e];
    }
    Operand::put(tile, y);
  }
};

// TensorTile is which 8 x 8 numbers of the tile are this thread's: rows row to
// row + 3, and of each the 16 columns 8 q + {0..7} and these plus 32. c[n][i] is
// number n of eight, of half i % 2 of row row + i / 2.
struct TensorTile : Lane {
  int row;
  DEVICE TensorTile() : row((int)threadIdx.x / 32 * 32 + 4 * g) {}
  DEVICE int row_of(int i) const { return row + i / 2; }

  // Half is half of a thread's numbers of a row, as load_row and store_row take them.
  struct Half {
    int col;
    DEVICE int col_of(int n) const { return col + (n & 3) + (n >> 2) * 32; }
  };
  DEVICE Half half(int i) const { return Half{8 * q + 4 * (i % 2)}; }
};

// multiply_step adds one step's products to c. A lane's rows 4 g + {0..3} are the
// places g and g + 8 of two fragments, and its columns 4 g + {0..3} and these plus
// 32 the places g of eight: it loads four numbers at once. The k of a fragment's
// places q and q + 4 are 2 q and 2 q + 1, which puts the eight lanes that are served
// together into different banks.
template <int ROWS> DEVICE void multiply_step(float (&c)[8][8], const float *a, const float *b, const TensorTile &at) {
#pragma unroll
  for (int k = 0; k < TILE_DEPTH; k += 8) {
    float x[2][4], y[8][2];
#pragma unroll
    for (int e = 0; e < 2; e++) {
      float rows[4], columns[8];
      load4(rows, a + (k + 2 * at.q + e) * (ROWS + TILE_PAD) + at.row);
      load4(columns, b + (k + 2 * at.q + e) * (TILE_COLS + TILE_PAD) + 4 * at.g);
      load4(columns + 4, b + (k + 2 * at.q + e) * (TILE_COLS + TILE_PAD) + 32 + 4 * at.g);
#pragma unroll
      for (int i = 0; i < 4; i++) x[i / 2][2 * e + i % 2] = rows[i];
#pragma unroll
      for (int n = 0; n < 8; n++) y[n][e] = columns[n];
    }
    mma<2, 8>(c, x, y);
  }
}

// half_row copies the eight numbers [][i].
DEVICE void half_row(float *x, const float (&c)[8][8], int i) {
#pragma unroll
  for (int n = 0; n < 8; n++) x[n] = c[n][i];
}

namespace tensor {

const int ROWS = 128;  // of a block's tile of Y and dX
const int OUTS = 64;   // of a block's tile of dW
const int THREADS = TILE_THREADS(ROWS), WEIGHT_THREADS = TILE_THREADS(OUTS);

// forward: see linear_forward.cu.
DEVICE void forward(const Params &p, const Rows &r, int layer) {
  __shared__ GemmTiles<ROWS> shared;
  __shared__ int rows[ROWS], units[TILE_COLS];
  const int across = tiles_of(widest_out(p, r, layer), TILE_COLS);
  const LinearBlock block = linear_block(r, tiles_of(r.count, ROWS) * across);
  const Network &net = p.net[block.net];
  const Layer l = net.layer[layer];
  const int row0 = block.tile / across * ROWS, col0 = block.tile % across * TILE_COLS;
  if (col0 >= l.out || skipped(p, r, block.m)) return;

  list_rows<ROWS>(rows, row0, r.count, row_index(r, block.m, layer));
  list_rows<TILE_COLS>(units, col0, l.out, nullptr);
  __syncthreads();

  const float *theta = policy(p, block.m);
  Rounded<AlongDepth<ROWS, THREADS>> x({layer_input(p, r, block.m, block.net, layer), l.in, rows});
  Rounded<AlongDepth<TILE_COLS, THREADS>> w({theta + l.weight, l.in, units});
  const TensorTile at;
  float c[8][8];
#pragma unroll
  for (int i = 0; i < 64; i++) {
    const int col = col0 + at.half(i % 8).col_of(i / 8);
    c[i / 8][i % 8] = col < l.out ? theta[l.bias + col] : 0.f;
  }
  gemm<ROWS>(c, shared, x, w, at, 0, l.in);

  float *y = f32(net.activation[layer]) + (long long)block.m * p.max_rows * l.out;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int row = row0 + at.row_of(i);
    if (row >= r.count) continue;
    float z[8];
    half_row(z, c, i);
    if (layer < net.layers - 1) activate8(p.relu, z);
    store_row(y + (long long)row * l.out, z, l.out, col0, at.half(i));
  }
}

// backward_input: see linear_backward_input.cu.
DEVICE void backward_input(const Params &p, const Rows &r, int layer) {
  __shared__ GemmTiles<ROWS> shared;
  __shared__ int rows[ROWS];
  const int across = tiles_of(p.net[r.first].layer[layer].in, TILE_COLS);
  const LinearBlock block = linear_block(r, tiles_of(r.count, ROWS) * across);
  const Layer l = p.net[block.net].layer[layer];
  const int row0 = block.tile / across * ROWS, col0 = block.tile % across * TILE_COLS;
  if (skipped(p, r, block.m)) return;
  list_rows<ROWS>(rows, row0, r.count, nullptr);
  __syncthreads();

  Rounded<AlongDepth<ROWS, THREADS>> dy({layer_delta(p, block.m, block.net, layer), l.out, rows});
  Rounded<AcrossDepth<TILE_COLS, THREADS, false>> w({policy(p, block.m) + l.weight, l.in, col0, nullptr, 0.f});
  const TensorTile at;
  float c[8][8] = {};
  gemm<ROWS>(c, shared, dy, w, at, 0, l.out);

  const float *x = layer_input(p, r, block.m, block.net, layer);
  float *dx = layer_delta(p, block.m, block.net, layer - 1);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int row = row0 + at.row_of(i);
    if (row >= r.count) continue;
    float y[8], d[8];
    load_row(y, x + (long long)row * l.in, l.in, col0, at.half(i));
    half_row(d, c, i);
#pragma unroll
    for (int n = 0; n < 8; n++) d[n] = deactivate(p.relu, d[n], y[n]);
    store_row(dx + (long long)row * l.in, d, l.in, col0, at.half(i));
  }
}

// backward_weight: see linear_backward_weight.cu. The biases' gradients are sums of
// dY as it is.
DEVICE void backward_weight(const Params &p, const Rows &r, int layer) {
  __shared__ GemmTiles<OUTS> shared;
  const int across = tiles_of(p.net[r.first].layer[layer].in, TILE_COLS);
  const int tiles = tiles_of(widest_out(p, r, layer), OUTS) * across;
  const LinearBlock block = linear_block(r, p.splits * tiles);
  const Layer l = p.net[block.net].layer[layer];
  const int out0 = block.tile % tiles / across * OUTS, in0 = block.tile % across * TILE_COLS;
  if (out0 >= l.out || skipped(p, r, block.m)) return;

  const int split = block.tile / tiles, from = split * p.split_rows, to = min(r.count, from + p.split_rows);
  Rounded<AcrossDepth<OUTS, WEIGHT_THREADS, false>> dy({layer_delta(p, block.m, block.net, layer), l.out, out0, nullptr, 0.f});
  const float *input = layer_input(p, r, block.m, block.net, layer);
  const int *index = row_index(r, block.m, layer);
  const TensorTile at;
  float c[8][8] = {};
  // The loop twice, instead of a branch at every element.
  if (index) {
    Rounded<AcrossDepth<TILE_COLS, WEIGHT_THREADS, true>> x({input, l.in, in0, index, 0.f});
    gemm<OUTS>(c, shared, dy, x, at, from, to);
  } else {
    Rounded<AcrossDepth<TILE_COLS, WEIGHT_THREADS, false>> x({input, l.in, in0, nullptr, 0.f});
    gemm<OUTS>(c, shared, dy, x, at, from, to);
  }

  float *part = f32(p.partial) + ((long long)block.m * p.splits + split) * p.policy_size;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int out = out0 + at.row_of(i);
    if (out >= l.out) continue;
    float dw[8];
    half_row(dw, c, i);
    store_row(part + l.weight + (long long)out * l.in, dw, l.in, in0, at.half(i));
  }
  // A thread has put all of one column of dY.
  const int out = out0 + (int)threadIdx.x;
  if (in0 == 0 && out < l.out) part[l.bias + out] = dy.sum;
}

}  // namespace tensor

KERNEL __launch_bounds__(tensor::THREADS, 3) linear_forward_tf32(Params p, Rows r, int layer) {
  TENSOR_CORES(tensor::forward(p, r, layer));
}

KERNEL __launch_bounds__(tensor::THREADS, 3) linear_backward_input_tf32(Params p, Rows r, int layer) {
  TENSOR_CORES(tensor::backward_input(p, r, layer));
}

KERNEL __launch_bounds__(tensor::WEIGHT_THREADS, 6) linear_backward_weight_tf32(Params p, Rows r, int layer) {
  TENSOR_CORES(tensor::backward_weight(p, r, layer));
}
