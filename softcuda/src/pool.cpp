// Runs the blocks of a launch on several OS threads.
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "block.h"
#include "config.h"
#include "launch.h"

namespace {

// Waking the helpers takes some 10 us: worth it from about this many threads.
const uint64_t min_threads_to_share = 2048;

class Pool {
 public:
  CUresult run(const Launch &launch) {
    launch_ = &launch;
    next_block_ = 0;
    error_ = CUDA_SUCCESS;
    blocks_ = (uint64_t)launch.grid.x * launch.grid.y * launch.grid.z;
    const uint64_t threads = blocks_ * launch.block.x * launch.block.y * launch.block.z;
    const bool share = config().workers > 1 && blocks_ > 1 && threads >= min_threads_to_share;
    if (share) wake_helpers();
    run_blocks();
    if (share) wait_for_helpers();
    return (CUresult)error_.load();
  }

 private:
  void run_blocks() {
    Worker &worker = Worker::mine();
    for (;;) {
      const uint64_t block = next_block_.fetch_add(1);
      if (block >= blocks_ || error_.load()) return;
      const CUresult error = worker.run_block(*launch_, block);
      if (!error) continue;
      error_ = error;
      return;
    }
  }

  void wake_helpers() {
    while ((int)helpers_.size() < config().workers - 1)
      helpers_.emplace_back([this, seen = launches_] { help(seen); });
    {
      std::lock_guard<std::mutex> lock(mutex_);
      busy_ = (int)helpers_.size();
      launches_++;
    }
    work_.notify_all();
  }

  void wait_for_helpers() {
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

  void help(uint64_t seen) {
    // Faults of a kernel are handled here; the other signals are the program's.
    sigset_t signals;
    sigfillset(&signals);
    for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) sigdelset(&signals, s);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        work_.wait(lock, [&] { return launches_ != seen; });
        seen = launches_;
      }
      run_blocks();
      std::lock_guard<std::mutex> lock(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  const Launch *launch_ = nullptr;
  uint64_t blocks_ = 0;
  std::atomic<uint64_t> next_block_{0};
  std::atomic<int> error_{CUDA_SUCCESS};
  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable work_, done_;
  uint64_t launches_ = 0;
  int busy_ = 0;
};

}  // namespace

CUresult run(const Launch &launch) {
  // Not destroyed at exit: its threads wait in it.
  static Pool *pool = new Pool;
  launches++;
  return pool->run(launch);
}
