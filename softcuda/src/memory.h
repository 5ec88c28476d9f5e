// The memory of the devices, and pinned memory of the host.
#pragma once
#include <cuda.h>
#include <stdint.h>

#include <map>

struct Context;
struct Shadow;

struct Allocation {
  uintptr_t base = 0;
  size_t bytes = 0;
  bool host = false;        // pinned
  bool registered = false;  // the program's own memory, pinned by cuMemHostRegister
  Context *owner = nullptr;
  char *map = nullptr;  // guard pages included; null if registered
  size_t map_bytes = 0;
  Shadow *shadow = nullptr;  // the checker's

  uintptr_t end() const { return base + bytes; }
  int device() const;
};

// All allocations, by base. The driver's lock protects them.
extern std::map<uintptr_t, Allocation> allocations;

// find_allocation finds the one that holds all of the bytes at an address. Null if
// none does.
Allocation *find_allocation(uintptr_t address, size_t bytes);

// describe_place says where an address lies by the allocations near it.
const char *describe_place(uintptr_t address, char *text, size_t text_bytes);

CUresult allocate(Context &context, size_t bytes, bool host, uintptr_t *base);
CUresult release(uintptr_t base, bool host);
// release_all frees what a context still holds.
void release_all(Context &context);

// How much was copied, for softcuda_copied.
enum CopyKind { TO_DEVICE, TO_HOST, ON_DEVICE, TO_PEER, ON_HOST, COPY_KINDS };
void count_copy(CopyKind kind, size_t bytes);
