"""Makes the fixtures of package convert with the programs that they come from.

    python make.py [FOLDER]

writes, into the folder of this file by default, for each agent its file and a
.json of what the agent computes: a SHA-256, a sum and some elements of every
tensor, deterministic actions and values at some observations, and a mean return.

Made with Python 3.11.7, torch 2.15.0, stable-baselines3 2.9.2, gymnasium
1.4.0, safetensors 0.8.0, numpy 2.4.6.
"""

import hashlib
import json
import pathlib
import sys

import gymnasium as gym
import numpy as np
import torch
from safetensors.torch import save_file
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common import save_util
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from torch import nn

HERE = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
HERE = HERE if HERE.is_dir() else HERE.parent
OBSERVATIONS = 32
torch.set_num_threads(1)
# The files say nothing of the machine that made them.
save_util.get_system_info = lambda print_info=True: ({}, "not written\n")


def describe(tensor):
    """What identifies a tensor's bits, and what a person can compare."""
    array = np.ascontiguousarray(tensor.detach().numpy().astype("<f4"))
    flat = array.ravel()
    return {
        "shape": list(array.shape),
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        "sum": float(flat.astype(np.float64).sum()),
        "first": float(flat[0]),
        "last": float(flat[-1]),
    }


def observations(env_id, seed):
    """States that a random policy comes across, and some beyond them."""
    env = gym.make(env_id)
    env.action_space.seed(seed)
    obs, _ = env.reset(seed=seed)
    seen = []
    for i in range(OBSERVATIONS):
        seen.append(obs * (1 + i % 4))
        obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            obs, _ = env.reset()
    return np.array(seen, dtype=np.float32)


def write(name, golden):
    (HERE / f"{name}.json").write_text(json.dumps(golden, indent=1) + "\n")


def one_more_step(model, obs):
    """What Stable-Baselines3's own training makes of the weights in one minibatch of
    one-step episodes, from where the file was saved."""
    policy, rows = model.policy, len(obs)
    model.rollout_buffer = RolloutBuffer(rows, model.observation_space, model.action_space, device="cpu", gamma=model.gamma,
                                         gae_lambda=model.gae_lambda, n_envs=1)
    torch.manual_seed(5)
    rewards = torch.randn(rows).numpy()
    with torch.no_grad():
        actions, values, log_probs = policy(torch.tensor(obs))
    log_probs += 0.3 * torch.randn(rows)  # the weights have changed since: some ratios are clipped
    for i in range(rows):
        model.rollout_buffer.add(obs[i:i + 1], actions[i:i + 1].numpy(), rewards[i:i + 1], np.ones(1), values[i], log_probs[i:i + 1])
    model.rollout_buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1))
    model.n_epochs, model.batch_size, model._current_progress_remaining = 1, rows, 0.5
    model.train()
    return {
        "learning_rate": policy.optimizer.param_groups[0]["lr"],
        "actions": actions.reshape(rows, -1).tolist(), "log_probs": log_probs.tolist(), "rewards": rewards.tolist(),
        "parameters": {k: p.detach().ravel().tolist() for k, p in policy.named_parameters()},
    }


def from_sb3(name, env_id, n_envs, steps, **kwargs):
    env = make_vec_env(env_id, n_envs=n_envs, seed=1)
    model = PPO("MlpPolicy", env, seed=7, device="cpu", **kwargs)
    model.learn(steps)
    model.save(HERE / f"{name}.zip")
    policy = model.policy
    obs = observations(env_id, 11)
    action, _ = model.predict(obs, deterministic=True)
    with torch.no_grad():
        distribution = policy.get_distribution(torch.tensor(obs)).distribution
        raw = distribution.logits if hasattr(distribution, "logits") else distribution.mean
        value = policy.predict_values(torch.tensor(obs))
    parameters = list(policy.named_parameters())
    state = policy.optimizer.state_dict()
    mean, std = evaluate_policy(model, make_vec_env(env_id, n_envs=8, seed=99), n_eval_episodes=200)
    write(name, {
        "env": env_id,
        "num_timesteps": model.num_timesteps,
        "n_steps": model.n_steps, "n_envs": model.n_envs, "batch_size": model.batch_size, "n_epochs": model.n_epochs,
        "adam_steps": int(state["state"][0]["step"]),
        "parameters": {k: describe(p) for k, p in parameters},
        "exp_avg": {k: describe(state["state"][i]["exp_avg"]) for i, (k, _) in enumerate(parameters)},
        "exp_avg_sq": {k: describe(state["state"][i]["exp_avg_sq"]) for i, (k, _) in enumerate(parameters)},
        "observations": obs.tolist(), "actions": action.tolist(), "outputs": raw.tolist(), "values": value[:, 0].tolist(),
        "mean_return": mean, "std_return": std,
        # The last, for it changes the model.
        "step": one_more_step(model, obs),
    })


