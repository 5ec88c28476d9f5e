"""Plays episodes and single steps in Gymnasium and writes what happened.

Reads a msgpack map {id, episodes, probes, resets, seed}: episodes [n, S] are the states
to start episodes from, probes [n, S] those to take single steps from, resets is a
number of resets. Writes two tables of environment steps, steps (whole episodes one
after the other) and probes, each with state, action, next_state, obs, reward,
terminated and truncated; further starts, the states of the resets, and spec, what
Gymnasium has registered.
"""

import sys

import gymnasium
import msgpack
import msgpack_numpy
import numpy as np

request = msgpack.unpackb(sys.stdin.buffer.read(), object_hook=msgpack_numpy.decode)
env = gymnasium.make(request["id"])
core = env.unwrapped
random = np.random.default_rng(request["seed"])


def controlled(state):
    """An action that brings the episode to the end random ones hardly ever reach."""
    match request["id"]:
        case "CartPole-v1":  # balances until the time limit
            return int(0.1 * state[0] + 0.3 * state[1] + 3 * state[2] + state[3] > 0)
        case "Acrobot-v1":  # pumps energy
            return 2 if state[2] + 0.5 * state[3] < 0 else 0
        case "MountainCar-v0":
            return 2 if state[1] >= 0 else 0
        case "MountainCarContinuous-v0":
            return np.array([1 if state[1] >= 0 else -1], np.float32)
        case "Pendulum-v1":
            return np.array([np.sign(state[1]) * 2], np.float32)
    raise SystemExit(f"no controller for {request['id']}")


def uncontrolled():
    """A random action, also outside the bounds, where Gymnasium clips."""
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        return int(random.integers(env.action_space.n))
    low, high = env.action_space.low, env.action_space.high
    return random.uniform(1.3 * low, 1.3 * high).astype(np.float32)


KEYS = ("state", "action", "next_state", "obs", "reward", "terminated", "truncated")


def start(state):
    env.reset(seed=0)
    core.state = np.array(state, np.float64)


def step(table, action):
    """Takes a step and records it as a row; returns whether the episode ended."""
    state = np.array(core.state, np.float64)
    obs, reward, terminated, truncated, _ = env.step(action)
    row = (state, action, np.array(core.state, np.float64), obs, float(reward), int(terminated), int(truncated))
    for key, value in zip(KEYS, row):
        table.setdefault(key, []).append(value)
    return terminated or truncated


steps, probes = {}, {}
for episode, state in enumerate(request["episodes"]):
    start(state)
    while not step(steps, controlled(core.state) if episode % 2 else uncontrolled()):
        pass
for state in request["probes"]:
    start(state)
    step(probes, uncontrolled())

starts = []
for i in range(request["resets"]):
    env.reset(seed=request["seed"] + i)
    starts.append(np.array(core.state, np.float64))

discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
answer = {
    "steps": {key: np.array(values) for key, values in steps.items()},
    "probes": {key: np.array(values) for key, values in probes.items()},
    "starts": np.array(starts),
    "spec": {
        "max_episode_steps": env.spec.max_episode_steps,
        "reward_threshold": float(env.spec.reward_threshold or 0),
        "obs_dim": int(np.prod(env.observation_space.shape)),
        "discrete": discrete,
        "n": int(env.action_space.n if discrete else env.action_space.shape[0]),
        "low": np.zeros(0, np.float32) if discrete else env.action_space.low,
        "high": np.zeros(0, np.float32) if discrete else env.action_space.high,
    },
}
sys.stdout.buffer.write(msgpack.packb(answer, default=msgpack_numpy.encode))
