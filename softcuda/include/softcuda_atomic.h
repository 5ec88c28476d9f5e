// Atomic functions of 4 and 8 bytes, as compare-and-swap loops: blocks may run on
// several OS threads.
#pragma once

template <class T, class F>
static inline T sc_atomically(T *p, F change) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "atomics take 4 or 8 bytes");
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  sc_atomic(p, sizeof(T));
  Bits old = __atomic_load_n((Bits *)p, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n((Bits *)p, &old, sc_bits<Bits>((T)change(sc_bits<T>(old))), false,
                                      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
  }
  return sc_bits<T>(old);
}

// The value takes the type of what is pointed to, as in CUDA's overloads.
template <class T> struct sc_same { using type = T; };
template <class T> using sc_value = typename sc_same<T>::type;

#define SC_ATOMIC(name, result)                               \
  template <class T>                                          \
  static inline T name(T *p, sc_value<T> v) {                 \
    return sc_atomically(p, [=](T old) -> T { return result; }); \
  }
SC_ATOMIC(atomicAdd, old + v)
SC_ATOMIC(atomicSub, old - v)
SC_ATOMIC(atomicMax, old < v ? v : old)
SC_ATOMIC(atomicMin, v < old ? v : old)
SC_ATOMIC(atomicExch, v)
SC_ATOMIC(atomicAnd, old & v)
SC_ATOMIC(atomicOr, old | v)
SC_ATOMIC(atomicXor, old ^ v)
SC_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
SC_ATOMIC(atomicDec, old == 0 || old > v ? v : old - 1)
#undef SC_ATOMIC

template <class T>
static inline T atomicCAS(T *p, sc_value<T> expected, sc_value<T> v) {
  return sc_atomically(p, [=](T old) { return old == expected ? v : old; });
}
