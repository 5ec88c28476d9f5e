#include "memory.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "checker.h"
#include "config.h"
#include "driver.h"
#include "report.h"
#include "stream.h"

std::map<uintptr_t, Allocation> allocations;

static size_t copied[COPY_KINDS];
static const size_t guard_bytes = 64 << 10;  // on each side of an allocation; a multiple of any page size
static const unsigned char poison = 0xff;    // NaN as floats, -1 as integers

int Allocation::device() const { return owner->device->ordinal; }

Allocation *find_allocation(uintptr_t address, size_t bytes) {
  auto i = allocations.upper_bound(address);
  if (i == allocations.begin()) return nullptr;
  Allocation &a = (--i)->second;
  return address <= a.end() && bytes <= a.end() - address ? &a : nullptr;
}

const char *describe_place(uintptr_t address, char *text, size_t text_bytes) {
  const size_t near = 1 << 20;
  auto i = allocations.upper_bound(address);
  const Allocation *after = i == allocations.end() ? nullptr : &i->second;
  const Allocation *before = i == allocations.begin() ? nullptr : &(--i)->second;
  if (before && address < before->end())
    snprintf(text, text_bytes, "at byte %zu of %zu", address - before->base, before->bytes);
  else if (before && address - before->end() < near)
    snprintf(text, text_bytes, "%zu bytes behind an allocation of %zu", address - before->end(), before->bytes);
  else if (after && after->base - address < near)
    snprintf(text, text_bytes, "%zu bytes before an allocation of %zu", after->base - address, after->bytes);
  else
    snprintf(text, text_bytes, "near no allocation");
  return text;
}

