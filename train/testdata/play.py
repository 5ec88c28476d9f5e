"""Plays a checkpoint's policy, or an exported ONNX model, in Gymnasium with nothing of brood."""

import json
import sys

import gymnasium
import msgpack
import msgpack_numpy
import numpy as np


def of_checkpoint(path, activation):
    with open(path, "rb") as f:
        checkpoint = msgpack.unpackb(f.read(), object_hook=msgpack_numpy.decode)
    data = checkpoint["data"]
    policy = data["policy"]
    activation = np.tanh if activation == "tanh" else lambda x: np.maximum(x, 0)
    weights = sorted(int(name.split(".")[1]) for name in policy if name.startswith("actor.") and name.endswith(".weight"))
    normalise = data["observation_norm"]["count"] > 1  # else the statistics are the initial ones

    def act(observation, discrete):
        x = np.asarray(observation, np.float32)
        if normalise:
            norm = data["observation_norm"]
            x = np.clip((x - norm["mean"]) / np.sqrt(norm["var"] + 1e-8), -10, 10)
        for i in weights:
            x = policy[f"actor.{i}.weight"] @ x + policy[f"actor.{i}.bias"]
            if i != weights[-1]:
                x = activation(x)
        if discrete:
            ends = np.cumsum(checkpoint["env"]["action"].get("nvec", [len(x)]))
            return [int(np.argmax(part)) for part in np.split(x, ends[:-1])]
        return x

    return checkpoint["env"]["id"], act


def of_model(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def act(observation, discrete):
        [action] = session.run(["action"], {"observation": np.asarray([observation], np.float32)})
        return np.atleast_1d(action[0]).tolist() if discrete else action[0]

    return session.get_modelmeta().custom_metadata_map["env_id"], act


request = json.load(sys.stdin)
if "path" in request:  # of a module that registers the environment
    sys.path.insert(0, request["path"])
name, act = of_model(request["onnx"]) if "onnx" in request else of_checkpoint(request["checkpoint"], request["activation"])
env = gymnasium.make(name)
space = env.action_space
discrete = not isinstance(space, gymnasium.spaces.Box)


def bounded(action):
    return action if discrete else np.clip(action, space.low, space.high)


def as_the_space_has_it(action):
    """What the environment takes: choices are counted from 0 here."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return action[0] + space.start
    if discrete:
        return np.asarray(action, space.dtype) + getattr(space, "start", 0)
    return bounded(action)


if "observations" in request:  # what would it do there?
    print(json.dumps([float(x) for observation in request["observations"] for x in bounded(act(observation, discrete))]))
    sys.exit()
returns, lengths = [], []
for episode in range(request["episodes"]):
    observation, _ = env.reset(seed=episode)
    total, steps, over = 0.0, 0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(as_the_space_has_it(act(observation, discrete)))
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    returns.append(total)
    lengths.append(steps)
print(json.dumps({
    "episodes": len(returns), "mean_return": np.mean(returns), "std_return": np.std(returns),
    "min_return": np.min(returns), "max_return": np.max(returns), "mean_length": np.mean(lengths)}))
