// Correct kernels that a careless checker would complain about: softcuda_test.go
// wants no report, and the results that drive.cpp computes.
#include "device.cuh"

// out[0] = the sum of in[0..63], by one warp.
KERNEL fine_warp_tree(float *in, float *out, int n) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = in[t];
  s[t + 32] = in[t + 32];
  __syncwarp();
  for (int o = 32; o > 0; o >>= 1) {
    float v = t < o ? s[t + o] : 0;
    __syncwarp();
    if (t < o) s[t] += v;
    __syncwarp();
  }
  if (t == 0) out[0] = s[0];
}

// out[0] = the sum of in[0..n-1]: the block that ends last adds up the partial
// sums, of which all its threads read all. out[1..] holds them; the counter is
// the last element, and is 0 again in the end.
KERNEL fine_last_block(float *in, float *out, int n) {
  __shared__ float s[64];
  __shared__ bool last;
  unsigned *count = (unsigned *)(out + n - 1);
  volatile float *partial = out + 1;
  int t = threadIdx.x;
  float v = 0;
  for (int i = blockIdx.x * blockDim.x + t; i < n; i += gridDim.x * blockDim.x) v += in[i];
  s[t] = v;
  __syncthreads();
  if (t == 0) {
    float sum = 0;
    for (int i = 0; i < blockDim.x; i++) sum += s[i];
    partial[blockIdx.x] = sum;
    __threadfence();
    last = atomicAdd(count, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  float sum = 0;
  for (int i = 0; i < gridDim.x; i++) sum += partial[i];
  s[t] = sum;
  __syncthreads();
  if (t == 0) {
    out[0] = s[63];
    *count = 0;
  }
}

KERNEL fine_early_exit(float *in, float *out, int n) {
  if (threadIdx.x >= 48) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

// A block whose last warp is not full.
KERNEL fine_partial_warp(float *in, float *out, int n) {
  float v = 1;
  for (int o = 16; o > 0; o >>= 1) v += __shfl_down_sync(ALL_LANES, v, o, 4);
  __syncwarp();
  out[threadIdx.x] = __ballot_sync(ALL_LANES, threadIdx.x & 1) != 0;
}

// Sums of 16 lanes while the other half of the warp does something else.
KERNEL fine_half_warp(float *in, float *out, int n) {
  float v = in[threadIdx.x];
  if (threadIdx.x < 16)
    for (int o = 8; o > 0; o >>= 1) v += __shfl_xor_sync(0xffffu, v, o);
  else
    v = -v;
  out[threadIdx.x] = v;
}

// out = transpose of in (16 x 16), in three rounds through one tile.
KERNEL fine_transpose(float *in, float *out, int n) {
  __shared__ float s[16][17];
  int i = threadIdx.x / 16, j = threadIdx.x % 16;
  for (int k = 0; k < 3; k++) {
    s[i][j] = in[i * 16 + j];
    __syncthreads();
    out[i * 16 + j] = s[j][i];
    __syncthreads();
  }
}

// Threads share words, not bytes.
KERNEL fine_bytes(float *in, float *out, int n) {
  __shared__ unsigned char s[64];
  s[threadIdx.x] = (unsigned char)threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = s[63 - threadIdx.x];
  ((unsigned char *)in)[threadIdx.x] = s[threadIdx.x];
}

// Two lanes read a word, the warp meets, one of them writes it.
KERNEL fine_read_meet_write(float *in, float *out, int n) {
  __shared__ float s[32];
  int t = threadIdx.x;
  s[t] = in[t];
  __syncwarp();
  float v = s[t] + s[t ^ 1];
  __syncwarp();
  s[t] = s[t] + v;
  __syncwarp();
  out[t] = s[t ^ 1];
}

struct Pair {
  float scale;
  double add;
  int at[3];
};

// Parameters by value, constants, arrays on the stack, dynamic shared memory.
__constant__ float table[4] = {1, 2, 3, 4};

KERNEL fine_parameters(float *in, float *out, int n, Pair pair) {
  DYN_SHARED(double, s);
  float local[4];
  for (int i = 0; i < 4; i++) local[i] = table[i] * pair.scale;
  s[threadIdx.x] = local[pair.at[threadIdx.x % 3]] + pair.add;
  __syncthreads();
  out[threadIdx.x] = (float)s[blockDim.x - 1 - threadIdx.x];
}

// Functions of warps and blocks, against what they should give.
KERNEL fine_functions(float *in, float *out, int n) {
  int t = threadIdx.x, lane = t & 31;
  bool good = true;
  good &= __shfl_sync(ALL_LANES, lane, 5) == 5;
  good &= __shfl_sync(ALL_LANES, lane, 5, 8) == (lane & 24) + 5;
  good &= __shfl_up_sync(ALL_LANES, lane, 3) == (lane < 3 ? lane : lane - 3);
  good &= __shfl_down_sync(ALL_LANES, lane, 3, 16) == ((lane & 15) < 13 ? lane + 3 : lane);
  good &= __shfl_xor_sync(ALL_LANES, (double)lane, 9) == (double)(lane ^ 9);
  good &= __shfl_sync(ALL_LANES, 1ll << 40, 2) == 1ll << 40;
  good &= __ballot_sync(ALL_LANES, lane < 4) == 15u;
  good &= __any_sync(ALL_LANES, lane == 7) && !__all_sync(ALL_LANES, lane == 7) && __all_sync(ALL_LANES, lane < 32);
  good &= __match_any_sync(ALL_LANES, lane & 1) == (lane & 1 ? 0xaaaaaaaau : 0x55555555u);
  good &= __reduce_add_sync(ALL_LANES, lane) == 496 && __reduce_max_sync(ALL_LANES, lane - 40) == -9;
  good &= __reduce_min_sync(ALL_LANES, lane - 40) == -40 && __reduce_max_sync(ALL_LANES, (unsigned)lane - 40u) == ~0u - 8;
  good &= __syncthreads_count(t & 1) == blockDim.x / 2 && __syncthreads_or(t == 0) && !__syncthreads_and(t == 0);
  good &= min(1.0f, __int_as_float(0x7fffffff)) == 1 && max(-1, 3) == 3 && min(5ll, 4) == 4;
  good &= __float2int_rn(2.5f) == 2 && __float2int_rz(-2.7f) == -2 && __double2float_rn(0.1) == 0.1f;
  good &= __float2int_rn(1e20f) == 2147483647 && __float2uint_rz(-1) == 0 && __float2int_rz(__int_as_float(0x7fffffff)) == 0;
  float s, c;
  sincospif(1.5f, &s, &c);
  good &= s == -1 && c == 0 && __umulhi(1u << 31, 6) == 3 && __popc(255) == 8 && __clz(1) == 31 && __ffs(8) == 4;
  good &= fabsf(rsqrtf(4.0f) - 0.5f) < 1e-6f && isnan(sqrtf(-1.0f)) && isinf(expf(1000.0f));
  out[t] = good;
}

// Kernels made by a macro have no name in the source.
#define MAKE(name, value) \
  KERNEL name(float *in, float *out, int n) { out[threadIdx.x] = value; }
MAKE(fine_made_one, 1)
MAKE(fine_made_two, 2)

// For scenarios.cpp.
KERNEL __launch_bounds__(128) add_one(float *p, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) p[i] += 1;
}

// out = what static and dynamic shared memory hold at the begin of a block.
KERNEL leftovers(float *out) {
  __shared__ float s[32];
  DYN_SHARED(float, d);
  out[threadIdx.x] = s[threadIdx.x];
  out[threadIdx.x + 32] = d[threadIdx.x];
  s[threadIdx.x] = d[threadIdx.x] = 1;
}

// count[1 + t] and count[33 + t] = when thread t runs, before and after the warp met.
KERNEL turns(int *count) {
  count[1 + threadIdx.x] = atomicAdd(count, 1);
  __syncwarp();
  count[33 + threadIdx.x] = atomicAdd(count, 1) - 32;
}

KERNEL nothing() {}

KERNEL barriers(int n) {
  for (int i = 0; i < n; i++) __syncthreads();
}
