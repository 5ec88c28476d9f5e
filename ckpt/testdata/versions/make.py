"""Made the files of this folder that other programs would have written, and versions.json.

Never run it again over what is there: the files stand for those that people have. A new
format gets new files beside them. `make.py FOLDER` writes into a new folder.
"""

import hashlib
import json
import os
import sys

import msgpack
import msgpack_numpy
import numpy as np

out = sys.argv[1]
here = os.path.dirname(os.path.abspath(__file__))

CONFIG = """env: {id: CartPole-v1, count: 2}
policy: {hidden: [4], activation: tanh}
critic: {type: scalar}
ppo: {steps: 16, epochs: 2, minibatches: 2, normalize_observations: true}
pbt: {population_size: 2}
run: {device: cpu}
"""

# The networks of CartPole with one hidden layer of 4, by PyTorch's names.
SHAPES = {
    "actor.0.weight": (4, 4), "actor.0.bias": (4,), "actor.2.weight": (2, 4), "actor.2.bias": (2,),
    "critic.0.weight": (4, 4), "critic.0.bias": (4,), "critic.2.weight": (1, 4), "critic.2.bias": (1,),
}


def network(first, dtype=np.float32):
    """Tensors whose elements are all different: first, first + 1/8, ..."""
    tensors = {}
    for name, shape in SHAPES.items():
        n = int(np.prod(shape))
        tensors[name] = (first + np.arange(n) / 8).astype(dtype).reshape(shape)
        first += n / 8
    return tensors


def v1(policy, **more):
    return {"data": policy, **more}


def v2(optimizer):
    vector = lambda n, first: (first + np.arange(n) / 16).astype(np.float32)
    data = {
        "policy": network(-3),
        "observation_norm": {"mean": vector(4, 0.25), "var": vector(4, 1), "count": 640.0},
        "reward_norm": {"mean": 0.5, "var": 2.0, "count": 640.0},
        "vgs_state": {"mean_abs": vector(8, 0), "var": vector(8, 3), "step": 40},
        "kl_penalty_state": {"beta": 0.25},
        "hyperparameters": {
            "learning_rate": 0.001, "gamma": 0.99, "gae_lambda": 0.95, "clip_range": 0.2, "value_clip": 0.0, "entropy_coef": 0.01,
            "value_coef": 0.5, "max_grad_norm": 0.5, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-5, "weight_decay": 0.0,
            "vgs_alpha": 0.1, "kl_target": 0.01},
        "environment": {"state": vector(8, -0.03).reshape(4, 2) / 16, "episode_return": vector(2, 5), "episode_length": vector(2, 5),
                        "discounted_return": vector(2, 4)},
        "episodes": {"returns": vector(100, 9), "count": 31, "interval_sum": 77.5, "interval_count": 3},
        "counters": {"env_steps": 640, "updates": 20, "episodes": 31},
        "rng": {"seed": 2**63 + 11},
    }
    if optimizer:
        data["optimizer_state"] = {"exp_avg": network(0.125), "exp_avg_sq": network(40), "step": 160}
    return {
        "format_version": "v2_full_parameters", "step": 20, "performance": 21.5, "has_optimizer_state": optimizer,
        "env": {"id": "CartPole-v1", "obs_dim": 4, "action": {"type": "discrete", "n": 2, "low": [], "high": []}},
        "config": CONFIG, "data": data,
    }


FILES = {
    # The policy's tensors are all of data; the first writers named no version.
    "v1_at_the_top.ckpt": v1(network(1)),
    "v1_at_the_top_versioned.ckpt": v1(network(2), format_version="v1_policy_only", step=7, performance=12.25),
    # Under policy, beside the state of other parts, which a v1 file's reader passes over.
    "v1_under_policy.ckpt": v1({"policy": network(3, np.float64), "kl_penalty_state": {"beta": 0.2}, "vgs_state": None}, performance=None),
    "v1_under_policy_versioned.ckpt": v1({"policy": network(4), "vgs_state": {"mean_abs": np.zeros(8, np.float32), "step": 3}},
                                         format_version="v1_policy_only", step=9, config="lr: 1", saved_by=["another", {"program": 1}]),
    "v2_without_optimizer.ckpt": v2(False),
    "v2_with_optimizer.ckpt": v2(True),
}


def show(value):
    """What versions.json has of a tensor: its type, shape and bytes; numbers as they are stored."""
    if isinstance(value, dict):
        return {k: show(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), value.tobytes().hex()]
    if isinstance(value, float):
        return ["float", [], np.float64(value).tobytes().hex()]
    if isinstance(value, int):
        return ["int", [], (value % 2**64).to_bytes(8, "little").hex()]
    return None


def read(path):
    with open(path, "rb") as f:
        return msgpack.unpackb(f.read(), object_hook=msgpack_numpy.decode)


contents = {}
for name, checkpoint in FILES.items():
    with open(os.path.join(out, name), "wb") as f:
        f.write(msgpack.packb(checkpoint, default=msgpack_numpy.encode))
    contents[name] = show(read(os.path.join(out, name))["data"])

# The run that brood itself trained, as Python reads it.
for folder, _, names in sorted(os.walk(os.path.join(here, "run_v1"))):
    for name in sorted(names):
        path = os.path.join(folder, name)
        if name.startswith("member-") or name == "best.ckpt":
            contents[os.path.relpath(path, here)] = show(read(path)["data"])
        elif name == "run.ckpt":
            run = read(path)
            for member, digest in enumerate(run["members"]):
                with open(os.path.join(folder, f"member-{member:03d}.ckpt"), "rb") as f:
                    assert hashlib.sha256(f.read()).digest() == digest
            contents[os.path.relpath(path, here)] = {"digest": run["digest"].hex(), "update": run["update"], "env_steps": run["env_steps"]}
with open(os.path.join(out, "versions.json"), "w") as f:
    json.dump(contents, f, indent=1)
