// The end of an iteration: normalisation statistics, explained variance, finished
// episodes and counters; see kernels/host/normalize.go, stats.go and episodes.go.
#include "reduce.cuh"
#include "schedule.cuh"

// Moments are those of a set of numbers.
struct Moments {
  double mean, m2; // m2: sum of squared deviations
};

// merge_chunks merges column c of all chunks with one warp: the formula of Chan,
// Golub and LeVeque (1983) for any number of sets at once. The mean is that of the
// sets' means by their sizes; to the deviations within the sets come those of
// their means.
DEVICE Moments merge_chunks(const Params &p, int m, int c) {
  const long long stride = 2 * (p.obs_dim + 3);
  const double *chunks = f64(p.moments) + (long long)m * p.moment_chunks * stride + 2 * c;
  Moments all = {0, 0};
  for (int i = lane_index(); i < p.moment_chunks; i += 32)
    all.mean += chunks[i * stride] * min(MOMENT_ROWS, p.rows - i * MOMENT_ROWS);
  all.mean = warp_sum(all.mean) / p.rows;
  for (int i = lane_index(); i < p.moment_chunks; i += 32) {
    const double d = chunks[i * stride] - all.mean;
    all.m2 += chunks[i * stride + 1] + d * d * min(MOMENT_ROWS, p.rows - i * MOMENT_ROWS);
  }
  all.m2 = warp_sum(all.m2);
  return all;
}

// merge_statistics merges rows numbers into a running mean and variance of count.
DEVICE void merge_statistics(float *mean, float *variance, double count, const Moments &batch, int rows) {
  const double total = count + rows, delta = batch.mean - *mean;
  const double m2 = *variance * count + batch.m2 + delta * delta * count * rows / total;
  *mean = (float)(*mean + delta * rows / total);
  *variance = (float)(m2 / total);
}

// end_statistics merges the columns of p.moments, a warp each. Those of the
// advantages and the returns go to deviations [2] in shared memory.
DEVICE void end_statistics(const Params &p, int m, double *deviations) {
  double *const obs_count = state<double>(p, m, p.offset.obs_count), *const reward_count = state<double>(p, m, p.offset.reward_count);
  const double observed = *obs_count, rewarded = *reward_count;
  __syncthreads(); // every thread has read the counts
  for (int c = p.normalize_observations ? warp_index() : p.obs_dim + warp_index(); c < p.obs_dim + 3; c += warps()) {
    if (c == p.obs_dim && !p.normalize_rewards) continue;
    const Moments all = merge_chunks(p, m, c);
    if (lane_index() != 0) continue;
    if (c < p.obs_dim)
      merge_statistics(state<float>(p, m, p.offset.obs_mean) + c, state<float>(p, m, p.offset.obs_var) + c, observed, all, p.rows);
    else if (c == p.obs_dim)
      merge_statistics(state<float>(p, m, p.offset.reward_mean), state<float>(p, m, p.offset.reward_var), rewarded, all, p.rows);
    else
      deviations[c - p.obs_dim - 1] = all.m2;
  }
  if (threadIdx.x != 0) return;
  if (p.normalize_observations) *obs_count = observed + p.rows;
  if (p.normalize_rewards) *reward_count = rewarded + p.rows;
}

// list_finished writes the rows in which episodes ended to p.finished, in order,
// and returns their number. Each warp has a contiguous run of rows, counts them,
// and then knows where to write them. counts [32] is shared memory.
DEVICE int list_finished(const Params &p, int m, int *counts) {
  const unsigned char *flags = as<unsigned char>(p.flags) + (long long)m * p.rows;
  int *const finished = as<int>(p.finished) + (long long)m * p.rows;
  const long long run = ((p.rows + warps() - 1) / warps() + 31) / 32 * 32;
  const int first = (int)min(run * warp_index(), (long long)p.rows), end = (int)min(run * (warp_index() + 1), (long long)p.rows);
  int mine = 0;
#pragma unroll 8
  for (int i = first + lane_index(); i < end; i += 32) mine += flags[i] != 0;
  mine = warp_sum(mine);
  if (lane_index() == 0) counts[warp_index()] = mine;
  __syncthreads();
  int next = 0, count = 0;
  for (int w = 0; w < warps(); w++) {
    if (w < warp_index()) next += counts[w];
    count += counts[w];
  }
  for (int from = first; mine > 0 && from < end; from += 32) {
    const int i = from + lane_index();
    const bool ended = i < end && flags[i] != 0;
    const unsigned those = __ballot_sync(ALL_LANES, ended);
    if (ended) finished[next + __popc(those & ((1u << lane_index()) - 1))] = i;
    next += __popc(those);
  }
  __syncthreads();
  return count;
}

