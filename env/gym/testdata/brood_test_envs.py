"""Environments that misbehave on demand, and one for every space, for tests."""

import os
import signal
import time

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Trouble(gym.Env):
    """Counts its steps: observation [count, draw], reward 1, truncated at `limit`.

    At step `at` of an episode it does `what`, if `draws` is not set or the draw of the
    episode is below it; with `once`, a path, only where that file is not there yet,
    which it then makes.
    """

    def __init__(self, what="", at=3, once="", limit=5):
        self.what, self.at, self.once, self.limit = what, at, once, limit
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(2, start=5)

    def trouble(self, what, count):
        if what != self.what or count != self.at:
            return False
        if self.once:
            try:
                os.close(os.open(self.once, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return False
        return True

    def obs(self):
        obs = np.array([self.count, self.draw])
        if self.trouble("nan", self.count):
            obs[1] = np.nan
        return obs

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.draw = 0, self.np_random.random()
        if self.trouble("reset", 0):
            raise RuntimeError("no reset today")
        return self.obs(), {}

    def step(self, action):
        assert action in (5, 6), action
        self.count += 1
        if self.trouble("raise", self.count):
            raise ValueError("the step is broken")
        if self.trouble("exit", self.count):
            os._exit(7)
        if self.trouble("kill", self.count):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trouble("hang", self.count):
            time.sleep(3600)
        print("this is no reply")
        reward = float("nan") if self.trouble("nan reward", self.count) else 1.0
        return self.obs(), reward, False, self.count >= self.limit, {}


def box(shape, dtype, low=-5, high=5):
    return spaces.Box(low, high, shape, dtype)


OBSERVATIONS = {
    "box": box((3,), np.float32),
    "matrix": box((2, 3), np.float64),
    "bytes": box((2, 2), np.uint8, 0, 255),
    "scalar": box((), np.float32),
    "discrete": spaces.Discrete(4, start=2),
    "binary": spaces.MultiBinary(5),
    "multi": spaces.MultiDiscrete([2, 3]),
    "dict": spaces.Dict({"b": box((2,), np.float32), "a": spaces.Discrete(3)}),
    "tuple": spaces.Tuple((box((2, 2), np.int16), spaces.Dict({"x": spaces.MultiBinary(2)}))),
    "text": spaces.Dict({"words": spaces.Text(5)}),
    "sequence": spaces.Sequence(spaces.Discrete(2)),
}
ACTIONS = {
    "discrete": spaces.Discrete(3),
    "box": box((2,), np.float32, -1, 1),
    "matrix": box((2, 2), np.float64, -1, 2),
    "whole": box((2,), np.int64, 0, 9),
    "unbounded": spaces.Box(-np.inf, np.inf, (1,), np.float32),
    "empty interval": box((1,), np.float32, 1, 1),
    "multi": spaces.MultiDiscrete([2, 3]),
    "multi from": spaces.MultiDiscrete([[2, 3], [4, 1]], start=[[0, 10], [100, 1000]]),
    "binary": spaces.MultiBinary(3),
    "binary matrix": spaces.MultiBinary([2, 2]),
    "dict": spaces.Dict({"a": spaces.Discrete(3)}),
}


class Spaces(gym.Env):
    """Draws observations from a space; the reward is the sum of the action."""

    def __init__(self, observations="box", actions="discrete"):
        self.observation_space, self.action_space = OBSERVATIONS[observations], ACTIONS[actions]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        if not isinstance(self.action_space, spaces.Discrete):
            assert self.action_space.contains(action) or isinstance(self.action_space, spaces.Box), repr(action)
            assert action.dtype == self.action_space.dtype and action.shape == self.action_space.shape, repr(action)
        return self.observation_space.sample(), float(np.sum(action)), False, False, {}


class Switches(gym.Env):
    """The reward is the number of the action's components that are as the observation asks."""

    def __init__(self, binary=False, start=(1, 0, 5)):
        self.nvec = [2, 2, 2] if binary else [3, 2, 2]
        self.action_space = spaces.MultiBinary(3) if binary else spaces.MultiDiscrete(self.nvec, start=start)
        self.observation_space = spaces.Box(0, 1, (sum(self.nvec),), np.float32)

    def wanted(self):
        number, digits = self.first + self.count, []
        for n in self.nvec:
            digits.append(number % n)
            number //= n
        return np.array(digits)

    def obs(self):
        return np.concatenate([np.eye(n, dtype=np.float32)[d] for n, d in zip(self.nvec, self.wanted())])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.first, self.count = int(self.np_random.integers(np.prod(self.nvec))), 0
        return self.obs(), {}

    def step(self, action):
        assert self.action_space.contains(action), repr(action)
        right = np.sum(action - getattr(self.action_space, "start", 0) == self.wanted())
        self.count += 1
        return self.obs(), float(right), self.count == 10, False, {}


class Affine(gym.ObservationWrapper):
    """Observations times two; with Plus, order shows."""

    def observation(self, obs):
        return obs * 2


class Plus(gym.ObservationWrapper):
    def observation(self, obs):
        return obs + 1


def cut_off(env):
    """A wrapper that is a function."""
    return gym.wrappers.TimeLimit(env, 2)


gym.register("brood/Trouble-v0", Trouble)
gym.register("brood/Spaces-v0", Spaces)
gym.register("brood/Switches-v0", Switches)
gym.register("brood/Panel-v0", Switches, kwargs={"start": (0, 0, 0)})
