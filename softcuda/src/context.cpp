// Contexts: which one the calling OS thread works in.
#include "driver.h"
#include "event.h"
#include "memory.h"
#include "module.h"
#include "report.h"
#include "stream.h"

namespace {

Handles<Context> contexts;
thread_local std::vector<CUcontext> current_stack;

Context *make_context(Device &device, unsigned flags) {
  auto context = std::make_unique<Context>();
  context->device = &device;
  context->flags = flags;
  context->null_stream = std::make_shared<Stream>();
  context->null_stream->context = context.get();
  return contexts.add(std::move(context));
}

void destroy(Context &context) {
  release_modules(context);
  release_events(context);
  release_streams(context);
  release_all(context);
  if (!current_stack.empty() && current_stack.back() == (CUcontext)&context) current_stack.pop_back();
  contexts.remove(&context);
}

Device *find_device(CUdevice device) {
  auto &all = devices();
  return device >= 0 && device < (int)all.size() ? &all[device] : nullptr;
}

}  // namespace

Context *find_context(CUcontext handle) { return contexts.find(handle); }

Context *current_context() { return current_stack.empty() ? nullptr : contexts.find(current_stack.back()); }

API(cuCtxCreate_v2, (CUcontext *result, unsigned flags, CUdevice device)) {
  ENTER(INIT);
  RETURN_IF(!result, CUDA_ERROR_INVALID_VALUE);
  Device *d = find_device(device);
  RETURN_IF(!d, CUDA_ERROR_INVALID_DEVICE);
  *result = (CUcontext)make_context(*d, flags);
  current_stack.push_back(*result);
  return CUDA_SUCCESS;
}

// A broken context is destroyed as well, and returns its error.
API(cuCtxDestroy_v2, (CUcontext handle)) {
  ENTER(INIT);
  Context *context = find_context(handle);
  RETURN_IF(!context, CUDA_ERROR_INVALID_CONTEXT);
  RETURN_IF(context->device->primary == context, CUDA_ERROR_INVALID_CONTEXT);
  const CUresult error = context->broken ? context->broken : flush_all(*context);
  destroy(*context);
  return error;
}

API(cuCtxPushCurrent_v2, (CUcontext handle)) {
  ENTER(INIT);
  RETURN_IF(!find_context(handle), CUDA_ERROR_INVALID_CONTEXT);
  current_stack.push_back(handle);
  return CUDA_SUCCESS;
}

API(cuCtxPopCurrent_v2, (CUcontext *result)) {
  ENTER(INIT);
  RETURN_IF(current_stack.empty(), CUDA_ERROR_INVALID_CONTEXT);
  if (result) *result = current_stack.back();
  current_stack.pop_back();
  return CUDA_SUCCESS;
}

API(cuCtxSetCurrent, (CUcontext handle)) {
  ENTER(INIT);
  RETURN_IF(handle && !find_context(handle), CUDA_ERROR_INVALID_CONTEXT);
  if (!current_stack.empty()) current_stack.pop_back();
  if (handle) current_stack.push_back(handle);
  return CUDA_SUCCESS;
}

API(cuCtxGetCurrent, (CUcontext * result)) {
  ENTER(INIT);
  RETURN_IF(!result, CUDA_ERROR_INVALID_VALUE);
  *result = current_stack.empty() ? nullptr : current_stack.back();
  return CUDA_SUCCESS;
}

API(cuCtxGetDevice, (CUdevice * device)) {
  ENTER(CONTEXT);
  RETURN_IF(!device, CUDA_ERROR_INVALID_VALUE);
  *device = call.context->device->ordinal;
  return CUDA_SUCCESS;
}

API(cuCtxGetFlags, (unsigned *flags)) {
  ENTER(CONTEXT);
  RETURN_IF(!flags, CUDA_ERROR_INVALID_VALUE);
  *flags = call.context->flags;
  return CUDA_SUCCESS;
}

API(cuCtxGetApiVersion, (CUcontext handle, unsigned *version)) {
  ENTER(INIT);
  RETURN_IF(handle && !find_context(handle), CUDA_ERROR_INVALID_CONTEXT);
  RETURN_IF(!version, CUDA_ERROR_INVALID_VALUE);
  *version = 3020;
  return CUDA_SUCCESS;
}

