// A library of kernels compiled for the host.
#pragma once
#include <stddef.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "softcuda_abi.h"

struct Library;

struct SharedArray {
  std::string name;      // as in the source
  std::string symbol;
  std::string function;  // that declares it, "" if unknown
  size_t offset, bytes;
};

struct HostKernel {
  const sc_kernel *entry = nullptr;
  const Library *library = nullptr;
  // Where its static shared arrays lie in the library's thread-local storage, and
  // those that any kernel may use: {offset, bytes}.
  std::vector<std::pair<size_t, size_t>> shared;
  std::vector<const SharedArray *> arrays;  // in these ranges, by offset
  size_t static_shared_bytes = 0;           // of the kernel's own arrays

  const char *name() const { return entry->name; }
  // poison_static_shared fills the calling OS thread's arrays with 0xff.
  void poison_static_shared() const;
};

struct Library {
  std::string path;
  std::map<std::string, HostKernel> kernels;
  std::vector<SharedArray> arrays;  // by offset
  std::multimap<std::string, std::string> units;  // that may use a shared array, by its symbol
  std::vector<void (*)()> touch;
  const char *begin = nullptr, *end = nullptr;  // of its image in memory
  size_t thread_bytes = 0;                      // of its thread-local storage

  // thread_storage is the calling OS thread's.
  char *thread_storage() const;
};

// load_library loads a library, once. Returns null and reports if it cannot.
const Library *load_library(const std::string &path);

// find_kernel looks in all libraries of SOFTCUDA_KERNELS. Null if there is none.
const HostKernel *find_kernel(const std::string &name);

// load_libraries loads those of SOFTCUDA_KERNELS. False if one cannot be loaded.
bool load_libraries();
