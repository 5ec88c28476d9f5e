// Matrix products on the tensor cores: float32 numbers rounded to tf32, which has
// float32's exponent and 10 bits of mantissa, multiplied exactly and added up in
// float32. Devices of compute capability 8.0 and later have them.
//
// The host has the same functions: its threads exchange their fragments through
// shared memory and add the products in the order of k. A tensor core adds the
// eight products of a step in an order of its own, and may cut bits off beyond
// float32's: equal in every run on one kind of device, not from kind to kind.
#pragma once
#include "common.cuh"

// TENSOR_CORES is the body of a kernel that uses them. PTX for devices before 8.0
// must not name the instruction, or no kernel of the image could be loaded there:
// it gets a body that stops with an error, which Kernels.TF32 lets nobody reach.
#if defined(SOFTCUDA) || __CUDA_ARCH__ >= 800
#define TENSOR_CORES(body) body
#else
#define TENSOR_CORES(body) __trap()
#endif

// to_tf32 rounds to the nearest number of tf32, half away from 0. A NaN stays one.
DEVICE float to_tf32(float x) {
#ifdef SOFTCUDA
  return x != x ? x : __uint_as_float((__float_as_uint(x) + 0x1000u) & 0xffffe000u);
#elif __CUDA_ARCH__ >= 800
  unsigned y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return __uint_as_float(y);
#else
  return x;
#endif
}

// The fragments of one step C += A B of a warp, A 16x8, B 8x8, C 16x8 (PTX ISA,
// mma.m16n8k8). Lane 4 g + q, g < 8, q < 4, has
//
//   a[0] = A(g, q), a[1] = A(g + 8, q), a[2] = A(g, q + 4), a[3] = A(g + 8, q + 4)
//   b[0] = B(q, g), b[1] = B(q + 4, g)
//   c[0] = C(g, 2q), c[1] = C(g, 2q + 1), c[2] = C(g + 8, 2q), c[3] = C(g + 8, 2q + 1)
//
// Which number of a longer sum is a step's k = q or q + 4 is free, as long as A and
// B agree; so is which row or column of a larger product has which place. That is
// how the callers avoid bank conflicts.
struct Lane {
  int g, q;
  DEVICE Lane() : g((int)threadIdx.x % 32 / 4), q((int)threadIdx.x % 4) {}
};

#ifndef SOFTCUDA

// mma adds a step's products, of numbers rounded to tf32, for M by N fragments:
// c[n] has the four numbers of fragment (i, n) from 4 i on.
template <int M, int N> DEVICE void mma(float (&c)[N][4 * M], const float (&a)[M][4], const float (&b)[N][2]) {
#if __CUDA_ARCH__ >= 800
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int i = 0; i < M; i++)
      asm volatile(
          "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c[n][4 * i]), "+f"(c[n][4 * i + 1]), "+f"(c[n][4 * i + 2]), "+f"(c[n][4 * i + 3])
          : "r"(__float_as_uint(a[i][0])), "r"(__float_as_uint(a[i][1])), "r"(__float_as_uint(a[i][2])),
            "r"(__float_as_uint(a[i][3])), "r"(__float_as_uint(b[n][0])), "r"(__float_as_uint(b[n][1])));
#endif
}

#else

// TF32_WARPS is the most warps a block of a kernel here has, on the host.
#define TF32_WARPS 4

// seen is what a tensor core takes of a factor: it does not look at the bits that
// tf32 lacks.
DEVICE float seen(float x) { return x != x ? x : __uint_as_float(__float_as_uint(x) & 0xffffe000u); }

template <int M, int N> DEVICE void mma(float (&c)[N][4 * M], const float (&a)[M][4], const float (&b)[N][2]) {
  __shared__ float as[TF32_WARPS][M][16][8], bs[TF32_WARPS][N][8][8];  // [warp][fragment][row][k]; [..][k][column]
  const int warp = (int)threadIdx.x / 32;
  const Lane l;
  for (int i = 0; i < M; i++)
    for (int e = 0; e < 4; e++) as[warp][i][l.g + e % 2 * 8][l.q + e / 2 * 4] = seen(a[i][e]);
  for (int n = 0; n < N; n++)
    for (int e = 0; e < 2; e++) bs[warp][n][l.q + e * 4][l.g] = seen(b[n][e]);
  __syncwarp();
  for (int n = 0; n < N; n++)
    for (int e = 0; e < 4 * M; e++)
      for (int k = 0; k < 8; k++)
        c[n][e] = fmaf(as[warp][e / 4][l.g + e % 4 / 2 * 8][k], bs[warp][n][k][2 * l.q + e % 2], c[n][e]);
  __syncwarp();
}

#endif
