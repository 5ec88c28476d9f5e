"""How many steps per second Gymnasium's own vector environments make: ID MODE N SECONDS."""

import json
import sys
import time

import gymnasium as gym


def main(name, mode, n, seconds):
    envs = gym.make_vec(name, num_envs=n, vectorization_mode=mode)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(64)]
    envs.reset(seed=0)
    for i in range(10):
        envs.step(actions[i])
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        envs.step(actions[steps % 64])
        steps += 1
    elapsed = time.perf_counter() - start
    envs.close()
    print(json.dumps({"steps_per_second": steps * n / elapsed}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
