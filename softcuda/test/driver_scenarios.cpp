// Scenarios of the driver without streams: memory, modules, devices, errors.
#include <dlfcn.h>
#include <elf.h>
#include <string.h>

#include "drive.h"

// Declared here, for cuda.h differs from version to version.
extern "C" {
CUresult create_context(CUcontext *, unsigned, CUdevice) __asm__("cuCtxCreate_v2");
CUresult parameter_info(CUfunction, size_t, size_t *, size_t *) __asm__("cuFuncGetParamInfo");
CUresult get_proc_address(const char *, void **, int, cuuint64_t) __asm__("cuGetProcAddress");
}

// The scenario's process has devices of 5000 bytes.
static void memory() {
  open_context();
  TRUE(softcuda_live_bytes() == 0);
  CUdeviceptr p;
  OK(cuMemAlloc(&p, 1000));
  for (float x : download(p, 250)) TRUE(x != x);  // fresh memory is NaN
  void *pinned;
  OK(cuMemHostAlloc(&pinned, 24, 0));
  TRUE(softcuda_live_bytes() == 1024);
  size_t free, total;
  OK(cuMemGetInfo(&free, &total));
  TRUE(total == 5000 && free == 4000);
  WANT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&p, free + 1));
  CUdeviceptr all;
  OK(cuMemAlloc(&all, free));
  WANT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&p, 1));
  OK(cuMemFree(all));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemFree(all));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemFree((CUdeviceptr)pinned));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemFree(p + 4));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemAlloc(&p, 0));
  OK(cuMemFreeHost(pinned));
  TRUE(softcuda_live_bytes() == 1000);
  // Nothing stays when the context goes.
  OK(cuDevicePrimaryCtxRelease(0));
  TRUE(softcuda_live_bytes() == 0);
}

static void tail() {
  open_context();
  CUdeviceptr p;
  OK(cuMemAlloc(&p, 20));
  ((float *)p)[5] = 1;  // between the end and the guard page
  OK(cuMemFree(p));
  TRUE(softcuda_reports() == 1);
}

static void copies() {
  open_context();
  CUdeviceptr p = upload({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}), q;
  OK(cuMemAlloc(&q, 48));
  OK(cuMemcpyDtoD(q, p, 48));
  TRUE(download(q, 12)[11] == 11);
  // Columns 1 and 2 of the 3 x 4 matrix p to the begin of the rows of the 3 x 2 matrix q.
  CUDA_MEMCPY2D c = {};
  c.srcMemoryType = c.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  c.srcDevice = p, c.srcPitch = 16, c.srcXInBytes = 4;
  c.dstDevice = q, c.dstPitch = 8;
  c.WidthInBytes = 8, c.Height = 3;
  OK(cuMemcpy2D(&c));
  TRUE((download(q, 6) == std::vector<float>{1, 2, 5, 6, 9, 10}));
  c.Height = 4;
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&c));  // there are three rows
  float host[4] = {};
  c.dstMemoryType = CU_MEMORYTYPE_HOST, c.dstHost = host, c.Height = 2;
  OK(cuMemcpy2DAsync(&c, nullptr));
  TRUE(host[0] == 1 && host[3] == 6);
  // Sets.
  OK(cuMemsetD32(p, 0x3f800000, 12));
  OK(cuMemsetD16Async(p + 4, 0, 2, nullptr));
  OK(cuMemsetD8(p + 8, 0, 4));
  TRUE((download(p, 4) == std::vector<float>{1, 0, 0, 1}));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(p + 2, 0, 1));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemsetD8(p, 0, 49));
  // Ends that are not where the call says.
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(p, host, 49));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD((CUdeviceptr)host, host, 4));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH((void *)p, q, 4));
  OK(cuMemcpy((CUdeviceptr)host, p, 4));
  TRUE(softcuda_copied(0) == 48);
  TRUE(softcuda_copied(1) == 48 + 24 + 16 + 16 + 4);
  TRUE(softcuda_copied(2) == 48 + 24);
  TRUE(softcuda_copied(3) == 0);
}

