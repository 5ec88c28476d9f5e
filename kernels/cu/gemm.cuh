// The tiled matrix product of the linear layers' three kernels: C[i][j] is the sum
// over k of A(i, k) B(k, j), for any shape. A block computes ROWS x 64 numbers,
// each thread 8 x 8 of them in registers, in steps of TILE_DEPTH along k: while a
// step is multiplied out of one half of shared memory, the next one is on its way
// from global memory through registers to the other half, so that a step needs one
// barrier. Whatever lies beyond an edge is loaded as 0 and not stored.
//
// Each number is summed by one thread in the order of k: the same bits for every
// ROWS, and however the rows are cut into blocks.
//
// Inside a step every 64 FFMA take 4 LDS.128, free of bank conflicts; of a step's
// instructions, loads and addresses included, 80 % are FFMA in linear_forward, 78 %
// in linear_backward_input, 75 % in linear_backward_weight (sm_90, counted). The kernels'
// bounds leave 168 registers per thread, of which they use 153 to 167 with nothing
// spilled (sm_80, sm_90): 12 warps per multiprocessor. With 128 registers and 16
// warps they spill.
#pragma once
#include "activation.cuh"

#define TILE_COLS 64
#define TILE_DEPTH 16
// A tile in shared memory is [TILE_DEPTH][width + 4]: rows stay aligned for float4,
// and the stores of an operand that is transposed on the way spread over the banks.
#define TILE_PAD 4

// The threads of a block with tiles of ROWS rows: a warp does 32 x 64 numbers.
#define TILE_THREADS(ROWS) ((ROWS) * TILE_COLS / 64)

// row_at is base + row * ld, its product in bytes and without sign: one instruction
// instead of four.
DEVICE const float *row_at(const float *base, int row, int ld) {
  return (const float *)((const char *)base + (unsigned long long)(unsigned)row * (4u * (unsigned)ld));
}

// AlongDepth is an operand whose k is contiguous: element (i, k) lies at
// base[row[i] * ld + k], i < WIDTH. Here and below, fetch loads this thread's
// elements of the step from k, put stores them to a tile, and an i beyond the edge
// repeats the last one: what comes of it is not stored. Only k beyond depth is 0.
template <int WIDTH, int THREADS> struct AlongDepth {
  static const int COUNT = WIDTH * TILE_DEPTH / THREADS;
  const float *base;
  int ld;
  // row [WIDTH] in shared memory: kept in registers, the rows would spill.
  const int *row;

  DEVICE void fetch(float *x, int from, int depth) const {
    const int k = from + (int)threadIdx.x % TILE_DEPTH;
    const float *column = base + k;
#pragma unroll
    for (int e = 0; e < COUNT; e++) {
      const int i = (int)threadIdx.x / TILE_DEPTH + e * (THREADS / TILE_DEPTH);
      x[e] = 0.f;
      if (k < depth) x[e] = __ldg(row_at(column, row[i], ld));
    }
  }

  DEVICE void put(float *tile, const float *x) {
    const int k = (int)threadIdx.x % TILE_DEPTH;
#pragma unroll
    for (int e = 0; e < COUNT; e++)
      tile[k * (WIDTH + TILE_PAD) + (int)threadIdx.x / TILE_DEPTH + e * (THREADS / TILE_DEPTH)] = x[e];
  }
};

// list_rows writes the rows of an AlongDepth operand, first to first+WIDTH-1, those
// from limit on replaced by the last; where index is given, index of these.
template <int WIDTH> DEVICE void list_rows(int *row, int first, int limit, const int *index) {
  for (int i = threadIdx.x; i < WIDTH; i += blockDim.x) {
    const int at = min(first + i, limit - 1);
    row[i] = index ? index[at] : at;
  }
}

