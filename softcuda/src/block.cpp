#include "block.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <mutex>
#include <utility>
#include <vector>

#include "checker.h"
#include "config.h"
#include "fault.h"
#include "launch.h"
#include "library.h"
#include "report.h"

extern "C" {
__thread sc_thread *sc_this_thread __attribute__((tls_model("initial-exec"), visibility("default")));
__thread sc_block *sc_this_block __attribute__((tls_model("initial-exec"), visibility("default")));
}

uint64_t launches;

namespace {

// Workers of OS threads that have ended, for new ones: a program may end a thread
// with every context it closes, and a worker has hundreds of fibers.
struct Idle {
  std::mutex mutex;
  std::vector<Worker *> workers;
};

Idle &idle() {
  static Idle *list = new Idle;  // threads may end after static objects are destroyed
  return *list;
}

// Owner gives an OS thread's worker back when the thread ends.
struct Owner {
  Worker *worker = nullptr;
  ~Owner() {
    std::lock_guard<std::mutex> lock(idle().mutex);
    if (worker) idle().workers.push_back(worker);
  }
};

Worker *take_worker() {
  std::lock_guard<std::mutex> lock(idle().mutex);
  if (idle().workers.empty()) return new Worker;
  Worker *worker = idle().workers.back();
  idle().workers.pop_back();
  return worker;
}

}  // namespace

Worker &Worker::mine() {
  static thread_local Worker *worker __attribute__((tls_model("initial-exec"))) = nullptr;
  if (!worker) {
    static thread_local Owner owner;
    worker = owner.worker = take_worker();
    ensure_signal_stack();
  }
  return *worker;
}

std::string site_text(const char *file, int site) {
  const char *slash = strrchr(file, '/');
  return format("%s:%d", slash ? slash + 1 : file, SC_SITE_LINE(site));
}

std::string Worker::block_text() const {
  return format("(%u,%u,%u)", block_.id.x, block_.id.y, block_.id.z);
}

std::string Worker::describe(int thread) const {
  const uint3 &t = threads_[thread].id;
  return format("kernel %s block %s thread (%u,%u,%u)", launch_->kernel->name(), block_text().c_str(), t.x, t.y, t.z);
}

bool Worker::owns(const void *address) const {
  const auto within = [address](const void *from, const void *to) { return address >= from && address < to; };
  const Launch &l = *launch_;
  return running_->holds(address) || within(threads_.data(), threads_.data() + threads_.size()) ||
         within(&block_, &block_ + 1) || within(&sc_this_thread, &sc_this_thread + 1) ||
         within(&sc_this_block, &sc_this_block + 1) || within(l.storage.data(), l.storage.data() + l.storage.size()) ||
         within(l.arguments.data(), l.arguments.data() + l.arguments.size());
}

Fiber *Worker::new_fiber() {
  Fiber *fiber = fiber_new(fiber_main, config().stack_bytes);
  fibers_.push_back(fiber);
  return fiber;
}

void Worker::abort_block(CUresult error) {
  aborted_ = true;
  error_ = error;
  fiber_switch(&running_->flow, scheduler_);
  abort();  // the fiber is restarted, not resumed
}

void Worker::fault(const Fault &fault, void *signal_context) {
  aborted_ = true;
  error_ = CUDA_ERROR_ILLEGAL_ADDRESS;
  fault_ = fault;
  fiber_resume_from_signal(signal_context, scheduler_);
}

void Worker::fiber_main() {
  for (;;) Worker::mine().start_threads();
}

// start_threads runs threads that have not started, one after the other as long
// as nothing else can run; then this fiber is free.
void Worker::start_threads() {
  Fiber *self = running_;
  while (started_ < count_) {
    const int thread = order_[started_++];
    self->thread = thread;
    fiber_of_[thread] = self;
    sc_this_thread = &threads_[thread];
    launch_->kernel->entry->call(const_cast<void **>(launch_->arguments.data()));
    self->thread = -1;
    thread_exits(thread);
    if (ready_head_ != ready_tail_) break;
  }
  free_fibers_.push_back(self);
  yield();
}