static void registered() {
  open_context();
  std::vector<float> host(1000, 1);
  OK(cuMemHostRegister(host.data(), 4000, 0));
  WANT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister(host.data() + 10, 8, 0));
  CUdeviceptr p;
  OK(cuMemHostGetDevicePointer(&p, host.data(), 0));
  int n = 1000;
  OK(launch(get(load_kernels(), "add_one"), 10, 128, nullptr, {&p, &n}));
  OK(cuCtxSynchronize());
  TRUE(host[999] == 2);
  OK(cuMemHostUnregister(host.data()));
  WANT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(host.data()));
}

// The scenario's process has three devices.
static void several_devices() {
  OK(cuInit(0));
  int count;
  OK(cuDeviceGetCount(&count));
  TRUE(count == 3);
  CUdevice d;
  WANT(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&d, 3));
  CUcontext one, two, again, popped;
  OK(cuDevicePrimaryCtxRetain(&one, 1));
  OK(cuDevicePrimaryCtxRetain(&again, 1));
  TRUE(one == again);
  OK(create_context(&two, 0, 2));
  OK(cuCtxGetDevice(&d));
  TRUE(d == 2);
  CUdeviceptr on_two = upload({1, 2});
  OK(cuCtxPushCurrent(one));
  OK(cuCtxGetDevice(&d));
  TRUE(d == 1);
  CUdeviceptr on_one = upload({3, 4});
  int owner;
  OK(cuPointerGetAttribute(&owner, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, on_two));
  TRUE(owner == 2);
  int can;
  OK(cuDeviceCanAccessPeer(&can, 1, 2));
  TRUE(can == 1);
  OK(cuDeviceCanAccessPeer(&can, 1, 1));
  TRUE(can == 0);
  OK(cuMemcpyPeer(on_one, one, on_two, two, 8));
  TRUE((download(on_one, 2) == std::vector<float>{1, 2}));
  TRUE(softcuda_copied(3) == 8);
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyPeer(on_one, two, on_two, one, 8));
  // Memory is counted per device.
  size_t free, total;
  OK(cuMemGetInfo(&free, &total));
  TRUE(total - free == 8);
  // A module belongs to its context.
  CUfunction f = get(load_kernels(), "nothing");
  OK(cuCtxPopCurrent(&popped));
  TRUE(popped == one);
  WANT(CUDA_ERROR_INVALID_HANDLE, launch(f, 1, 1, nullptr, {}));
  OK(cuDevicePrimaryCtxRelease(1));
  OK(cuDevicePrimaryCtxRelease(1));
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease(1));
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSetCurrent(one));
  OK(cuCtxDestroy(two));
  CUcontext current;
  OK(cuCtxGetCurrent(&current));
  TRUE(current == nullptr);
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
}

