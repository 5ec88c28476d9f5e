// Devices, contexts and what every entry point begins with.
#pragma once
#include <cuda.h>
#include <stdint.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

struct Stream;
struct Context;

struct Device {
  int ordinal = 0;
  size_t used = 0;  // bytes of memory
  Context *primary = nullptr;
  int primary_users = 0;
  unsigned primary_flags = 0;
};

struct Context {
  Device *device = nullptr;
  unsigned flags = 0;
  CUresult broken = CUDA_SUCCESS;  // the error that all later calls return
  std::shared_ptr<Stream> null_stream;
  std::vector<std::shared_ptr<Stream>> streams;  // without the null stream
  std::set<const Context *> peers;               // whose memory its kernels may use
};

// Handles of one kind that are valid. The handle is the object's address.
template <class T>
class Handles {
 public:
  T *add(std::unique_ptr<T> object) {
    T *p = object.get();
    objects_[p] = std::move(object);
    return p;
  }
  // find returns null for what is not a valid handle.
  T *find(const void *handle) const {
    const auto i = objects_.find((T *)handle);
    return i == objects_.end() ? nullptr : i->second.get();
  }
  bool remove(const void *handle) { return objects_.erase((T *)handle) > 0; }
  template <class F>
  void remove_if(F f) {
    for (auto i = objects_.begin(); i != objects_.end();) i = f(*i->second) ? objects_.erase(i) : std::next(i);
  }

 private:
  std::unordered_map<T *, std::unique_ptr<T>> objects_;
};

std::vector<Device> &devices();
Context *find_context(CUcontext handle);
// current_context is the calling OS thread's, null if it has none.
Context *current_context();

// is_sticky tells the errors after which a context can only be destroyed.
bool is_sticky(CUresult error);
// breaks keeps a sticky error in the context, and returns the error.
CUresult breaks(Context &context, CUresult error);

// What an entry point needs before it can do anything.
enum class Need { NOTHING, INIT, CONTEXT };

// Call is alive during one call of the driver: it holds the driver's lock, numbers
// and traces the call and says whether it fails before it begins.
class Call {
 public:
  Call(const char *name, Need need);
  CUresult error = CUDA_SUCCESS;
  Context *context = nullptr;  // the current one; set where the need is CONTEXT

 private:
  std::lock_guard<std::mutex> lock_;
};

// Quiet holds the driver's lock for a function that is no call of the driver.
class Quiet {
 public:
  Quiet();

 private:
  std::lock_guard<std::mutex> lock_;
};

// Registers an entry point for cuGetProcAddress.
struct Entry {
  Entry(const char *name, void *address);
};
void *find_entry(const std::string &name);

// API defines the entry point of exactly this name. cuda.h turns many names into
// newer ones by macros, differently from version to version, and its prototypes
// change: the function therefore has a name of its own in C++, and gets the entry
// point's as its symbol.
#define API(name, parameters)                                                                    \
  extern "C" __attribute__((visibility("default"))) CUresult CUDAAPI entry_##name parameters __asm__(#name); \
  static const Entry register_##name{#name, (void *)entry_##name};                               \
  CUresult CUDAAPI entry_##name parameters

// ENTER begins an entry point: call.context is there to use after ENTER(CONTEXT).
#define ENTER(need)                                               \
  Call call(__func__ + sizeof("entry_") - 1, Need::need);         \
  if (call.error) return call.error

#define RETURN_IF(condition, error) \
  if (condition) return error

// initialized tells whether cuInit succeeded.
bool initialized();
