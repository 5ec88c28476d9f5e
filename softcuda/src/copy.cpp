// Copies and sets of memory.
#include <string.h>

#include "config.h"
#include "driver.h"
#include "memory.h"
#include "report.h"
#include "stream.h"

namespace {

// What a call says about one end of a copy.
enum class End { DEVICE, HOST, ANY };

// A copy of rows of bytes; of one row where it is not two-dimensional.
struct Copy {
  char *to;
  const char *from;
  size_t bytes, rows = 1;
  size_t to_pitch = 0, from_pitch = 0;
  CopyKind kind = ON_HOST;
  bool pageable = false;  // one end is memory of the host that is not pinned

  size_t to_span() const { return (rows - 1) * to_pitch + bytes; }
  size_t from_span() const { return (rows - 1) * from_pitch + bytes; }
};

CUresult run(const Copy &copy) {
  for (size_t i = 0; i < copy.rows; i++) memmove(copy.to + i * copy.to_pitch, copy.from + i * copy.from_pitch, copy.bytes);
  count_copy(copy.kind, copy.rows * copy.bytes);
  return CUDA_SUCCESS;
}

// check_end finds the allocation at one end, null for the host's own memory.
CUresult check_end(const char *which, const void *address, size_t bytes, End end, const Allocation **allocation) {
  *allocation = find_allocation((uintptr_t)address, bytes);
  const bool device = *allocation && !(*allocation)->host;
  const bool partly = !*allocation && find_allocation((uintptr_t)address, 1);
  const char *wrong = nullptr;
  if (partly)
    wrong = "leaves its allocation";
  else if (!address)
    wrong = "is null";
  else if (end == End::DEVICE && !*allocation)
    wrong = "should be device memory";
  else if (end == End::HOST && device)
    wrong = "should be memory of the host";
  if (!wrong) return CUDA_SUCCESS;
  char place[120];
  report("copy: the %s %s: %p + %zu, %s", which, wrong, address, bytes,
         describe_place((uintptr_t)address, place, sizeof place));
  return CUDA_ERROR_INVALID_VALUE;
}

CopyKind kind_of(const Allocation *to, const Allocation *from) {
  const bool to_device = to && !to->host, from_device = from && !from->host;
  if (to_device && from_device) return to->device() == from->device() ? ON_DEVICE : TO_PEER;
  return to_device ? TO_DEVICE : from_device ? TO_HOST : ON_HOST;
}

CUresult start(Context &context, CUstream handle, Copy copy, End to_end, End from_end, Wait wait) {
  Stream *stream = find_stream(context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  if (!copy.bytes || !copy.rows) return CUDA_SUCCESS;
  const Allocation *to, *from;
  if (CUresult error = check_end("destination", copy.to, copy.to_span(), to_end, &to)) return error;
  if (CUresult error = check_end("source", copy.from, copy.from_span(), from_end, &from)) return error;
  copy.kind = kind_of(to, from);
  // A copy from pageable memory has read it when the call returns, and one to
  // pageable memory has written it (CUDA driver API, synchronization behavior).
  if (!to && !stream->capture) wait = Wait::YES;
  Op op{CU_GRAPH_NODE_TYPE_MEMCPY, nullptr, nullptr};
  if (!from && config().lazy && wait == Wait::NO && !stream->capture) {
    auto staged = std::make_shared<std::vector<char>>(copy.from, copy.from + copy.from_span());
    copy.from = staged->data();
    op.work = [copy, staged] { return run(copy); };
  } else {
    op.work = [copy] { return run(copy); };
  }
  return submit(*stream, std::move(op), wait);
}

CUresult start(Context &context, CUstream stream, CUdeviceptr to, CUdeviceptr from, size_t bytes, End to_end,
               End from_end, Wait wait) {
  return start(context, stream, {(char *)to, (const char *)from, bytes}, to_end, from_end, wait);
}

template <class T>
CUresult set(Context &context, CUstream handle, CUdeviceptr to, size_t pitch, T value, size_t width, size_t rows) {
  Stream *stream = find_stream(context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(to % sizeof(T) || (rows > 1 && (pitch % sizeof(T) || pitch < width * sizeof(T))), CUDA_ERROR_INVALID_VALUE);
  if (!width || !rows) return CUDA_SUCCESS;
  const Allocation *a;
  if (CUresult error = check_end("destination", (void *)to, (rows - 1) * pitch + width * sizeof(T), End::DEVICE, &a))
    return error;
  Op op{CU_GRAPH_NODE_TYPE_MEMSET, nullptr, [=] {
          for (size_t y = 0; y < rows; y++)
            for (size_t x = 0; x < width; x++) ((T *)(to + y * pitch))[x] = value;
          return CUDA_SUCCESS;
        }};
  return submit(*stream, std::move(op), Wait::NO);
}

// The end of a two-dimensional copy: host memory or device memory at an offset.
CUresult end_2d(CUmemorytype type, void *host, CUdeviceptr device, size_t x, size_t y, size_t pitch, char **address,
                End *end) {
  switch (type) {
    case CU_MEMORYTYPE_HOST: *address = (char *)host, *end = End::HOST; break;
    case CU_MEMORYTYPE_DEVICE: *address = (char *)device, *end = End::DEVICE; break;
    case CU_MEMORYTYPE_UNIFIED: *address = (char *)device, *end = End::ANY; break;
    default: return CUDA_ERROR_NOT_SUPPORTED;  // arrays
  }
  *address += y * pitch + x;
  return CUDA_SUCCESS;
}

CUresult start_2d(Context &context, CUstream stream, const CUDA_MEMCPY2D *p, Wait wait) {
  RETURN_IF(!p, CUDA_ERROR_INVALID_VALUE);
  const bool rows_overlap = (p->srcPitch && p->srcPitch < p->WidthInBytes + p->srcXInBytes) ||
                            (p->dstPitch && p->dstPitch < p->WidthInBytes + p->dstXInBytes);
  RETURN_IF(rows_overlap, CUDA_ERROR_INVALID_VALUE);
  Copy copy{};
  copy.bytes = p->WidthInBytes;
  copy.rows = p->Height;
  copy.to_pitch = p->dstPitch ? p->dstPitch : p->WidthInBytes;
  copy.from_pitch = p->srcPitch ? p->srcPitch : p->WidthInBytes;
  char *from;
  End to_end, from_end;
  if (CUresult error = end_2d(p->dstMemoryType, p->dstHost, p->dstDevice, p->dstXInBytes, p->dstY, copy.to_pitch,
                              &copy.to, &to_end))
    return error;
  if (CUresult error = end_2d(p->srcMemoryType, const_cast<void *>(p->srcHost), p->srcDevice, p->srcXInBytes, p->srcY,
                              copy.from_pitch, &from, &from_end))
    return error;
  copy.from = from;
  return start(context, stream, copy, to_end, from_end, wait);
}

// Both contexts of a peer copy must own the memory that the call says they do.
CUresult start_peer(Context &context, CUstream stream, CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                    CUcontext from_context, size_t bytes, Wait wait) {
  const Context *to_owner = find_context(to_context), *from_owner = find_context(from_context);
  RETURN_IF(!to_owner || !from_owner, CUDA_ERROR_INVALID_CONTEXT);
  const Allocation *to_allocation = find_allocation(to, bytes), *from_allocation = find_allocation(from, bytes);
  if ((to_allocation && to_allocation->owner->device != to_owner->device) ||
      (from_allocation && from_allocation->owner->device != from_owner->device)) {
    report("peer copy: the memory is on another device than its context");
    return CUDA_ERROR_INVALID_VALUE;
  }
  return start(context, stream, to, from, bytes, End::DEVICE, End::DEVICE, wait);
}

}  // namespace

API(cuMemcpyHtoD_v2, (CUdeviceptr to, const void *from, size_t bytes)) {
  ENTER(CONTEXT);
  return start(*call.context, nullptr, to, (CUdeviceptr)from, bytes, End::DEVICE, End::HOST, Wait::YES);
}

API(cuMemcpyDtoH_v2, (void *to, CUdeviceptr from, size_t bytes)) {
  ENTER(CONTEXT);
  return start(*call.context, nullptr, (CUdeviceptr)to, from, bytes, End::HOST, End::DEVICE, Wait::YES);
}

API(cuMemcpyDtoD_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes)) {
  ENTER(CONTEXT);
  return start(*call.context, nullptr, to, from, bytes, End::DEVICE, End::DEVICE, Wait::NO);
}

API(cuMemcpy, (CUdeviceptr to, CUdeviceptr from, size_t bytes)) {
  ENTER(CONTEXT);
  return start(*call.context, nullptr, to, from, bytes, End::ANY, End::ANY, Wait::YES);
}

API(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t bytes, CUstream stream)) {
  ENTER(CONTEXT);
  return start(*call.context, stream, to, (CUdeviceptr)from, bytes, End::DEVICE, End::HOST, Wait::NO);
}