void Worker::thread_exits(int thread) {
  threads_[thread].state = EXITED;
  live_--;
  Warp &warp = warps_[thread / WARP_LANES];
  const uint32_t lane = 1u << thread % WARP_LANES;
  warp.alive &= ~lane;
  if (warp.arrived && warp.mask & lane) {
    report("warp divergence: %s exited, and the warp function at %s names it in its mask %08x", describe(thread).c_str(),
           site_text(warp.file, warp.site).c_str(), warp.mask);
    abort_block(CUDA_ERROR_ILLEGAL_INSTRUCTION);
  }
  if (live_ && waiting_ == live_) release_barrier();
}

// Barriers.

void Worker::release_barrier() {
  switch (barrier_kind_) {
    case SC_SYNC_AND: barrier_result_ = barrier_count_ == waiting_; break;
    case SC_SYNC_OR: barrier_result_ = barrier_count_ > 0; break;
    default: barrier_result_ = barrier_count_;
  }
  waiting_ = 0;
  barrier_epoch_++;
  for (int i = 0; i < count_; i++)
    if (threads_[order_[i]].state == AT_BARRIER) make_runnable(order_[i]);
}

int Worker::barrier(int kind, int predicate, const char *file, int site) {
  sc_thread *self = sc_this_thread;
  if (waiting_ == 0) {
    barrier_kind_ = kind;
    barrier_count_ = 0;
    barrier_file_ = file;
    barrier_site_ = site;
  } else if (barrier_site_ != site || barrier_kind_ != kind || barrier_file_ != file) {
    report("barrier divergence: %s waits at %s, others wait at %s", describe(self->linear).c_str(),
           site_text(file, site).c_str(), site_text(barrier_file_, barrier_site_).c_str());
    abort_block(CUDA_ERROR_LAUNCH_FAILED);
  }
  barrier_count_ += predicate;
  waiting_++;
  self->state = AT_BARRIER;
  if (waiting_ == live_) release_barrier();
  yield();
  return barrier_result_;
}

EXPORT int sc_barrier(int kind, int predicate, const char *file, int site) {
  return Worker::mine().barrier(kind, predicate, file, site);
}

// Blocks.

void Worker::prepare_shared() {
  if (!dynamic_) {
    const size_t room = (MAX_SHARED_BYTES + SHARED_GUARD_BYTES - 1) / SHARED_GUARD_BYTES * SHARED_GUARD_BYTES;
    char *map = (char *)mmap(nullptr, room + 2 * SHARED_GUARD_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + SHARED_GUARD_BYTES, room, PROT_READ | PROT_WRITE)) {
      perror("softcuda: shared memory");
      exit(2);
    }
    dynamic_ = map + SHARED_GUARD_BYTES + room - MAX_SHARED_BYTES;
  }
  // Its end touches the guard, as near as the alignment allows.
  const uint32_t room = (launch_->shared_bytes + 15) / 16 * 16;
  block_.dynamic = dynamic_ + MAX_SHARED_BYTES - room;
  block_.dynamic_bytes = launch_->shared_bytes;
  if (config().poison) {
    memset(block_.dynamic, 0xff, room);
    launch_->kernel->poison_static_shared();
  }
}

void Worker::prepare_order(uint64_t index) {
  const Config &c = config();
  if ((int)order_.size() == count_ && !c.shuffle_seed) return;
  order_.resize(count_);
  for (int i = 0; i < count_; i++) order_[i] = c.descending ? count_ - 1 - i : i;
  if (!c.shuffle_seed) return;
  uint32_t state = c.shuffle_seed + (uint32_t)index * 7919;
  for (int i = count_ - 1; i > 0; i--) {
    state = state * 1664525 + 1013904223;  // Numerical Recipes
    std::swap(order_[i], order_[(state >> 8) % (i + 1)]);
  }
}

