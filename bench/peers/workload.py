"""The common workload, and how a runner measures and reports it.

The numbers are those of bench.CartPole in bench/workload.go; a test compares
them.
"""

import json
import sys
import time

ENV = "CartPole-v1"
ENVIRONMENTS = 64
STEPS = 128
EPOCHS = 4
MINIBATCHES = 4
HIDDEN = (64, 64)
LEARNING_RATE = 2.5e-4
GAMMA = 0.99
GAE_LAMBDA = 0.95
CLIP_RANGE = 0.2
ENTROPY_COEF = 0.01
VALUE_COEF = 0.5
MAX_GRAD_NORM = 0.5

ROWS = ENVIRONMENTS * STEPS  # environment steps of one agent and iteration


def iterations():
    """The number of PPO iterations to time: the one argument of a runner."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal() or int(sys.argv[1]) < 1:
        sys.exit(f"usage: {sys.argv[0]} ITERATIONS (a whole number above 0)")
    return int(sys.argv[1])


def measure(train):
    """Calls train; returns the wall time and the processor time of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    train()
    return time.perf_counter() - wall, time.process_time() - cpu


def report(name, version, env_steps, times, threads):
    """Prints the one line of JSON that the driver reads."""
    seconds, cpu_seconds = times
    print(json.dumps({
        "name": name,
        "version": version,
        "env_steps_per_second": env_steps / seconds,
        "env_steps": env_steps,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "threads": threads,
    }))
