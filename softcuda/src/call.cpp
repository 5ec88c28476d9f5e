// The numbering, tracing and failing of calls.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <map>

#include "config.h"
#include "driver.h"
#include "report.h"

namespace {

std::mutex big_lock;  // one call at a time
uint64_t calls;

// The call to fail and how; 0 for none. Set once from the environment.
struct Injection {
  uint64_t at;
  CUresult code;
};
Injection &injection() {
  static Injection i{config().fail_call, (CUresult)config().fail_code};
  return i;
}

std::map<std::string, void *> &entries() {
  static std::map<std::string, void *> m;
  return m;
}

void trace(const char *name) {
  static FILE *file = [] {
    const std::string &path = config().trace;
    if (path.empty()) return (FILE *)nullptr;
    FILE *f = fopen(path.c_str(), "a");
    if (!f) {
      perror(("softcuda: SOFTCUDA_TRACE=" + path).c_str());
      exit(2);
    }
    return f;
  }();
  if (!file) return;
  fprintf(file, "%llu %s\n", (unsigned long long)calls, name);
  fflush(file);
}

}  // namespace

Entry::Entry(const char *name, void *address) { entries()[name] = address; }

void *find_entry(const std::string &name) {
  const auto i = entries().find(name);
  return i == entries().end() ? nullptr : i->second;
}

bool is_sticky(CUresult error) {
  switch ((int)error) {
    case 46:                              // device unavailable
    case 214: case 220:                   // uncorrectable memory and NVLink errors
    case 700: case 702: case 710:         // illegal address, timeout, assertion
    case 714: case 715: case 716: case 717: case 718: case 719:  // other faults of a kernel
      return true;
    default: return false;
  }
}

CUresult breaks(Context &context, CUresult error) {
  if (is_sticky(error) && !context.broken) context.broken = error;
  return error;
}

Quiet::Quiet() : lock_(big_lock) {}

Call::Call(const char *name, Need need) : lock_(big_lock) {
  calls++;
  trace(name);
  context = current_context();
  if (injection().at == calls) {
    error = injection().code;
    if (context) breaks(*context, error);
    return;
  }
  if (need == Need::NOTHING) return;
  if (!initialized()) {
    error = CUDA_ERROR_NOT_INITIALIZED;
  } else if (need == Need::CONTEXT) {
    if (!context)
      error = CUDA_ERROR_INVALID_CONTEXT;
    else
      error = context->broken;
  }
}

// What the generated entry points call: those that nothing implements.
EXPORT CUresult softcuda_unimplemented(const char *name) {
  Call call(name, Need::NOTHING);
  if (call.error) return call.error;
  report("%s is not implemented", name);
  return CUDA_ERROR_NOT_SUPPORTED;
}

// softcuda_calls returns how many calls there were.
EXPORT uint64_t softcuda_calls() {
  Quiet lock;
  return calls;
}

// softcuda_fail_call makes the k-th call from now return code; k = 0 fails none.
EXPORT void softcuda_fail_call(uint64_t k, int code) {
  Quiet lock;
  injection() = {k ? calls + k : 0, (CUresult)code};
}

// cuGetProcAddress takes a name without its version, and the version of CUDA whose
// form of the function is wanted.
static CUresult look_up(const char *symbol, void **function, int version) {
  // Functions whose second form is younger than what else there is.
  static const std::map<std::string, int> second_form_since = {
      {"cuGraphAddKernelNode", 12000},           {"cuGraphKernelNodeGetParams", 12000},
      {"cuGraphKernelNodeSetParams", 12000},     {"cuGraphExecKernelNodeSetParams", 12000},
      {"cuGraphExecUpdate", 12000},              {"cuGetProcAddress", 12000},
      {"cuEventElapsedTime", 12080},
  };
  std::string name = symbol;
  if (name == "cuGraphInstantiate" && version >= 12000) name = "cuGraphInstantiateWithFlags";
  const auto since = second_form_since.find(name);
  *function = nullptr;
  if (since == second_form_since.end() || version >= since->second) *function = find_entry(name + "_v2");
  if (!*function) *function = find_entry(name);
  if (!*function) {  // one that is not implemented
    Dl_info self;
    void *library = dladdr((void *)look_up, &self) ? dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD) : nullptr;
    if (library) *function = dlsym(library, symbol);
    if (library) dlclose(library);
  }
  return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

// Not counted: which addresses a program asks for is not its use of the device.
API(cuGetProcAddress, (const char *symbol, void **function, int version, cuuint64_t)) {
  RETURN_IF(!symbol || !function, CUDA_ERROR_INVALID_VALUE);
  return look_up(symbol, function, version);
}

API(cuGetProcAddress_v2, (const char *symbol, void **function, int version, cuuint64_t, int *status)) {
  RETURN_IF(!symbol || !function, CUDA_ERROR_INVALID_VALUE);
  const CUresult error = look_up(symbol, function, version);
  if (status) *status = error ? 1 : 0;  // CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND, _SUCCESS
  return CUDA_SUCCESS;
}
