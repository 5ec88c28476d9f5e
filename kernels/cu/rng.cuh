// The random numbers of package rng: Philox4x32-10 (Salmon et al. 2011, "Parallel
// random numbers: as easy as 1, 2, 3"), and the addresses of all draws made on
// the device, those of kernels/host/draws.go. Words and uniform numbers are the
// same bits as the host's; normal numbers agree to a few units in the last place.
#pragma once
#include "common.cuh"

// What draws are for: rng.Purpose.
#define PURPOSE_RESET 2u
#define PURPOSE_ACTION 3u
#define PURPOSE_PERMUTATION 4u

// RandomKey is the run's seed.
struct RandomKey {
  unsigned lo, hi;
};

// RandomAddress names a draw: counter words 1 to 3 of the Philox block, whose
// word 0 is the index.
struct RandomAddress {
  unsigned time, who, purpose;
};

// random_key is the seed in member m's state.
DEVICE RandomKey random_key(const Params &p, int m) {
  const unsigned long long seed = *state<unsigned long long>(p, m, p.offset.seed);
  return RandomKey{(unsigned)seed, (unsigned)(seed >> 32)};
}

// draw_time is host.Time: the vector steps done before step t of the iteration
// after the given number of updates.
DEVICE unsigned draw_time(long long updates, int steps, int t) { return (unsigned)(updates * steps + t); }

// train_address is the address of a training draw of member m of p.
DEVICE RandomAddress train_address(const Params &p, int m, unsigned time, unsigned purpose) {
  return RandomAddress{time, (unsigned)(p.first_member + p.member_step * m), purpose};
}

// philox is the block function: ten rounds over the counter.
DEVICE uint4 philox(RandomKey k, uint4 c) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const unsigned hi0 = __umulhi(0xD2511F53u, c.x), lo0 = 0xD2511F53u * c.x;
    const unsigned hi1 = __umulhi(0xCD9E8D57u, c.z), lo1 = 0xCD9E8D57u * c.z;
    c = make_uint4(hi1 ^ c.y ^ k.lo, lo1, hi0 ^ c.w ^ k.hi, lo0);
    k.lo += 0x9E3779B9u;
    k.hi += 0xBB67AE85u;
  }
  return c;
}

// random_block returns the four words at an address.
DEVICE uint4 random_block(RandomKey k, unsigned index, RandomAddress at) {
  return philox(k, make_uint4(index, at.time, at.who, at.purpose));
}

// word_of is one of a block's four words.
DEVICE unsigned word_of(uint4 block, int i) { return i == 0 ? block.x : i == 1 ? block.y : i == 2 ? block.z : block.w; }

// uniform maps a word to [0, 1) with 24 bits.
DEVICE float uniform(unsigned word) { return (float)(word >> 8) * 5.9604644775390625e-8f; }

// normals maps two words to two standard normal numbers by Box-Muller; the first
// word is taken in (0, 1].
DEVICE float2 normals(unsigned x1, unsigned x2) {
  const float u1 = (float)((x1 >> 8) + 1) * 5.9604644775390625e-8f;
  const float radius = sqrtf(-2.f * logf(u1));
  float sin, cos;
  sincospif(2.f * uniform(x2), &sin, &cos);
  return make_float2(radius * cos, radius * sin);
}

// action_block returns the four words of the components 4 block to 4 block + 3 of
// environment n's action of width numbers (see host.ActionBlock).
DEVICE uint4 action_block(RandomKey k, int n, int block, int width, RandomAddress at) {
  return random_block(k, (unsigned)(n * ((width + 3) / 4) + block), at);
}

// action_noise returns the standard normal numbers of the same components.
DEVICE float4 action_noise(RandomKey k, int n, int block, int width, RandomAddress at) {
  const uint4 w = action_block(k, n, block, width, at);
  const float2 a = normals(w.x, w.y), b = normals(w.z, w.w);
  return make_float4(a.x, a.y, b.x, b.y);
}

// RandomStream draws any number of values for one address and index; see
// rng.Stream. The k-th block has purpose | k << 8 as its last counter word.
struct RandomStream {
  RandomKey key;
  RandomAddress at;
  unsigned index, block;
  int used;
  uint4 words;

  DEVICE RandomStream(RandomKey key, unsigned index, RandomAddress at)
      : key(key), at(at), index(index), block(0), used(4), words(make_uint4(0, 0, 0, 0)) {}

  // word returns the next word.
  DEVICE unsigned word() {
    if (used == 4) {
      words = random_block(key, index, RandomAddress{at.time, at.who, at.purpose | block << 8});
      block++;
      used = 0;
    }
    return word_of(words, used++);
  }

  // between returns the next number in [low, high). Product and sum are rounded
  // apart, as on the host, so that episodes begin in the same state everywhere.
  DEVICE float between(float low, float high) { return __fadd_rn(low, __fmul_rn(high - low, uniform(word()))); }
};

// reset_stream draws the first state of an episode of training environment n of
// member m; see host.ResetStream for time.
DEVICE RandomStream reset_stream(const Params &p, int m, int n, unsigned time) {
  return RandomStream(random_key(p, m), (unsigned)n, train_address(p, m, time, PURPOSE_RESET));
}
