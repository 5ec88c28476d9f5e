// Finds races, accesses outside of memory and reads of shared memory that nothing
// wrote. The kernels are compiled with -fsanitize=thread, by which g++ calls a
// function before each access to memory, but not linked with its run-time library:
// the functions are here.
#include "checker.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>
#include <vector>

#include "block.h"
#include "driver.h"
#include "launch.h"
#include "library.h"
#include "memory.h"
#include "report.h"

namespace {

// Who touched a word of memory, and when. Passed by value, so that it stays in
// registers: written to memory in parts and read back whole, it stalls the CPU.
struct Access {
  uint32_t block = 0;  // by its number since the start, from 1; 0 for nobody
  uint16_t thread = 0;
  uint8_t bytes = 0;  // of the word, a bit each
  bool atomic = false;
  uint32_t barrier_epoch = 0, warp_epoch = 0;  // how many barriers and warp functions came before
  uint32_t code = 0;                           // the instruction, from the library's begin
};

enum Readers : uint8_t { ONE, ONE_WARP, MANY };

// The history of a word of four bytes. It holds for an era: a block in shared
// memory, a launch in global memory.
struct Cell {
  uint64_t era;
  Access write, read;  // the last ones
  Readers readers;     // who else read since the last barrier
  uint8_t written;     // bytes ever written, a bit each
};

// What is being accessed.
struct Target {
  Cell *cell;
  bool shared;
};

enum class Kind { READ, WRITE, ATOMIC };

std::vector<Cell> static_cells, dynamic_cells;
uint32_t block_number;

// The block that runs: there is one worker.
struct {
  Worker *worker;
  const Allocation *last;  // that was accessed; none goes while a launch runs
  const SharedArray *array;
  const char *storage;     // thread-local, with the static shared arrays
  size_t storage_bytes;
} now_running;

// Reports already made: one for each place, kind and launch.
std::set<std::tuple<const void *, const char *, uint64_t>> made;

bool is_new(const void *code, const char *kind) { return made.insert({code, kind, launches}).second; }

// Blocks of a launch are not ordered, but for one pattern: a block that wrote and
// then called __threadfence is before a block that used an atomic function later
// (CUDA C++ Programming Guide, memory fence functions).
struct Fences {
  uint64_t launch = 0;
  std::set<uint32_t> released, acquired;

