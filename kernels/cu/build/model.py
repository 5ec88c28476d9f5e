"""Arithmetic of the common workload on a large GPU: what an iteration cannot be
faster than, and what it may take. Nothing here was measured."""

from dataclasses import dataclass

# H100 and H200 SXM5, NVIDIA's data sheets: fp32 without tensor cores, and the
# slower of the two memories (the H200's has 4.8 TB/s).
PEAK = 67e12  # FLOP/s
BANDWIDTH = 3.35e12  # bytes/s
MULTIPROCESSORS = 132

# The common workload (bench/workload.go): CartPole, networks 4-64-64-2 and 4-64-64-1.
ENVIRONMENTS, STEPS, EPOCHS, MINIBATCHES = 64, 128, 4, 4
ROWS = ENVIRONMENTS * STEPS
OBSERVATION = 4
NETWORKS = ((4, 64, 64, 2), (4, 64, 64, 1))
UPDATES = EPOCHS * MINIBATCHES

# The fused update (plan.go, paths): parts of a minibatch are multiples of 64 rows,
# about 256 parts over all members.
PART, PARTS = 64, 256

# Environments that a block of the fused rollout steps (rollout.cuh).
ROLLOUT_BLOCK = 16

# Launches of one iteration (kernels/gpu): four for each minibatch, and the rollout,
# permutations, values of last observations, GAE, advantage scale, the update's begin
# and end, moments, the iteration's end.
LAUNCHES = 4 * UPDATES + 9


def products(sizes):
    """Multiplications and additions of one row forward, and those of layer 1."""
    layers = [2 * i * o for i, o in zip(sizes, sizes[1:])]
    return sum(layers), layers[0]


FORWARD = sum(products(n)[0] for n in NETWORKS)
# Forward, the weights' gradient, and the inputs' gradient, which layer 1 does not need.
UPDATE = sum(3 * f - first for f, first in map(products, NETWORKS))
PARAMETERS = sum(i * o + o for n in NETWORKS for i, o in zip(n, n[1:]))


@dataclass(frozen=True)
class Guess:
    """What no arithmetic gives."""

    efficiency: float  # share of the fp32 peak in the update's products
    step: float  # seconds of one environment step in the rollout, latency-bound
    launch: float  # seconds between dependent launches of a graph


BEST = Guess(efficiency=0.70, step=2.4e-6, launch=1.5e-6)
WORST = Guess(efficiency=0.45, step=5.0e-6, launch=4.0e-6)


def splits(population):
    """Parts that a minibatch of one member is cut into."""
    parts = -(-ROWS // MINIBATCHES // PART)
    per_split = -(-parts // max(1, min(parts, PARTS // population)))
    return -(-parts // per_split)


def flop(population):
    return population * ROWS * (FORWARD + EPOCHS * UPDATE)


def traffic(population):
    """Bytes of every buffer each time it is used, from L2 or memory."""
    rollout = ROWS * (4 * OBSERVATION + 4 * 4 + 1 + 3 * 4)  # observation; action, log-probability, value, reward; flags; episodes
    advantages = ROWS * (2 * 4 + 1 + 2 * 4)  # values, rewards, flags; advantages, returns
    batch = EPOCHS * ROWS * (4 + 4 * OBSERVATION + 5 * 4)  # index; observation; action, log-probability, value, advantage, return
    weights = UPDATES * splits(population) * 4 * PARAMETERS * 3  # read, partial gradient written and read
    adam = UPDATES * 4 * PARAMETERS * 8  # gradient, weights and both moments read and written
    return population * (rollout + advantages + batch + weights + adam)


def expected(population, guess):
    """Seconds of one iteration. A quarter of a multiprocessor works on one network's
    part of a minibatch, and on one block's environments of the rollout, so a small
    population leaves some of the device idle."""
    slots = 4 * MULTIPROCESSORS
    blocks = len(NETWORKS) * population * splits(population)
    rows = ROWS / MINIBATCHES / splits(population)
    block = rows * UPDATE / len(NETWORKS) / (guess.efficiency * PEAK / slots)
    update = UPDATES * -(-blocks // slots) * block
    rollout = -(-population * ENVIRONMENTS // ROLLOUT_BLOCK // slots) * STEPS * guess.step
    return update + rollout + LAUNCHES * guess.launch


def section(table):
    header = ["population", "env steps", "GFLOP", "MB", "floor by FLOP, ms", "floor by bytes, ms", "ceiling, M env-steps/s", "expected, ms", "expected, M env-steps/s"]
    rows = []
    for population in (1, 8, 64, 512):
        steps = population * ROWS
        floor = flop(population) / PEAK
        best, worst = expected(population, BEST), expected(population, WORST)
        rows.append(
            [population, f"{steps:,}", f"{flop(population) / 1e9:.2f}", f"{traffic(population) / 1e6:.1f}", f"{1e3 * floor:.3f}"]
            + [f"{1e3 * traffic(population) / BANDWIDTH:.3f}", f"{steps / floor / 1e6:.0f}"]
            + [f"{1e3 * best:.2f} to {1e3 * worst:.2f}", f"{steps / worst / 1e6:.0f} to {steps / best / 1e6:.0f}"]
        )
    return f"""\
## A model of the common workload: not measured

One iteration of the common workload ({ENVIRONMENTS} environments x {STEPS} steps, {EPOCHS} epochs x {MINIBATCHES} minibatches, CartPole, two networks of 2 x 64 tanh, {PARAMETERS:,} parameters)
on an H100 or H200 SXM at its full clock: {PEAK / 1e12:.0f} TFLOP/s fp32 without tensor cores, {BANDWIDTH / 1e12:.2f} TB/s, {MULTIPROCESSORS} multiprocessors.

{table(header, rows)}

- FLOP counts matrix products only: {FORWARD:,} per environment step forward while collecting, {UPDATE:,} per row and epoch in the update.
- Bytes count every buffer each time it is used, as if all came from memory; much of it stays in the L2 cache (50 MB). Memory is not the limit.
- The ceiling is what the fp32 units allow if they did nothing but these products.
- Expected is a guess between two sets of assumptions, in `build/model.py`: {WORST.efficiency:.0%} to {BEST.efficiency:.0%} of the peak in the update's products,
  {BEST.step * 1e6:.1f} to {WORST.step * 1e6:.1f} us for a step of the rollout, which waits for latency and not for arithmetic, and {BEST.launch * 1e6:.1f} to {WORST.launch * 1e6:.1f} us for each of {LAUNCHES} dependent launches.
  A small population is bound by these waits, not by the device's size: it leaves most of it idle.
"""
