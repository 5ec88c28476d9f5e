// Runs the threads of one block on fibers of the calling OS thread.
#pragma once
#include <cuda.h>

#include <string>
#include <vector>

#include "fiber.h"
#include "softcuda_abi.h"

struct Launch;

enum ThreadState : uint8_t { RUNNABLE, AT_BARRIER, IN_WARP_FUNCTION, EXITED };

const int WARP_LANES = 32;
const uint32_t MAX_SHARED_BYTES = 227 << 10;  // of a block, on request; as on sm_90
const uint32_t DEFAULT_SHARED_BYTES = 48 << 10;
const uint32_t SHARED_GUARD_BYTES = 64 << 10;  // on each side of dynamic shared memory; a multiple of any page size

struct Warp {
  uint32_t there = 0;    // lanes that the block has
  uint32_t alive = 0;    // of these, the ones that have not exited
  uint32_t arrived = 0;  // lanes that wait in the function below
  uint32_t mask = 0;     // lanes that the first to arrive waits for
  int function = 0;
  const char *file = nullptr;
  int site = 0;
  uint32_t epoch = 0;  // warp functions completed
};

// What a signal said about the thread that raised it.
struct Fault {
  int signal = 0;
  void *address = nullptr;
  void *instruction = nullptr;
};

class Worker {
 public:
  // The worker of the calling OS thread.
  static Worker &mine();

  // run_block runs a block to its end, or to its first error.
  CUresult run_block(const Launch &launch, uint64_t index);

  // What a running thread calls; see softcuda_abi.h.
  int barrier(int kind, int predicate, const char *file, int site);
  uint64_t warp_function(int function, uint32_t mask, uint64_t value, int argument, int width, const char *file, int site);

  // describe names the kernel, the block and the thread.
  std::string describe(int thread) const;
  // block_text is the block's index: "(1,0,0)".
  std::string block_text() const;

  // abort_block ends the block with an error. The running thread does not go on.
  [[noreturn]] void abort_block(CUresult error);
  // fault ends the block from within a signal handler.
  void fault(const Fault &fault, void *signal_context);
  // blame makes the block fail in the end, and lets it go on.
  void blame(CUresult error) { error_ = error; }

  const Launch &launch() const { return *launch_; }
  const Fiber &fiber() const { return *running_; }
  uint32_t barrier_epoch() const { return barrier_epoch_; }
  const Warp &warp_of(int thread) const { return warps_[thread / WARP_LANES]; }
  const char *dynamic_map() const { return dynamic_; }
  // Where the scheduler keeps what the shim reads, for the checker to leave out.
  bool owns(const void *address) const;

 private:
  void prepare(const Launch &launch, uint64_t index);
  void prepare_shared();
  void prepare_order(uint64_t index);
  void report_deadlock() const;
  void report_fault() const;

  void start_threads();  // runs on a fiber
  static void fiber_main();
  void thread_exits(int thread);
  void yield();
  void switch_to(Fiber *fiber);
  Fiber *free_fiber();
  Fiber *new_fiber();
  void make_runnable(int thread);
  void release_barrier();
  void finish_warp_function(int warp);
  int source_lane(int function, int lane, const sc_thread &thread) const;

  const Launch *launch_ = nullptr;
  sc_block block_;
  std::vector<sc_thread> threads_;
  std::vector<Fiber *> fiber_of_;  // by thread
  std::vector<Warp> warps_;
  std::vector<int> order_;  // of the threads
  int count_ = 0;           // threads of the block
  int started_ = 0;         // of order_
  int live_ = 0;            // threads that have not exited

  // Runnable threads that have started: a ring with a place to spare.
  std::vector<int> ready_;
  size_t ready_head_ = 0, ready_tail_ = 0;

  // The barrier that waiting_ threads wait at.
  int waiting_ = 0;
  int barrier_kind_ = 0, barrier_count_ = 0, barrier_result_ = 0;
  const char *barrier_file_ = nullptr;
  int barrier_site_ = 0;
  uint32_t barrier_epoch_ = 0;

  std::vector<Fiber *> fibers_, free_fibers_;
  Fiber *running_ = nullptr;
  Flow scheduler_ = nullptr;
  char *dynamic_ = nullptr;  // MAX_SHARED_BYTES
  bool aborted_ = false;
  CUresult error_ = CUDA_SUCCESS;
  Fault fault_;
};

// Scheduling. A thread runs until it waits; then the next runnable one resumes, or
// else the next thread starts on a fiber that is free. Inline: a barrier costs each
// thread some 15 ns in all.

inline void Worker::make_runnable(int thread) {
  threads_[thread].state = RUNNABLE;
  ready_[ready_tail_] = thread;
  if (++ready_tail_ == ready_.size()) ready_tail_ = 0;
}

inline Fiber *Worker::free_fiber() {
  if (free_fibers_.empty()) return new_fiber();
  Fiber *fiber = free_fibers_.back();
  free_fibers_.pop_back();
  return fiber;
}

inline void Worker::switch_to(Fiber *fiber) {
  Fiber *self = running_;
  if (fiber->thread >= 0) sc_this_thread = &threads_[fiber->thread];
  if (fiber == self) return;
  running_ = fiber;
  fiber_switch(&self->flow, fiber->flow);
}

inline void Worker::yield() {
  if (ready_head_ != ready_tail_) {
    const int thread = ready_[ready_head_];
    if (++ready_head_ == ready_.size()) ready_head_ = 0;
    switch_to(fiber_of_[thread]);
  } else if (started_ < count_) {
    switch_to(free_fiber());
  } else {
    fiber_switch(&running_->flow, scheduler_);
  }
}

// site_text is a place in the source as "file:line".
std::string site_text(const char *file, int site);

// launches counts the launches so far, the running one included.
extern uint64_t launches;