void Worker::prepare(const Launch &launch, uint64_t index) {
  launch_ = &launch;
  const dim3 &n = launch.block, &g = launch.grid;
  count_ = (int)(n.x * n.y * n.z);
  if ((int)threads_.size() < count_) {
    threads_.resize(count_);
    fiber_of_.resize(count_);
    ready_.resize(count_ + 1);
    warps_.resize((count_ + WARP_LANES - 1) / WARP_LANES);
  }
  block_.id = {(unsigned)(index % g.x), (unsigned)(index / g.x % g.y), (unsigned)(index / g.x / g.y)};
  block_.threads = n;
  block_.blocks = g;
  prepare_shared();
  prepare_order(index);
  int i = 0;
  for (unsigned z = 0; z < n.z; z++)
    for (unsigned y = 0; y < n.y; y++)
      for (unsigned x = 0; x < n.x; x++, i++) {
        threads_[i].id = {x, y, z};
        threads_[i].linear = i;
        threads_[i].state = RUNNABLE;
      }
  for (int first = 0; first < count_; first += WARP_LANES) {
    Warp &warp = warps_[first / WARP_LANES];
    warp = Warp();
    const int lanes = count_ - first;
    warp.there = warp.alive = lanes >= WARP_LANES ? ~0u : (1u << lanes) - 1;
  }
  live_ = count_;
  started_ = waiting_ = 0;
  ready_head_ = ready_tail_ = 0;
  barrier_epoch_ = 0;
  aborted_ = false;
  error_ = CUDA_SUCCESS;
  fault_ = Fault();
}

CUresult Worker::run_block(const Launch &launch, uint64_t index) {
  prepare(launch, index);
  checker_begin_block(*this);
  sc_this_block = &block_;
  running_ = free_fiber();
  fiber_switch(&scheduler_, running_->flow);
  sc_this_block = nullptr;
  sc_this_thread = nullptr;
  if (fault_.signal) report_fault();
  if (!aborted_ && live_) {
    report_deadlock();
    aborted_ = true;
    error_ = CUDA_ERROR_LAUNCH_TIMEOUT;
  }
  if (aborted_) {  // threads were left in the middle
    free_fibers_ = fibers_;
    for (Fiber *fiber : fibers_) fiber_restart(fiber, fiber_main);
  }
  return error_;
}

void Worker::report_deadlock() const {
  std::string at;
  if (waiting_) at += format(", %d at the barrier %s", waiting_, site_text(barrier_file_, barrier_site_).c_str());
  for (int i = 0; i * WARP_LANES < count_; i++) {
    const Warp &w = warps_[i];
    if (!w.arrived) continue;
    at += format(", lanes %08x of warp %d in the warp function at %s with mask %08x", w.arrived, i,
                 site_text(w.file, w.site).c_str(), w.mask);
  }
  report("deadlock: kernel %s block %s: no thread can run%s, %d exited", launch_->kernel->name(), block_text().c_str(),
         at.c_str(), count_ - live_);
}

void Worker::report_fault() const {
  const std::string who = describe(running_->thread);
  const std::string line = source_line(fault_.instruction);
  if (fault_.signal == SIGILL)
    report("trap: index outside an array's type, or __builtin_trap: %s at %s", who.c_str(), line.c_str());
  else if (fault_.signal == SIGFPE)
    report("division of integers by zero, which a device does not notice: %s at %s", who.c_str(), line.c_str());
  else if (running_->stack - 65536 <= (char *)fault_.address && (char *)fault_.address < running_->stack)
    report("stack overflow (SOFTCUDA_STACK has its size): %s at %s", who.c_str(), line.c_str());
  else
    report("illegal address %p: %s at %s", fault_.address, who.c_str(), line.c_str());
}
