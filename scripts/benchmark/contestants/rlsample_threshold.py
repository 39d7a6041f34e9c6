"""Our PPO, from nothing to a deterministic mean of 475 on Gymnasium's CartPole: python rlsample_threshold.py SEED.

Without XLA: so short a run is over before the program would be compiled.
"""

from __future__ import annotations

import json
import sys

import gymnasium as gym

from agents import ppo
from rlsample.rollouts.evaluation import play_episodes
from rlsample.rollouts.on_policy import on_policy_loop
from rlsample.runs import config_from_dict
from scripts.catalogue import known_agents

STEPS, BETWEEN = 100_000, 2048
SETTINGS = {
    "agent": {
        "name": "ppo",
        "num_steps": 32,
        "num_minibatches": 1,
        "num_epochs": 20,
        "trace_decay": 0.8,
        "discount": 0.98,
        "entropy_coefficient": 0.0,
        "learning_rate": 1e-3,
        "clip_values": False,
        "jit_compile": False,
    },
    "env": {"id": "CartPole-v1", "num_envs": 8},
    "sampler": "categorical",
    "total_steps": STEPS,
}


def main(seed: int) -> None:
    """Trains and evaluates in turns; prints what it came to."""
    config = config_from_dict(SETTINGS | {"seed": seed}, agents=known_agents())
    agent = config.agent
    rows = agent.num_steps * config.env.num_envs
    envs, judging = config.env.make(), gym.make_vec("CartPole-v1", 20)
    learner = ppo.Learner(config, envs, STEPS // rows)
    loop = on_policy_loop(
        envs,
        learner,
        num_steps=agent.num_steps,
        metrics=ppo.METRICS,
        seed=seed,
        temperature=config.temperature,
        jit_compile=agent.jit_compile,
    )
    steps, mean = 0, 0.0
    while steps < STEPS and mean < 475:
        for _ in range(BETWEEN // rows):
            loop.advance(1)
            steps += rows
        mean = play_episodes(learner.publish(loop.best_state), judging, 20, seed).mean_return
    print(json.dumps({"steps_to_threshold": steps, "mean_return": mean}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
