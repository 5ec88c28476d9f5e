// Wrong kernels: softcuda_test.go wants a report of each. in and out have n
// elements; the comment beside a kernel says what is wrong with it.
#include "device.cuh"

KERNEL bug_write_behind(float *in, float *out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) out[i] = 1;  // <= for <
}

KERNEL bug_read_behind(float *in, float *out, int n) {
  int i = threadIdx.x;
  if (i < n) out[i] = in[i + 1];
}

KERNEL bug_read_before(float *in, float *out, int n) {
  int i = threadIdx.x;
  if (i < n) out[i] = in[i - 1];
}

KERNEL bug_wild_pointer(float *in, float *out, int n) {
  *(volatile float *)((char *)out + (1ll << 40)) = 1;
}

KERNEL bug_null_pointer(float *in, float *out, int n) {
  float *volatile p = nullptr;
  out[0] = p[threadIdx.x];
}

KERNEL bug_barrier_in_branch(float *in, float *out, int n) {
  if (threadIdx.x < 16) __syncthreads();
  out[threadIdx.x] = 1;
  __syncthreads();  // the others wait here
  out[0] = 2;
}

KERNEL bug_two_barriers(float *in, float *out, int n) {
  if (threadIdx.x & 1) {
    __syncthreads();
    out[1] = 1;
  } else {
    __syncthreads();
    out[0] = 1;
  }
}

KERNEL bug_shuffle_in_branch(float *in, float *out, int n) {
  float v = threadIdx.x;
  if (threadIdx.x < 16) v = __shfl_xor_sync(ALL_LANES, v, 1);  // the mask names all
  out[threadIdx.x] = v;
}

KERNEL bug_mask_without_self(float *in, float *out, int n) {
  out[threadIdx.x] = __shfl_xor_sync(0xffffu, (float)threadIdx.x, 1);
}

KERNEL bug_shuffle_from_absent(float *in, float *out, int n) {
  float v = threadIdx.x;
  if (threadIdx.x < 16) v = __shfl_down_sync(0xffffu, v, 8);  // lanes 8 to 15 read lanes 16 to 23
  out[threadIdx.x] = v;
}

KERNEL bug_missing_barrier(float *in, float *out, int n) {
  __shared__ float s[256];
  s[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = s[255 - threadIdx.x];
}

KERNEL bug_missing_syncwarp(float *in, float *out, int n) {
  __shared__ float s[32];
  s[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = s[threadIdx.x ^ 1];  // of one warp, but not ordered
}

KERNEL bug_warp_synchronous(float *in, float *out, int n) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = in[t];
  s[t + 32] = in[t + 32];
  __syncthreads();
  for (int o = 32; o > 0; o >>= 1)
    if (t < o) s[t] += s[t + o];  // without __syncwarp
  if (t == 0) *out = s[0];
}

KERNEL bug_write_after_read(float *in, float *out, int n) {
  __shared__ float s[64];
  int t = threadIdx.x;
  float sum = 0;
  for (int k = 0; k < n; k += 64) {
    s[t] = in[k + t];  // while others may still read the last tile
    __syncthreads();
    for (int j = 0; j < 64; j++) sum += s[j] * (j + 1);
  }
  out[t] = sum;
}

KERNEL bug_same_value(float *in, float *out, int n) {
  __shared__ float s;
  s = in[0];  // all threads write the same
  __syncthreads();
  out[threadIdx.x] = s;
}

KERNEL bug_between_blocks(float *in, float *out, int n) {
  out[0] += 1;  // not atomic
}

KERNEL bug_neighbour_block(float *in, float *out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = i;
  __syncthreads();  // orders this block only
  if (i > 0) in[i] = out[i - 1];
}

KERNEL bug_uninitialised_static(float *in, float *out, int n) {
  __shared__ float s[64];
  if (threadIdx.x < 32) s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}

KERNEL bug_uninitialised_dynamic(float *in, float *out, int n) {
  DYN_SHARED(float, s);
  out[threadIdx.x] = s[threadIdx.x];
}

KERNEL bug_uninitialised_sum(float *in, float *out, int n) {
  __shared__ int count;
  atomicAdd(&count, 1);  // from what?
  __syncthreads();
  out[threadIdx.x] = count;
}

KERNEL bug_static_overrun(float *in, float *out, int n) {
  __shared__ float s[32], t[32];
  s[threadIdx.x] = 1;
  t[threadIdx.x] = 2;
  __syncthreads();
  s[threadIdx.x + n / 32] = 3;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x] + t[threadIdx.x];
}

KERNEL bug_dynamic_overrun(float *in, float *out, int n) {
  DYN_SHARED(float, s);
  s[threadIdx.x] = 1;  // the launch gives half of it
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}

KERNEL bug_deadlock(float *in, float *out, int n) {
  if (threadIdx.x == 0)
    __syncthreads();
  else
    __syncwarp(ALL_LANES);  // waits for thread 0, which waits for these
  out[threadIdx.x] = 1;
}

KERNEL bug_division_by_zero(float *in, float *out, int n) {
  volatile int zero = 0;
  out[threadIdx.x] = n / zero;
}

__device__ float deep(int n) {
  volatile float local[1024];
  local[n] = n;
  return n == 0 ? 0 : deep(n - 1) + local[n];
}

KERNEL bug_stack_overflow(float *in, float *out, int n) { out[threadIdx.x] = deep(n); }
