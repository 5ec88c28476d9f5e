"""The Python side of brood's bridge to Gymnasium.

Run as `python - CONFIG` with this file on standard input. It serves one worker:
bytes with a region's number arrive on file 4, and a reply goes to file 5 when every
environment of this worker in that region has done what its command says. Commands,
actions and results lie in the shared memory of file 3. With "probe" in CONFIG it
makes one environment, describes its spaces in a reply, and ends.

It needs gymnasium and numpy, and nothing of brood.
"""

import json
import mmap
import os
import struct
import sys
import traceback

MEMORY, REQUESTS, REPLIES = 3, 4, 5
IDLE, STEP, RESET = 0, 1, 2
TERMINATED, TRUNCATED, FAILED, DONE = 1, 2, 4, 8


class Refused(Exception):
    """What is wrong with the configuration: kind is the key that brood blames."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind, self.message = kind, message


def reply(kind, content=None, region=0):
    """Send one reply: a letter, the region, a length and JSON."""
    body = b"" if content is None else json.dumps(content).encode()
    data = kind.encode() + struct.pack("<BI", region, len(body)) + body
    while data:
        data = data[os.write(REPLIES, data):]


def import_gymnasium():
    try:
        import numpy
    except ImportError as e:
        raise Refused("numpy", str(e))
    try:
        import gymnasium
    except ImportError as e:
        raise Refused("gymnasium", str(e))
    if not hasattr(gymnasium, "make"):
        where = getattr(gymnasium, "__file__", None)
        raise Refused("gymnasium", f"what is imported by that name from {where} is another module")
    return gymnasium, numpy


def resolve(path):
    """The wrapper that package.module:Name means."""
    import importlib

    module, _, name = path.partition(":")
    if not module or not name:
        raise Refused("wrappers", f"{path!r} is not valid: must be package.module:Wrapper")
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as e:
        raise Refused("wrappers", f"{path!r} cannot be imported: {e}")
    if not callable(found):
        raise Refused("wrappers", f"{path!r} is a {type(found).__name__}; must be a class or function that takes an environment")
    return found


def close_ids(gym, name):
    """Registered names that resemble one, the likeliest first."""
    import difflib

    bare = name.rpartition(":")[2]
    return difflib.get_close_matches(bare, sorted(gym.registry), n=5, cutoff=0.6)


def maker(gym, config, check):
    """A function that makes one environment, wrapped."""
    wrappers = [resolve(path) for path in config["wrappers"]]

    def make():
        env = gym.make(config["id"], disable_env_checker=not check, **config["kwargs"])
        for wrapper in wrappers:
            env = wrapper(env)
        return env

    return make


def first_environment(gym, config):
    """Make one environment, and say in Refused what is wrong where that fails."""
    make = maker(gym, config, check=True)
    try:
        return make()
    except gym.error.DependencyNotInstalled as e:
        raise Refused("dependency", str(e))
    except (gym.error.UnregisteredEnv, gym.error.NameNotFound) as e:
        near = close_ids(gym, config["id"])
        close = f"; close to it: {', '.join(near)}" if near else ""
        raise Refused("id", str(e).strip() + close)
    except gym.error.Error as e:
        raise Refused("id", f"{type(e).__name__}: {e}")
    except ModuleNotFoundError as e:
        raise Refused("id", f"{e}")
    except Refused:
        raise
    except TypeError as e:
        raise Refused("kwargs", f"{e}\n{traceback.format_exc()}")
    except Exception as e:
        raise Refused("make", f"{type(e).__name__}: {e}\n{traceback.format_exc()}")


def check_observations(gym, space, at):
    """Refuse spaces that have no fixed number of numbers; at names the part."""
    s = gym.spaces
    if isinstance(space, s.Dict):
        for key, part in space.spaces.items():
            check_observations(gym, part, f"{at}[{key!r}]")
    elif isinstance(space, s.Tuple):
        for i, part in enumerate(space.spaces):
            check_observations(gym, part, f"{at}[{i}]")
    elif not isinstance(space, (s.Box, s.Discrete, s.MultiBinary, s.MultiDiscrete)):
        raise Refused("space", f"{at} is {space}; supported are Box, Discrete, MultiBinary, MultiDiscrete, and Dict and Tuple of these")


def component_choices(gym, np, space):
    """The number of choices of each component of an action, in C order."""
    if isinstance(space, gym.spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    return [int(n) for n in np.asarray(space.nvec).reshape(-1)]


def describe_actions(gym, np, space):
    s = gym.spaces
    if isinstance(space, s.Discrete):
        return {"discrete": True, "n": int(space.n)}
    if isinstance(space, (s.MultiDiscrete, s.MultiBinary)):
        nvec = component_choices(gym, np, space)
        return {"discrete": True, "n": sum(nvec), "nvec": nvec}
    if not isinstance(space, s.Box):
        raise Refused("space", f"the action space is {space}; supported are Discrete, MultiDiscrete, MultiBinary and Box")

    def bound(values):
        return [None if not np.isfinite(v) else float(np.float32(v)) for v in np.asarray(values).reshape(-1)]

    return {"discrete": False, "n": int(np.prod(space.shape)), "low": bound(space.low), "high": bound(space.high)}


def probe(gym, np, config):
    """Describe the environment, after one reset and one step of it."""
    import warnings

    notes = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = first_environment(gym, config)
        check_observations(gym, env.observation_space, "the observation space")
        actions = describe_actions(gym, np, env.action_space)
        codec = Codec(gym, np, env)
        row = np.zeros(codec.size, np.float32)
        try:
            codec.write(row, env.reset(seed=0)[0])
            env.action_space.seed(0)
            codec.write(row, env.step(env.action_space.sample())[0])
        except Exception as e:
            raise Refused("make", f"its first reset and step: {type(e).__name__}: {e}\n{traceback.format_exc()}")
        for w in caught:
            text = str(w.message).replace("\x1b[33m", "").replace("\x1b[0m", "").removeprefix("WARN: ").strip()
            if text and text not in notes:
                notes.append(text)
    threshold = getattr(env.spec, "reward_threshold", None) if env.spec is not None else None
    env.close()
    return {"observations": codec.size, "action": actions, "threshold": threshold,
            "gymnasium": gym.__version__, "notes": notes}


class Codec:
    """How observations and actions of an environment are turned into floats and back."""

    def __init__(self, gym, np, env):
        space, actions = env.observation_space, env.action_space
        spaces = gym.spaces
        self.flatten = None
        if isinstance(space, spaces.Box):
            self.size = int(np.prod(space.shape))
            self.flat = len(space.shape) == 1
        else:
            self.size = int(spaces.utils.flatdim(space))
            self.flat = False
            self.flatten = spaces.utils.flatten
            self.space = space
        self.np = np
        self.discrete = isinstance(actions, spaces.Discrete)
        self.several = isinstance(actions, (spaces.MultiDiscrete, spaces.MultiBinary))
        if self.discrete:
            self.start, self.choices = int(actions.start), [int(actions.n)]
        elif self.several:
            self.shape, self.dtype = actions.shape, actions.dtype
            self.start = np.asarray(getattr(actions, "start", 0), actions.dtype)  # MultiBinary has none
            self.choices = component_choices(gym, np, actions)
        else:
            self.shape, self.dtype = actions.shape, actions.dtype
            self.whole = np.issubdtype(actions.dtype, np.integer)
            self.plain = len(actions.shape) == 1 and actions.dtype == np.float32

    def kind(self):
        """What the environment must have in common with the one that was described."""
        if self.discrete or self.several:
            actions = f"{' '.join(map(str, self.choices))} choices"
        else:
            actions = f"actions of {int(self.np.prod(self.shape))} numbers"
        return f"{self.size} observations and {actions}"

    def write(self, row, obs):
        """Write an observation into a row of float32."""
        if self.flat:
            row[:] = obs
        elif self.flatten is not None:
            row[:] = self.flatten(self.space, obs)
        else:
            row[:] = self.np.asarray(obs).reshape(-1)

    def action(self, row):
        """The action of a row that is not one choice, of the space's shape and dtype."""
        if self.several:
            return row.reshape(self.shape).astype(self.dtype) + self.start
        if self.plain:
            return row.copy()
        if self.whole:
            row = self.np.rint(row)
        return row.reshape(self.shape).astype(self.dtype)