API(cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t bytes, CUstream stream)) {
  ENTER(CONTEXT);
  return start(*call.context, stream, (CUdeviceptr)to, from, bytes, End::HOST, End::DEVICE, Wait::NO);
}

API(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)) {
  ENTER(CONTEXT);
  return start(*call.context, stream, to, from, bytes, End::DEVICE, End::DEVICE, Wait::NO);
}

API(cuMemcpyAsync, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)) {
  ENTER(CONTEXT);
  return start(*call.context, stream, to, from, bytes, End::ANY, End::ANY, Wait::NO);
}

API(cuMemcpyPeer, (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t bytes)) {
  ENTER(CONTEXT);
  return start_peer(*call.context, nullptr, to, to_context, from, from_context, bytes, Wait::NO);
}

API(cuMemcpyPeerAsync,
    (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t bytes, CUstream stream)) {
  ENTER(CONTEXT);
  return start_peer(*call.context, stream, to, to_context, from, from_context, bytes, Wait::NO);
}

API(cuMemcpy2D_v2, (const CUDA_MEMCPY2D *copy)) {
  ENTER(CONTEXT);
  return start_2d(*call.context, nullptr, copy, Wait::YES);
}

API(cuMemcpy2DUnaligned_v2, (const CUDA_MEMCPY2D *copy)) {
  ENTER(CONTEXT);
  return start_2d(*call.context, nullptr, copy, Wait::YES);
}

