// The same sources can be compiled by NVRTC.
#pragma once
#ifndef SOFTCUDA
#define DYN_SHARED(T, name) \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  T *const name = (T *)name##_bytes
#endif
#define KERNEL extern "C" __global__ void
#define ALL_LANES 0xffffffffu
