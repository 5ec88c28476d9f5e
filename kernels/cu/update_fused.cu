// The fused update's kernels: see update_fused.cuh for what a block does with a
// tile. Grid (P, Splits, 2 networks), block 64 threads, dynamic shared memory
// sizeof(fused::Shared<D>). Four blocks fit a multiprocessor of sm_90: they use 254
// or 255 of 256 registers a thread, without spills, and 56,912 of 57,344 bytes of
// shared memory with 8 features; on sm_80 two fit (three with 4 features), on sm_86
// and sm_89 one.
#include "update_fused_block.cuh"

namespace fused {

static_assert(sizeof(Shared<4>) == 54864 && sizeof(Shared<8>) == 56912, "update_fused_cuda.go has other sizes");

}  // namespace fused

KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_d4_a1(Params p, int step) { fused::update<4, 1, fused::Place>(p, step); }
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_d4_a2(Params p, int step) { fused::update<4, 2, fused::Place>(p, step); }
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_d4_a3(Params p, int step) { fused::update<4, 3, fused::Place>(p, step); }
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_d4_a4(Params p, int step) { fused::update<4, 4, fused::Place>(p, step); }
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_d8_a1(Params p, int step) { fused::update<8, 1, fused::Place>(p, step); }
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_d8_a2(Params p, int step) { fused::update<8, 2, fused::Place>(p, step); }
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_d8_a3(Params p, int step) { fused::update<8, 3, fused::Place>(p, step); }
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_d8_a4(Params p, int step) { fused::update<8, 4, fused::Place>(p, step); }
