// drive scenario NAME: runs a scenario; exit status 1 and a message if it fails.
// drive kernel NAME GRID BLOCK SHARED: launches a kernel of bugs.cu or fine.cu on
// 256 elements and prints the error of the synchronisation that follows.
// drive bench: prints how long launches and barriers take.
#include "drive.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include <functional>
#include <map>

CUcontext open_context(int device) {
  OK(cuInit(0));
  CUdevice d;
  OK(cuDeviceGet(&d, device));
  CUcontext c;
  OK(cuDevicePrimaryCtxRetain(&c, d));
  OK(cuCtxSetCurrent(c));
  return c;
}

CUmodule load_kernels() {
  CUmodule m;
  OK(cuModuleLoadData(&m, (std::string("SOFTCUDA:") + getenv("SOFTCUDA_KERNELS")).c_str()));
  return m;
}

CUfunction get(CUmodule module, const char *name) {
  CUfunction f;
  OK(cuModuleGetFunction(&f, module, name));
  return f;
}

CUdeviceptr upload(const std::vector<float> &x) {
  CUdeviceptr p;
  OK(cuMemAlloc(&p, x.size() * sizeof(float)));
  OK(cuMemcpyHtoD(p, x.data(), x.size() * sizeof(float)));
  return p;
}

std::vector<float> download(CUdeviceptr p, size_t n) {
  std::vector<float> x(n);
  OK(cuMemcpyDtoH(x.data(), p, n * sizeof(float)));
  return x;
}

CUresult launch(CUfunction f, unsigned grid, unsigned block, CUstream stream, std::vector<void *> values,
                unsigned shared_bytes) {
  return cuLaunchKernel(f, grid, 1, 1, block, 1, 1, shared_bytes, stream, values.data(), nullptr);
}

static const int elements = 256;

struct Pair {  // as in fine.cu
  float scale;
  double add;
  int at[3];
};
static const Pair pair = {2, 0.5, {0, 3, 1}};

static std::vector<float> input() {
  std::vector<float> x(elements);
  for (int i = 0; i < elements; i++) x[i] = (float)((i * 37) % 64 - 20);
  return x;
}

static float sum(const std::vector<float> &x, int from, int to) {
  float s = 0;
  for (int i = from; i < to; i++) s += x[i];
  return s;
}

// What the kernels of fine.cu write to out[i], NAN where they write nothing.
using Expected = std::function<float(const std::vector<float> &in, int i, int block)>;
static const std::map<std::string, Expected> expected = {
    {"fine_warp_tree", [](auto &in, int i, int) { return i == 0 ? sum(in, 0, 64) : NAN; }},
    {"fine_last_block", [](auto &in, int i, int) { return i == 0 ? sum(in, 0, elements) : i == elements - 1 ? 0 : NAN; }},
    {"fine_early_exit", [](auto &, int i, int) { return i < 48 ? 1 : NAN; }},
    {"fine_partial_warp", [](auto &, int i, int block) { return i < block ? 1 : NAN; }},
    {"fine_half_warp", [](auto &in, int i, int) { return i < 16 ? sum(in, 0, 16) : i < 32 ? -in[i] : NAN; }},
    {"fine_transpose", [](auto &in, int i, int) { return in[i % 16 * 16 + i / 16]; }},
    {"fine_bytes", [](auto &, int i, int) { return i < 64 ? 63 - i : NAN; }},
    {"fine_read_meet_write", [](auto &in, int i, int) { return i < 32 ? 2 * in[i ^ 1] + in[i] : NAN; }},
    {"fine_parameters", [](auto &, int i, int block) { return i < block ? (pair.at[(block - 1 - i) % 3] + 1) * 2 + 0.5 : NAN; }},
    {"fine_functions", [](auto &, int i, int block) { return i < block ? 1 : NAN; }},
    {"fine_made_one", [](auto &, int i, int block) { return i < block ? 1 : NAN; }},
    {"fine_made_two", [](auto &, int i, int block) { return i < block ? 2 : NAN; }},
};

static void check_result(const std::string &name, CUdeviceptr out, int block) {
  const auto want = expected.find(name);
  if (want == expected.end()) return;
  const std::vector<float> got = download(out, elements);
  for (int i = 0; i < elements; i++) {
    const float w = want->second(input(), i, block);
    if (isnan(w) || got[i] == w) continue;
    fprintf(stderr, "%s: out[%d] = %g, want %g\n", name.c_str(), i, got[i], w);
    exit(1);
  }
}

static void run_kernel(const std::string &name, unsigned grid, unsigned block, unsigned shared_bytes) {
  open_context();
  CUfunction f = get(load_kernels(), name.c_str());
  CUdeviceptr in = upload(input());
  CUdeviceptr out = upload(std::vector<float>(elements, 0));
  int n = elements;
  Pair p = pair;
  OK(launch(f, grid, block, nullptr, {&in, &out, &n, &p}, shared_bytes));
  const CUresult error = cuCtxSynchronize();
  const char *text = nullptr;
  cuGetErrorName(error, &text);
  printf("%s\n", text);
  if (!error) check_result(name, out, (int)block);
}

// CPU time, so that a busy machine does not matter much. Of one worker it is the
// time of the work.
template <class F>
static double nanoseconds(int times, F f) {
  f();
  const clock_t start = clock();
  for (int i = 0; i < times; i++) f();
  OK(cuCtxSynchronize());
  return 1e9 * (double)(clock() - start) / CLOCKS_PER_SEC / times;
}

static void bench() {
  open_context();
  CUmodule m = load_kernels();
  CUfunction nothing = get(m, "nothing"), barriers = get(m, "barriers");
  int n = 100;
  printf("launch 1x1: %.0f ns\n", nanoseconds(100000, [&] { OK(launch(nothing, 1, 1, nullptr, {})); }));
  printf("launch 64x256: %.0f ns\n", nanoseconds(1000, [&] { OK(launch(nothing, 64, 256, nullptr, {})); }));
  printf("barrier: %.1f ns per thread\n",
         nanoseconds(100, [&] { OK(launch(barriers, 1, 256, nullptr, {&n})); }) / (100 * 256));
}

static void run_scenario(const char *name) {
  for (const auto *list : {&driver_scenarios, &stream_scenarios})
    for (const Scenario &s : *list)
      if (!strcmp(s.name, name)) return s.run();
  fprintf(stderr, "there is no scenario %s\n", name);
  exit(2);
}

int main(int count, char **arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  if (what == "scenario" && count == 3)
    run_scenario(arguments[2]);
  else if (what == "kernel" && count == 6)
    run_kernel(arguments[2], (unsigned)atoi(arguments[3]), (unsigned)atoi(arguments[4]), (unsigned)atoi(arguments[5]));
  else if (what == "bench")
    bench();
  else
    return 2;
  return 0;
}
