// CUDA's vector types, with CUDA's alignment, and the conversions between bits
// and numbers.
#pragma once

#define SC_VECTOR(T, name, bytes)                                                                        \
  struct alignas(bytes / 4) name##1 { T x; };                                                            \
  struct alignas(bytes / 2) name##2 { T x, y; };                                                         \
  struct name##3_ { T x, y, z; };                                                                        \
  struct alignas(bytes > 16 ? 16 : bytes) name##4 { T x, y, z, w; };                                     \
  static inline name##1 make_##name##1(T x) { return {x}; }                                              \
  static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                      \
  static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

SC_VECTOR(signed char, char, 4)
SC_VECTOR(unsigned char, uchar, 4)
SC_VECTOR(short, short, 8)
SC_VECTOR(unsigned short, ushort, 8)
SC_VECTOR(int, int, 16)
SC_VECTOR(unsigned, uint, 16)
SC_VECTOR(float, float, 16)
SC_VECTOR(long long, longlong, 32)
SC_VECTOR(unsigned long long, ulonglong, 32)
SC_VECTOR(double, double, 32)
#undef SC_VECTOR

// uint3 is threadIdx's type and declared in softcuda_abi.h.
typedef int3_ int3;
typedef float3_ float3;
typedef double3_ double3;
static inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
static inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
static inline double3 make_double3(double x, double y, double z) { return {x, y, z}; }

template <class To, class From>
static inline To sc_bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  To r;
  memcpy(&r, &v, sizeof r);
  return r;
}

static inline int __float_as_int(float v) { return sc_bits<int>(v); }
static inline unsigned __float_as_uint(float v) { return sc_bits<unsigned>(v); }
static inline float __int_as_float(int v) { return sc_bits<float>(v); }
static inline float __uint_as_float(unsigned v) { return sc_bits<float>(v); }
static inline long long __double_as_longlong(double v) { return sc_bits<long long>(v); }
static inline double __longlong_as_double(long long v) { return sc_bits<double>(v); }
static inline int __double2hiint(double v) { return (int)(sc_bits<uint64_t>(v) >> 32); }
static inline int __double2loint(double v) { return (int)sc_bits<uint64_t>(v); }
static inline double __hiloint2double(int hi, int lo) {
  return sc_bits<double>((uint64_t)(uint32_t)hi << 32 | (uint32_t)lo);
}

// A cast of a number outside the integer's range has no meaning on the host. The
// device saturates, and turns NaN into zero, or into the highest bit where either
// type has 64 bits (PTX ISA, cvt).
template <class I, class F>
static inline I sc_saturate(F v) {
  const F low = (F)(std::is_signed_v<I> ? (I)1 << (8 * sizeof(I) - 1) : (I)0);
  const F above = 2 * (F)((I)1 << (8 * sizeof(I) - (std::is_signed_v<I> ? 2 : 1)));
  if (v != v) return sizeof(F) + sizeof(I) == 8 ? 0 : (I)((I)1 << (8 * sizeof(I) - 1));
  if (v <= low) return (I)low;
  return v >= above ? (I) ~(I)low : (I)v;
}
#define SC_ROUNDINGS(F, from, I, to)                                                       \
  static inline I __##from##2##to##_rn(F v) { return sc_saturate<I>(nearbyint(v)); }       \
  static inline I __##from##2##to##_rz(F v) { return sc_saturate<I>(trunc(v)); }           \
  static inline I __##from##2##to##_rd(F v) { return sc_saturate<I>(floor(v)); }           \
  static inline I __##from##2##to##_ru(F v) { return sc_saturate<I>(ceil(v)); }
SC_ROUNDINGS(float, float, int, int)
SC_ROUNDINGS(float, float, unsigned, uint)
SC_ROUNDINGS(float, float, long long, ll)
SC_ROUNDINGS(float, float, unsigned long long, ull)
SC_ROUNDINGS(double, double, int, int)
SC_ROUNDINGS(double, double, unsigned, uint)
SC_ROUNDINGS(double, double, long long, ll)
SC_ROUNDINGS(double, double, unsigned long long, ull)
#undef SC_ROUNDINGS
static inline float __double2float_rn(double v) { return (float)v; }
static inline float __int2float_rn(int v) { return (float)v; }
static inline float __uint2float_rn(unsigned v) { return (float)v; }
static inline float __ll2float_rn(long long v) { return (float)v; }
static inline float __ull2float_rn(unsigned long long v) { return (float)v; }
static inline double __int2double_rn(int v) { return v; }
static inline double __uint2double_rn(unsigned v) { return v; }
static inline double __ll2double_rn(long long v) { return (double)v; }
static inline double __ull2double_rn(unsigned long long v) { return (double)v; }

// Loads and stores with a cache hint.
template <class T> static inline T __ldg(const T *p) { return *p; }
template <class T> static inline T __ldca(const T *p) { return *p; }
template <class T> static inline T __ldcg(const T *p) { return *p; }
template <class T> static inline T __ldcs(const T *p) { return *p; }
template <class T> static inline T __ldlu(const T *p) { return *p; }
template <class T> static inline void __stcg(T *p, T v) { *p = v; }
template <class T> static inline void __stcs(T *p, T v) { *p = v; }
template <class T> static inline void __stwt(T *p, T v) { *p = v; }
