// The small program that calls the driver for softcuda_test.go.
#pragma once
#include <cuda.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <string>
#include <vector>

// WANT ends the program where a call does not return what it should.
#define WANT(expected, call)                                                                            \
  do {                                                                                                  \
    const int got = (int)(call);                                                                        \
    if (got != (int)(expected)) {                                                                       \
      fprintf(stderr, "%s:%d: %s returned %d, want %d\n", __FILE__, __LINE__, #call, got, (int)(expected)); \
      exit(1);                                                                                          \
    }                                                                                                   \
  } while (0)
#define OK(call) WANT(CUDA_SUCCESS, call)
#define TRUE(condition) WANT(true, condition)

// What libcuda.so.1 exports besides the driver's functions.
extern "C" {
uint64_t softcuda_calls();
int softcuda_reports();
void softcuda_fail_call(uint64_t k, int code);
uint64_t softcuda_live_bytes();
uint64_t softcuda_copied(int kind);
}

// open_context initialises and makes a context on a device current.
CUcontext open_context(int device = 0);
// load_kernels loads all kernels of SOFTCUDA_KERNELS.
CUmodule load_kernels();
CUfunction get(CUmodule module, const char *name);
CUdeviceptr upload(const std::vector<float> &x);
std::vector<float> download(CUdeviceptr p, size_t n);
// launch starts kernel(values...) on a stream.
CUresult launch(CUfunction f, unsigned grid, unsigned block, CUstream stream, std::vector<void *> values,
                unsigned shared_bytes = 0);

// A scenario returns if all is as it should be.
struct Scenario {
  const char *name;
  void (*run)();
};
extern const std::vector<Scenario> driver_scenarios, stream_scenarios;