  Fences &of_this_launch() {
    if (launch != launches) *this = Fences{launches, {}, {}};
    return *this;
  }
} fences;

bool published(uint32_t from, uint32_t to) {
  const Fences &f = fences.of_this_launch();
  return f.released.count(from) && f.acquired.count(to);
}

inline bool before(Access earlier, Access later) {
  if (earlier.block != later.block) return published(earlier.block, later.block);
  if (earlier.thread == later.thread || earlier.barrier_epoch != later.barrier_epoch) return true;
  return earlier.thread / WARP_LANES == later.thread / WARP_LANES && earlier.warp_epoch != later.warp_epoch;
}

[[gnu::noinline]] void report_race(Worker &worker, const char *what, Access earlier, Access later, bool shared,
                 const char *code) {
  worker.blame(CUDA_ERROR_ASSERT);
  if (!is_new(code, what)) return;
  const char *begin = worker.launch().kernel->library->begin;
  // Of several readers the last is known, which may be the writer itself.
  const std::string who =
      earlier.thread == later.thread && earlier.block == later.block
          ? "other threads of the same block"
          : format("thread %u of %s block", earlier.thread, earlier.block == later.block ? "the same" : "another");
  report("race (%s, %s memory): %s at %s; %s before at %s", what, shared ? "shared" : "global",
         worker.describe(later.thread).c_str(), source_line(code).c_str(), who.c_str(),
         source_line(begin + earlier.code - 1).c_str());
}

inline void check_race(Worker &worker, const Cell &c, Access now, Kind kind, bool shared, const char *code) {
  const bool both_atomic = kind == Kind::ATOMIC && c.write.atomic;
  if (c.write.bytes & now.bytes && !both_atomic && !before(c.write, now))
    report_race(worker, kind == Kind::READ ? "read after write" : "write after write", c.write, now, shared, code);
  if (kind == Kind::READ || !(c.read.bytes & now.bytes)) return;
  // The last reader stands for all of its warp and, where many read, for others.
  const bool same_epoch = c.read.block == now.block && c.read.barrier_epoch == now.barrier_epoch;
  const bool others = same_epoch && (c.readers == MANY || (c.readers == ONE_WARP && c.read.warp_epoch == now.warp_epoch));
  if (others || !before(c.read, now)) report_race(worker, "write after read", c.read, now, shared, code);
}

inline void record_read(Cell &c, Access now) {
  const bool same_epoch = c.read.bytes && c.read.block == now.block && c.read.barrier_epoch == now.barrier_epoch;
  const bool same_warp = c.read.thread / WARP_LANES == now.thread / WARP_LANES;
  if (!same_epoch)
    c.readers = ONE;
  else if (!same_warp)
    c.readers = MANY;
  else if (c.readers != MANY && c.read.warp_epoch != now.warp_epoch)
    c.readers = ONE;  // what the warp read before is ordered for it, and now stands for it to others
  else if (c.readers == ONE && c.read.thread != now.thread)
    c.readers = ONE_WARP;
  const uint8_t bytes = same_epoch ? c.read.bytes | now.bytes : now.bytes;
  c.read = now;
  c.read.bytes = bytes;
}

inline void record_write(Cell &c, Access now) {
  const bool continues = c.write.block == now.block && c.write.thread == now.thread &&
                         c.write.barrier_epoch == now.barrier_epoch && c.write.warp_epoch == now.warp_epoch;
  const uint8_t bytes = continues ? c.write.bytes | now.bytes : now.bytes;
  c.write = now;
  c.write.bytes = bytes;
  c.written |= now.bytes;
}

inline void check_word(Worker &worker, const Target &target, Cell &c, Access now, Kind kind, const char *code) {
  const uint64_t era = target.shared ? block_number : launches;
  if (c.era != era) c = Cell{era, {}, {}, ONE, 0};
  if (target.shared && kind != Kind::WRITE && now.bytes & ~c.written) {
    worker.blame(CUDA_ERROR_ASSERT);
    if (is_new(code, "uninitialised"))
      report("shared memory read before any write: %s at %s", worker.describe(now.thread).c_str(), source_line(code).c_str());
    c.written |= now.bytes;
  }
  check_race(worker, c, now, kind, target.shared, code);
  if (kind == Kind::READ)
    record_read(c, now);
  else
    record_write(c, now);
}

const char *name_of(Kind kind) { return kind == Kind::READ ? "read" : kind == Kind::WRITE ? "write" : "atomic access"; }

[[noreturn]] void out_of_bounds(Worker &worker, Kind kind, size_t bytes, const std::string &where, const char *code) {
  report("%zu-byte %s out of bounds, %s: %s at %s", bytes, name_of(kind), where.c_str(),
         worker.describe(sc_this_thread->linear).c_str(), source_line(code).c_str());
  worker.abort_block(CUDA_ERROR_ILLEGAL_ADDRESS);
}

// A static shared array, by the offset in the thread-local storage.
Target static_target(Worker &worker, size_t offset, size_t bytes, Kind kind, const char *code) {
  const HostKernel &kernel = *worker.launch().kernel;
  if (kernel.library->arrays.empty()) return {&static_cells[offset / 4], true};  // its symbols were stripped
  const SharedArray *last = now_running.array;
  if (last && offset >= last->offset && offset + bytes <= last->offset + last->bytes) return {&static_cells[offset / 4], true};
  const auto &arrays = kernel.arrays;
  auto i = std::upper_bound(arrays.begin(), arrays.end(), offset,
                            [](size_t o, const SharedArray *a) { return o < a->offset; });
  if (i == arrays.begin()) out_of_bounds(worker, kind, bytes, "before the kernel's shared arrays", code);
  const SharedArray &array = **--i;
  if (offset + bytes > array.offset + array.bytes)
    out_of_bounds(worker, kind, bytes,
                  format("at byte %zu of the shared array %s, which has %zu", offset - array.offset, array.name.c_str(),
                         array.bytes),
                  code);
  now_running.array = &array;
  return {&static_cells[offset / 4], true};
}

Target allocation_target(const Allocation &a, uintptr_t address) {
  // Cells are of whole words, although an allocation may begin in the middle of one.
  return {(Cell *)a.shadow + (address / 4 - a.base / 4), false};
}

Target global_target(Worker &worker, uintptr_t address, size_t bytes, Kind kind, const char *code) {
  const Context &context = *worker.launch().context;
  Allocation *a = find_allocation(address, bytes);
  char place[160];
  if (!a) out_of_bounds(worker, kind, bytes, describe_place(address, place, sizeof place), code);
  if (!a->host && a->owner->device != context.device && !context.peers.count(a->owner))
    out_of_bounds(worker, kind, bytes, format("in memory of device %d, to which device %d has no peer access", a->device(),
                                              context.device->ordinal), code);
  if (!a->shadow) a->shadow = (Shadow *)calloc(a->bytes / 4 + 2, sizeof(Cell));
  now_running.last = a;
  return allocation_target(*a, address);
}

// Where the access goes to, or no cell if it needs no check. What is asked first
// answers most: the checker's time goes here.
Target find_target(const char *address, size_t bytes, Kind kind, const char *code) {
  Worker &worker = *now_running.worker;
  const Allocation *last = now_running.last;
  if (last && (uintptr_t)address - last->base < last->bytes && bytes <= last->end() - (uintptr_t)address)
    return allocation_target(*last, (uintptr_t)address);
  const size_t offset = (size_t)(address - now_running.storage);
  if (offset < now_running.storage_bytes) return static_target(worker, offset, bytes, kind, code);
  if (worker.owns(address)) return {nullptr, false};
  const char *dynamic = (const char *)sc_this_block->dynamic, *map = worker.dynamic_map();
  const uint32_t dynamic_bytes = sc_this_block->dynamic_bytes;
  if (address >= dynamic && address + bytes <= dynamic + dynamic_bytes) return {&dynamic_cells[(address - dynamic) / 4], true};
  if (address >= map - SHARED_GUARD_BYTES && address < map + MAX_SHARED_BYTES + SHARED_GUARD_BYTES)
    out_of_bounds(worker, kind, bytes,
                  format("at byte %ld of %u bytes of dynamic shared memory", (long)(address - dynamic), dynamic_bytes), code);
  const Library &library = *worker.launch().kernel->library;
  if (address >= library.begin && address < library.end) return {nullptr, false};  // constants
  return global_target(worker, (uintptr_t)address, bytes, kind, code);
}

void check(const void *pointer, size_t bytes, Kind kind, const void *return_address) {
  if (!sc_this_block || !sc_this_thread || !bytes) return;
  const char *address = (const char *)pointer, *code = (const char *)return_address - 1;
  const Target target = find_target(address, bytes, kind, code);
  if (!target.cell) return;
  Worker &worker = *now_running.worker;
  Access now;
  now.block = block_number;
  now.thread = (uint16_t)sc_this_thread->linear;
  now.atomic = kind == Kind::ATOMIC;
  now.barrier_epoch = worker.barrier_epoch();
  now.warp_epoch = worker.warp_of(now.thread).epoch;
  now.code = (uint32_t)(code + 1 - worker.launch().kernel->library->begin);
  Cell *cell = target.cell;
  const char *end = address + bytes;
  while (address < end) {
    const unsigned offset = (uintptr_t)address % 4;
    const unsigned here = (unsigned)std::min<ptrdiff_t>(4 - offset, end - address);
    now.bytes = (uint8_t)(((1u << here) - 1) << offset);
    check_word(worker, target, *cell++, now, kind, code);
    address += here;
  }
}

}  // namespace