CUresult allocate(Context &context, size_t bytes, bool host, uintptr_t *base) {
  RETURN_IF(!bytes, CUDA_ERROR_INVALID_VALUE);
  Device &device = *context.device;
  RETURN_IF(!host && bytes > config().memory - device.used, CUDA_ERROR_OUT_OF_MEMORY);
  // The end touches the guard pages, as near as the alignment allows: what reads
  // one element too far faults.
  const size_t align = config().align;
  const size_t room = (bytes + align - 1) / align * align;
  const size_t pages = (room + guard_bytes - 1) / guard_bytes * guard_bytes;
  Allocation a;
  a.map_bytes = pages + 2 * guard_bytes;
  a.map = (char *)mmap(nullptr, a.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  RETURN_IF(a.map == MAP_FAILED, CUDA_ERROR_OUT_OF_MEMORY);
  if (mprotect(a.map + guard_bytes, pages, PROT_READ | PROT_WRITE)) {
    munmap(a.map, a.map_bytes);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  char *start = a.map + guard_bytes + pages - room;
  // Behind the end there is always the poison, which release looks at.
  memset(start, poison, config().poison ? room : 0);
  memset(start + bytes, poison, room - bytes);
  a.base = (uintptr_t)start;
  a.bytes = bytes;
  a.host = host;
  a.owner = &context;
  if (!host) device.used += bytes;
  allocations[a.base] = a;
  *base = a.base;
  return CUDA_SUCCESS;
}

// check_tail finds writes between an allocation's end and its guard pages.
static void check_tail(const Allocation &a) {
  const char *guard = a.map + a.map_bytes - guard_bytes;
  for (const unsigned char *p = (const unsigned char *)a.end(); (const char *)p < guard; p++) {
    if (*p == poison) continue;
    report("something wrote behind the end of an allocation of %zu bytes, at byte %zu", a.bytes, (uintptr_t)p - a.base);
    return;
  }
}

static void drop(std::map<uintptr_t, Allocation>::iterator i) {
  Allocation &a = i->second;
  checker_forget(a);
  if (!a.host) a.owner->device->used -= a.bytes;
  if (!a.registered) {
    check_tail(a);
    munmap(a.map, a.map_bytes);
  }
  allocations.erase(i);
}

CUresult release(uintptr_t base, bool host) {
  const auto i = allocations.find(base);
  RETURN_IF(i == allocations.end() || i->second.host != host || i->second.registered, CUDA_ERROR_INVALID_VALUE);
  if (CUresult error = refuse_while_capturing(*i->second.owner)) return error;
  flush_all(*i->second.owner);  // freeing waits for the device
  drop(i);
  return CUDA_SUCCESS;
}

void release_all(Context &context) {
  for (auto i = allocations.begin(); i != allocations.end();) {
    const auto next = std::next(i);
    if (i->second.owner == &context) drop(i);
    i = next;
  }
}

void count_copy(CopyKind kind, size_t bytes) { copied[kind] += bytes; }

// softcuda_live_bytes returns the bytes of device and pinned memory that are
// allocated; registered memory does not count.
EXPORT uint64_t softcuda_live_bytes() {
  Quiet lock;
  uint64_t live = 0;
  for (const auto &[base, a] : allocations) live += a.registered ? 0 : a.bytes;
  return live;
}

// softcuda_copied returns how many bytes were copied: 0 to the device, 1 to the
// host, 2 on a device, 3 between devices, 4 on the host.
EXPORT uint64_t softcuda_copied(int kind) {
  Quiet lock;
  return kind >= 0 && kind < COPY_KINDS ? copied[kind] : 0;
}

API(cuMemGetInfo_v2, (size_t * free, size_t *total)) {
  ENTER(CONTEXT);
  RETURN_IF(!free || !total, CUDA_ERROR_INVALID_VALUE);
  *total = config().memory;
  *free = config().memory - call.context->device->used;
  return CUDA_SUCCESS;
}

static CUresult allocate_for(Context &context, void *result, size_t bytes, bool host) {
  RETURN_IF(!result, CUDA_ERROR_INVALID_VALUE);
  if (CUresult error = refuse_while_capturing(context)) return error;
  return allocate(context, bytes, host, (uintptr_t *)result);
}

API(cuMemAlloc_v2, (CUdeviceptr * result, size_t bytes)) {
  ENTER(CONTEXT);
  return allocate_for(*call.context, result, bytes, false);
}

// Managed memory is device memory that the host may use too, as all is here.
API(cuMemAllocManaged, (CUdeviceptr * result, size_t bytes, unsigned)) {
  ENTER(CONTEXT);
  return allocate_for(*call.context, result, bytes, false);
}

API(cuMemAllocPitch_v2, (CUdeviceptr * result, size_t *pitch, size_t width, size_t height, unsigned)) {
  ENTER(CONTEXT);
  RETURN_IF(!pitch, CUDA_ERROR_INVALID_VALUE);
  *pitch = (width + 511) / 512 * 512;
  return allocate_for(*call.context, result, *pitch * height, false);
}

API(cuMemFree_v2, (CUdeviceptr pointer)) {
  ENTER(CONTEXT);
  return pointer ? release(pointer, false) : CUDA_SUCCESS;
}

API(cuMemHostAlloc, (void **result, size_t bytes, unsigned)) {
  ENTER(CONTEXT);
  return allocate_for(*call.context, result, bytes, true);
}

API(cuMemAllocHost_v2, (void **result, size_t bytes)) {
  ENTER(CONTEXT);
  return allocate_for(*call.context, result, bytes, true);
}

API(cuMemFreeHost, (void *pointer)) {
  ENTER(CONTEXT);
  return release((uintptr_t)pointer, true);
}

API(cuMemHostGetDevicePointer_v2, (CUdeviceptr * result, void *pointer, unsigned)) {
  ENTER(CONTEXT);
  const Allocation *a = find_allocation((uintptr_t)pointer, 1);
  RETURN_IF(!result || !a || !a->host, CUDA_ERROR_INVALID_VALUE);
  *result = (CUdeviceptr)pointer;
  return CUDA_SUCCESS;
}

API(cuMemHostRegister_v2, (void *pointer, size_t bytes, unsigned)) {
  ENTER(CONTEXT);
  RETURN_IF(!pointer || !bytes, CUDA_ERROR_INVALID_VALUE);
  const auto after = allocations.lower_bound((uintptr_t)pointer);
  const bool overlaps = (after != allocations.end() && after->first < (uintptr_t)pointer + bytes) ||
                        (after != allocations.begin() && std::prev(after)->second.end() > (uintptr_t)pointer);
  RETURN_IF(overlaps, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  Allocation a;
  a.base = (uintptr_t)pointer;
  a.bytes = bytes;
  a.host = a.registered = true;
  a.owner = call.context;
  allocations[a.base] = a;
  return CUDA_SUCCESS;
}

API(cuMemHostUnregister, (void *pointer)) {
  ENTER(CONTEXT);
  const auto i = allocations.find((uintptr_t)pointer);
  RETURN_IF(i == allocations.end() || !i->second.registered, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  drop(i);
  return CUDA_SUCCESS;
}

API(cuMemGetAddressRange_v2, (CUdeviceptr * base, size_t *bytes, CUdeviceptr pointer)) {
  ENTER(CONTEXT);
  const Allocation *a = find_allocation(pointer, 1);
  RETURN_IF(!a, CUDA_ERROR_NOT_FOUND);
  if (base) *base = a->base;
  if (bytes) *bytes = a->bytes;
  return CUDA_SUCCESS;
}

API(cuPointerGetAttribute, (void *value, CUpointer_attribute attribute, CUdeviceptr pointer)) {
  ENTER(CONTEXT);
  const Allocation *a = find_allocation(pointer, 1);
  RETURN_IF(!value || !a, CUDA_ERROR_INVALID_VALUE);
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)value = (CUcontext)a->owner; break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *(unsigned *)value = a->host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)value = pointer; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)value = a->device(); break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *(CUdeviceptr *)value = a->base; break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *(size_t *)value = a->bytes; break;
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
  return CUDA_SUCCESS;
}