// Kernels may use another device's memory only where peer access is enabled; the
// checker sees it. The scenario's process has two devices.
static void peer_access() {
  CUcontext zero = open_context(0);
  CUdeviceptr on_zero = upload({1});
  CUcontext one = open_context(1);
  CUfunction f = get(load_kernels(), "add_one");
  int n = 1;
  OK(cuCtxEnablePeerAccess(zero, 0));
  WANT(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, cuCtxEnablePeerAccess(zero, 0));
  OK(launch(f, 1, 1, nullptr, {&on_zero, &n}));
  OK(cuCtxSynchronize());
  OK(cuCtxDisablePeerAccess(zero));
  OK(launch(f, 1, 1, nullptr, {&on_zero, &n}));
  WANT(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
  OK(cuCtxSetCurrent(zero));
  OK(cuCtxSynchronize());  // only the other context is broken
  TRUE(download(on_zero, 1)[0] == 2);
  OK(cuCtxSetCurrent(one));
  WANT(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

static void no_device() { WANT(CUDA_ERROR_NO_DEVICE, cuInit(0)); }

static void before_init() {
  int n;
  WANT(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&n));
  OK(cuDriverGetVersion(&n));
  TRUE(n == 12040);
}

static std::string ptx(const char *version, const char *target, const char *name, const char *second = ".param .u32 add_one_1") {
  return std::string("// .version and .entry in a comment\n.version ") + version + "\n.target " + target +
         "\n.address_size 64\n\n.visible .entry " + name + "(\n\t.param .u64 add_one_0,\n\t" + second +
         "\n)\n.maxntid 128, 1, 1\n{\n\tret;\n}\n";
}

static void modules() {
  open_context();
  CUmodule m;
  CUfunction f;
  const auto load = [&](const std::string &image) { return cuModuleLoadData(&m, image.c_str()); };
  OK(load(ptx("8.4", "sm_80", "add_one")));
  OK(cuModuleGetFunction(&f, m, "add_one"));
  WANT(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&f, m, "nothing"));
  OK(load(ptx("7.8", "sm_90", "add_one")));
  WANT(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, load(ptx("8.5", "sm_80", "add_one")));  // the driver is 12.4
  WANT(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, load(ptx("9.0", "sm_80", "add_one")));
  WANT(CUDA_ERROR_INVALID_PTX, load(ptx("8.4", "sm_100", "add_one")));  // the device is sm_90
  WANT(CUDA_ERROR_INVALID_IMAGE, load(ptx("8.4", "sm_80", "add_two")));
  WANT(CUDA_ERROR_INVALID_IMAGE, load(ptx("8.4", "sm_80", "add_one", ".param .u64 add_one_1")));
  WANT(CUDA_ERROR_INVALID_IMAGE, load(ptx("8.4", "sm_80", "add_one", ".param .align 8 .b8 add_one_1[4], .param .f32 x")));
  OK(load(ptx("8.4", "sm_80", "add_one", ".param .align 4 .b8 add_one_1[4]")));
  WANT(CUDA_ERROR_INVALID_IMAGE, load("no image"));
}

// A cubin of one kernel with an 8-byte and a second parameter.
static std::string cubin(int sm, uint16_t machine = 190, uint32_t second_bytes = 4) {
  const char names[] = "\0.shstrtab\0.nv.info.add_one";
  const uint16_t no_symbol = 0;
  std::string info;
  const auto add = [&](uint8_t attribute, std::vector<uint32_t> words) {
    const uint16_t bytes = (uint16_t)(words.size() * 4);
    info += std::string{4, (char)attribute} + std::string((const char *)&bytes, 2) + std::string((const char *)words.data(), bytes);
  };
  info += std::string{1, 2} + std::string((const char *)&no_symbol, 2);  // an attribute without words
  add(0x17, {0, 1 | 8 << 16, second_bytes << 18});
  add(0x17, {0, 0 | 0 << 16, 8 << 18});
  add(0x05, {64, 1, 1});
  Elf64_Ehdr h = {};
  memcpy(h.e_ident, ELFMAG, SELFMAG);
  h.e_ident[EI_CLASS] = ELFCLASS64;
  h.e_ident[EI_ABIVERSION] = sm >= 100 ? 8 : 7;
  h.e_machine = machine;
  h.e_flags = (uint32_t)(sm >= 100 ? sm << 8 : sm | sm << 16);
  h.e_shoff = sizeof h;
  h.e_shnum = 3;
  h.e_shstrndx = 1;
  Elf64_Shdr sections[3] = {};
  sections[1].sh_name = 1;
  sections[1].sh_offset = sizeof h + sizeof sections;
  sections[1].sh_size = sizeof names;
  sections[2].sh_name = 11;
  sections[2].sh_offset = sections[1].sh_offset + sizeof names;
  sections[2].sh_size = info.size();
  return std::string((char *)&h, sizeof h) + std::string((char *)sections, sizeof sections) + std::string(names, sizeof names) + info;
}

static void cubins() {
  open_context();
  CUmodule m;
  const auto load = [&](const std::string &image) { return cuModuleLoadData(&m, image.data()); };
  OK(load(cubin(90)));
  CUfunction f = get(m, "add_one");
  CUdeviceptr p = upload({1});
  int n = 1;
  OK(launch(f, 1, 64, nullptr, {&p, &n}));
  WANT(CUDA_ERROR_INVALID_VALUE, launch(f, 1, 65, nullptr, {&p, &n}));  // the image's launch bounds
  TRUE(download(p, 1)[0] == 2);
  WANT(CUDA_ERROR_NO_BINARY_FOR_GPU, load(cubin(80)));
  WANT(CUDA_ERROR_NO_BINARY_FOR_GPU, load(cubin(100)));
  WANT(CUDA_ERROR_INVALID_IMAGE, load(cubin(90, EM_X86_64)));
  WANT(CUDA_ERROR_INVALID_IMAGE, load(cubin(90, 190, 8)));
}

static void launch_limits() {
  open_context();
  CUfunction f = get(load_kernels(), "nothing");
  OK(launch(f, 1, 1024, nullptr, {}));
  WANT(CUDA_ERROR_INVALID_VALUE, launch(f, 1, 1025, nullptr, {}));
  WANT(CUDA_ERROR_INVALID_VALUE, launch(f, 0, 1, nullptr, {}));
  WANT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 65536, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr));
  WANT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 1, 1, 65, 0, nullptr, nullptr, nullptr));
  OK(launch(f, 1, 1, nullptr, {}, 48 << 10));
  WANT(CUDA_ERROR_INVALID_VALUE, launch(f, 1, 1, nullptr, {}, (48 << 10) + 1));
  OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 227 << 10));
  OK(launch(f, 1, 1, nullptr, {}, 227 << 10));
  WANT(CUDA_ERROR_INVALID_VALUE, cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (227 << 10) + 1));
  WANT(CUDA_ERROR_INVALID_HANDLE, launch(nullptr, 1, 1, nullptr, {}));
  int blocks, bytes;
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 256, 100 << 10));
  TRUE(blocks == 2);
  OK(cuFuncGetAttribute(&bytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, get(load_kernels(), "fine_transpose")));
  TRUE(bytes == 16 * 17 * 4);
  // (float *, float *, int, Pair)
  size_t offset, size;
  CUfunction with_pair = get(load_kernels(), "fine_parameters");
  OK(parameter_info(with_pair, 2, &offset, &size));
  TRUE(offset == 16 && size == 4);
  OK(parameter_info(with_pair, 3, &offset, &size));
  TRUE(offset == 24 && size == 32);
  WANT(CUDA_ERROR_INVALID_VALUE, parameter_info(with_pair, 4, &offset, &size));
}