void checker_begin_block(Worker &worker) {
  block_number++;
  const Library &library = *worker.launch().kernel->library;
  now_running = {&worker, nullptr, nullptr, nullptr, library.thread_bytes};
  if (library.thread_bytes) now_running.storage = library.thread_storage();
  if (static_cells.size() < library.thread_bytes / 4 + 2) static_cells.resize(library.thread_bytes / 4 + 2);
  if (dynamic_cells.empty()) dynamic_cells.resize(MAX_SHARED_BYTES / 4 + 2);
}

void checker_forget(Allocation &allocation) {
  free(allocation.shadow);
  allocation.shadow = nullptr;
}

// A fence publishes what the block wrote; an atomic function takes what others did.
EXPORT void sc_fence() { fences.of_this_launch().released.insert(block_number); }

EXPORT void sc_atomic(const void *address, unsigned bytes) {
  fences.of_this_launch().acquired.insert(block_number);
  check(address, bytes, Kind::ATOMIC, __builtin_return_address(0));
}

// What g++ calls, by the names of its run-time library (libsanitizer/tsan).
#define ACCESSES(n)                                                                                               \
  EXPORT void __tsan_read##n(void *p) { check(p, n, Kind::READ, __builtin_return_address(0)); }                   \
  EXPORT void __tsan_write##n(void *p) { check(p, n, Kind::WRITE, __builtin_return_address(0)); }                 \
  EXPORT void __tsan_unaligned_read##n(void *p) { check(p, n, Kind::READ, __builtin_return_address(0)); }         \
  EXPORT void __tsan_unaligned_write##n(void *p) { check(p, n, Kind::WRITE, __builtin_return_address(0)); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
EXPORT void __tsan_read_range(void *p, size_t n) { check(p, n, Kind::READ, __builtin_return_address(0)); }
EXPORT void __tsan_write_range(void *p, size_t n) { check(p, n, Kind::WRITE, __builtin_return_address(0)); }
EXPORT void __tsan_init() {}
EXPORT void __tsan_func_entry(void *) {}
EXPORT void __tsan_func_exit() {}
EXPORT void __tsan_vptr_update(void *, void *) {}
EXPORT void __tsan_vptr_read(void *) {}

// The shim's atomic functions; sc_atomic has checked them.
#define ATOMICS(bits, T)                                                                                   \
  EXPORT T __tsan_atomic##bits##_load(const volatile T *p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); } \
  EXPORT int __tsan_atomic##bits##_compare_exchange_strong(volatile T *p, T *old, T v, int, int) {         \
    return __atomic_compare_exchange_n(p, old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
  }
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)