// AcrossDepth is an operand whose i is contiguous: element (i, k) lies at
// base[row(k) * ld + first + i], where row(k) is k, or index[k] where INDEXED.
template <int WIDTH, int THREADS, bool INDEXED> struct AcrossDepth {
  static const int COUNT = WIDTH * TILE_DEPTH / THREADS;
  const float *base;
  int ld, first;
  const int *index;
  // sum of the elements this thread has put, all of one i.
  float sum;

  DEVICE void fetch(float *x, int from, int depth) const {
    const float *column = base + min(first + (int)threadIdx.x % WIDTH, ld - 1);
#pragma unroll
    for (int e = 0; e < COUNT; e++) {
      const int k = from + (int)threadIdx.x / WIDTH + e * (THREADS / WIDTH);
      x[e] = 0.f;
      if (k < depth) x[e] = __ldg(row_at(column, INDEXED ? __ldg(index + k) : k, ld));
    }
  }

  DEVICE void put(float *tile, const float *x) {
#pragma unroll
    for (int e = 0; e < COUNT; e++) {
      const int k = (int)threadIdx.x / WIDTH + e * (THREADS / WIDTH);
      tile[k * (WIDTH + TILE_PAD) + (int)threadIdx.x % WIDTH] = x[e];
      sum += x[e];
    }
  }
};

// GemmPlace is which 8 x 8 numbers of the tile are this thread's: rows row + {0..3},
// row + 16 + {0..3}, columns col + {0..3}, col + 32 + {0..3}. Neighbouring lanes
// share a row operand or a column operand, so that both kinds of load need few
// accesses to shared memory.
struct GemmPlace {
  int row, col;
  DEVICE GemmPlace() {
    const int lane = (int)threadIdx.x % 32;
    row = (int)threadIdx.x / 32 * 32 + 4 * (lane >> 1 & 3);
    col = 4 * ((lane & 1) | (lane >> 3 << 1));
  }
  // row_of and col_of are where numbers [i][] and [][j] belong.
  DEVICE int row_of(int i) const { return row + (i & 3) + (i >> 2) * 16; }
  DEVICE int col_of(int j) const { return col + (j & 3) + (j >> 2) * 32; }
};

// load4 and store4 move x[0..3] from and to shared or global memory, 16 bytes
// aligned.
DEVICE void load4(float *x, const float *at) {
  const float4 v = *(const float4 *)at;
  x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
}
DEVICE void store4(float *at, const float *x) { *(float4 *)at = make_float4(x[0], x[1], x[2], x[3]); }

// GemmTiles is a block's shared memory.
template <int ROWS> struct alignas(16) GemmTiles {
  float a[2][TILE_DEPTH * (ROWS + TILE_PAD)];
  float b[2][TILE_DEPTH * (TILE_COLS + TILE_PAD)];
};

// multiply_step adds one step's products to c.
template <int ROWS> DEVICE void multiply_step(float (&c)[8][8], const float *a, const float *b, const GemmPlace &at) {
#pragma unroll
  for (int k = 0; k < TILE_DEPTH; k++) {
    float x[8], y[8];
    load4(x, a + k * (ROWS + TILE_PAD) + at.row);
    load4(x + 4, a + k * (ROWS + TILE_PAD) + at.row + 16);
    load4(y, b + k * (TILE_COLS + TILE_PAD) + at.col);
    load4(y + 4, b + k * (TILE_COLS + TILE_PAD) + at.col + 32);
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
      for (int j = 0; j < 8; j++) c[i][j] = fmaf(x[i], y[j], c[i][j]);
  }
}

// gemm adds the products of k from `from` to depth-1 to c, with the multiply_step
// of At: GemmPlace's, or TensorTile's (linear_tf32.cu).
template <int ROWS, class A, class B, class At>
DEVICE void gemm(float (&c)[8][8], GemmTiles<ROWS> &tiles, A &a, B &b, const At &at, int from, int depth) {
  float x[A::COUNT], y[B::COUNT];
  a.fetch(x, from, depth);
  b.fetch(y, from, depth);
  int half = 0;
#pragma unroll 1
  for (int k = from; k < depth; k += TILE_DEPTH) {
    a.put(tiles.a[half], x);
    b.put(tiles.b[half], y);
    __syncthreads();
    if (k + TILE_DEPTH < depth) {
      a.fetch(x, k + TILE_DEPTH, depth);
      b.fetch(y, k + TILE_DEPTH, depth);
    }
    multiply_step<ROWS>(c, tiles.a[half], tiles.b[half], at);
    half ^= 1;
  }
}

