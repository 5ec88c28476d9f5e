// The 64x64 products of the fused update on the tensor cores. Their factors are
// rounded to tf32 when they are stored to shared memory, once for all that read
// them: the weights and activations of layer 1, and layer 2's delta. So db2 and
// layer 1's derivative come from rounded numbers too; everything else is float32.
//
// A tile's rows are 4 banks apart. All loads of factors are free of conflicts, by
// the choice of which k and which columns a lane has: the 32 lanes are in the banks
// 4 g + q, 8 q + g, or 4 q + (g & 3) + 16 (g >> 2), all different. Only what
// first_delta does with layer 1's numbers, once per tile, takes twice the accesses.
#pragma once
#include "tf32.cuh"
#include "update_fused.cuh"

namespace fused {

// TensorPlace is the part of a product of 64x64 that a thread has: rows row + 8 i,
// i < 4, and 16 columns, in pairs column(n), column(n) + 1, n < 8. Number [n][2 i + j]
// is that of row row + 8 i and column column(n) + j.
struct TensorPlace : Thread, Lane {
  int row;  // a warp has its own 32 rows
  DEVICE TensorPlace() : row(32 * warp + g) {}

  // The columns of layer 2's numbers, [row][unit]. Of the eight columns of fragment n
  // number i is spread(n, i): a lane loads the weights of spread(n, g).
  DEVICE int spread(int n, int i) const { return (n & 3) * 4 + (n >> 2) * 32 + (i & 3) + (i >> 2) * 16; }
  DEVICE int column(int n) const { return spread(n, 2 * q); }
};

DEVICE float factor(const TensorPlace &, float x) { return to_tf32(x); }

// second_layer: z = b2 + h1 w2, then the activation.
template <int D> DEVICE void second_layer(const Shared<D> &s, int relu, const TensorPlace &at, float (&z)[8][8]) {
#pragma unroll
  for (int n = 0; n < 8; n++) {
    const float2 bias = *(const float2 *)(s.b2 + at.column(n));
#pragma unroll
    for (int i = 0; i < 8; i += 2) z[n][i] = bias.x, z[n][i + 1] = bias.y;
  }
#pragma unroll 2
  for (int k = 0; k < TILE; k += 8) {
    float a[2][4], b[8][2];
#pragma unroll
    for (int i = 0; i < 8; i++) a[i / 4][i % 4] = s.h1[(at.row + 16 * (i / 4) + 8 * (i % 2)) * LD + k + at.q + i % 4 / 2 * 4];
#pragma unroll
    for (int n = 0; n < 8; n++) {
      b[n][0] = s.w2[(k + at.q) * LD + at.spread(n, at.g)];
      b[n][1] = s.w2[(k + at.q + 4) * LD + at.spread(n, at.g)];
    }
    mma<2, 8>(z, a, b);
  }
#pragma unroll
  for (int n = 0; n < 8; n++) activate8(relu, z[n]);
}

// store_rows writes a thread's numbers of layer 2.
DEVICE void store_rows(float *tile, const TensorPlace &at, const float (&z)[8][8]) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int n = 0; n < 8; n++)
      *(float2 *)(tile + (at.row + 8 * i) * LD + at.column(n)) = make_float2(z[n][2 * i], z[n][2 * i + 1]);
}

// second_delta turns z, the activations of layer 2, into the gradient by what went
// into them, as the products take it.
template <int D, int A> DEVICE void second_delta(const Shared<D> &s, int relu, const TensorPlace &at, float (&z)[8][8]) {
  float d[4][A];
#pragma unroll
  for (int i = 0; i < 4; i++) load_few<A>(d[i], s.delta + (at.row + 8 * i) * LD + PAD);
#pragma unroll
  for (int n = 0; n < 8; n++) {
    float w[2][A], dz[8];
#pragma unroll
    for (int j = 0; j < 2; j++) load_few<A>(w[j], s.w2 + (at.column(n) + j) * LD + PAD);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      dz[i] = d[i / 2][0] * w[i % 2][0];
#pragma unroll
      for (int a = 1; a < A; a++) dz[i] = fmaf(d[i / 2][a], w[i % 2][a], dz[i]);
    }
    deactivate8(relu, dz, z[n]);
#pragma unroll
    for (int i = 0; i < 8; i++) z[n][i] = factor(at, dz[i]);
  }
}

// second_weights: dW2 += h1^T delta. Number [n][2 i + j] is that of unit
// row + 8 i of layer 1 and unit 8 n + 2 q + j of layer 2; rows r + 2 q and
// r + 2 q + 1 are a step's k = q and q + 4.
template <int D> DEVICE void second_weights(const Shared<D> &s, const TensorPlace &at, float (&dw)[8][8]) {
#pragma unroll 2
  for (int r = 0; r < TILE; r += 8) {
    float a[2][4], b[8][2];
#pragma unroll
    for (int i = 0; i < 8; i++) a[i / 4][i % 4] = s.h1[(r + 2 * at.q + i % 4 / 2) * LD + at.row + 16 * (i / 4) + 8 * (i % 2)];
#pragma unroll
    for (int n = 0; n < 8; n++) {
      b[n][0] = s.delta[(r + 2 * at.q) * LD + 8 * n + at.g];
      b[n][1] = s.delta[(r + 2 * at.q + 1) * LD + 8 * n + at.g];
    }
    mma<2, 8>(dw, a, b);
  }
}

// store_weights writes second_weights' numbers, transposed: [unit of layer 2]
// [unit of layer 1].
DEVICE void store_weights(float *tile, const TensorPlace &at, const float (&dw)[8][8]) {
#pragma unroll
  for (int i = 0; i < 64; i++) tile[(8 * (i / 8) + 2 * at.q + i % 2) * LD + at.row + 8 * (i % 8 / 2)] = dw[i / 8][i % 8];
}

// first_delta: z = delta w2^T, the gradient by layer 1's activations, then by what
// went into them. A thread's units are 8 n + 2 q and the next.
template <int D> DEVICE void first_delta(const Shared<D> &s, int relu, const TensorPlace &at, float (&z)[8][8]) {
#pragma unroll
  for (int i = 0; i < 64; i++) z[i / 8][i % 8] = 0.f;
#pragma unroll 2
  for (int k = 0; k < TILE; k += 8) {
    float a[2][4], b[8][2];
#pragma unroll
    for (int i = 0; i < 8; i++) a[i / 4][i % 4] = s.delta[(at.row + 16 * (i / 4) + 8 * (i % 2)) * LD + k + at.q + i % 4 / 2 * 4];
#pragma unroll
    for (int n = 0; n < 8; n++) {
      b[n][0] = s.w2[(8 * n + at.g) * LD + k + at.q];
      b[n][1] = s.w2[(8 * n + at.g) * LD + k + at.q + 4];
    }
    mma<2, 8>(z, a, b);
  }
#pragma unroll
  for (int n = 0; n < 8; n++) {
    float h[8];
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
      const float2 pair = *(const float2 *)(s.h1 + (at.row + 4 * i) * LD + 8 * n + 2 * at.q);
      h[i] = pair.x, h[i + 1] = pair.y;
    }
    deactivate8(relu, z[n], h);
  }
}

// store_units writes first_delta's numbers.
DEVICE void store_units(float *tile, const TensorPlace &at, const float (&z)[8][8]) {
#pragma unroll
  for (int n = 0; n < 8; n++)
#pragma unroll
    for (int i = 0; i < 8; i += 2)
      *(float2 *)(tile + (at.row + 4 * i) * LD + 8 * n + 2 * at.q) = make_float2(z[n][i], z[n][i + 1]);
}

}  // namespace fused
