// The fused update with its three 64x64 products on the tensor cores: the launches,
// buffers and semantics of update_fused.cu. What differs from it is rounding (see
// update_fused_tf32.cuh): of the whole gradient 1e-4 to 5e-4 in relative L2 distance
// with 7 to 224 rows, and a row's part of it where rounding takes the row across
// the edge of the clip range, or one of its units across that of ReLU.
//
// 213 to 252 registers on sm_80, 226 to 253 on sm_90, nothing spilled; blocks per
// multiprocessor as update_fused.cu.
#include "update_fused_tf32.cuh"
#include "update_fused_block.cuh"

KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_tf32_d4_a1(Params p, int step) {
  TENSOR_CORES((fused::update<4, 1, fused::TensorPlace>(p, step)));
}
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_tf32_d4_a2(Params p, int step) {
  TENSOR_CORES((fused::update<4, 2, fused::TensorPlace>(p, step)));
}
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_tf32_d4_a3(Params p, int step) {
  TENSOR_CORES((fused::update<4, 3, fused::TensorPlace>(p, step)));
}
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_tf32_d4_a4(Params p, int step) {
  TENSOR_CORES((fused::update<4, 4, fused::TensorPlace>(p, step)));
}
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_tf32_d8_a1(Params p, int step) {
  TENSOR_CORES((fused::update<8, 1, fused::TensorPlace>(p, step)));
}
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_tf32_d8_a2(Params p, int step) {
  TENSOR_CORES((fused::update<8, 2, fused::TensorPlace>(p, step)));
}
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_tf32_d8_a3(Params p, int step) {
  TENSOR_CORES((fused::update<8, 3, fused::TensorPlace>(p, step)));
}
KERNEL __launch_bounds__(fused::THREADS, 4) update_fused_tf32_d8_a4(Params p, int step) {
  TENSOR_CORES((fused::update<8, 4, fused::TensorPlace>(p, step)));
}
