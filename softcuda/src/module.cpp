#include "module.h"

#include <stdio.h>
#include <string.h>

#include <algorithm>

#include "block.h"
#include "report.h"
#include "stream.h"

namespace {

Handles<Module> modules;
std::unordered_map<const void *, Function *> functions;  // by handle

// An image that begins so names a library of kernels instead: all of them, without
// PTX to compare with. For softcuda's own tests.
const char library_prefix[] = "SOFTCUDA:";

void add_function(Module &module, const HostKernel &kernel, uint32_t max_threads) {
  Function &f = module.functions[kernel.name()];
  f.context = module.context;
  f.kernel = &kernel;
  f.max_threads = max_threads;
  const size_t statics = std::min<size_t>(kernel.static_shared_bytes, DEFAULT_SHARED_BYTES);
  f.max_dynamic_bytes = DEFAULT_SHARED_BYTES - (uint32_t)statics;
}

std::string sizes_text(const uint32_t *sizes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; i++) text += format("%s%u", i ? ", " : "", sizes[i]);
  return "(" + text + ")";
}

// The kernels that run were compiled from the sources of today, the image perhaps
// from others.
CUresult add_kernel(Module &module, const ImageKernel &of_image) {
  const char *name = of_image.name.c_str();
  const HostKernel *kernel = find_kernel(of_image.name);
  if (!kernel) {
    report("the image's kernel %s is not in the libraries of kernels", name);
    return CUDA_ERROR_INVALID_IMAGE;
  }
  const sc_kernel &k = *kernel->entry;
  if ((int)of_image.sizes.size() != k.parameters || !std::equal(of_image.sizes.begin(), of_image.sizes.end(), k.sizes)) {
    report("kernel %s: the image's parameters have the sizes %s, the source's %s", name,
           sizes_text(of_image.sizes.data(), of_image.sizes.size()).c_str(),
           sizes_text(k.sizes, (size_t)k.parameters).c_str());
    return CUDA_ERROR_INVALID_IMAGE;
  }
  add_function(module, *kernel, of_image.max_threads);
  return CUDA_SUCCESS;
}

CUresult add_library(Module &module, const char *path) {
  const Library *library = load_library(path);
  RETURN_IF(!library, CUDA_ERROR_FILE_NOT_FOUND);
  for (const auto &[name, kernel] : library->kernels) add_function(module, kernel, 1024);
  return CUDA_SUCCESS;
}

CUresult load(Context &context, CUmodule *result, const char *image) {
  RETURN_IF(!result || !image, CUDA_ERROR_INVALID_VALUE);
  if (CUresult error = refuse_while_capturing(context)) return error;
  auto module = std::make_unique<Module>();
  module->context = &context;
  if (!strncmp(image, library_prefix, strlen(library_prefix))) {
    if (CUresult error = add_library(*module, image + strlen(library_prefix))) return error;
  } else {
    std::vector<ImageKernel> kernels;
    if (CUresult error = parse_image(image, &kernels)) return error;
    for (const ImageKernel &kernel : kernels)
      if (CUresult error = add_kernel(*module, kernel)) return error;
  }
  for (auto &[name, function] : module->functions) functions[&function] = &function;
  *result = (CUmodule)modules.add(std::move(module));
  return CUDA_SUCCESS;
}

void forget_functions(const Module &module) {
  for (const auto &[name, function] : module.functions) functions.erase(&function);
}

}  // namespace

Function *find_function(const Context &context, CUfunction handle) {
  const auto i = functions.find(handle);
  return i != functions.end() && i->second->context == &context ? i->second : nullptr;
}

void release_modules(Context &context) {
  modules.remove_if([&](const Module &module) {
    if (module.context != &context) return false;
    forget_functions(module);
    return true;
  });
}

API(cuModuleLoadData, (CUmodule * module, const void *image)) {
  ENTER(CONTEXT);
  return load(*call.context, module, (const char *)image);
}

// The compiler's options have no meaning here.
API(cuModuleLoadDataEx, (CUmodule * module, const void *image, unsigned, CUjit_option *, void **)) {
  ENTER(CONTEXT);
  return load(*call.context, module, (const char *)image);
}

API(cuModuleLoad, (CUmodule * module, const char *path)) {
  ENTER(CONTEXT);
  RETURN_IF(!path, CUDA_ERROR_INVALID_VALUE);
  FILE *file = fopen(path, "rb");
  RETURN_IF(!file, CUDA_ERROR_FILE_NOT_FOUND);
  std::string image;
  char part[65536];
  while (size_t n = fread(part, 1, sizeof part, file)) image.append(part, n);
  fclose(file);
  return load(*call.context, module, image.c_str());
}

API(cuModuleUnload, (CUmodule handle)) {
  ENTER(CONTEXT);
  const Module *module = modules.find(handle);
  RETURN_IF(!module, CUDA_ERROR_INVALID_HANDLE);
  flush_all(*call.context);
  forget_functions(*module);
  modules.remove(handle);
  return call.context->broken;
}

API(cuModuleGetFunction, (CUfunction * result, CUmodule handle, const char *name)) {
  ENTER(CONTEXT);
  Module *module = modules.find(handle);
  RETURN_IF(!module, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(!result || !name, CUDA_ERROR_INVALID_VALUE);
  const auto f = module->functions.find(name);
  RETURN_IF(f == module->functions.end(), CUDA_ERROR_NOT_FOUND);
  *result = (CUfunction)&f->second;
  return CUDA_SUCCESS;
}

API(cuFuncGetParamInfo, (CUfunction handle, size_t index, size_t *offset, size_t *bytes)) {
  ENTER(CONTEXT);
  const Function *function = find_function(*call.context, handle);
  RETURN_IF(!function, CUDA_ERROR_INVALID_HANDLE);
  const sc_kernel &k = *function->kernel->entry;
  RETURN_IF(!offset || index >= (size_t)k.parameters, CUDA_ERROR_INVALID_VALUE);
  size_t end = 0;
  for (size_t i = 0; i <= index; i++) {
    *offset = (end + k.alignments[i] - 1) / k.alignments[i] * k.alignments[i];
    end = *offset + k.sizes[i];
  }
  if (bytes) *bytes = k.sizes[index];
  return CUDA_SUCCESS;
}
