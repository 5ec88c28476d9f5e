#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace {

[[noreturn]] void refuse(const char *name, const char *value, const char *valid) {
  fprintf(stderr, "softcuda: %s=%s: want %s\n", name, value, valid);
  exit(2);
}

std::string text(const char *name, const char *otherwise) {
  const char *s = getenv(name);
  return s && *s ? s : otherwise;
}

long long number(const char *name, long long otherwise, long long low, long long high) {
  const char *s = getenv(name);
  if (!s || !*s) return otherwise;
  char *end;
  errno = 0;
  const long long v = strtoll(s, &end, 10);
  if (errno || *end || v < low || v > high) {
    char valid[80];
    snprintf(valid, sizeof valid, "a whole number from %lld to %lld", low, high);
    refuse(name, s, valid);
  }
  return v;
}

// kernels.so in the folder of this library, "" if there is none.
std::string kernels_beside_driver() {
  Dl_info info;
  if (!dladdr((void *)kernels_beside_driver, &info) || !info.dli_fname) return "";
  std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  path = (slash == std::string::npos ? "." : path.substr(0, slash)) + "/kernels.so";
  return access(path.c_str(), R_OK) == 0 ? path : "";
}

void read_order(Config &c) {
  const std::string order = text("SOFTCUDA_ORDER", "asc");
  c.descending = order == "desc";
  c.shuffle_seed = 0;
  if (order == "asc" || order == "desc") return;
  char *end = nullptr;
  if (order[0] == 'r') c.shuffle_seed = (uint32_t)strtoul(order.c_str() + 1, &end, 10);
  if (!end || *end || !c.shuffle_seed) refuse("SOFTCUDA_ORDER", order.c_str(), "asc, desc, or r and a seed above 0, as in r1");
}

Config read() {
  Config c;
#ifdef SOFTCUDA_CHECK
  c.workers = 1;  // the checker keeps one history of accesses
#else
  c.workers = (int)number("SOFTCUDA_WORKERS", sysconf(_SC_NPROCESSORS_ONLN), 1, 1024);
#endif
  c.stack_bytes = (size_t)number("SOFTCUDA_STACK", 64, 16, 65536) << 10;
  c.lazy = number("SOFTCUDA_LAZY", 0, 0, 1);
  c.poison = number("SOFTCUDA_POISON", 1, 0, 1);
  c.align = (size_t)number("SOFTCUDA_ALIGN", 16, 16, 4096);
  if (c.align & (c.align - 1)) refuse("SOFTCUDA_ALIGN", getenv("SOFTCUDA_ALIGN"), "a power of two from 16 to 4096");
  read_order(c);
  c.devices = (int)number("SOFTCUDA_DEVICES", 1, 0, 64);
  c.memory = (size_t)number("SOFTCUDA_MEMORY", 2ll << 30, 1, 1ll << 46);
  c.multiprocessors = (int)number("SOFTCUDA_SMS", 4, 1, 1024);
  c.driver_version = (int)number("SOFTCUDA_VERSION", 12040, 1000, 99990);
  c.compute_capability = (int)number("SOFTCUDA_CC", 90, 10, 999);
  c.fail_call = (uint64_t)number("SOFTCUDA_FAIL_CALL", 0, 0, 1ll << 62);
  c.fail_code = (int)number("SOFTCUDA_FAIL_CODE", 719, 1, 999);
  c.trace = text("SOFTCUDA_TRACE", "");
  c.kernels = text("SOFTCUDA_KERNELS", kernels_beside_driver().c_str());
  return c;
}

}  // namespace

const Config &config() {
  static const Config c = read();
  return c;
}
