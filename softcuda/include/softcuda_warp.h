// Barriers and warp functions. Macros, because each call says where it stands:
// the threads that meet must stand at the same place.
#pragma once

#define __syncthreads() ((void)sc_barrier(SC_SYNC, 0, __FILE__, SC_SITE))
#define __syncthreads_count(p) sc_barrier(SC_SYNC_COUNT, !!(p), __FILE__, SC_SITE)
#define __syncthreads_and(p) sc_barrier(SC_SYNC_AND, !!(p), __FILE__, SC_SITE)
#define __syncthreads_or(p) sc_barrier(SC_SYNC_OR, !!(p), __FILE__, SC_SITE)

template <class T>
static inline uint64_t sc_pack(T v) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "warp functions take 4 or 8 bytes");
  uint64_t b = 0;
  memcpy(&b, &v, sizeof v);
  return b;
}

template <class T>
static inline T sc_unpack(uint64_t b) {
  T v;
  memcpy(&v, &b, sizeof v);
  return v;
}

template <class T>
static inline T sc_shuffle(int function, const char *file, int site, uint32_t mask, T v, int argument, int width = 32) {
  return sc_unpack<T>(sc_warp(function, mask, sc_pack(v), argument, width, file, site));
}

#define __shfl_sync(...) sc_shuffle(SC_SHFL, __FILE__, SC_SITE, __VA_ARGS__)
#define __shfl_xor_sync(...) sc_shuffle(SC_SHFL_XOR, __FILE__, SC_SITE, __VA_ARGS__)
#define __shfl_down_sync(...) sc_shuffle(SC_SHFL_DOWN, __FILE__, SC_SITE, __VA_ARGS__)
#define __shfl_up_sync(...) sc_shuffle(SC_SHFL_UP, __FILE__, SC_SITE, __VA_ARGS__)

static inline constexpr uint32_t sc_mask() { return 0xffffffffu; }
static inline constexpr uint32_t sc_mask(uint32_t m) { return m; }
#define SC_VOTE(function, mask, v) sc_warp(function, mask, v, 0, 32, __FILE__, SC_SITE)
#define __syncwarp(...) ((void)SC_VOTE(SC_SYNCWARP, sc_mask(__VA_ARGS__), 0))
#define __ballot_sync(mask, p) ((unsigned)SC_VOTE(SC_BALLOT, mask, !!(p)))
#define __any_sync(mask, p) ((int)SC_VOTE(SC_ANY, mask, !!(p)))
#define __all_sync(mask, p) ((int)SC_VOTE(SC_ALL, mask, !!(p)))
#define __match_any_sync(mask, v) ((unsigned)SC_VOTE(SC_MATCH_ANY, mask, sc_pack(v)))
#define __activemask() sc_active_mask()

// The sum of signed and unsigned numbers has the same bits; their order has not.
#define SC_REDUCE(function, mask, v) sc_unpack<decltype(+(v))>((uint32_t)SC_VOTE(function, mask, sc_pack(+(v))))
#define SC_SIGNED(v, is, is_not) (std::is_signed_v<decltype(+(v))> ? is : is_not)
#define __reduce_add_sync(mask, v) SC_REDUCE(SC_REDUCE_ADD, mask, v)
#define __reduce_min_sync(mask, v) SC_REDUCE(SC_SIGNED(v, SC_REDUCE_MIN_SIGNED, SC_REDUCE_MIN), mask, v)
#define __reduce_max_sync(mask, v) SC_REDUCE(SC_SIGNED(v, SC_REDUCE_MAX_SIGNED, SC_REDUCE_MAX), mask, v)
#define __reduce_and_sync(mask, v) SC_REDUCE(SC_REDUCE_AND, mask, v)
#define __reduce_or_sync(mask, v) SC_REDUCE(SC_REDUCE_OR, mask, v)
#define __reduce_xor_sync(mask, v) SC_REDUCE(SC_REDUCE_XOR, mask, v)

static inline void __threadfence() { sc_fence(); }
static inline void __threadfence_system() { sc_fence(); }
static inline void __threadfence_block() {}
