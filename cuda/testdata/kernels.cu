// The kernels of package cuda's tests. kernels.ptx is this file, compiled by NVRTC
// for compute_80.

#ifndef DYN_SHARED // the fake driver's header defines it for the host
#define DYN_SHARED(type, name) extern __shared__ type name[]
#endif

struct Affine {
  float *y;        // [n] added to
  const float *x;  // [n]
  double offset;
  int n;
  float scale;
  unsigned char odd;  // a last field that leaves padding behind it
};

// y += scale x + offset + odd
extern "C" __global__ void affine(Affine a) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < a.n) a.y[i] += a.scale * a.x[i] + (float)a.offset + (float)a.odd;
}

// out[0..5] are the arguments, each as a double.
extern "C" __global__ void numbers(double *out, int a, float b, long long c, unsigned d, double e, unsigned long long f) {
  if (threadIdx.x == 0 && blockIdx.x == 0) {
    out[0] = a; out[1] = b; out[2] = (double)c; out[3] = d; out[4] = e; out[5] = (double)f;
  }
}

struct Large {
  int *out;  // [sum of the 300 values]
  int values[300];
  char text[7];
};

extern "C" __global__ void large(Large p, int factor) {
  int sum = 0;
  for (int i = 0; i < 300; i++) sum += p.values[i];
  for (int i = 0; i < 7; i++) sum += p.text[i];
  if (threadIdx.x == 0 && blockIdx.x == 0) *p.out = factor * sum;
}

// x, of one block's n ints, is reversed through dynamic shared memory.
extern "C" __global__ void reverse(int *x, int n) {
  DYN_SHARED(int, part);
  for (int i = threadIdx.x; i < n; i += blockDim.x) part[i] = x[i];
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) x[i] = part[n - 1 - i];
}

// Writes where nothing is allocated.
extern "C" __global__ void fault(int *nowhere) { nowhere[threadIdx.x] = 1; }