API(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *copy, CUstream stream)) {
  ENTER(CONTEXT);
  return start_2d(*call.context, stream, copy, Wait::NO);
}

#define SETS(bits, T)                                                                                 \
  API(cuMemsetD##bits##_v2, (CUdeviceptr to, T value, size_t count)) {                                \
    ENTER(CONTEXT);                                                                                   \
    return set<T>(*call.context, nullptr, to, 0, value, count, 1);                                    \
  }                                                                                                   \
  API(cuMemsetD##bits##Async, (CUdeviceptr to, T value, size_t count, CUstream stream)) {             \
    ENTER(CONTEXT);                                                                                   \
    return set<T>(*call.context, stream, to, 0, value, count, 1);                                     \
  }                                                                                                   \
  API(cuMemsetD2D##bits##_v2, (CUdeviceptr to, size_t pitch, T value, size_t width, size_t rows)) {   \
    ENTER(CONTEXT);                                                                                   \
    return set<T>(*call.context, nullptr, to, pitch, value, width, rows);                             \
  }                                                                                                   \
  API(cuMemsetD2D##bits##Async,                                                                       \
      (CUdeviceptr to, size_t pitch, T value, size_t width, size_t rows, CUstream stream)) {          \
    ENTER(CONTEXT);                                                                                   \
    return set<T>(*call.context, stream, to, pitch, value, width, rows);                              \
  }
SETS(8, unsigned char)
SETS(16, unsigned short)
SETS(32, unsigned)
