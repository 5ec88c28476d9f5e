"""Makes ppo/multi_discrete.msgpack: one PPO iteration by PyTorch in float64.

The actions are several choices at once, torch.distributions.Categorical each, as
stable-baselines3's MultiCategoricalDistribution has them. Gradients are autograd's, the
update torch.optim.Adam's after torch.nn.utils.clip_grad_norm_.

usage: multi_discrete.py OUT.msgpack
needs: pip install torch numpy msgpack msgpack-numpy
"""

import sys

import msgpack
import msgpack_numpy
import numpy as np
import torch

NVEC, D, HIDDEN = [3, 2, 1, 4, 2], 5, [24, 16]
STEPS, ENVS, EPOCHS, MINIBATCHES = 16, 6, 2, 3
H = {
    "learning_rate": 1e-3, "gamma": 0.97, "gae_lambda": 0.9, "clip_range": 0.2, "entropy_coef": 0.02, "value_coef": 0.5,
    "max_grad_norm": 0.7, "value_clip": 0.0, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-5, "weight_decay": 0.0,
}


def network(outputs):
    sizes, layers = [D, *HIDDEN, outputs], []
    for i in range(len(sizes) - 1):
        layers += [torch.nn.Linear(sizes[i], sizes[i + 1]), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def evaluate(actor, obs, actions):
    """The log probabilities of actions [rows, W] and the entropies."""
    parts = [torch.distributions.Categorical(logits=x) for x in torch.split(actor(obs), NVEC, dim=-1)]
    log_prob = sum(p.log_prob(actions[..., c]) for c, p in enumerate(parts))
    return log_prob, sum(p.entropy() for p in parts)


def advantages(critic, r):
    """Generalised advantage estimation, bootstrapped where an episode is cut off."""
    with torch.no_grad():
        values, final, last = (critic(r[k]).squeeze(-1) for k in ("obs", "final_obs", "last_obs"))
    result, carry = torch.zeros_like(values), torch.zeros(ENVS, dtype=values.dtype)
    for t in reversed(range(STEPS)):
        following = values[t + 1] if t + 1 < STEPS else last
        terminated, truncated = r["terminated"][t].bool(), r["truncated"][t].bool()
        following = torch.where(truncated, final[t], torch.where(terminated, torch.zeros_like(following), following))
        delta = r["rewards"][t] + H["gamma"] * following - values[t]
        carry = delta + H["gamma"] * H["gae_lambda"] * carry * (~(terminated | truncated))
        result[t] = carry
    return values, result, result + values


def minibatch(nets, optimizer, obs, actions, old, adv, ret):
    """One step; its figures in the order of the goldens."""
    log_prob, entropy = evaluate(nets["actor"], obs, actions)
    adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    log_ratio = log_prob - old
    ratio = log_ratio.exp()
    policy = torch.max(-adv * ratio, -adv * ratio.clamp(1 - H["clip_range"], 1 + H["clip_range"])).mean()
    value = 0.5 * (nets["critic"](obs).squeeze(-1) - ret).square().mean()
    optimizer.zero_grad()
    (policy - H["entropy_coef"] * entropy.mean() + H["value_coef"] * value).backward()
    norm = torch.nn.utils.clip_grad_norm_(nets.parameters(), H["max_grad_norm"])
    optimizer.step()
    kl, clipped = (ratio - 1 - log_ratio).mean(), ((ratio - 1).abs() > H["clip_range"]).double().mean()
    figures = policy, value, entropy.mean(), kl, clipped, norm
    return [x.item() for x in figures] + [1.0]


def main(out):
    torch.manual_seed(20)
    rng = np.random.default_rng(20)
    nets = torch.nn.ModuleDict({"actor": network(sum(NVEC)), "critic": network(1)})
    for p in nets.parameters():  # exact in float32, as the engines get them
        p.data = torch.tensor((0.5 * rng.standard_normal(p.shape)).astype(np.float32))
    init = {k: v.numpy().copy() for k, v in nets.state_dict().items()}
    nets.double()

    f = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    ends = rng.integers(0, 8, (STEPS, ENVS))
    rollout = {
        "obs": f(STEPS, ENVS, D), "rewards": f(STEPS, ENVS), "final_obs": f(STEPS, ENVS, D), "last_obs": f(ENVS, D),
        "actions": np.stack([rng.integers(0, n, (STEPS, ENVS)) for n in NVEC], -1).astype(np.int32),
        "terminated": (ends == 0).astype(np.uint8), "truncated": (ends == 1).astype(np.uint8),
    }
    r = {k: torch.tensor(v) if v.dtype.kind in "iu" else torch.tensor(v).double() for k, v in rollout.items()}
    r["actions"] = r["actions"].long()
    with torch.no_grad():  # of a slightly different policy, so that no ratio is 1
        log_probs, _ = evaluate(nets["actor"], r["obs"], r["actions"])
    rollout["log_probs"] = (log_probs.numpy() + 0.15 * rng.standard_normal((STEPS, ENVS))).astype(np.float32)
    old = torch.tensor(rollout["log_probs"]).double().flatten()

    values, adv, ret = advantages(nets["critic"], r)
    rows = STEPS * ENVS
    permutations = np.stack([rng.permutation(rows) for _ in range(EPOCHS)]).astype(np.int32)
    optimizer = torch.optim.Adam(nets.parameters(), lr=H["learning_rate"], betas=(H["adam_beta1"], H["adam_beta2"]), eps=H["adam_eps"])
    figures = []
    for order in permutations:
        for part in np.split(order, MINIBATCHES):
            i = torch.tensor(part).long()
            figures.append(minibatch(nets, optimizer, r["obs"].reshape(rows, D)[i], r["actions"].reshape(rows, -1)[i],
                                     old[i], adv.flatten()[i], ret.flatten()[i]))
    names = dict(nets.named_parameters())
    moment = lambda key: {n: optimizer.state[p][key].numpy() for n, p in names.items()}
    expected = {
        "values": values.numpy(), "advantages": adv.numpy(), "returns": ret.numpy(), "minibatches": np.array(figures),
        "policy": {n: p.detach().numpy() for n, p in names.items()},
        "exp_avg": moment("exp_avg"), "exp_avg_sq": moment("exp_avg_sq"), "step": EPOCHS * MINIBATCHES, "stopped": False,
    }
    absolute = {"values": 1e-5, "advantages": 4e-5, "returns": 4e-5, "minibatches": 2e-5, "step": 0, "stopped": 0}
    tolerance = {k: absolute.get(k) if k in absolute else {n: 1e-5 for n in v} for k, v in expected.items()}
    config = {
        "obs_dim": D, "action": {"type": "multi_discrete", "n": sum(NVEC), "nvec": NVEC}, "hidden": HIDDEN, "activation": "tanh",
        "critic": {"type": "scalar", "quantiles": 1, "kappa": 1.0}, "steps": STEPS, "envs": ENVS, "epochs": EPOCHS,
        "minibatches": MINIBATCHES, "normalize_advantage": True, "target_kl": 0.0,
        "vgs": {"enabled": False, "beta": 0.99, "alpha": 0.1, "warmup": 100, "eps": 1e-8, "percentile": 0.9},
        "kl_penalty": {"enabled": False, "beta": 0.2, "target": 0.01, "min": 1e-4, "max": 100.0},
    }
    with open(out, "wb") as file:
        file.write(msgpack.packb({
            "name": "multi_discrete", "config": config, "hyperparameters": H, "init": init, "rollout": rollout,
            "permutations": permutations, "expected": expected, "tolerance": tolerance,
        }, default=msgpack_numpy.encode))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
