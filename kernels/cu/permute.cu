// The order of the rows in every epoch: the stable argsort of one Philox word per
// row, which is host.Permutation to the row.
//
// A block sorts the rows of one epoch of one member, least significant digit
// first, 8 bits a pass. Each warp has a contiguous run of rows, counts their
// digits, and after a scan over all digits and warps moves them in order. A
// digit's rank among a warp's 32 rows comes from ballots: stable, and without
// any order of arrival.
#include "reduce.cuh"
#include "rng.cuh"

#define RADIX_BITS 8
#define RADIX_SIZE (1 << RADIX_BITS)
#define PERMUTE_WARPS 32
// Groups of 32 rows that a warp loads at once, so that their latencies overlap.
#define PERMUTE_GROUPS 4

// One epoch's keys and rows before and after a pass.
struct PermutePass {
  const unsigned *keys; // [B]
  const int *rows;      // [B]; 0 in the first pass: row i is i
  unsigned *keys_out;   // [B]; 0 in the last pass
  int *rows_out;        // [B]
  int shift;            // of the pass's digit
  int first, end;       // the warp's run
};

// permute_words writes the words of the block's rows.
DEVICE void permute_words(unsigned *words, int rows, RandomKey key, RandomAddress at) {
  for (int block = threadIdx.x; block < (rows + 3) / 4; block += blockDim.x) {
    const uint4 w = random_block(key, block, at);
    const int i = 4 * block;
    words[i] = w.x;
    if (i + 1 < rows) words[i + 1] = w.y;
    if (i + 2 < rows) words[i + 2] = w.z;
    if (i + 3 < rows) words[i + 3] = w.w;
  }
}

// permute_count counts the digits of the warp's rows into counts [RADIX_SIZE].
DEVICE void permute_count(const PermutePass &s, unsigned *counts) {
#pragma unroll 4
  for (int i = s.first + lane_index(); i < s.end; i += 32)
    atomicAdd(&counts[s.keys[i] >> s.shift & (RADIX_SIZE - 1)], 1u);
}

// permute_scan turns the counts [PERMUTE_WARPS][RADIX_SIZE] into where each warp
// puts its first row of each digit: by digit, then by warp. before [RADIX_SIZE]
// is scratch.
DEVICE void permute_scan(unsigned (*counts)[RADIX_SIZE], unsigned *before) {
  for (int d = threadIdx.x; d < RADIX_SIZE; d += blockDim.x) {
    unsigned sum = 0;
    for (int w = 0; w < warps(); w++) sum += counts[w][d];
    before[d] = sum;
  }
  __syncthreads();
  if (warp_index() == 0) {
    unsigned sum = 0;
    for (int d = 0; d < RADIX_SIZE / 32; d++) sum += before[lane_index() * (RADIX_SIZE / 32) + d];
    unsigned next = sum;
    for (int by = 1; by < 32; by *= 2) {
      const unsigned other = __shfl_up_sync(ALL_LANES, next, by);
      if (lane_index() >= by) next += other;
    }
    next -= sum;
    for (int d = lane_index() * (RADIX_SIZE / 32); d < (lane_index() + 1) * (RADIX_SIZE / 32); d++) {
      const unsigned count = before[d];
      before[d] = next;
      next += count;
    }
  }
  __syncthreads();
  for (int d = threadIdx.x; d < RADIX_SIZE; d += blockDim.x) {
    unsigned next = before[d];
    for (int w = 0; w < warps(); w++) {
      const unsigned count = counts[w][d];
      counts[w][d] = next;
      next += count;
    }
  }
}

// permute_rank returns where the lane's row goes and advances the warp's places
// next [RADIX_SIZE] past the rows of all lanes.
DEVICE unsigned permute_rank(bool exists, unsigned digit, unsigned *next) {
  unsigned same = __ballot_sync(ALL_LANES, exists);
  for (int bit = 0; bit < RADIX_BITS; bit++) {
    const bool set = digit >> bit & 1;
    const unsigned those = __ballot_sync(ALL_LANES, set);
    same &= set ? those : ~those;
  }
  const unsigned lower = same & ((1u << lane_index()) - 1);
  const unsigned place = next[digit];
  __syncwarp(); // every lane has read its place
  if (exists && lower == 0) next[digit] = place + __popc(same);
  __syncwarp();
  return place + __popc(lower);
}

// permute_move writes the warp's rows to their places, in order.
DEVICE void permute_move(const PermutePass &s, unsigned *next) {
  for (int first = s.first; first < s.end; first += 32 * PERMUTE_GROUPS) {
    unsigned keys[PERMUTE_GROUPS];
    int rows[PERMUTE_GROUPS];
#pragma unroll
    for (int g = 0; g < PERMUTE_GROUPS; g++) {
      const int i = first + 32 * g + lane_index();
      keys[g] = i < s.end ? s.keys[i] : 0;
      rows[g] = i < s.end && s.rows ? s.rows[i] : i;
    }
#pragma unroll
    for (int g = 0; g < PERMUTE_GROUPS; g++) {
      const bool exists = first + 32 * g + lane_index() < s.end;
      const unsigned to = permute_rank(exists, keys[g] >> s.shift & (RADIX_SIZE - 1), next);
      if (!exists) continue;
      if (s.keys_out) s.keys_out[to] = keys[g];
      s.rows_out[to] = rows[g];
    }
  }
}

// Grid (P, E), one to PERMUTE_WARPS warps. Writes p.order; p.sort_keys and p.sort_rows are
// overwritten.
KERNEL __launch_bounds__(32 * PERMUTE_WARPS) permute(const __grid_constant__ Params p) {
  __shared__ unsigned counts[PERMUTE_WARPS][RADIX_SIZE];
  __shared__ unsigned before[RADIX_SIZE];
  const int m = blockIdx.x, epoch = blockIdx.y, rows = p.rows;
  const long long at = ((long long)m * p.epochs + epoch) * rows;
  unsigned *from = as<unsigned>(p.sort_keys) + at;
  unsigned *to = from + (long long)p.members * p.epochs * rows;
  const unsigned time = draw_time(updates(p, m), p.epochs, epoch);
  permute_words(from, rows, random_key(p, m), train_address(p, m, time, PURPOSE_PERMUTATION));

  const long long run = ((rows + warps() - 1) / warps() + 31) / 32 * 32;
  PermutePass s;
  s.first = (int)min(run * warp_index(), (long long)rows);
  s.end = (int)min(run * (warp_index() + 1), (long long)rows);
  int *const scratch = as<int>(p.sort_rows) + at, *const order = as<int>(p.order) + at;
  for (s.shift = 0; s.shift < 32; s.shift += RADIX_BITS) {
    const bool even = s.shift / RADIX_BITS % 2 == 0;
    s.keys = even ? from : to;
    s.keys_out = s.shift == 32 - RADIX_BITS ? 0 : even ? to : from;
    s.rows = s.shift == 0 ? 0 : even ? order : scratch;
    s.rows_out = even ? scratch : order;
    for (int d = lane_index(); d < RADIX_SIZE; d += 32) counts[warp_index()][d] = 0;
    __syncthreads(); // the keys of the pass before are written
    permute_count(s, counts[warp_index()]);
    __syncthreads();
    permute_scan(counts, before);
    __syncthreads();
    permute_move(s, counts[warp_index()]);
  }
}
