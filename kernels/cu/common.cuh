// What every kernel shares. The same source is compiled by NVRTC for the device
// and by g++ through softcuda's shim for tests, so: no standard headers, kernels
// are extern "C" and take scalars and the structs of params.cuh by value, dynamic
// shared memory is named by DYN_SHARED, and warp functions are the _sync ones.
#pragma once
#include "params.cuh"

#ifndef SOFTCUDA
#define DYN_SHARED(T, name) extern __shared__ __align__(16) unsigned char name##_bytes[]; T *const name = (T *)name##_bytes
#define NAN_F __int_as_float(0x7fffffff)
#define INF_F __int_as_float(0x7f800000)
#else
#define NAN_F __builtin_nanf("")
#define INF_F __builtin_inff()
#endif

#define KERNEL extern "C" __global__ void
#define DEVICE __device__ __forceinline__
#define ALL_LANES 0xffffffffu

// Buffers of Params by element type.
template <class T> DEVICE T *as(unsigned long long address) { return (T *)address; }
DEVICE float *f32(unsigned long long address) { return (float *)address; }
DEVICE double *f64(unsigned long long address) { return (double *)address; }

// Parts of member m's state; offset is one of p.offset, in bytes.
template <class T> DEVICE T *state(const Params &p, int m, int offset) {
  return (T *)(p.state + (unsigned long long)(m * p.stride + offset));
}
DEVICE float *policy(const Params &p, int m) { return state<float>(p, m, p.offset.policy); }
DEVICE float hyper(const Params &p, int m, int h) { return *state<float>(p, m, p.offset.hyperparameters + 64 * h); }
DEVICE long long updates(const Params &p, int m) { return *state<long long>(p, m, p.offset.updates); }
DEVICE bool stopped(const Params &p, int m) { return as<Progress>(p.progress)[m].stopped != 0; }
