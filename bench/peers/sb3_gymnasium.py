"""stable-baselines3's PPO on an environment of Gymnasium, by the settings of examples/hopper.yaml.

usage: sb3_gymnasium.py ENVIRONMENT ENV_STEPS SEED CURVE.csv

Writes the learning curve, a row for every 10 updates: the mean true return of the
episodes that ended in them. Prints one line of JSON: the time that learning took and the
scores of the deterministic policy over 20 episodes.

Needs: pip install stable-baselines3 "gymnasium[mujoco]"
"""

import csv
import json
import sys
import time

import numpy
import torch
from stable_baselines3 import PPO, __version__
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

ENVIRONMENTS = 16
STEPS = 128
EPOCHS = 10
MINIBATCHES = 32
UPDATES_PER_ROW = 10


class Curve(BaseCallback):
    """Collects the returns of the episodes, which the monitors see before any normalisation."""

    def __init__(self):
        super().__init__()
        self.rows, self.returns, self.updates = [], [], 0

    def _on_step(self):
        self.returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return True

    def _on_rollout_end(self):
        self.updates += 1
        if self.updates % UPDATES_PER_ROW == 0:
            mean = f"{numpy.mean(self.returns):.1f}" if self.returns else ""
            self.rows.append([self.num_timesteps, len(self.returns), mean])
            self.returns = []


def main(env, env_steps, seed, path):
    # Minibatches of 64 rows are too small to share: two threads take longer, and many
    # times longer where another program wants a core.
    torch.set_num_threads(1)
    envs = VecNormalize(make_vec_env(env, n_envs=ENVIRONMENTS, seed=seed), gamma=0.99)
    model = PPO(
        "MlpPolicy", envs, device="cpu", seed=seed,
        n_steps=STEPS, n_epochs=EPOCHS, batch_size=ENVIRONMENTS * STEPS // MINIBATCHES,
        learning_rate=3e-4, gamma=0.99, gae_lambda=0.95, clip_range=0.2,
        ent_coef=0.0, vf_coef=0.5, max_grad_norm=0.5,
        policy_kwargs={"net_arch": {"pi": [64, 64], "vf": [64, 64]}, "activation_fn": torch.nn.Tanh},
    )
    curve, start = Curve(), time.perf_counter()
    model.learn(env_steps, callback=curve)
    seconds = time.perf_counter() - start
    with open(path, "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["env_steps", "episodes", "mean_return"])
        w.writerows(curve.rows)
    envs.training = envs.norm_reward = False
    scores, _ = evaluate_policy(model, envs, n_eval_episodes=20, deterministic=True, return_episode_rewards=True)
    print(json.dumps({
        "env": env, "seed": seed, "env_steps": model.num_timesteps, "seconds": seconds,
        "version": __version__, "torch": torch.__version__, "threads": torch.get_num_threads(),
        "mean": numpy.mean(scores), "std": numpy.std(scores), "min": min(scores), "max": max(scores),
    }))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
