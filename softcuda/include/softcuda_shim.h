// Lets g++ compile CUDA kernel sources for the host. The build includes it before
// every .cu file; neither NVRTC nor nvcc ever sees it.
#pragma once
#define SOFTCUDA 1

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>

#include "softcuda_abi.h"

#ifdef SOFTCUDA_SCAN
// The build searches the preprocessed text for this mark: kernels may come out
// of macros, so that the source itself does not name them.
#define __global__ softcuda_kernel_here
#else
#define __global__ __attribute__((noinline, used))
#endif
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))

// A block runs on one OS thread, so that its static shared arrays are that
// thread's variables.
#define __shared__ static thread_local
#define DYN_SHARED(T, name) T *const name = (T *)sc_this_block->dynamic

#define threadIdx (sc_this_thread->id)
#define blockIdx (sc_this_block->id)
#define blockDim (sc_this_block->threads)
#define gridDim (sc_this_block->blocks)
static const int warpSize = 32;

#include "softcuda_types.h"
#include "softcuda_warp.h"
#include "softcuda_atomic.h"
#include "softcuda_math.h"

// Registration: for each .cu file the build writes one that defines SC_UNIT, includes
// it, and has SC_KERNEL(name) for each of its kernels and SC_SHARED once.
template <auto F>
struct sc_kernel_of;

template <class... A, void (*F)(A...)>
struct sc_kernel_of<F> {
  template <size_t... I>
  static void spread(void **arguments, std::index_sequence<I...>) {
    F(*(std::remove_cv_t<A> *)arguments[I]...);
  }
  static void call(void **arguments) { spread(arguments, std::index_sequence_for<A...>{}); }
  static constexpr int parameters = sizeof...(A);
  static constexpr uint32_t sizes[] = {(uint32_t)sizeof(A)..., 0};
  static constexpr uint32_t alignments[] = {(uint32_t)alignof(A)..., 0};
};

#define SC_KERNEL(k)                                                                            \
  static const sc_kernel sc_kernel_##k = {#k, SC_UNIT, sc_kernel_of<&k>::call,                  \
                                          sc_kernel_of<&k>::parameters, sc_kernel_of<&k>::sizes, \
                                          sc_kernel_of<&k>::alignments};                        \
  __attribute__((constructor)) static void sc_register_##k() { sc_register(&sc_kernel_##k); }

#define SC_SHARED                                                                  \
  static thread_local volatile char sc_shared_anchor;                              \
  static void sc_touch_shared() { sc_shared_anchor = 0; }                          \
  __attribute__((constructor)) static void sc_register_anchor() { sc_register_shared(sc_touch_shared); }