API(cuCtxSynchronize, ()) {
  ENTER(CONTEXT);
  if (CUresult error = refuse_while_capturing(*call.context)) return error;
  return flush_all(*call.context);
}

API(cuCtxGetStreamPriorityRange, (int *least, int *greatest)) {
  ENTER(CONTEXT);
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return CUDA_SUCCESS;
}

// Limits and caches have no meaning here: any setting is accepted.
API(cuCtxSetLimit, (CUlimit, size_t)) {
  ENTER(CONTEXT);
  return CUDA_SUCCESS;
}

API(cuCtxGetLimit, (size_t *value, CUlimit)) {
  ENTER(CONTEXT);
  RETURN_IF(!value, CUDA_ERROR_INVALID_VALUE);
  *value = 0;
  return CUDA_SUCCESS;
}

API(cuCtxSetCacheConfig, (CUfunc_cache)) {
  ENTER(CONTEXT);
  return CUDA_SUCCESS;
}

// Primary contexts: one per device, shared by all that retain it.

API(cuDevicePrimaryCtxRetain, (CUcontext *result, CUdevice device)) {
  ENTER(INIT);
  Device *d = find_device(device);
  RETURN_IF(!d, CUDA_ERROR_INVALID_DEVICE);
  RETURN_IF(!result, CUDA_ERROR_INVALID_VALUE);
  if (!d->primary) d->primary = make_context(*d, d->primary_flags);
  d->primary_users++;
  *result = (CUcontext)d->primary;
  return CUDA_SUCCESS;
}

static CUresult destroy_primary(Device &device) {
  Context *context = device.primary;
  device.primary = nullptr;
  if (!context) return CUDA_SUCCESS;
  const CUresult error = context->broken ? context->broken : flush_all(*context);
  destroy(*context);
  return error;
}

API(cuDevicePrimaryCtxRelease_v2, (CUdevice device)) {
  ENTER(INIT);
  Device *d = find_device(device);
  RETURN_IF(!d, CUDA_ERROR_INVALID_DEVICE);
  RETURN_IF(d->primary_users == 0, CUDA_ERROR_INVALID_CONTEXT);
  return --d->primary_users == 0 ? destroy_primary(*d) : CUDA_SUCCESS;
}

API(cuDevicePrimaryCtxReset_v2, (CUdevice device)) {
  ENTER(INIT);
  Device *d = find_device(device);
  RETURN_IF(!d, CUDA_ERROR_INVALID_DEVICE);
  destroy_primary(*d);
  return CUDA_SUCCESS;
}

API(cuDevicePrimaryCtxSetFlags_v2, (CUdevice device, unsigned flags)) {
  ENTER(INIT);
  Device *d = find_device(device);
  RETURN_IF(!d, CUDA_ERROR_INVALID_DEVICE);
  d->primary_flags = flags;
  if (d->primary) d->primary->flags = flags;
  return CUDA_SUCCESS;
}

API(cuDevicePrimaryCtxGetState, (CUdevice device, unsigned *flags, int *active)) {
  ENTER(INIT);
  Device *d = find_device(device);
  RETURN_IF(!d, CUDA_ERROR_INVALID_DEVICE);
  if (flags) *flags = d->primary_flags;
  if (active) *active = d->primary != nullptr;
  return CUDA_SUCCESS;
}

// Access to another context's memory from kernels. Copies need none.

API(cuCtxEnablePeerAccess, (CUcontext peer, unsigned flags)) {
  ENTER(CONTEXT);
  const Context *other = find_context(peer);
  RETURN_IF(!other || other == call.context, CUDA_ERROR_INVALID_CONTEXT);
  RETURN_IF(flags, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(other->device == call.context->device, CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
  RETURN_IF(!call.context->peers.insert(other).second, CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
  return CUDA_SUCCESS;
}

API(cuCtxDisablePeerAccess, (CUcontext peer)) {
  ENTER(CONTEXT);
  const Context *other = find_context(peer);
  RETURN_IF(!other, CUDA_ERROR_INVALID_CONTEXT);
  RETURN_IF(!call.context->peers.erase(other), CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
  return CUDA_SUCCESS;
}
