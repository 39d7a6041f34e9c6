"""rejax's learners from a replay, jitted whole."""

from __future__ import annotations

from collections.abc import Callable

import rejax
from rejax_whole import whole

ALGORITHMS = {"dqn": "dqn", "relaxed_actor_critic": "sac"}


def prepare(agent: str, num_envs: int, steps: int, **_: object) -> Callable[[], dict[str, float]]:
    """One call takes `steps` steps, with an update of 128 rows for each step of the environments."""
    algorithm = rejax.get_algo(ALGORITHMS[agent]).create(
        env="CartPole-v1",
        agent_kwargs={"activation": "relu"},
        num_envs=num_envs,
        num_epochs=1,
        buffer_size=100_000,
        fill_buffer=256,
        batch_size=128,
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
    )
    return whole(algorithm, steps)
