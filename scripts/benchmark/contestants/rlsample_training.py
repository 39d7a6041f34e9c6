"""Our PPO: on an environment stepped in the program, or on Gymnasium's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents import ppo, recurrent_ppo
from rlsample.rollouts.in_graph_turns import collect_and_learn, remember_and_learn
from rlsample.rollouts.on_policy import on_policy_loop
from rlsample.runs import config_from_dict
from scripts.catalogue import known_agents

FOREVER = 10**9


def prepare(
    env: str,
    num_envs: int,
    steps: int,
    population: int = 1,
    network: dict[str, Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    wrappers: list[dict[str, Any]] | None = None,
) -> Callable[[], dict[str, float]]:
    """One call takes `steps` steps of every member, with the usual settings for classic control (`ppo.Config`)."""
    settings = {
        "agent": {"name": "ppo", "population": population},
        "network": network or {"hidden_sizes": (64, 64)},
        "env": {"id": env, "num_envs": num_envs, "kwargs": kwargs or {}, "wrappers": wrappers},
        "total_steps": FOREVER,
    }
    config = config_from_dict(settings | {"sampler": "categorical"}, agents=known_agents())
    rows = config.agent.num_steps * num_envs
    vector = config.env.make(num_envs=num_envs * population)
    remembers = config.network.state_size > 0
    loop = on_policy_loop(
        vector,
        (recurrent_ppo if remembers else ppo).Learner(config, vector, FOREVER // rows),
        make_turn=remember_and_learn if remembers else collect_and_learn,
        num_steps=config.agent.num_steps,
        metrics=ppo.METRICS,
        seed=config.seed,
        temperature=config.temperature,
        population=population,
    )

    def run() -> dict[str, float]:
        left = max(1, steps // rows)
        taken = left * rows * population
        while left:
            count = min(left, loop.max_turns_per_call)
            loop.advance(count)
            left -= count
        return {"steps": taken, "traces": loop.traces}

    run()
    return run
