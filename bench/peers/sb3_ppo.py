"""stable-baselines3's PPO (PyTorch) on the common workload.

Timed: learn() for the iterations asked for, in a process and model that have
done two iterations before.
"""

import torch
from stable_baselines3 import PPO, __version__
from stable_baselines3.common.env_util import make_vec_env

import workload as w

WARMUP = 2


def main():
    iterations = w.iterations()
    # DummyVecEnv, the default: for CartPole processes cost more than they save.
    envs = make_vec_env(w.ENV, n_envs=w.ENVIRONMENTS, seed=1)
    model = PPO(
        "MlpPolicy", envs, device="cpu", seed=1,
        n_steps=w.STEPS, n_epochs=w.EPOCHS, batch_size=w.ROWS // w.MINIBATCHES,
        learning_rate=w.LEARNING_RATE, gamma=w.GAMMA, gae_lambda=w.GAE_LAMBDA,
        clip_range=w.CLIP_RANGE, ent_coef=w.ENTROPY_COEF, vf_coef=w.VALUE_COEF,
        max_grad_norm=w.MAX_GRAD_NORM,
        policy_kwargs={
            "net_arch": {"pi": list(w.HIDDEN), "vf": list(w.HIDDEN)},
            "activation_fn": torch.nn.Tanh,
        },
    )
    model.learn(WARMUP * w.ROWS)
    before = model.num_timesteps
    times = w.measure(lambda: model.learn(iterations * w.ROWS, reset_num_timesteps=False))
    w.report("stable-baselines3", f"{__version__}, torch {torch.__version__}",
             model.num_timesteps - before, times, torch.get_num_threads())


if __name__ == "__main__":
    main()