def layer(inputs, outputs, gain=np.sqrt(2)):
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    """The modules of CleanRL's agents, by their names there."""

    def __init__(self, obs, actions, continuous, hidden=16):
        super().__init__()
        net = lambda out, gain: nn.Sequential(
            layer(obs, hidden), nn.Tanh(), layer(hidden, hidden), nn.Tanh(), layer(hidden, out, gain))
        self.critic = net(1, 1.0)
        if continuous:
            self.actor_mean = net(actions, 0.01)
            self.actor_logstd = nn.Parameter(torch.full((1, actions), -0.25))
        else:
            self.actor = net(actions, 0.01)


def from_cleanrl(name, env_id, continuous, expert):
    """An agent that imitates a rule, which is quicker than training one."""
    torch.manual_seed(3)
    space = gym.make(env_id).action_space
    size = gym.make(env_id).observation_space.shape[0]
    agent = Agent(size, space.shape[0] if continuous else int(space.n), continuous)
    actor = agent.actor_mean if continuous else agent.actor
    optimizer = torch.optim.Adam(agent.parameters(), lr=3e-3, eps=1e-5)
    for _ in range(600):
        x = torch.randn(256, size)
        action, value = expert(x)
        loss = ((actor(x) - action) ** 2).mean() if continuous else nn.functional.cross_entropy(actor(x), action)
        loss = loss + ((agent.critic(x)[:, 0] - value) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file(agent.state_dict(), HERE / f"{name}.safetensors")
    torch.save(agent.state_dict(), HERE / f"{name}.cleanrl_model")
    obs = observations(env_id, 12)
    with torch.no_grad():
        raw, value = actor(torch.tensor(obs)), agent.critic(torch.tensor(obs))
    action = raw.clamp(torch.tensor(space.low), torch.tensor(space.high)) if continuous else raw.argmax(1)
    write(name, {
        "env": env_id, "parameters": {k: describe(p) for k, p in agent.state_dict().items()},
        "observations": obs.tolist(), "actions": action.tolist(), "outputs": raw.tolist(), "values": value[:, 0].tolist(),
    })


def swing(x):
    return (1.5 * x[:, 1] + 0.5 * x[:, 2])[:, None], -x[:, 2] ** 2


def balance(x):
    return (x[:, 2] + 0.5 * x[:, 3] > 0).long(), x[:, 0]


def refused():
    """Files that are sound and hold what brood has not."""
    small = dict(device="cpu", seed=1, n_steps=8)
    env = make_vec_env("Pendulum-v1", n_envs=1)
    PPO("MlpPolicy", env, use_sde=True, batch_size=8, policy_kwargs=dict(net_arch=[4]), **small).save(HERE / "refused-sde.zip")
    a2c = A2C("MlpPolicy", "CartPole-v1", policy_kwargs=dict(net_arch=[4]), **small)
    a2c.learn(8)
    a2c.save(HERE / "refused-a2c.zip")
    DQN("MlpPolicy", "CartPole-v1", device="cpu", seed=1, buffer_size=8, policy_kwargs=dict(net_arch=[4])).save(HERE / "refused-dqn.zip")
    two = dict(net_arch=dict(pi=[4], vf=[6]))
    PPO("MlpPolicy", "CartPole-v1", batch_size=8, policy_kwargs=two, **small).save(HERE / "refused-widths.zip")
    elu = dict(net_arch=[4], activation_fn=nn.ELU)
    PPO("MlpPolicy", "CartPole-v1", batch_size=8, policy_kwargs=elu, **small).save(HERE / "refused-elu.zip")


def schedule():
    """A learning rate as a function, which carries no path of this file with it."""
    scope = {}
    exec(compile("def schedule(remaining):\n    return 3e-3 * remaining\n", "schedule", "exec"), scope)
    return scope["schedule"]


if __name__ == "__main__":
    from_sb3("sb3-cartpole", "CartPole-v1", 4, 12000, n_steps=128, batch_size=128, n_epochs=6, gamma=0.98, gae_lambda=0.9,
             ent_coef=0.002, vf_coef=0.4, max_grad_norm=0.7, learning_rate=3e-3, clip_range=0.15,
             policy_kwargs=dict(net_arch=[16, 16]))
    from_sb3("sb3-pendulum", "Pendulum-v1", 2, 4000, n_steps=256, batch_size=64, gamma=0.9, learning_rate=schedule(),
             policy_kwargs=dict(net_arch=[16], activation_fn=nn.ReLU))
    from_cleanrl("cleanrl-cartpole", "CartPole-v1", False, balance)
    from_cleanrl("cleanrl-pendulum", "Pendulum-v1", True, swing)
    refused()
