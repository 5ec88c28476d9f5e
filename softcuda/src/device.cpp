// The devices and what they can do.
#include <stdio.h>
#include <string.h>

#include "block.h"
#include "config.h"
#include "driver.h"
#include "fault.h"
#include "library.h"

std::vector<Device> &devices() {
  static std::vector<Device> all = [] {
    std::vector<Device> v(config().devices);
    for (size_t i = 0; i < v.size(); i++) v[i].ordinal = (int)i;
    return v;
  }();
  return all;
}

static bool ready;

bool initialized() { return ready; }

static bool exists(CUdevice device) { return device >= 0 && device < config().devices; }

API(cuInit, (unsigned flags)) {
  ENTER(NOTHING);
  RETURN_IF(flags, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(config().devices == 0, CUDA_ERROR_NO_DEVICE);
  if (ready) return CUDA_SUCCESS;
  RETURN_IF(!load_libraries(), CUDA_ERROR_SHARED_OBJECT_INIT_FAILED);
  install_fault_handlers();
  ready = true;
  return CUDA_SUCCESS;
}

API(cuDriverGetVersion, (int *version)) {
  ENTER(NOTHING);
  RETURN_IF(!version, CUDA_ERROR_INVALID_VALUE);
  *version = config().driver_version;
  return CUDA_SUCCESS;
}

API(cuDeviceGetCount, (int *count)) {
  ENTER(INIT);
  RETURN_IF(!count, CUDA_ERROR_INVALID_VALUE);
  *count = config().devices;
  return CUDA_SUCCESS;
}

API(cuDeviceGet, (CUdevice * device, int ordinal)) {
  ENTER(INIT);
  RETURN_IF(!device, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(!exists(ordinal), CUDA_ERROR_INVALID_DEVICE);
  *device = ordinal;
  return CUDA_SUCCESS;
}

API(cuDeviceGetName, (char *name, int bytes, CUdevice device)) {
  ENTER(INIT);
  RETURN_IF(!name || bytes <= 0, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(!exists(device), CUDA_ERROR_INVALID_DEVICE);
  snprintf(name, (size_t)bytes, "softcuda host device");
  return CUDA_SUCCESS;
}

static CUresult get_uuid(CUuuid *uuid, CUdevice device) {
  RETURN_IF(!uuid, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(!exists(device), CUDA_ERROR_INVALID_DEVICE);
  memset(uuid, 0, sizeof *uuid);
  memcpy(uuid, "softcuda", 8);
  uuid->bytes[15] = (char)device;
  return CUDA_SUCCESS;
}

API(cuDeviceGetUuid, (CUuuid * uuid, CUdevice device)) {
  ENTER(INIT);
  return get_uuid(uuid, device);
}

API(cuDeviceGetUuid_v2, (CUuuid * uuid, CUdevice device)) {
  ENTER(INIT);
  return get_uuid(uuid, device);
}

API(cuDeviceGetPCIBusId, (char *id, int bytes, CUdevice device)) {
  ENTER(INIT);
  RETURN_IF(!id || bytes <= 0, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(!exists(device), CUDA_ERROR_INVALID_DEVICE);
  snprintf(id, (size_t)bytes, "0000:%02x:00.0", device + 1);
  return CUDA_SUCCESS;
}

API(cuDeviceTotalMem_v2, (size_t *bytes, CUdevice device)) {
  ENTER(INIT);
  RETURN_IF(!bytes, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(!exists(device), CUDA_ERROR_INVALID_DEVICE);
  *bytes = config().memory;
  return CUDA_SUCCESS;
}

static int attribute(CUdevice_attribute a, CUdevice device) {
  switch (a) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return DEFAULT_SHARED_BYTES;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return MAX_SHARED_BYTES;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return MAX_SHARED_BYTES + 1024;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: return 64 << 10;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return WARP_LANES;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return config().multiprocessors;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return config().compute_capability / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return config().compute_capability % 10;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 1000000;  // kHz
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return 64;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 1;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return device + 1;
    default: return 0;
  }
}

API(cuDeviceGetAttribute, (int *value, CUdevice_attribute a, CUdevice device)) {
  ENTER(INIT);
  RETURN_IF(!value || a <= 0 || a >= CU_DEVICE_ATTRIBUTE_MAX, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(!exists(device), CUDA_ERROR_INVALID_DEVICE);
  *value = attribute(a, device);
  return CUDA_SUCCESS;
}

API(cuDeviceCanAccessPeer, (int *can, CUdevice device, CUdevice peer)) {
  ENTER(INIT);
  RETURN_IF(!can, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(!exists(device) || !exists(peer), CUDA_ERROR_INVALID_DEVICE);
  *can = device != peer;
  return CUDA_SUCCESS;
}

API(cuDeviceGetP2PAttribute, (int *value, CUdevice_P2PAttribute a, CUdevice device, CUdevice peer)) {
  ENTER(INIT);
  RETURN_IF(!value, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(!exists(device) || !exists(peer) || device == peer, CUDA_ERROR_INVALID_DEVICE);
  *value = a == CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED;
  return CUDA_SUCCESS;
}
