"""rejax's PPO (JAX) on the common workload: one agent, or a population by vmap.

rejax compiles a whole training run, environments included, into one program.
Timed: its second call, on other seeds; the first one compiles. Evaluation, which
rejax does within training, is left out.

The agents of a population share their hyperparameters here, which is less work
than a population that evolves them.
"""

import os
import sys
from importlib.metadata import version

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import rejax

import workload as w


def main():
    population = int(sys.argv.pop(1))
    iterations = w.iterations()
    ppo = rejax.get_algo("ppo").create(
        env=w.ENV, num_envs=w.ENVIRONMENTS, num_steps=w.STEPS,
        num_epochs=w.EPOCHS, num_minibatches=w.MINIBATCHES,
        agent_kwargs={"hidden_layer_sizes": w.HIDDEN, "activation": "tanh"},
        learning_rate=w.LEARNING_RATE, gamma=w.GAMMA, gae_lambda=w.GAE_LAMBDA,
        clip_eps=w.CLIP_RANGE, ent_coef=w.ENTROPY_COEF, vf_coef=w.VALUE_COEF,
        max_grad_norm=w.MAX_GRAD_NORM,
        total_timesteps=iterations * w.ROWS, eval_freq=iterations * w.ROWS,
        skip_initial_evaluation=True,
    ).replace(eval_callback=lambda ppo, state, key: ())

    if population == 1:
        train, seeds = jax.jit(ppo.train), jax.random.key
    else:
        train = jax.jit(jax.vmap(ppo.train))
        seeds = lambda seed: jax.random.split(jax.random.key(seed), population)

    jax.block_until_ready(train(seeds(0)))
    state = None

    def timed():
        nonlocal state
        state, _ = jax.block_until_ready(train(seeds(1)))

    times = w.measure(timed)
    env_steps = int(state.global_step.sum())
    expected = population * iterations * w.ROWS
    assert env_steps == expected, f"trained {env_steps} env steps, not {expected}"
    w.report("rejax", f"{version('rejax')}, jax {jax.__version__}, gymnax {version('gymnax')}",
             env_steps, times, len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    main()