// A block finds nothing of the one before it in shared memory.
static void poison() {
  open_context();
  CUfunction f = get(load_kernels(), "leftovers");
  for (int i = 0; i < 2; i++) {
    CUdeviceptr out = upload(std::vector<float>(64, 0));
    OK(launch(f, 1, 32, nullptr, {&out}, 128));
    for (float x : download(out, 64)) TRUE(x != x);
  }
}

// The scenario's process runs the threads from the last to the first.
static void descending() {
  open_context();
  CUdeviceptr p;
  OK(cuMemAlloc(&p, 65 * sizeof(int)));
  OK(cuMemsetD8(p, 0, 65 * sizeof(int)));
  OK(launch(get(load_kernels(), "turns"), 1, 32, nullptr, {&p}));
  int turns[65];
  OK(cuMemcpyDtoH(turns, p, sizeof turns));
  for (int t = 0; t < 32; t++) TRUE(turns[1 + t] == 31 - t && turns[33 + t] == 31 - t);
}

static void failing_calls() {
  CUcontext c = open_context();
  CUdeviceptr p;
  softcuda_fail_call(2, CUDA_ERROR_OUT_OF_MEMORY);
  const uint64_t calls = softcuda_calls();
  OK(cuMemAlloc(&p, 4));
  WANT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&p, 4));
  OK(cuMemAlloc(&p, 4));  // an error of the call only
  TRUE(softcuda_calls() == calls + 3);
  const char *text;
  OK(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &text));
  TRUE(softcuda_calls() == calls + 3);
  softcuda_fail_call(1, CUDA_ERROR_LAUNCH_FAILED);
  softcuda_fail_call(0, 0);
  OK(cuCtxSynchronize());
  softcuda_fail_call(1, CUDA_ERROR_LAUNCH_FAILED);
  WANT(CUDA_ERROR_LAUNCH_FAILED, cuCtxSynchronize());
  WANT(CUDA_ERROR_LAUNCH_FAILED, cuMemAlloc(&p, 4));  // the context is broken
  WANT(CUDA_ERROR_LAUNCH_FAILED, cuMemFree(p));
  CUdevice d;
  OK(cuDeviceGet(&d, 0));
  OK(cuCtxSetCurrent(c));
  WANT(CUDA_ERROR_LAUNCH_FAILED, cuDevicePrimaryCtxRelease(0));
  TRUE(softcuda_live_bytes() == 0);
  open_context();  // a new one is not
  OK(cuMemAlloc(&p, 4));
}

