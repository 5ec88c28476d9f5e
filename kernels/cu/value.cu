// The values of rows.
#include "outputs.cuh"

// value writes what the critic has given for the rows of r to dst[row] of each
// member, members dst_stride floats apart.
//
// grid (members, rows / block).
KERNEL value(Params p, Rows r, unsigned long long dst, long long dst_stride) {
  const int row = (int)(blockIdx.y * blockDim.x + threadIdx.x), m = blockIdx.x;
  if (row < r.count) f32(dst)[m * dst_stride + row] = output_value(p, m, row);
}