// in_fours says whether all rows of ld floats from `row` on can be moved four
// floats at once.
DEVICE bool in_fours(const float *row, int ld) { return ld % 4 == 0 && ((unsigned long long)row & 15) == 0; }

// load_row and store_row move this thread's eight numbers of the row of ld floats
// at `row`, at at.col_of in the tile that begins at column `first`; those beyond
// the last column are 0 and not stored.
template <class At> DEVICE void load_row(float *x, const float *row, int ld, int first, const At &at) {
  const bool fours = in_fours(row, ld);
#pragma unroll
  for (int j = 0; j < 8; j += 4) {
    const int col = first + at.col_of(j);
    if (fours && col < ld) {
      load4(x + j, row + col);
      continue;
    }
#pragma unroll
    for (int q = 0; q < 4; q++) x[j + q] = col + q < ld ? row[col + q] : 0.f;
  }
}
template <class At> DEVICE void store_row(float *row, const float *x, int ld, int first, const At &at) {
  const bool fours = in_fours(row, ld);
#pragma unroll
  for (int j = 0; j < 8; j += 4) {
    const int col = first + at.col_of(j);
    if (fours && col < ld) {
      store4(row + col, x + j);
      continue;
    }
#pragma unroll
    for (int q = 0; q < 4; q++)
      if (col + q < ld) row[col + q] = x[j + q];
  }
}

// tiles_of is the number of tiles of a size that n rows or columns make.
DEVICE int tiles_of(int n, int size) { return (n + size - 1) / size; }

// LinearBlock is what a block of a linear layer's kernel has: one of the tiles of a
// network of a member. All are counted in blockIdx.x, the tiles fastest: blocks
// that read the same rows run at the same time and find them in the cache.
struct LinearBlock {
  int m, net, tile;
};
DEVICE LinearBlock linear_block(const Rows &r, int tiles) {
  const int nets = r.last - r.first + 1, i = (int)blockIdx.x / tiles;
  return LinearBlock{i / nets, r.first + i % nets, (int)blockIdx.x % tiles};
}

// widest_out is the number of outputs of a layer in the network of r where it has
// most. Its inputs are as many in both.
DEVICE int widest_out(const Params &p, const Rows &r, int layer) {
  return max(p.net[r.first].layer[layer].out, p.net[r.last].layer[layer].out);
}

// skipped says whether there is nothing to do: the rows are a minibatch's, and
// target_kl has stopped the member's update.
DEVICE bool skipped(const Params &p, const Rows &r, int m) { return r.index != 0 && stopped(p, m); }

// layer_input is the input of a member's layer, [count][layer.in]: rows of r, or
// what the layer before gave.
DEVICE const float *layer_input(const Params &p, const Rows &r, int m, int net, int layer) {
  if (layer == 0) return f32(r.input) + m * r.stride;
  return f32(p.net[net].activation[layer - 1]) + (long long)m * p.max_rows * p.net[net].layer[layer].in;
}

// layer_delta is the gradient by a member's output of a layer, [count][layer.out].
// The buffers' rows are layer.out apart, their members max_out.
DEVICE float *layer_delta(const Params &p, int m, int net, int layer) {
  return f32(p.net[net].delta[layer % 2]) + (long long)m * p.max_rows * p.net[net].max_out;
}

// row_index is the index of a member's rows, for layer 0; else 0.
DEVICE const int *row_index(const Rows &r, int m, int layer) {
  return layer == 0 && r.index ? as<int>(r.index) + m * r.index_stride : nullptr;
}
