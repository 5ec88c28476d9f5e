// Modules: images of device code. What is run is the host's kernel of each name.
#pragma once
#include <cuda.h>
#include <stdint.h>

#include <map>
#include <string>
#include <vector>

#include "driver.h"
#include "library.h"

struct Function {
  const Context *context = nullptr;
  const HostKernel *kernel = nullptr;
  uint32_t max_threads = 1024;  // of a block, by __launch_bounds__
  uint32_t max_dynamic_bytes = 0;
};

struct Module {
  const Context *context = nullptr;
  std::map<std::string, Function> functions;
};

// find_function finds a function of one of the context's modules, null for none.
Function *find_function(const Context &context, CUfunction handle);
void release_modules(Context &context);

// A kernel as an image declares it.
struct ImageKernel {
  std::string name;
  std::vector<uint32_t> sizes;  // of the parameters, in bytes
  uint32_t max_threads = 1024;
};

// parse_image reads an image, and refuses one that the device cannot run. Text
// ends with a zero byte, as cuModuleLoadData wants it.
CUresult parse_image(const char *image, std::vector<ImageKernel> *kernels);
