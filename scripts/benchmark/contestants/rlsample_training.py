"""Our PPO: on an environment stepped in the program, or on Gymnasium's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from agents import ppo
from rlsample.rollouts import loop as on_policy
from rlsample.runs import config
from scripts.agent_modules import AgentConfigs

FOREVER = 10**9


def prepare(
    env: str,
    num_envs: int,
    steps: int,
    population: int = 1,
    hidden_sizes: tuple[int, ...] = (64, 64),
    kwargs: dict[str, Any] | None = None,
) -> Callable[[], dict[str, float]]:
    """One call takes `steps` steps of every member, with the usual settings for classic control (`ppo.Config`)."""
    agent = {"name": "ppo", "population": population, "hidden_sizes": hidden_sizes}
    settings = {
        "agent": agent,
        "env": {"id": env, "num_envs": num_envs, "kwargs": kwargs or {}},
        "total_steps": FOREVER,
    }
    made = config.from_dict(settings | {"sampler": "categorical"}, agents=AgentConfigs())
    num_steps = cast(ppo.Config, made.agent).num_steps
    rows = num_steps * num_envs
    vector = made.env.make(num_envs=num_envs * population)
    learner = ppo.Learner(made, vector, FOREVER // rows)
    loop = on_policy.training_loop(vector, learner, num_steps, made.seed)
    done = 0

    def run() -> dict[str, float]:
        nonlocal done
        left = max(1, steps // rows)
        taken = left * rows * population
        while left:
            count = min(left, loop.most)
            loop.advance(count, done)
            left, done = left - count, done + count
        return {"steps": taken, "traces": loop.traces}

    run()
    return run