// Finished sums up the finished episodes; see host.Finished. The sums are in the
// order of the episodes, as on the host.
struct Finished {
  double interval; // the interval's sum, goes on from the state's
  double sum, length_sum, min, max;
};

// finished_add adds count episodes, returns and lengths [count] in shared memory.
DEVICE void finished_add(Finished &f, const float *returns, const float *lengths, int count, bool first) {
  if (first) f.min = f.max = returns[0];
#pragma unroll 4
  for (int i = 0; i < count; i++) {
    const double r = returns[i];
    f.interval += r;
    f.sum += r;
    f.length_sum += lengths[i];
    // A NaN comes out as one, as from Go's min and max.
    f.min = r < f.min || r != r ? r : f.min;
    f.max = r > f.max || r != r ? r : f.max;
  }
}

#define EPISODE_TILE 256

// record_episodes is host.State.RecordEpisode for count episodes, the rows listed
// in p.finished: all threads fetch their returns and write the ring, thread 0 adds
// them up. Only thread 0's result is meaningful. tile [2][EPISODE_TILE] is shared
// memory.
DEVICE Finished record_episodes(const Params &p, int m, int count, float (*tile)[EPISODE_TILE]) {
  const long long rows = (long long)m * p.rows;
  const long long before = *state<long long>(p, m, p.offset.return_count);
  float *const ring = state<float>(p, m, p.offset.returns);
  Finished f = {*state<double>(p, m, p.offset.interval_sum), 0, 0, 0, 0};
  for (int first = 0; first < count; first += EPISODE_TILE) {
    const int here = min(EPISODE_TILE, count - first);
    for (int i = threadIdx.x; i < here; i += blockDim.x) {
      const int row = as<int>(p.finished)[rows + first + i];
      tile[0][i] = f32(p.finished_return)[rows + row];
      tile[1][i] = f32(p.finished_length)[rows + row];
      // Those that later ones of this iteration would overwrite are left out.
      if (first + i >= count - EPISODE_WINDOW) ring[(before + first + i) % EPISODE_WINDOW] = tile[0][i];
    }
    __syncthreads();
    if (threadIdx.x == 0) finished_add(f, tile[0], tile[1], here, first == 0);
    __syncthreads();
  }
  return f;
}

// score is host.State.Score. window [EPISODE_WINDOW] is the member's ring in
// shared memory.
DEVICE void score(Report &r, const float *window, long long returned, long long interval_count, double interval_sum) {
  const long long held = returned < EPISODE_WINDOW ? returned : EPISODE_WINDOW;
  r.score = NAN_F;
  r.score_episodes = 0;
  if (held <= 0) return;
  r.score_episodes = interval_count >= held ? interval_count : held;
  double sum = interval_sum;
  if (interval_count < held) {
    sum = 0;
#pragma unroll 4
    for (int i = 0; i < (int)held; i++) sum += window[i];
  }
  r.score = sum / (double)r.score_episodes;
}

// A block of any number of warps per member. Updates the member's statistics,
// episodes and counters, and writes p.reports; p.finished is overwritten.
KERNEL __launch_bounds__(1024) end_iteration(const __grid_constant__ Params p) {
  __shared__ float tile[2][EPISODE_TILE];
  __shared__ double deviations[2]; // of the advantages R - V, and of the returns R
  __shared__ int counts[32];
  const int m = blockIdx.x;
  end_statistics(p, m, deviations);
  const int count = list_finished(p, m, counts);
  const Finished f = record_episodes(p, m, count, tile);
  for (int i = threadIdx.x; i < EPISODE_WINDOW; i += blockDim.x) tile[0][i] = state<float>(p, m, p.offset.returns)[i];
  __syncthreads();
  if (threadIdx.x != 0) return;

  Report r; // see host.ExplainedVariance for its last figure
  r.sum = f.sum, r.length_sum = f.length_sum, r.min = f.min, r.max = f.max;
  r.episodes = count;
  r.learning_rate = learning_rate(p, m); // before the update is counted: the one it used
  r.kl_beta = *state<float>(p, m, p.offset.kl_beta);
  r.explained_variance = deviations[1] == 0 ? NAN_F : (float)(1 - deviations[0] / deviations[1]);
  const long long returned = *state<long long>(p, m, p.offset.return_count) += count;
  const long long interval = *state<long long>(p, m, p.offset.interval_count) += count;
  *state<double>(p, m, p.offset.interval_sum) = f.interval;
  *state<long long>(p, m, p.offset.episodes) += count;
  *state<long long>(p, m, p.offset.env_steps) += p.rows;
  *state<long long>(p, m, p.offset.updates) += 1;
  score(r, tile[0], returned, interval, f.interval);
  r.padding1 = 0;
  as<Report>(p.reports)[m] = r;
}