class Worker:
    """A worker's environments, made when they are first reset."""

    def __init__(self, gym, np, config):
        self.make, self.np = maker(gym, config, check=False), np
        self.gym = gym
        self.memory = mmap.mmap(MEMORY, config["size"])
        lanes, at = config["lanes"], config["offsets"]
        size, width = config["observations"], config["width"]
        view = memoryview(self.memory)

        def matrix(name, columns):
            return np.frombuffer(self.memory, np.float32, lanes * columns, at[name]).reshape(lanes, columns)

        def scalars(name, letter, each):
            return view[at[name]:at[name] + each * lanes].cast(letter)

        self.command, self.outcome = scalars("command", "B", 1), scalars("outcome", "B", 1)
        self.seed, self.reward = scalars("seed", "I", 4), scalars("reward", "f", 4)
        obs, final, action = matrix("obs", size), matrix("final", size), matrix("action", width)
        self.choice = scalars("action", "f", 4 * width)  # [lane], where there are choices
        self.regions = [range(first, end) for first, end in config["regions"]]
        self.obs = {lane: obs[lane] for region in self.regions for lane in region}
        self.final = {lane: final[lane] for region in self.regions for lane in region}
        self.action = {lane: action[lane] for region in self.regions for lane in region}
        # The lane at work, for whoever looks after this process died.
        self.present = view[at["present"] + 4 * config["worker"]:][:4].cast("i")
        self.kind, self.envs, self.codec = config["kind"], {}, None

    def begin(self, lane, seed):
        """Begin an episode, in a new environment where there is none."""
        env = self.envs.get(lane)
        if env is None:
            env = self.make()
            self.envs[lane] = env
            if self.codec is None:
                codec = Codec(self.gym, self.np, env)
                if codec.kind() != self.kind:
                    raise ValueError(f"the environment has {codec.kind()} here, and had {self.kind}")
                self.codec = codec
        obs, _ = env.reset(seed=seed)
        self.codec.write(self.obs[lane], obs)

    def step(self, lane):
        env, codec = self.envs[lane], self.codec
        if codec.discrete:
            action = codec.start + int(self.choice[lane])
        else:
            action = codec.action(self.action[lane])
        obs, reward, terminated, truncated, _ = env.step(action)
        self.reward[lane] = reward
        if terminated:
            self.outcome[lane] = TERMINATED | DONE
            obs, _ = env.reset()
        elif truncated:
            codec.write(self.final[lane], obs)
            self.outcome[lane] = TRUNCATED | DONE
            obs, _ = env.reset()
        else:
            self.outcome[lane] = DONE
        codec.write(self.obs[lane], obs)

    def serve(self, region):
        """Carry out the commands of a region; return what failed."""
        command, present, failures = self.command, self.present, []
        for lane in self.regions[region]:
            todo = command[lane]
            if todo == IDLE:
                continue
            present[0] = lane
            try:
                if todo == STEP:
                    self.step(lane)
                else:
                    self.reward[lane] = 0.0
                    self.outcome[lane] = 0
                    self.begin(lane, self.seed[lane])
                    self.outcome[lane] = DONE
            except Exception as e:
                # What the step gave before stands, if it was the next episode that failed.
                self.outcome[lane] = self.outcome[lane] | FAILED
                failures.append({"lane": lane, "error": f"{type(e).__name__}: {e}", "traceback": traceback.format_exc()})
                self.discard(lane)
        present[0] = -1
        return failures

    def discard(self, lane):
        env = self.envs.pop(lane, None)
        if env is not None:
            try:
                env.close()
            except Exception:
                traceback.print_exc()  # it has failed already, and a new one takes its place

    def close(self):
        for lane in list(self.envs):
            self.discard(lane)

    def run(self):
        while True:
            requests = os.read(REQUESTS, 64)
            if not requests:
                return  # brood is gone, or done
            for region in requests:
                failures = self.serve(region)
                if failures:
                    reply("f", failures, region)
                else:
                    reply("k", None, region)


def main():
    os.dup2(2, 1)  # what environments print is no reply
    for descriptor in (MEMORY, REQUESTS, REPLIES):
        try:
            os.set_inheritable(descriptor, False)
        except OSError:
            pass  # a probe has no memory
    config = json.loads(sys.argv[1])
    try:
        gym, np = import_gymnasium()
        if config["probe"]:
            reply("k", probe(gym, np, config))
            return
        worker = Worker(gym, np, config)
    except Refused as e:
        reply("r", {"kind": e.kind, "message": e.message, "python": sys.version.split()[0]})
        return
    except Exception as e:
        reply("r", {"kind": "make", "message": f"{type(e).__name__}: {e}\n{traceback.format_exc()}", "python": sys.version.split()[0]})
        return
    reply("k")
    try:
        worker.run()
    finally:
        worker.close()


main()
