"""sbx's PPO (JAX) on the common workload.

Timed: learn() for the iterations asked for, in a process and model that have
compiled and done three iterations before.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import flax
import jax
import sbx
from stable_baselines3.common.env_util import make_vec_env

import workload as w

WARMUP = 3


def main():
    iterations = w.iterations()
    envs = make_vec_env(w.ENV, n_envs=w.ENVIRONMENTS, seed=1)
    model = sbx.PPO(
        "MlpPolicy", envs, seed=1,
        n_steps=w.STEPS, n_epochs=w.EPOCHS, batch_size=w.ROWS // w.MINIBATCHES,
        learning_rate=w.LEARNING_RATE, gamma=w.GAMMA, gae_lambda=w.GAE_LAMBDA,
        clip_range=w.CLIP_RANGE, ent_coef=w.ENTROPY_COEF, vf_coef=w.VALUE_COEF,
        max_grad_norm=w.MAX_GRAD_NORM,
        policy_kwargs={"net_arch": list(w.HIDDEN), "activation_fn": flax.linen.tanh},
    )

    def learn(n, **kwargs):
        model.learn(n * w.ROWS, **kwargs)
        # JAX returns before the work is done.
        jax.block_until_ready((model.policy.actor_state, model.policy.vf_state))

    learn(WARMUP)
    before = model.num_timesteps
    times = w.measure(lambda: learn(iterations, reset_num_timesteps=False))
    w.report("sbx", f"{sbx.__version__}, jax {jax.__version__}",
             model.num_timesteps - before, times, len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    main()