// The environment asks for the third call to fail with 700.
static void failing_call_of_environment() {
  OK(cuInit(0));
  CUdevice d;
  OK(cuDeviceGet(&d, 0));
  CUcontext c;
  WANT(CUDA_ERROR_ILLEGAL_ADDRESS, cuDevicePrimaryCtxRetain(&c, d));
  OK(cuDevicePrimaryCtxRetain(&c, d));
}

static void error_names() {
  const char *text;
  OK(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  TRUE(!strcmp(text, "CUDA_ERROR_ILLEGAL_ADDRESS"));
  OK(cuGetErrorString(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  TRUE(!strcmp(text, "an illegal memory access was encountered"));
  WANT(CUDA_ERROR_INVALID_VALUE, cuGetErrorName((CUresult)12345, &text));
  TRUE(text == nullptr);
}

static void proc_addresses() {
  open_context();
  void *f;
  OK(get_proc_address("cuMemAlloc", &f, 12000, 0));
  TRUE(f == dlsym(RTLD_DEFAULT, "cuMemAlloc_v2"));
  OK(get_proc_address("cuGraphKernelNodeGetParams", &f, 11080, 0));
  TRUE(f == dlsym(RTLD_DEFAULT, "cuGraphKernelNodeGetParams"));
  OK(get_proc_address("cuGraphKernelNodeGetParams", &f, 12000, 0));
  TRUE(f == dlsym(RTLD_DEFAULT, "cuGraphKernelNodeGetParams_v2"));
  WANT(CUDA_ERROR_NOT_FOUND, get_proc_address("cuNoSuchThing", &f, 12000, 0));
  OK(get_proc_address("cuTexRefSetFlags", &f, 12000, 0));  // a stub
  WANT(CUDA_ERROR_NOT_SUPPORTED, ((CUresult(*)())f)());
}

const std::vector<Scenario> driver_scenarios = {
    {"memory", memory},
    {"tail", tail},
    {"copies", copies},
    {"registered", registered},
    {"several_devices", several_devices},
    {"peer_access", peer_access},
    {"no_device", no_device},
    {"before_init", before_init},
    {"modules", modules},
    {"cubins", cubins},
    {"launch_limits", launch_limits},
    {"poison", poison},
    {"descending", descending},
    {"failing_calls", failing_calls},
    {"failing_call_of_environment", failing_call_of_environment},
    {"error_names", error_names},
    {"proc_addresses", proc_addresses},
};
