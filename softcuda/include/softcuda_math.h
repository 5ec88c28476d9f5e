// CUDA's device functions that the C library lacks or names otherwise.
// The fast ones (__expf) are the exact ones here: a host cannot tell their error.
#pragma once

// glibc declares names like __expf itself, so that these must be macros.
#define __expf expf
#define __exp10f exp10f
#define __logf logf
#define __log2f log2f
#define __log10f log10f
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
#define __powf powf
#define __sincosf sincosf

static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1.0f / a; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frsqrt_rn(float a) { return (float)(1.0 / sqrt((double)a)); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double a) { return sqrt(a); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; }  // NaN gives 0

static inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
static inline double rsqrt(double a) { return 1.0 / sqrt(a); }
static inline float rcbrtf(float a) { return 1.0f / cbrtf(a); }
static inline float normcdff(float a) { return 0.5f * erfcf(-a * 0.70710678f); }
static inline double normcdf(double a) { return 0.5 * erfc(-a * 0.70710678118654752); }

// sin and cos of pi a: exact at the multiples of one half, unlike sin(M_PI * a).
static inline void sincospi(double a, double *s, double *c) {
  const double r = fmod(a, 2.0);  // exact
  const double q = nearbyint(2 * r);
  const double x = (r - q / 2) * M_PI;  // in [-pi/4, pi/4]
  const double sx = sin(x), cx = cos(x);
  switch ((int)q & 3) {
    case 0: *s = sx, *c = cx; break;
    case 1: *s = cx, *c = 0 - sx; break;
    case 2: *s = 0 - sx, *c = -cx; break;
    default: *s = -cx, *c = sx;
  }
}
static inline double sinpi(double a) { double s, c; sincospi(a, &s, &c); return s; }
static inline double cospi(double a) { double s, c; sincospi(a, &s, &c); return c; }
static inline void sincospif(float a, float *s, float *c) {
  double ds, dc;
  sincospi(a, &ds, &dc);
  *s = (float)ds, *c = (float)dc;
}
static inline float sinpif(float a) { return (float)sinpi(a); }
static inline float cospif(float a) { return (float)cospi(a); }

static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
static inline int __clz(int a) { return a ? __builtin_clz(a) : 32; }
static inline int __clzll(long long a) { return a ? __builtin_clzll(a) : 64; }
static inline int __ffs(int a) { return __builtin_ffs(a); }
static inline int __ffsll(long long a) { return __builtin_ffsll(a); }
static inline unsigned __brev(unsigned a) {
  unsigned r = 0;
  for (int i = 0; i < 32; i++) r |= (a >> i & 1) << (31 - i);
  return r;
}
static inline int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }
static inline int __mulhi(int a, int b) { return (int)(((long long)a * b) >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned n) {
  return (unsigned)(((uint64_t)hi << 32 | lo) << (n & 31) >> 32);
}
static inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned n) {
  return (unsigned)(((uint64_t)hi << 32 | lo) >> (n & 31));
}

// min and max by CUDA's overloads: of two floats, the one that is a number.
template <class A, class B>
using sc_common = std::common_type_t<A, B>;
template <class A, class B>
static inline sc_common<A, B> sc_min(A a, B b) {
  using T = sc_common<A, B>;
  if constexpr (std::is_same_v<T, float>) return fminf((T)a, (T)b);
  else if constexpr (std::is_floating_point_v<T>) return fmin((T)a, (T)b);
  else return (T)b < (T)a ? (T)b : (T)a;
}
template <class A, class B>
static inline sc_common<A, B> sc_max(A a, B b) {
  using T = sc_common<A, B>;
  if constexpr (std::is_same_v<T, float>) return fmaxf((T)a, (T)b);
  else if constexpr (std::is_floating_point_v<T>) return fmax((T)a, (T)b);
  else return (T)a < (T)b ? (T)b : (T)a;
}
// Macros, for std's templates of these names would be ambiguous with functions.
#define min(a, b) sc_min(a, b)
#define max(a, b) sc_max(a, b)
static inline unsigned umin(unsigned a, unsigned b) { return b < a ? b : a; }
static inline unsigned umax(unsigned a, unsigned b) { return a < b ? b : a; }
