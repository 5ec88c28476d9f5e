#include "launch.h"

#include <string.h>

#include <algorithm>

#include "block.h"
#include "config.h"
#include "module.h"
#include "report.h"
#include "stream.h"

static CUresult check(const Function &f, dim3 grid, dim3 block, uint32_t shared_bytes) {
  const char *name = f.kernel->name();
  const uint64_t threads = (uint64_t)block.x * block.y * block.z;
  const char *wrong = nullptr;
  if (!grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z)
    wrong = "has a dimension of 0";
  else if (grid.x > 2147483647 || grid.y > 65535 || grid.z > 65535)
    wrong = "has too many blocks: at most 2147483647 x 65535 x 65535";
  else if (block.x > 1024 || block.y > 1024 || block.z > 64 || threads > 1024)
    wrong = "has too large blocks: at most 1024 threads, 64 in z";
  else if (threads > f.max_threads)
    wrong = "has more threads in a block than its __launch_bounds__";
  else if (shared_bytes > f.max_dynamic_bytes)
    wrong = "has more dynamic shared memory than it was allowed by cuFuncSetAttribute";
  if (!wrong) return CUDA_SUCCESS;
  report("launch of kernel %s %s: grid (%u,%u,%u), block (%u,%u,%u), %u bytes", name, wrong, grid.x, grid.y, grid.z,
         block.x, block.y, block.z, shared_bytes);
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult make_launch(Context &context, CUfunction handle, dim3 grid, dim3 block, uint32_t shared_bytes,
                     void *const *values, std::shared_ptr<const Launch> *result) {
  const Function *function = find_function(context, handle);
  RETURN_IF(!function, CUDA_ERROR_INVALID_HANDLE);
  if (CUresult error = check(*function, grid, block, shared_bytes)) return error;
  const sc_kernel &k = *function->kernel->entry;
  RETURN_IF(k.parameters && !values, CUDA_ERROR_INVALID_VALUE);
  auto launch = std::make_shared<Launch>();
  launch->kernel = function->kernel;
  launch->function = function;
  launch->context = &context;
  launch->grid = grid;
  launch->block = block;
  launch->shared_bytes = shared_bytes;
  size_t words = 0;
  for (int i = 0; i < k.parameters; i++) words += (k.sizes[i] + 15) / 16 * 2;
  launch->storage.resize(words + 1);
  uint64_t *at = launch->storage.data();
  if ((uintptr_t)at % 16) at++;
  for (int i = 0; i < k.parameters; i++) {
    RETURN_IF(!values[i], CUDA_ERROR_INVALID_VALUE);
    memcpy(at, values[i], k.sizes[i]);
    launch->arguments.push_back(at);
    at += (k.sizes[i] + 15) / 16 * 2;
  }
  *result = std::move(launch);
  return CUDA_SUCCESS;
}

API(cuLaunchKernel, (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                     unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream_handle, void **values,
                     void **extra)) {
  ENTER(CONTEXT);
  RETURN_IF(extra, CUDA_ERROR_NOT_SUPPORTED);
  Stream *stream = find_stream(*call.context, stream_handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  Op op;
  op.type = CU_GRAPH_NODE_TYPE_KERNEL;
  if (CUresult error = make_launch(*call.context, function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z},
                                   shared_bytes, values, &op.launch))
    return error;
  return submit(*stream, std::move(op), Wait::NO);
}

// Functions' attributes.

API(cuFuncGetAttribute, (int *value, CUfunction_attribute attribute, CUfunction handle)) {
  ENTER(CONTEXT);
  const Function *f = find_function(*call.context, handle);
  RETURN_IF(!f, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(!value, CUDA_ERROR_INVALID_VALUE);
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = (int)f->max_threads; break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = (int)f->kernel->static_shared_bytes; break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = (int)f->max_dynamic_bytes; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = config().compute_capability; break;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: *value = 0; break;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

API(cuFuncSetAttribute, (CUfunction handle, CUfunction_attribute attribute, int value)) {
  ENTER(CONTEXT);
  Function *f = find_function(*call.context, handle);
  RETURN_IF(!f, CUDA_ERROR_INVALID_HANDLE);
  if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) return CUDA_SUCCESS;
  RETURN_IF(attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(value < 0 || value + f->kernel->static_shared_bytes > MAX_SHARED_BYTES, CUDA_ERROR_INVALID_VALUE);
  f->max_dynamic_bytes = (uint32_t)value;
  return CUDA_SUCCESS;
}

API(cuFuncSetCacheConfig, (CUfunction handle, CUfunc_cache)) {
  ENTER(CONTEXT);
  return find_function(*call.context, handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult occupancy(const Context &context, int *blocks, CUfunction handle, int threads, size_t dynamic_bytes) {
  const Function *f = find_function(context, handle);
  RETURN_IF(!f, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(!blocks || threads < 1 || threads > 1024, CUDA_ERROR_INVALID_VALUE);
  const int warps = (threads + WARP_LANES - 1) / WARP_LANES;
  const size_t shared = f->kernel->static_shared_bytes + dynamic_bytes + 1024;  // reserved per block
  *blocks = std::min({32, 64 / warps, (int)((MAX_SHARED_BYTES + 1024) / shared)});
  return CUDA_SUCCESS;
}

API(cuOccupancyMaxActiveBlocksPerMultiprocessor, (int *blocks, CUfunction function, int threads, size_t dynamic_bytes)) {
  ENTER(CONTEXT);
  return occupancy(*call.context, blocks, function, threads, dynamic_bytes);
}

API(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags,
    (int *blocks, CUfunction function, int threads, size_t dynamic_bytes, unsigned)) {
  ENTER(CONTEXT);
  return occupancy(*call.context, blocks, function, threads, dynamic_bytes);
}
