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
        return int(np.argmax(x)) if discrete else x

    return checkpoint["env"]["id"], act


def of_model(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def act(observation, discrete):
        [action] = session.run(["action"], {"observation": np.asarray([observation], np.float32)})
        return int(action[0]) if discrete else action[0]

    return session.get_modelmeta().custom_metadata_map["env_id"], act


request = json.load(sys.stdin)
name, act = of_model(request["onnx"]) if "onnx" in request else of_checkpoint(request["checkpoint"], request["activation"])
env = gymnasium.make(name)
discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
if "observations" in request:  # what would it do there?
    actions = [act(observation, discrete) for observation in request["observations"]]
    if not discrete:
        actions = [float(np.clip(action, env.action_space.low, env.action_space.high)[0]) for action in actions]
    print(json.dumps(actions))
    sys.exit()
returns, lengths = [], []
for episode in range(request["episodes"]):
    observation, _ = env.reset(seed=episode)
    total, steps, over = 0.0, 0, False
    while not over:
        action = act(observation, discrete)
        if not discrete:
            action = np.clip(action, env.action_space.low, env.action_space.high)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    returns.append(total)
    lengths.append(steps)
print(json.dumps({
    "episodes": len(returns), "mean_return": np.mean(returns), "std_return": np.std(returns),
    "min_return": np.min(returns), "max_return": np.max(returns), "mean_length": np.mean(lengths)}))
